"""Any audio to mono at 16 kHz, as a stream."""

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

``VHQ`` (28 bits) is beyond what a log-mel can tell and keeps audio back twice as long: measured, ``HQ`` holds back up
to 40 ms of 44.1 kHz and 37 ms of 48 kHz audio, ``VHQ`` 84 and 77 ms.
"""

LIMIT = 8.0
"""Largest magnitude let through, 18 dB over full scale: honest audio stays far below, and what raw data in the wrong
format looks like as floating point (up to 3e38) cannot overflow in the arithmetic after it."""


_CELL_S = 0.1
"""Polarity is judged in cells of this length."""

_CANCELLING_CELLS = 5
"""So many cells in a row must cancel before one channel is taken for inverted: music that is meant so does not, and
decays to nothing sooner."""

_INVERTED_DB, _UPRIGHT_DB = -26.0, -20.0
"""Level of the mean of both channels against that of one: below the first they cancel, above the second they do not.
Uncorrelated channels have -3 dB. A cable whose two halves differ by 0.8 dB has -27 dB."""

_QUIET_POWER = 1e-6
"""Below -60 dB of full scale nothing is judged."""


def to_float32(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Scale PCM of any sample type to -1..1.

    Args:
        samples: Any shape; unsigned 8 bit, signed integers of any width (full scale is the type's), or floating point
            (taken as it is).

    Returns:
        Same shape.
    """
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128.0) / np.float32(128.0)
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
    # A double beyond the range of float32 becomes infinite, and what is infinite is silenced later.
    with np.errstate(over="ignore"):
        return samples.astype(np.float32)


def to_mono(samples: NDArray[np.float32]) -> Samples:
    """Mean of the channels, with values that are not finite as 0 and the others held to ``LIMIT``.

    Args:
        samples: Shape ``[n]`` or ``[n, channels]``.

    Returns:
        Shape ``[n]``; never the array that came in.
    """
    clean = np.where(np.isfinite(samples), samples, np.float32(0.0))
    np.clip(clean, -LIMIT, LIMIT, out=clean)
    if clean.ndim == 1:
        return clean
    # Added channel by channel and not with ``mean``, whose order of summation may depend on the shape: the result must
    # be the same to the bit however the audio is cut.
    mono: Samples = clean[:, 0].copy()
    for channel in range(1, clean.shape[1]):
        mono += clean[:, channel]
    mono /= np.float32(clean.shape[1])
    return mono


class Polarity:
    """Stereo to mono, also where one channel is inverted; it goes with a source through all its runs of audio.

    A balanced mono cable in a stereo input gives the same music twice, once upside down, and the mean of both is
    silence. Where both channels cancel for half a second, their difference is taken in place of their sum, which is as
    loud as one channel, and a warning says so once. Everything else is the mean, to the bit.
    """

    def __init__(self) -> None:
        self._inverted = False
        self._told = False
        self.begin(SAMPLE_RATE_HZ)

    def begin(self, rate_hz: int) -> None:
        """A new run of audio begins."""
        self._cell = max(1, round(_CELL_S * rate_hz))
        self._n = 0
        self._cancelling = 0
        self._power = [0.0, 0.0]  # of the channels, and of their mean, summed over the cell

    def mix(self, samples: NDArray[np.float32]) -> Samples:
        """Mix the next samples.

        Args:
            samples: Shape ``[n]`` or ``[n, channels]``.

        Returns:
            Shape ``[n]``; as ``to_mono``, but for stereo with an inverted channel. The same to the bit however it is
            cut.
        """
        mono = to_mono(samples)
        if samples.ndim == 1 or samples.shape[1] != 2:
            return mono
        start = 0
        while start < len(mono):
            stop = min(len(mono), start + self._cell - self._n)
            part, mean = samples[start:stop], mono[start:stop]
            self._weigh(part, mean)
            if self._inverted:
                mono[start:stop] = to_mono(part * np.array([1.0, -1.0], np.float32))
            self._n += stop - start
            start = stop
            if self._n == self._cell:
                self._judge()
        return mono

    def _weigh(self, stereo: NDArray[np.float32], mean: Samples) -> None:
        both = np.where(np.isfinite(stereo), np.clip(stereo, -LIMIT, LIMIT), 0.0).astype(np.float64)
        for i, powers in enumerate(((both**2).sum(axis=1) / 2, mean.astype(np.float64) ** 2)):
            # One after the other, so that the sum does not depend on how the audio is cut.
            self._power[i] = float(np.cumsum(np.concatenate(([self._power[i]], powers)))[-1])

    def _judge(self) -> None:
        channels, mean = (power / self._cell for power in self._power)
        self._n, self._power = 0, [0.0, 0.0]
        if channels < _QUIET_POWER:
            return
        level_db = 10 * math.log10(max(mean / channels, 1e-12))
        self._cancelling = self._cancelling + 1 if level_db < _INVERTED_DB else 0
        if self._cancelling == _CANCELLING_CELLS and not self._inverted:
            self._inverted = True
            if not self._told:
                _LOG.warning(
                    "left and right cancel each other, as with a balanced cable in a stereo input: one of them is "
                    "turned over; better turn it over at the mixer, or hear one channel"
                )
            self._told = True
        elif level_db > _UPRIGHT_DB:
            self._inverted = False


class MonoResampler:
    """One run of gapless audio to mono at 16 kHz (soxr, ``QUALITY``).

    The result is the same to the bit however the input is cut. Over a whole run, the number of samples out is
    ``n_in * 16000 / rate_hz`` rounded, give or take 1. Audio that is at 16 kHz already passes at once and unchanged.

    Args:
        rate_hz: Rate of the input.
        polarity: What is known of the channels from the run before; None if there was none.
    """

    def __init__(self, rate_hz: int, polarity: Polarity | None = None) -> None:
        self.rate_hz = rate_hz
        self._polarity = Polarity() if polarity is None else polarity
        self._polarity.begin(rate_hz)
        self._resampler = None if rate_hz == SAMPLE_RATE_HZ else self._make()
        self._finished = False

    def _make(self) -> Any:
        return soxr.ResampleStream(self.rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality=QUALITY)

    def feed(self, samples: NDArray[np.float32]) -> Samples:
        """Take the next audio and return what is ready, which may be nothing.

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
        """The run ended: return what was held back. Nothing when called again."""
        nothing = np.empty(0, np.float32)
        if self._finished or self._resampler is None:
            self._finished = True
            return nothing
        self._finished = True
        rest: Samples = self._resampler.resample_chunk(nothing, last=True)
        return rest


_HALF_POWER = math.sqrt(0.5)

_GAINS: dict[str, tuple[float, float]] = {
    "FL": (1.0, 0.0),
    "FR": (0.0, 1.0),
    "FC": (_HALF_POWER, _HALF_POWER),
    "LFE": (0.0, 0.0),
    "LFE2": (0.0, 0.0),
    "FLC": (1.0, 0.0),
    "FRC": (0.0, 1.0),
    "BL": (_HALF_POWER, 0.0),
    "BR": (0.0, _HALF_POWER),
    "SL": (_HALF_POWER, 0.0),
    "SR": (0.0, _HALF_POWER),
    "BC": (0.5, 0.5),
    "WL": (_HALF_POWER, 0.0),
    "WR": (0.0, _HALF_POWER),
    "TC": (0.5, 0.5),
    "TFL": (_HALF_POWER, 0.0),
    "TFR": (0.0, _HALF_POWER),
    "TFC": (0.5, 0.5),
    "TBL": (0.5, 0.0),
    "TBR": (0.0, 0.5),
    "TBC": (0.35, 0.35),
    "TSL": (_HALF_POWER, 0.0),
    "TSR": (0.0, _HALF_POWER),
    "DL": (1.0, 0.0),
    "DR": (0.0, 1.0),
}
"""What a channel adds to left and right (ITU-R BS.775): the front is as loud as it is in stereo, centre and sides by
3 dB quieter, and the bass effects are left out. Names as in FFmpeg."""


def to_stereo(samples: NDArray[np.float32], channel_names: Sequence[str]) -> NDArray[np.float32]:
    """Mix surround channels to left and right.

    Args:
        samples: Shape ``[n, channels]``.
        channel_names: Of each channel, as FFmpeg calls it.

    Returns:
        Shape ``[n, 2]``; ``samples`` itself where there are fewer than three channels, or one with an unknown place,
        as in a recording of many microphones.
    """
    if samples.shape[1] < 3 or len(channel_names) != samples.shape[1] or not _GAINS.keys() >= set(channel_names):
        return samples
    stereo = np.zeros((len(samples), 2), np.float32)
    # Channel by channel, so that the result is the same to the bit however the audio is cut.
    for channel, name in enumerate(channel_names):
        for side, gain in enumerate(_GAINS[name]):
            if gain:
                # What is not finite is silence, so that one broken channel leaves the others alone.
                finite = np.where(np.isfinite(samples[:, channel]), samples[:, channel], np.float32(0.0))
                stereo[:, side] += np.float32(gain) * finite
    return stereo


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
"""Names as in ``ffmpeg -f``."""

MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 384_000
MAX_CHANNELS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PcmFormat:
    """How to read raw PCM.

    Attributes:
        rate_hz: 4000 to 384000.
        sample_format: One of ``SAMPLE_FORMATS``; ``s24le`` and ``s24be`` are packed in 3 bytes.
        channels: 1 to 64, interleaved.

    Raises:
        SettingError: One of them is not possible.
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
            Shape ``[n, channels]``, -1..1 for integers, as they are for floating point.
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


class PcmDecoder:
    """Bytes, cut anywhere, to mono at 16 kHz.

    Args:
        pcm_format: How to read them.
    """

    def __init__(self, pcm_format: PcmFormat) -> None:
        self._format = pcm_format
        self._resampler = MonoResampler(pcm_format.rate_hz)
        self._rest = b""

    def feed(self, data: bytes) -> Samples:
        """Take the next bytes and return the audio that is ready, which may be nothing."""
        data = self._rest + data
        whole = len(data) - len(data) % self._format.stride_bytes
        self._rest = data[whole:]
        return self._resampler.feed(self._format.decode(data[:whole]))

    def finish(self) -> Samples:
        """The bytes ended: return what was held back. A last sample that is not whole is dropped."""
        self._rest = b""
        return self._resampler.finish()
