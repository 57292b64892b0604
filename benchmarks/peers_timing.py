"""What is timed, and how: all ways in turn, so that whatever else the machine does meets each of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.peers_result import Way
from stream_mer.training.progress import track
from stream_mer.types import SAMPLE_RATE_HZ, Samples

HOP_S = 0.5
"""How often a live listener wants to know."""
HEARD_S = 10.0
"""What it has heard then."""
CLIP_S = 30.0
"""Length of what is timed: that of the usual clip."""


def time_in_turn(ways: Sequence[Way], runs: int) -> dict[str, list[float]]:
    """CPU seconds a second of music by ``Way.how``, one entry a run; a first run that is not counted warms up."""
    costs: dict[str, list[float]] = {way.how: [] for way in ways}
    jobs = [(run, way) for run in range(runs + 1) for way in ways]
    for run, way in track(jobs, "Timing", total=len(jobs)):
        cpu_s = way.cpu_s()
        if run > 0:
            costs[way.how].append(cpu_s)
    return costs


def timed(compute: Callable[[], object], *, repeats: int, music_s: float) -> float:
    """CPU seconds of this process for a second of music, where ``compute`` does ``music_s`` of it."""
    started = time.process_time()
    for _ in range(repeats):
        compute()
    return (time.process_time() - started) / repeats / music_s


def passes(heard_s: float) -> int:
    """How many passes make one run: as many as hear half a clip, at least one."""
    return max(1, round(CLIP_S / heard_s / 2))


def noisy_chord(duration_s: float) -> Samples:
    """Something to hear, the same each time: what listening costs depends on the length alone."""
    n = round(duration_s * SAMPLE_RATE_HZ)
    t = np.arange(n) / SAMPLE_RATE_HZ
    chord = np.sum([np.sin(2 * np.pi * f * t) for f in (110.0, 277.2, 329.6)], axis=0)
    return np.asarray(0.1 * chord + 0.05 * np.random.default_rng(0).standard_normal(n), dtype=np.float32)
