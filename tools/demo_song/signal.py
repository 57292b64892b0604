"""What every part of the demo song is made of: arrays of samples, and the few things that are done to all of them.

A mono signal is a float64 array of shape ``[n]``, a stereo signal ``[2, n]`` (left, right), both at ``RATE_HZ`` and
with a nominal range of -1..1. Everything is computed offline and whole, so filters work on the spectrum of the whole
signal: numpy has no recursive filter, and none is needed.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 48_000
"""Rate of all audio of the song: the one at which Opus works."""

Signal: TypeAlias = NDArray[np.float64]
"""Mono ``[n]`` or stereo ``[2, n]`` audio at ``RATE_HZ``, or a curve with one value a sample."""


def samples_of(duration_s: float) -> int:
    """Convert seconds to a whole number of samples."""
    return round(duration_s * RATE_HZ)


def clock(n: int) -> Signal:
    """Times of ``n`` samples, seconds, shape ``[n]``."""
    return np.arange(n, dtype=np.float64) / RATE_HZ


def gain(level_db: float) -> float:
    """Convert decibels to a factor."""
    return float(10.0 ** (level_db / 20.0))


def frequency_hz(midi: float) -> float:
    """Frequency of a (fractional) MIDI note number; 69 is 440 Hz."""
    return float(440.0 * 2.0 ** ((midi - 69.0) / 12.0))


def pan(mono: Signal, position: float) -> Signal:
    """Place a mono signal between left (-1) and right (1) at constant power; returns ``[2, n]``."""
    angle = (position + 1.0) * np.pi / 4.0
    return np.asarray(np.stack([mono * np.cos(angle), mono * np.sin(angle)]) * np.sqrt(2.0))


def stereo(signal: Signal) -> Signal:
    """Give a mono signal two equal channels; a stereo signal stays as it is."""
    return signal if signal.ndim == 2 else np.stack([signal, signal])


def add_at(bus: Signal, signal: Signal, start: int) -> None:
    """Add a mono or stereo signal to a stereo bus from sample ``start`` on; what lies outside the bus is cut off."""
    begin, end = max(0, start), min(bus.shape[-1], start + signal.shape[-1])
    if begin < end:
        bus[:, begin:end] += stereo(signal)[:, begin - start : end - start]


def fade(signal: Signal, in_s: float, out_s: float) -> Signal:
    """Fade the ends of a signal in and out with a raised cosine."""
    curve = np.ones(signal.shape[-1])
    n_in, n_out = min(len(curve), samples_of(in_s)), min(len(curve), samples_of(out_s))
    if n_in:
        curve[:n_in] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(n_in) / n_in)
    if n_out:
        curve[-n_out:] *= (0.5 - 0.5 * np.cos(np.pi * np.arange(n_out) / n_out))[::-1]
    return signal * curve


def fast_length(n: int) -> int:
    """The smallest length of at least ``n`` without prime factors above 5: FFTs of such lengths are quick."""
    best = 1 << max(0, n - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            best = min(best, three << max(0, -(-n // three) - 1).bit_length())
            three *= 3
        five *= 5
    return best


def convolve(signal: Signal, response: Signal) -> Signal:
    """Convolve along the last axis; returns ``signal`` lengthened by the response's length less one."""
    n = signal.shape[-1] + response.shape[-1] - 1
    size = fast_length(n)
    spectrum = np.fft.rfft(signal, size) * np.fft.rfft(response, size)
    return np.asarray(np.fft.irfft(spectrum, size)[..., :n])


def resample(signal: Signal, from_hz: int) -> Signal:
    """Bring mono audio from another rate to ``RATE_HZ`` through its spectrum (band limited, no delay)."""
    common = int(np.gcd(from_hz, RATE_HZ))
    up, down = RATE_HZ // common, from_hz // common
    blocks = -(-(len(signal) + from_hz // 10) // down)
    spectrum = np.fft.rfft(signal, blocks * down)
    wanted = blocks * up
    out = np.zeros(wanted // 2 + 1, dtype=np.complex128)
    kept = min(len(out), len(spectrum))
    out[:kept] = spectrum[:kept]
    n = -(-len(signal) * up // down)
    return np.asarray(np.fft.irfft(out, wanted)[:n] * (up / down))


def peak(signal: Signal) -> float:
    """Largest absolute sample."""
    return float(np.max(np.abs(signal))) if signal.size else 0.0


def normal(signal: Signal, level: float = 1.0) -> Signal:
    """Scale a signal so that its largest absolute sample is ``level``; silence stays silence."""
    top = peak(signal)
    return signal * (level / top) if top > 0 else signal
