"""The audio of one stream as FLAC: half the size of WAV, and readable up to where a crash cut it off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, Samples

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

_SILENCE_SAMPLES = SAMPLE_RATE_HZ
"""A gap is filled with so much silence at a time."""


class FlacKeeper:
    """Writes chunks at their places: sample n of the file is sample n of the stream, and what is missing is silence.

    Args:
        file: Empty, open for writing bytes; closed at the end.
    """

    def __init__(self, file: BinaryIO) -> None:
        import av  # noqa: PLC0415 - takes 0.1 s: only who records audio pays

        self._frames = av.AudioFrame
        self._file = file
        # Packets go straight to the file: what waited in FFmpeg's own buffer would be lost in a crash.
        self._container: Any = av.open(self._file, "w", format="flac", container_options={"flush_packets": "1"})
        self._stream: AudioStream = self._container.add_stream("flac", rate=SAMPLE_RATE_HZ, layout="mono")
        self._position = 0

    def write(self, item: AudioChunk, *, lost: int) -> None:  # noqa: ARG002 - a gap in the samples tells of it
        """Write a chunk, after silence for what is missing before it. What came twice is left out."""
        while self._position < item.start_sample:
            self._encode(np.zeros(min(_SILENCE_SAMPLES, item.start_sample - self._position), np.float32))
        self._encode(item.samples[max(0, self._position - item.start_sample) :])

    def flush(self) -> None:
        """Let nothing wait but what the encoder has not made a packet of, 0.3 s."""
        self._file.flush()

    def close(self) -> None:
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        finally:
            self._file.close()

    def _encode(self, samples: Samples) -> None:
        if not len(samples):
            return
        pcm = np.rint(samples.clip(-1.0, 1.0) * 32_767).astype(np.int16)
        frame = self._frames.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = self._position
        self._position += len(samples)
        self._container.mux(self._stream.encode(frame))
