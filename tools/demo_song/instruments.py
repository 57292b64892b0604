"""The instruments: struck and plucked keys, sustained synths, drums, and the distorted guitar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tools.demo_song.dsp import (
    Signal,
    adsr,
    bell,
    clock,
    decay,
    drive,
    ensemble,
    fade,
    frequency_hz,
    highpass,
    lowpass,
    noise,
    normal,
    partials,
    pulse,
    samples_of,
    saw,
    sine,
    sweep,
)

# Struck and plucked instruments: one note each, mono, from decaying partials.


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


# Sustained instruments: pads, string sections, basses, stabs and leads from detuned saws and moving filters.


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


# Drums and cymbals: one hit each, mono, peak about 1.


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


# The distorted guitar: strings that ring together into a high-gain amplifier and a loudspeaker.


@dataclass(frozen=True, slots=True, kw_only=True)
class Strum:
    """One stroke: when, for how long (seconds), and which pitches (MIDI)."""

    start_s: float
    held_s: float
    chord: tuple[float, ...]


def power(root: float) -> tuple[float, ...]:
    """The power chord on a root: fifth and octave."""
    return (root, root + 7, root + 12)


def play(strums: Sequence[Strum], n: int, *, gain: float, rng: np.random.Generator) -> Signal:
    """Play a take through the amplifier; mono, shape ``[n]``, peak 1. Every take differs a little, as hands do."""
    clean = np.zeros(n)
    for stroke in strums:
        at = samples_of(max(0.0, stroke.start_s + 0.0035 * rng.standard_normal()))
        sound = _stroke(stroke, rng)
        end = min(n, at + len(sound))
        if at < end:
            clean[at:end] += sound[: end - at]
    tight = bell(highpass(clean, 110.0), 850.0, 5.0, 2.0)
    first = drive(normal(tight), 0.35 * gain, bias=0.15)
    second = drive(highpass(first, 70.0), 3.0)
    return normal(_loudspeaker(second))


def _stroke(stroke: Strum, rng: np.random.Generator) -> Signal:
    n = samples_of(stroke.held_s + 0.05)
    out = np.zeros(n)
    for i, midi in enumerate(stroke.chord):
        f = frequency_hz(midi + 0.05 * rng.standard_normal())
        k = np.arange(1, int(np.clip(5000.0 / f, 6, 48)) + 1)
        levels = np.abs(np.sin(np.pi * k * 0.13)) / k**0.9
        decays = 2.2 / (1.0 + 0.05 * k)
        tone = partials(f, n, levels=list(levels), decays_s=list(decays), stretch=0.00005, rng=rng)
        late = samples_of(0.002 * i)
        out[late:] += tone[: n - late]
    pick = highpass(noise(n, rng), 1500.0) * decay(n, 0.004)
    stop = np.clip((stroke.held_s + 0.03 - clock(n)) / 0.02, 0.0, 1.0)
    return np.asarray((out + 0.5 * pick) * stop * np.clip(clock(n) / 0.001, 0.0, 1.0))


def _loudspeaker(signal: Signal) -> Signal:
    """A closed box with four 12-inch speakers: no deep bass, scooped middle, bite at 3 kHz, nothing above 5."""
    box = lowpass(highpass(signal, 75.0, order=3), 5000.0, order=5)
    return bell(bell(bell(box, 115.0, 5.0, 1.0), 480.0, -4.0, 1.2), 2900.0, 5.0, 1.2)
