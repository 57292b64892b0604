"""The distorted guitar: strings that ring together into a high-gain amplifier and a loudspeaker.

All strings of a take go through one clipping stage, as in a real amplifier: that is where the growl of power chords
comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tools.demo_song.effects import drive
from tools.demo_song.envelopes import decay
from tools.demo_song.filters import bell, highpass, lowpass
from tools.demo_song.oscillators import noise, partials
from tools.demo_song.signal import Signal, clock, frequency_hz, normal, samples_of


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
