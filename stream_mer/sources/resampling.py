"""Any audio to mono at 16 kHz: sample formats, surround and inverted channels, sample rates. Bytes or arrays in.

Everything here gives the same samples, bit by bit, however its input is cut.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from stream_mer.errors import SettingError
from stream_mer.types import SAMPLE_RATE_HZ, Samples

_LOG = logging.getLogger(__name__)

QUALITY = "HQ"
"""soxr's recipe: 20-bit precision, linear phase, passband to 91 % of the lower Nyquist frequency.

Its log-mel is that of ``VHQ`` (28 bits), which delays audio twice as long: 84 ms at 44.1 kHz in place of 40.
"""

LIMIT = 8.0
"""Samples are clipped to this magnitude, 18 dB over full scale: raw data in the wrong format (up to 3e38 as floating
point) cannot overflow later, and real audio stays far below."""

MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 384_000
MAX_CHANNELS = 64

_PACKED_24 = {"s24le": "<i4", "s24be": ">i4"}
_DTYPES = {
    "u8": "u1",
    "s8": "i1",
    "s16le": "<i2",
    "s16be": ">i2",
    **_PACKED_24,
    "s32le": "<i4",
    "s32be": ">i4",
    "f32le": "<f4",
    "f32be": ">f4",
    "f64le": "<f8",
    "f64be": ">f8",
}

SAMPLE_FORMATS = tuple(_DTYPES)
"""Sample formats of raw PCM, named as in ``ffmpeg -f``."""

# Gains of a channel on left and right (ITU-R BS.775): the front as in stereo, centre and sides 3 dB lower, no LFE.
_HALF_POWER = math.sqrt(0.5)
_SURROUND_GAINS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("FL", "FLC", "DL"), (1.0, 0.0)),
    **dict.fromkeys(("FR", "FRC", "DR"), (0.0, 1.0)),
    "FC": (_HALF_POWER, _HALF_POWER),
    **dict.fromkeys(("LFE", "LFE2"), (0.0, 0.0)),
    **dict.fromkeys(("BL", "SL", "WL", "TFL", "TSL"), (_HALF_POWER, 0.0)),
    **dict.fromkeys(("BR", "SR", "WR", "TFR", "TSR"), (0.0, _HALF_POWER)),
    **dict.fromkeys(("BC", "TC", "TFC"), (0.5, 0.5)),
    "TBL": (0.5, 0.0),
    "TBR": (0.0, 0.5),
    "TBC": (0.35, 0.35),
}

_CELL_S = 0.1
"""Polarity is judged in cells of this length..."""

_CANCELLING_CELLS = 5
"""...and changed after this many cancelling ones in a row: music that cancels on purpose decays sooner."""

_INVERTED_DB, _UPRIGHT_DB = -26.0, -20.0
"""Level of the mean of both channels relative to one channel: below the first they cancel, above the second they do
not. Uncorrelated channels have -3 dB; a balanced cable whose halves differ by 0.8 dB has -27 dB."""

_QUIET_POWER = 1e-6
"""Cells below -60 dBFS are not judged."""


def to_float32(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Scale PCM of any sample type to -1..1.

    Args:
        samples: Any shape. Unsigned 8 bit, or signed integers (full scale is the type's); floating point stays as it
            is.

    Returns:
        Same shape.
    """
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128.0) / np.float32(128.0)
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, which is silenced later
        return samples.astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class PcmFormat:
    """Format of raw PCM.

    Attributes:
        rate_hz: Sample rate, 4000 to 384000.
        sample_format: One of ``SAMPLE_FORMATS``; ``s24le`` and ``s24be`` are packed in 3 bytes.
        channels: Interleaved channels, 1 to 64.

    Raises:
        SettingError: A value is out of range.
    """

    rate_hz: int = 44_100
    sample_format: str = "s16le"
    channels: int = 1

    def __post_init__(self) -> None:
        if self.sample_format not in _DTYPES:
            raise SettingError(
                f"unknown sample format {self.sample_format!r}; choose one of {', '.join(SAMPLE_FORMATS)}"
            )
        if not MIN_RATE_HZ <= self.rate_hz <= MAX_RATE_HZ:
            raise SettingError(f"the rate of raw audio must be {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, not {self.rate_hz}")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise SettingError(f"raw audio must have 1 to {MAX_CHANNELS} channels, not {self.channels}")

    @property
    def stride_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        width = 3 if self.sample_format in _PACKED_24 else np.dtype(_DTYPES[self.sample_format]).itemsize
        return width * self.channels

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """Decode whole samples.

        Args:
            data: A multiple of ``stride_bytes``.

        Returns:
            Shape ``[n, channels]``, nominal range -1..1.
        """
        samples: NDArray[Any]
        if self.sample_format in _PACKED_24:
            little = self.sample_format == "s24le"
            widened = np.zeros((len(data) // 3, 4), np.uint8)
            widened[:, slice(1, 4) if little else slice(0, 3)] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            samples = widened.reshape(-1).view(_PACKED_24[self.sample_format])
        else:
            samples = np.frombuffer(data, _DTYPES[self.sample_format])
        return to_float32(samples).reshape(-1, self.channels)

    def split(self, data: bytes) -> tuple[NDArray[np.float32], bytes]:
        """Decode the whole samples of ``data``; return them, as ``decode`` does, and the bytes that remain."""
        whole = len(data) - len(data) % self.stride_bytes
        return self.decode(data[:whole]), data[whole:]


class PcmDecoder:
    """Decodes bytes, cut anywhere, to mono at 16 kHz."""

    def __init__(self, pcm_format: PcmFormat) -> None:
        self._format = pcm_format
        self._resampler = MonoResampler(pcm_format.rate_hz)
        self._rest = b""

    def feed(self, data: bytes) -> Samples:
        """Take the next bytes; return the audio that is ready, shape ``[n]`` (n may be 0)."""
        samples, self._rest = self._format.split(self._rest + data)
        return self._resampler.feed(samples)

    def finish(self) -> Samples:
        """Return the rest, shape ``[n]``; an incomplete last sample is dropped."""
        self._rest = b""
        return self._resampler.finish()


def to_stereo(samples: NDArray[np.float32], channel_names: Sequence[str]) -> NDArray[np.float32]:
    """Mix surround channels to left and right (ITU-R BS.775), as loud as the same music in stereo.

    Args:
        samples: Shape ``[n, channels]``.
        channel_names: FFmpeg's name of each channel.

    Returns:
        Shape ``[n, 2]``; ``samples`` itself if there are fewer than three channels, or one has an unknown position, as
        in a multitrack recording.
    """
    if samples.shape[1] < 3 or len(channel_names) != samples.shape[1] or not _SURROUND_GAINS.keys() >= {*channel_names}:
        return samples
    stereo = np.zeros((len(samples), 2), np.float32)
    for channel, name in enumerate(channel_names):  # one by one: a fixed order of summation
        for side, gain in enumerate(_SURROUND_GAINS[name]):
            if gain:
                # What is not finite is silence, so that one broken channel leaves the others alone.
                finite = np.where(np.isfinite(samples[:, channel]), samples[:, channel], np.float32(0.0))
                stereo[:, side] += np.float32(gain) * finite
    return stereo


def to_mono(samples: NDArray[np.float32]) -> Samples:
    """Average the channels; samples that are not finite count as 0, others are clipped to ``LIMIT``.

    Args:
        samples: Shape ``[n]`` or ``[n, channels]``.

    Returns:
        Shape ``[n]``; always a new array.
    """
    clean = _finite(samples)
    if clean.ndim == 1:
        return clean.copy() if clean is samples else clean
    mono: Samples = clean[:, 0].copy()
    for channel in range(1, clean.shape[1]):  # not ``mean``, whose order of summation depends on the shape
        mono += clean[:, channel]
    mono /= np.float32(clean.shape[1])
    return mono


def _finite(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the samples, finite and within ``LIMIT``: the array itself if they are."""
    if not samples.size or max(samples.max(), -samples.min()) <= LIMIT:  # False if one of them is not a number
        return samples
    clean = np.where(np.isfinite(samples), samples, np.float32(0.0))
    return np.clip(clean, -LIMIT, LIMIT, out=clean)


class Polarity:
    """Mixes stereo to mono, also if one channel is inverted. One instance a source, across its runs of audio.

    A balanced mono cable in a stereo input gives the same music twice, once inverted, so that the mean is silence. Once
    both channels have cancelled for half a second, half their difference replaces their mean, with one warning.
    """

    def __init__(self) -> None:
        self._inverted = False
        self._warned = False
        self.begin(SAMPLE_RATE_HZ)

    def begin(self, rate_hz: int) -> None:
        """Start a new run of audio."""
        self._cell = np.empty((2, max(1, round(_CELL_S * rate_hz))), np.float32)
        self._n = 0
        self._cancelling = 0

    def mix(self, samples: NDArray[np.float32]) -> Samples:
        """Mix the next samples.

        Args:
            samples: Shape ``[n]`` or ``[n, channels]``.

        Returns:
            Shape ``[n]``: as of ``to_mono``, except for stereo with an inverted channel.
        """
        if samples.ndim == 1 or samples.shape[1] != 2:
            return to_mono(samples)
        clean = _finite(samples)
        mono = to_mono(clean)
        cell_length = self._cell.shape[1]
        start = 0
        while start < len(mono):
            stop = min(len(mono), start + cell_length - self._n)
            part = clean[start:stop]
            if self._inverted:
                mono[start:stop] = to_mono(part * np.array([1.0, -1.0], np.float32))
            self._cell[:, self._n : self._n + stop - start] = part.T
            self._n += stop - start
            start = stop
            if self._n == cell_length:
                self._judge_cell()
        return mono

    def _judge_cell(self) -> None:
        """Judge a whole cell at once, so that the verdict does not depend on how the audio was cut."""
        left, right = self._cell
        energy = float(np.einsum("i,i", left, left) + np.einsum("i,i", right, right))
        of_mean = (energy + 2.0 * float(np.einsum("i,i", left, right))) / 4
        self._n = 0
        channels = energy / 2
        if channels < _QUIET_POWER * len(left):
            return
        level_db = 10 * math.log10(max(of_mean / channels, 1e-12))
        self._cancelling = self._cancelling + 1 if level_db < _INVERTED_DB else 0
        if level_db > _UPRIGHT_DB:
            self._inverted = False
        elif self._cancelling == _CANCELLING_CELLS and not self._inverted:
            self._inverted = True
            if not self._warned:
                _LOG.warning(
                    "left and right cancel each other, as with a balanced cable in a stereo input: inverting one of "
                    "them; better invert it at the mixer, or choose one channel"
                )
            self._warned = True


class MonoResampler:
    """Converts one run of gapless audio to mono at 16 kHz (soxr, ``QUALITY``).

    A whole run gives ``n_in * 16000 / rate_hz`` samples, rounded, give or take 1. Audio at 16 kHz passes at once and
    unchanged.

    Args:
        rate_hz: Rate of the input.
        polarity: State of the run before; None if there was none.
    """

    def __init__(self, rate_hz: int, polarity: Polarity | None = None) -> None:
        self.rate_hz = rate_hz
        self._polarity = Polarity() if polarity is None else polarity
        self._polarity.begin(rate_hz)
        self._resampler: Any = None
        if rate_hz != SAMPLE_RATE_HZ:
            self._resampler = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality=QUALITY)
        self._finished = False

    def feed(self, samples: NDArray[np.float32]) -> Samples:
        """Take the next audio; return what is ready, shape ``[n]`` (n may be 0).

        Args:
            samples: Shape ``[n]`` or ``[n, channels]`` at ``rate_hz``.

        Raises:
            RuntimeError: ``finish`` was called before.
        """
        if self._finished:
            raise RuntimeError("this resampler is finished; a new run of audio needs a new one")
        mono = self._polarity.mix(samples)
        if self._resampler is None:
            return mono
        ready: Samples = self._resampler.resample_chunk(mono)
        return ready

    def finish(self) -> Samples:
        """End the run; return the rest, shape ``[n]``. Nothing when called again."""
        rest: Samples = np.empty(0, np.float32)
        if self._resampler is not None and not self._finished:
            rest = self._resampler.resample_chunk(rest, last=True)
        self._finished = True
        return rest
