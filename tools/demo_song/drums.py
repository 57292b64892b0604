"""Drums and cymbals: one hit each, mono, peak about 1."""

from __future__ import annotations

import numpy as np

from tools.demo_song.effects import drive
from tools.demo_song.envelopes import decay
from tools.demo_song.filters import bell, highpass, lowpass
from tools.demo_song.oscillators import noise, pulse, sine
from tools.demo_song.signal import Signal, clock, fade, normal, samples_of


def kick(
    rng: np.random.Generator, *, low_hz: float = 48.0, length_s: float = 0.32, click: float = 0.4, hard: float = 1.5
) -> Signal:
    """Bass drum: a sine that falls from ten times its pitch, and a click."""
    n = samples_of(1.6 * length_s)
    t = clock(n)
    pitch = low_hz * (1.0 + 2.2 * np.exp(-t / 0.035) + 7.0 * np.exp(-t / 0.006))
    body = sine(pitch, n, 0.0) * np.exp(-((t / length_s) ** 1.5) * 2.5)
    snap = highpass(noise(n, rng), 1800.0) * decay(n, 0.004) + 0.6 * sine(3200.0, n) * decay(n, 0.003)
    return normal(fade(drive(body, hard) + click * snap, 0.0005, 0.02))


def snare(
    rng: np.random.Generator, *, tone_hz: float = 190.0, rattle_s: float = 0.12, bright_hz: float = 7000.0
) -> Signal:
    """Snare drum: two modes of the head and a burst of filtered noise."""
    n = samples_of(4.0 * rattle_s + 0.1)
    t = clock(n)
    bend = 1.0 + 0.35 * np.exp(-t / 0.012)
    head = sine(tone_hz * bend, n) * decay(n, 0.07) + 0.6 * sine(1.72 * tone_hz * bend, n) * decay(n, 0.05)
    wires = bell(highpass(noise(n, rng), 900.0), bright_hz, 6.0, 2.0)
    rattle = wires * (0.7 * decay(n, rattle_s) + 0.9 * decay(n, 0.012))
    return normal(fade(drive(0.75 * head + 1.3 * rattle, 1.4), 0.0003, 0.03))


def clap(rng: np.random.Generator) -> Signal:
    """Several hands that do not quite meet."""
    n = samples_of(0.35)
    t = clock(n)
    meets = ((0.0, 0.006), (0.011, 0.006), (0.022, 0.07))
    hands = sum(np.where(t >= at, np.exp(-np.maximum(0.0, t - at) / fall), 0.0) for at, fall in meets)
    return normal(fade(bell(highpass(noise(n, rng), 700.0), 1600.0, 9.0, 1.6) * hands, 0.0005, 0.05))


def _metal(n: int, rng: np.random.Generator, base_hz: float) -> Signal:
    """The clang of a cymbal: six inharmonic pulses."""
    ratios = (1.0, 1.342, 1.2312, 1.6532, 1.9523, 2.1523)
    return np.asarray(sum(pulse(base_hz * r, n, start=float(rng.random())) for r in ratios) / 6.0)


def hat(rng: np.random.Generator, *, length_s: float = 0.035) -> Signal:
    """Hi-hat; closed, or open with a length of .2 s and more."""
    n = samples_of(6.0 * length_s + 0.01)
    sound = highpass(0.55 * _metal(n, rng, 419.0) + noise(n, rng), 7500.0, order=3)
    return normal(fade(sound * (decay(n, length_s) + 0.5 * decay(n, 0.006)), 0.0003, 0.01))


def crash(rng: np.random.Generator, *, length_s: float = 1.1, dark_hz: float = 16000.0) -> Signal:
    """Crash or ride cymbal: heights die first."""
    n = samples_of(3.5 * length_s)
    raw = 0.5 * _metal(n, rng, 287.0) + noise(n, rng)
    high = highpass(raw, 6500.0) * decay(n, 0.55 * length_s)
    middle = lowpass(highpass(raw, 1800.0), 6500.0) * decay(n, length_s)
    hit = 1.0 + 1.5 * decay(n, 0.02)
    return normal(fade(lowpass((high + 0.45 * middle) * hit, dark_hz), 0.001, 0.3))


def tom(rng: np.random.Generator, *, tone_hz: float) -> Signal:
    """Tom: a falling tone and a little skin."""
    n = samples_of(0.55)
    t = clock(n)
    body = sine(tone_hz * (1.0 + 0.6 * np.exp(-t / 0.03)), n) * decay(n, 0.16)
    return normal(fade(drive(body + 0.5 * highpass(noise(n, rng), 800.0) * decay(n, 0.012), 1.6), 0.0005, 0.05))


def shaker(rng: np.random.Generator, *, length_s: float = 0.05) -> Signal:
    """Seeds in an egg: noise that swells and stops."""
    n = samples_of(3.0 * length_s)
    t = clock(n)
    swell = (t / length_s) * np.exp(1.0 - t / length_s)
    return normal(fade(bell(highpass(noise(n, rng), 5000.0), 8000.0, 6.0) * swell**2, 0.001, 0.01))


def tambourine(rng: np.random.Generator) -> Signal:
    """Jingles: high partials over noise."""
    n = samples_of(0.22)
    tuned = [f * (1.0 + 0.01 * rng.standard_normal()) for f in (5200.0, 6800.0, 8300.0, 10100.0, 12400.0)]
    jingles = sum(sine(f, n, float(rng.random())) for f in tuned)
    return normal(fade((0.25 * jingles + highpass(noise(n, rng), 6000.0)) * decay(n, 0.05), 0.001, 0.02))
