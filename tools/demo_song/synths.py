"""Sustained instruments: pads, string sections, basses, stabs and leads from detuned saws and moving filters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.demo_song.effects import drive
from tools.demo_song.envelopes import adsr
from tools.demo_song.filters import bell, highpass, lowpass, sweep
from tools.demo_song.oscillators import ensemble, pulse, saw, sine
from tools.demo_song.signal import Signal, clock, frequency_hz


def pad(
    chord: Sequence[float], held_s: float, *, bright_hz: float, attack_s: float = 0.6, rng: np.random.Generator
) -> Signal:
    """A warm chord that swells, stereo: detuned saws behind a slowly breathing filter."""
    envelope = adsr(held_s, attack_s=attack_s, decay_s=1.0, sustain=0.9, release_s=1.1)
    n = len(envelope)
    stack = sum(ensemble(frequency_hz(m), n, voices=5, spread_cents=11.0, rng=rng) for m in chord)
    soft = sum(sine(frequency_hz(m), n, float(rng.random())) for m in chord)
    t = clock(n)
    cutoff = bright_hz * (0.7 + 0.3 * np.sin(np.pi * np.clip(t / max(held_s, 0.1), 0.0, 1.0)))
    mixed = sweep(np.asarray(stack), cutoff, resonance_db=1.0, order=3) + 0.5 * soft
    return np.asarray(mixed * envelope / len(chord))


def strings(
    midi: float,
    held_s: float,
    *,
    bright_hz: float,
    attack_s: float = 0.35,
    release_s: float = 0.6,
    rng: np.random.Generator,
) -> Signal:
    """One note of a string section, stereo: players with their own vibrato, and the wood's resonances."""
    envelope = adsr(held_s, attack_s=attack_s, decay_s=1.5, sustain=0.85, release_s=release_s)
    n = len(envelope)
    t = clock(n)
    out = np.zeros((2, n))
    players = 6
    for position in np.linspace(-0.8, 0.8, players):
        speed = 5.2 + 0.7 * rng.standard_normal()
        vibrato = 0.0045 * np.clip(t / 0.7, 0.0, 1.0) * np.sin(2.0 * np.pi * (speed * t + rng.random()))
        detune = 2.0 ** (7.0 * rng.standard_normal() / 1200.0)
        wave = saw(frequency_hz(midi) * detune * (1.0 + vibrato), n, float(rng.random()))
        angle = (position + 1.0) * np.pi / 4.0
        out += np.stack([wave * np.cos(angle), wave * np.sin(angle)])
    wood = bell(bell(bell(out / players, 290.0, 3.0, 0.6), 500.0, 3.0, 0.6), 1300.0, -3.0, 1.0)
    dark = lowpass(highpass(wood, 110.0), bright_hz)
    return np.asarray(dark * envelope)


def bass(midi: float, held_s: float, *, bright_hz: float, hard: float = 1.5, rng: np.random.Generator) -> Signal:
    """A synth bass, mono: saw and pulse under a closing filter, a sine beneath."""
    envelope = adsr(held_s, attack_s=0.004, decay_s=0.25, sustain=0.75, release_s=0.05)
    n = len(envelope)
    f = frequency_hz(midi)
    rough = 0.6 * saw(f, n, float(rng.random())) + 0.4 * pulse(1.003 * f, n, 0.4)
    cutoff = 180.0 + bright_hz * np.exp(-clock(n) / 0.12)
    mixed = (0.55 * sweep(rough, cutoff, resonance_db=4.0) + 0.6 * sine(f, n)) * envelope
    return np.asarray(drive(mixed, hard) / hard**0.5)


def round_bass(midi: float, held_s: float) -> Signal:
    """A soft bass, mono: a sine with a few overtones."""
    envelope = adsr(held_s, attack_s=0.015, decay_s=0.9, sustain=0.55, release_s=0.12)
    n = len(envelope)
    f = frequency_hz(midi)
    return np.asarray((sine(f, n) + 0.3 * sine(2 * f, n) + 0.1 * sine(3 * f, n)) * envelope * 0.75)


def stab(chord: Sequence[float], held_s: float, *, bright_hz: float, rng: np.random.Generator) -> Signal:
    """A short bright chord, stereo: a wide stack of saws with a snapping filter."""
    envelope = adsr(held_s, attack_s=0.003, decay_s=0.22, sustain=0.6, release_s=0.12)
    n = len(envelope)
    stack = sum(ensemble(frequency_hz(m), n, voices=7, spread_cents=16.0, rng=rng) for m in chord)
    cutoff = 700.0 + bright_hz * np.exp(-clock(n) / 0.16)
    return np.asarray(sweep(np.asarray(stack), cutoff, resonance_db=2.0, order=3) * envelope / len(chord) ** 0.7)


def lead(midi: float, held_s: float, *, bright_hz: float, rng: np.random.Generator) -> Signal:
    """A singing lead, stereo: detuned saws with late vibrato."""
    envelope = adsr(held_s, attack_s=0.008, decay_s=0.3, sustain=0.8, release_s=0.1)
    n = len(envelope)
    t = clock(n)
    vibrato = 1.0 + 0.005 * np.clip((t - 0.18) / 0.2, 0.0, 1.0) * np.sin(2.0 * np.pi * 5.6 * t)
    wave = ensemble(frequency_hz(midi) * vibrato, n, voices=5, spread_cents=9.0, rng=rng)
    return np.asarray(highpass(lowpass(wave, bright_hz), 200.0) * envelope)
