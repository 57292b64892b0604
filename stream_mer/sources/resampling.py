"""Any audio to mono at 16 kHz, as a stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from stream_mer.types import SAMPLE_RATE_HZ, Samples

QUALITY = "HQ"
"""soxr's recipe: 20-bit precision, linear phase, passband to 91 % of the lower Nyquist frequency.

``VHQ`` (28 bits) is beyond what a log-mel can tell and keeps audio back twice as long: measured, ``HQ`` holds back up
to 40 ms of 44.1 kHz and 37 ms of 48 kHz audio, ``VHQ`` 84 and 77 ms.
"""

LIMIT = 8.0
"""Largest magnitude let through, 18 dB over full scale: honest audio stays far below, and what raw data in the wrong
format looks like as floating point (up to 3e38) cannot overflow in the arithmetic after it."""


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


class MonoResampler:
    """One run of gapless audio to mono at 16 kHz (soxr, ``QUALITY``).

    The result is the same to the bit however the input is cut. Over a whole run, the number of samples out is
    ``n_in * 16000 / rate_hz`` rounded, give or take 1. Audio that is at 16 kHz already passes at once and unchanged.

    Args:
        rate_hz: Rate of the input.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
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
        mono = to_mono(samples)
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
