"""Struck and plucked instruments: one note each, mono, from decaying partials."""

from __future__ import annotations

import numpy as np

from tools.demo_song.envelopes import decay
from tools.demo_song.filters import bell, highpass, lowpass
from tools.demo_song.oscillators import noise, partials, sine
from tools.demo_song.signal import Signal, clock, fade, frequency_hz, normal, samples_of


def piano(midi: float, held_s: float, *, strength: float, rng: np.random.Generator) -> Signal:
    """A piano note: stiff strings in pairs, fast then slow decay, felt noise.

    Args:
        midi: Pitch.
        held_s: Time until the damper falls.
        strength: 0..1; harder is brighter and louder.
        rng: Draws phases and noise.
    """
    f = frequency_hz(midi)
    n = samples_of(held_s + 0.35)
    count = int(np.clip(9000.0 / f, 4, 40))
    k = np.arange(1, count + 1)
    bright = 0.35 + 0.65 * strength
    # The hammer strikes at an eighth of the string: partials near multiples of 8 are weak.
    levels = np.abs(np.sin(np.pi * k / 8.1)) * np.exp(-k * f / (900.0 + 3800.0 * bright)) / k**0.6
    slow = 3.8 * (110.0 / f) ** 0.42 / (1.0 + 0.035 * k * (f / 220.0) ** 0.5)
    stiffness = 0.00012 * 2.0 ** ((midi - 48.0) / 11.0)
    out = np.zeros(n)
    for cents, level, speed in ((-0.6, 0.6, 1.0), (0.7, 0.6, 0.92), (0.1, 0.8, 0.22)):
        tuned = f * 2.0 ** (cents / 1200.0)
        out += partials(tuned, n, levels=list(level * levels), decays_s=list(slow * speed), stretch=stiffness, rng=rng)
    felt = lowpass(highpass(noise(n, rng), 120.0), 900.0 + 2500.0 * strength) * decay(n, 0.018)
    out = normal(out) + 0.10 * strength * felt
    out *= np.clip((clock(n) / 0.003), 0.0, 1.0)
    damper = np.clip(1.0 - (clock(n) - held_s) / 0.3, 0.0, 1.0) ** 2
    return fade(bell(out * damper, 300.0, 2.0, 2.0) * (0.35 + 0.65 * strength), 0.0, 0.02)


def guitar(midi: float, held_s: float, *, strength: float, rng: np.random.Generator) -> Signal:
    """A nylon string, plucked a quarter of the way, with the body's two resonances."""
    f = frequency_hz(midi)
    n = samples_of(held_s + 0.25)
    count = int(np.clip(6500.0 / f, 4, 36))
    k = np.arange(1, count + 1)
    levels = np.abs(np.sin(np.pi * k * 0.23)) / k**1.25 * np.exp(-k * f / (2200.0 + 2600.0 * strength))
    decays = 1.9 * (196.0 / f) ** 0.5 / (1.0 + 0.16 * k)
    tone = normal(partials(f, n, levels=list(levels), decays_s=list(decays), stretch=0.00002, rng=rng))
    finger = bell(lowpass(noise(n, rng), 3200.0), 1700.0, 6.0) * decay(n, 0.007)
    out = bell(bell(tone + 0.22 * strength * finger, 105.0, 4.0, 0.7), 215.0, 3.0, 0.7)
    release = np.clip(1.0 - (clock(n) - held_s) / 0.22, 0.0, 1.0)
    attack = np.clip(clock(n) / 0.002, 0.0, 1.0)
    return fade(out * release * attack * (0.4 + 0.6 * strength), 0.0, 0.02)


def bells(midi: float, held_s: float, *, rng: np.random.Generator) -> Signal:
    """A soft bell: two sines that bend each other (frequency modulation)."""
    f = frequency_hz(midi)
    n = samples_of(held_s + 1.2)
    bend = 1.1 * sine(3.51 * f, n, float(rng.random())) * decay(n, 0.25)
    tone = np.sin(2.0 * np.pi * f * clock(n) + bend) * decay(n, 0.7) * np.clip(clock(n) / 0.004, 0.0, 1.0)
    return fade(tone, 0.0, 0.1)


def electric_piano(midi: float, held_s: float, *, strength: float, rng: np.random.Generator) -> Signal:
    """A tine and its bark: frequency modulation at the same pitch and at the fourteenth harmonic."""
    f = frequency_hz(midi)
    n = samples_of(held_s + 0.3)
    t = clock(n)
    bark = (0.5 + 1.0 * strength) * sine(f, n, float(rng.random())) * decay(n, 0.9)
    tine = 0.18 * strength * sine(min(14.0 * f, 9000.0), n) * decay(n, 0.12)
    tone = np.sin(2.0 * np.pi * f * t + bark + tine) * decay(n, 1.4)
    release = np.clip(1.0 - (t - held_s) / 0.25, 0.0, 1.0)
    return fade(tone * release * np.clip(t / 0.004, 0.0, 1.0) * (0.4 + 0.6 * strength), 0.0, 0.02)
