"""What a lossy codec leaves of a recording: encoded and decoded again in memory (PyAV, FFmpeg's libraries)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, cast

import numpy as np
import soxr
from numpy.typing import NDArray

from stream_mer.sources.resampling import QUALITY, to_float32
from stream_mer.types import SAMPLE_RATE_HZ, Samples

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

Codec: TypeAlias = Literal["opus", "mp3", "aac"]


class _Format(NamedTuple):
    encoder: str
    container: str


# Each container is one that tells its demuxer how much the codec put before the first sample, so that FFmpeg cuts it
# away. MP4 as PyAV writes it does not (AAC came 1,024 samples late), Matroska does.
_FORMATS: dict[Codec, _Format] = {
    "opus": _Format("libopus", "ogg"),
    "mp3": _Format("libmp3lame", "mp3"),
    "aac": _Format("aac", "matroska"),
}


def through_codec(samples: Samples, codec: Codec, bit_rate_kbps: int) -> Samples:
    """Encode and decode; every sample stays where it was.

    Args:
        samples: Mono audio, shape ``[n]``.
        codec: Opus, MP3 (LAME) or AAC-LC (FFmpeg's own).
        bit_rate_kbps: Opus 6..128, AAC 8..96; MP3 takes the nearest that it has at 16 kHz (8, 16, 24, 32, 40, 48...).

    Returns:
        Shape ``[n]``, -1..1.
    """
    if len(samples) == 0:
        return samples.copy()
    decoded = _decode(_encode(samples, _FORMATS[codec], bit_rate_kbps))[: len(samples)]
    return np.pad(decoded, (0, len(samples) - len(decoded))).clip(-1.0, 1.0)


def _encode(samples: Samples, form: _Format, bit_rate_kbps: int) -> io.BytesIO:
    import av  # noqa: PLC0415  # takes 0.1 s: only who uses a codec pays

    file = io.BytesIO()
    with av.open(file, "w", format=form.container) as container:
        stream = cast("AudioStream", container.add_stream(form.encoder, rate=SAMPLE_RATE_HZ, layout="mono"))
        stream.bit_rate = 1000 * bit_rate_kbps
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    return file


def _decode(file: io.BytesIO) -> Samples:
    import av  # noqa: PLC0415  # as above

    with av.open(file, "r") as container:
        frames = [(frame.sample_rate, to_float32(frame.to_ndarray()[0])) for frame in container.decode(audio=0)]
    if not frames:
        return np.zeros(0, np.float32)
    decoded: NDArray[np.float32] = np.concatenate([samples for _, samples in frames])
    rate_hz = frames[0][0]
    if rate_hz != SAMPLE_RATE_HZ:  # Opus decodes to 48 kHz whatever went in
        decoded = soxr.resample(decoded, rate_hz, SAMPLE_RATE_HZ, quality=QUALITY)
    return decoded
