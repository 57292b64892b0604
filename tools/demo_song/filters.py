"""Filters: gains over frequency, applied to the spectrum of the whole signal (no delay, no phase shift).

Only ``sweep`` moves in time; it works in short overlapping pieces.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tools.demo_song.signal import RATE_HZ, Signal, fast_length

_BLOCK, _HOP = 1024, 256


def shape(signal: Signal, gain_at: Callable[[Signal], Signal]) -> Signal:
    """Multiply the spectrum with ``gain_at(frequencies in Hz)``."""
    n = signal.shape[-1]
    size = fast_length(n + 2048)  # room for what the filter spreads, lest it comes back at the other end
    gains = gain_at(_frequencies(size))
    return np.asarray(np.fft.irfft(np.fft.rfft(signal, size) * gains, size)[..., :n])


def _frequencies(size: int) -> Signal:
    return np.asarray(np.fft.rfftfreq(size, 1.0 / RATE_HZ), dtype=np.float64)


def lowpass(signal: Signal, cutoff_hz: float, order: int = 2) -> Signal:
    """Keep what lies below; 6 dB an octave for each order beyond the cutoff."""
    return shape(signal, lambda f: 1.0 / np.sqrt(1.0 + (f / cutoff_hz) ** (2 * order)))


def highpass(signal: Signal, cutoff_hz: float, order: int = 2) -> Signal:
    """Keep what lies above."""
    return shape(signal, lambda f: 1.0 / np.sqrt(1.0 + (cutoff_hz / np.maximum(f, 1e-3)) ** (2 * order)))


def bell(signal: Signal, centre_hz: float, level_db: float, octaves: float = 1.0) -> Signal:
    """Raise or lower a region, ``octaves`` wide."""
    return shape(signal, lambda f: _bell(f, centre_hz, level_db, octaves))


def shelf(signal: Signal, corner_hz: float, level_db: float) -> Signal:
    """Raise or lower what lies above the corner."""
    return shape(signal, lambda f: 10.0 ** (level_db / 20.0 / (1.0 + (corner_hz / np.maximum(f, 1e-3)) ** 3)))


def _bell(f: Signal, centre_hz: float, level_db: float, octaves: float) -> Signal:
    distance = np.log2(np.maximum(f, 1.0) / centre_hz) / (0.5 * octaves)
    return np.asarray(10.0 ** (level_db / 20.0 * np.exp(-0.5 * distance**2)))


def sweep(signal: Signal, cutoff_hz: Signal, *, resonance_db: float = 3.0, order: int = 4) -> Signal:
    """A lowpass with a moving cutoff (one value a sample) and a resonance on it; mono or stereo."""
    n = signal.shape[-1]
    window = np.sqrt(np.hanning(_BLOCK + 1)[:-1])
    blocks = -(-n // _HOP) + _BLOCK // _HOP
    padded = np.zeros((*signal.shape[:-1], blocks * _HOP + _BLOCK))
    padded[..., _BLOCK - _HOP : _BLOCK - _HOP + n] = signal
    out = np.zeros_like(padded)
    f = _frequencies(_BLOCK)
    for i in range(blocks):
        at = i * _HOP
        cutoff = float(cutoff_hz[int(np.clip(at - _BLOCK // 2 + _HOP, 0, n - 1))])
        gains = _bell(f, cutoff, resonance_db, 0.7) / np.sqrt(1.0 + (f / cutoff) ** (2 * order))
        piece = padded[..., at : at + _BLOCK] * window
        out[..., at : at + _BLOCK] += np.fft.irfft(np.fft.rfft(piece) * gains) * window
    scale = _HOP / np.sum(window**2)
    return np.asarray(out[..., _BLOCK - _HOP : _BLOCK - _HOP + n] * scale)


def loudness_weighted(signal: Signal) -> Signal:
    """The K weighting of ITU-R BS.1770: its two filters, by the magnitude of their transfer functions."""

    def gains(f: Signal) -> Signal:
        z = np.exp(-2j * np.pi * f / RATE_HZ)
        head = (1.53512485958697 - 2.69169618940638 * z + 1.19839281085285 * z**2) / (
            1.0 - 1.69065929318241 * z + 0.73248077421585 * z**2
        )
        low = (1.0 - 2.0 * z + z**2) / (1.0 - 1.99004745483398 * z + 0.99007225036621 * z**2)
        return np.asarray(np.abs(head * low))

    return shape(signal, gains)
