"""Streaming log-mel spectrogram: every step is computed once."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from stream_mer.types import SAMPLE_RATE_HZ, Floats, Samples

FFT_LENGTH = 512  # samples: 32 ms
STEP_LENGTH = 256  # samples from one step to the next: 16 ms
MEL_BANDS = 96  # Slaney's scale and normalisation, 0..8 kHz
POWER_GAIN = 10_000.0  # log10(1 + gain * power), as MSD-MusiCNN was trained

_LINEAR_UP_TO_HZ, _HZ_A_MEL = 1_000.0, 200 / 3  # Slaney's scale is linear up to 15 mel, then logarithmic
_LOG_STEP = np.log(6.4) / 27


class LogMelStream:
    """Log-mel spectrogram of a stream: log10(1 + 10000 * mel power).

    Step ``s`` is centred on sample ``256 s`` and is ready 256 samples later. Audio before the first sample counts as
    silence. Steps do not depend on how the audio is cut, within the rounding of a float32 matrix product.
    """

    def __init__(self) -> None:
        self._pending: Samples = np.zeros(FFT_LENGTH // 2, np.float32)

    def feed(self, samples: Samples) -> Floats:
        """Take the next samples; return the steps that they complete, shape ``[n, 96]`` (n may be 0)."""
        return log_mel(self.cut(samples))

    def cut(self, samples: Samples) -> Floats:
        """Take the next samples; return the cuts of the steps that they complete, shape ``[n, 512]``.

        ``log_mel`` computes the steps, of several streams at once.
        """
        pending = np.concatenate([self._pending, samples], dtype=np.float32)
        cuts = overlapping(pending, FFT_LENGTH, STEP_LENGTH)
        self._pending = pending[len(cuts) * STEP_LENGTH :].copy()
        return cuts


def overlapping(samples: Samples, length: int, step: int) -> Floats:
    """Return a read-only view of contiguous samples as pieces, one every ``step``, shape ``[n, length]``."""
    n = max(0, (len(samples) - length) // step + 1)
    size = samples.itemsize
    pieces: Floats = np.ndarray((n, length), samples.dtype, buffer=samples, strides=(step * size, size))
    pieces.flags.writeable = False
    return pieces


def log_mel(cuts: Floats) -> Floats:
    """Return log-mel steps, shape ``[n, 96]``, of cuts, shape ``[n, 512]``."""
    window, filters = _transform()
    parts = np.fft.rfft(cuts * window).view(np.float32)  # [n, 2 * 257], real beside imaginary
    power = filters.apply(np.square(parts, out=parts))
    power += np.float32(1)
    return np.log10(power, out=power)


@functools.cache
def _transform() -> tuple[Floats, FilterBank]:
    """Return the periodic Hann window [512], and the filters of [2 * 257] values, gain included."""
    return hann_window(FFT_LENGTH), FilterBank(POWER_GAIN * slaney_filters().repeat(2, axis=0))


class FilterBank:
    """Filters over frequency, each of which reads few frequencies.

    They are applied in three products: of low, middle and high bands, with the frequencies that each third reads. So
    most of the zeros are left out.

    Args:
        filters: Shape ``[frequencies, bands]``, bands by rising frequency; no band is empty.
    """

    def __init__(self, filters: NDArray[np.floating]) -> None:
        self._parts = []
        for bands in np.array_split(filters.astype(np.float32), 3, axis=1):
            read = np.flatnonzero(bands.any(1))
            frequencies = slice(int(read[0]), int(read[-1]) + 1)
            self._parts.append((frequencies, np.ascontiguousarray(bands[frequencies])))

    def apply(self, spectra: Floats) -> Floats:
        """Return the bands of spectra, ``[n, frequencies]`` to ``[n, bands]``."""
        return np.concatenate([spectra[:, frequencies] @ bands for frequencies, bands in self._parts], axis=1)


def hann_window(length: int) -> Floats:
    """Return the periodic Hann window, shape ``[length]``."""
    window: NDArray[np.float64] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    return window.astype(np.float32)


def slaney_filters() -> NDArray[np.float64]:
    """Return triangular filters of unit area, equally spaced on Slaney's mel scale from 0 to 8 kHz, [257, 96].

    Slaney, "Auditory Toolbox" (1998); as librosa and torchaudio (``norm="slaney"``, ``mel_scale="slaney"``) have it.
    """
    edges_mel = np.linspace(0.0, _mel(SAMPLE_RATE_HZ / 2), MEL_BANDS + 2)
    linear_up_to = _LINEAR_UP_TO_HZ / _HZ_A_MEL
    logarithmic = _LINEAR_UP_TO_HZ * np.exp(_LOG_STEP * (edges_mel - linear_up_to))
    edges_hz = np.where(edges_mel < linear_up_to, edges_mel * _HZ_A_MEL, logarithmic)
    bins_hz = np.arange(FFT_LENGTH // 2 + 1)[:, None] * SAMPLE_RATE_HZ / FFT_LENGTH
    low, centre, high = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    triangles = np.minimum((bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)).clip(min=0.0)
    filters: NDArray[np.float64] = triangles * 2.0 / (high - low)
    return filters


def _mel(hz: float) -> float:
    """Return a frequency of at least 1 kHz on Slaney's scale."""
    return float(_LINEAR_UP_TO_HZ / _HZ_A_MEL + np.log(hz / _LINEAR_UP_TO_HZ) / _LOG_STEP)
