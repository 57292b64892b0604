"""Where sound begins: sines, band-limited saws and pulses, partials, noise.

Pitches may be numbers or curves with one value a sample, both in Hz.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.demo_song.signal import RATE_HZ, Signal


def cycles(pitch_hz: float | Signal, n: int, start: float = 0.0) -> Signal:
    """Running phase in cycles, shape ``[n]``: the integral of the pitch."""
    curve = np.broadcast_to(np.asarray(pitch_hz, dtype=np.float64), (n,))
    return start + (np.cumsum(curve) - curve) / RATE_HZ


def sine(pitch_hz: float | Signal, n: int, start: float = 0.0) -> Signal:
    """A sine wave."""
    return np.sin(2.0 * np.pi * cycles(pitch_hz, n, start))


def saw(pitch_hz: float | Signal, n: int, start: float = 0.0) -> Signal:
    """A rising saw, its step rounded over two samples (polyBLEP) so that it hardly aliases."""
    step = np.broadcast_to(np.asarray(pitch_hz, dtype=np.float64), (n,)) / RATE_HZ
    phase = cycles(pitch_hz, n, start) % 1.0
    wave = 2.0 * phase - 1.0
    after = phase < step
    x = phase[after] / step[after]
    wave[after] -= 2.0 * x - x * x - 1.0
    before = phase > 1.0 - step
    x = (phase[before] - 1.0) / step[before]
    wave[before] -= x * x + 2.0 * x + 1.0
    return wave


def pulse(pitch_hz: float | Signal, n: int, width: float = 0.5, start: float = 0.0) -> Signal:
    """A rectangle of the given duty cycle, as the difference of two saws."""
    return saw(pitch_hz, n, start) - saw(pitch_hz, n, start + width)


def ensemble(pitch_hz: float | Signal, n: int, *, voices: int, spread_cents: float, rng: np.random.Generator) -> Signal:
    """Stereo stack of detuned saws, spread between left and right; shape ``[2, n]``, about -1..1."""
    out = np.zeros((2, n))
    for position in np.linspace(-1.0, 1.0, voices):
        detune = 2.0 ** (spread_cents * (position + 0.15 * rng.standard_normal()) / 1200.0)
        wave = saw(np.asarray(pitch_hz) * detune, n, float(rng.random()))
        angle = (0.85 * position + 1.0) * np.pi / 4.0
        out += np.stack([wave * np.cos(angle), wave * np.sin(angle)])
    return np.asarray(out / np.sqrt(voices))


def partials(
    pitch_hz: float,
    n: int,
    *,
    levels: Sequence[float],
    decays_s: Sequence[float],
    stretch: float = 0.0,
    rng: np.random.Generator,
) -> Signal:
    """A struck or plucked string: decaying partials.

    Args:
        pitch_hz: Pitch of the first partial.
        n: Length.
        levels: Amplitude of each partial.
        decays_s: Time in which each falls to 1/e.
        stretch: Inharmonicity B: partial k lies at ``k f sqrt(1 + B k^2)``.
        rng: Draws the phases.
    """
    out = np.zeros(n)
    for k, (level, decay) in enumerate(zip(levels, decays_s, strict=True), start=1):
        f = k * pitch_hz * np.sqrt(1.0 + stretch * k * k)
        if f > 0.42 * RATE_HZ:
            break
        m = min(n, int(7.0 * decay * RATE_HZ))
        out[:m] += level * _decaying_sine(f, decay, m, float(rng.random()))
    return out


def _decaying_sine(f_hz: float, decay_s: float, n: int, start: float) -> Signal:
    """Powers of one complex number, as a table of a few times a table of a few: no sine for each sample."""
    width = 256
    each = (2j * np.pi * f_hz - 1.0 / decay_s) / RATE_HZ
    rows = np.exp(each * width * np.arange(-(-n // width)) + 2j * np.pi * start)
    columns = np.exp(each * np.arange(width))
    table = np.outer(rows.real, columns.imag) + np.outer(rows.imag, columns.real)
    return table.ravel()[:n]


def noise(n: int, rng: np.random.Generator) -> Signal:
    """White noise with a standard deviation of 1/3."""
    return rng.standard_normal(n) / 3.0
