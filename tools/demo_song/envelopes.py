"""How loudness and colour move: curves with one value a sample."""

from __future__ import annotations

import numpy as np

from tools.demo_song.signal import RATE_HZ, Signal, clock, convolve, samples_of


def adsr(
    held_s: float, *, attack_s: float, decay_s: float = 0.1, sustain: float = 1.0, release_s: float = 0.1
) -> Signal:
    """The usual four stages; lasts ``held_s + release_s``. Attack is a raised cosine, the rest exponential."""
    n_held, n_release = samples_of(held_s), samples_of(release_s)
    t = clock(n_held)
    rise = 0.5 - 0.5 * np.cos(np.pi * np.clip(t / attack_s, 0.0, 1.0))
    body = sustain + (1.0 - sustain) * np.exp(-np.maximum(0.0, t - attack_s) / decay_s)
    held = rise * body
    last = held[-1] if n_held else 0.0
    tail = last * np.exp(-5.0 * np.arange(n_release) / max(1, n_release)) * np.linspace(1.0, 0.0, n_release)
    return np.concatenate([held, tail])


def decay(n: int, time_s: float) -> Signal:
    """Exponential fall to 1/e in ``time_s``."""
    return np.exp(-clock(n) / time_s)


def follow(signal: Signal, *, attack_s: float, release_s: float) -> Signal:
    """Loudness of a signal over time: its RMS, smoothed; channels are taken together.

    Looks ahead by ``attack_s``, so that what it steers is in place when the sound comes.
    """
    power = np.mean(np.atleast_2d(signal) ** 2, axis=0)
    n_release, n_attack = samples_of(release_s), max(1, samples_of(attack_s))
    kernel = np.concatenate([np.linspace(0.0, 1.0, n_attack, endpoint=False), decay(5 * n_release, release_s)])
    smooth = convolve(power, kernel / np.sum(kernel))[n_attack : n_attack + len(power)]
    return np.sqrt(np.maximum(0.0, smooth))


def pump(n: int, beats_at: list[int], *, depth: float, time_s: float) -> Signal:
    """Factor that dips to ``1 - depth`` on each beat and comes back within ``time_s``: the breathing of dance music."""
    curve = np.ones(n)
    length = round(2.0 * time_s * RATE_HZ)
    dip = 1.0 - depth * np.exp(-((clock(length) / (0.55 * time_s)) ** 2))
    for at in beats_at:
        end = min(n, at + length)
        if 0 <= at < end:
            curve[at:end] = np.minimum(curve[at:end], dip[: end - at])
    return curve
