"""Peak, root mean square and clipping of audio. Pure; numpy alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 0.999
"""A sample counts as full scale from here on: converters and resamplers are not exact."""

OVERLOAD_RUN = 3
"""This many samples at full scale in a row are clipped; a single one is a peak that just fits."""

AIM_DBFS = (-6.0, -1.0)
"""Where loud passages should peak. Too loud, in the meter and on the page, is what clips (``OverloadCounter``)."""

FLOOR_DBFS = -120.0
"""The level of digital silence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Level of a passage, dBFS; ``FLOOR_DBFS`` for silence.

    Attributes:
        peak_dbfs: Level of the largest sample.
        rms_dbfs: Root mean square; a sine at full scale has -3 dBFS.
    """

    peak_dbfs: float = FLOOR_DBFS
    rms_dbfs: float = FLOOR_DBFS

    @classmethod
    def of(cls, *, peak: float, rms: float) -> Level:
        """Make a level of amplitudes, 1 at full scale."""
        return cls(peak_dbfs=dbfs(peak), rms_dbfs=dbfs(rms))


def measure(samples: NDArray[np.float32]) -> Level:
    """Measure samples of any shape; those that are not finite count as silence."""
    if not samples.size:
        return Level()
    flat = samples.ravel().astype(np.float64)
    if not math.isfinite(energy := float(flat.dot(flat))):
        flat[~np.isfinite(flat)] = 0.0
        energy = float(flat.dot(flat))
    return Level.of(peak=max(float(flat.max()), -float(flat.min())), rms=math.sqrt(energy / len(flat)))


def measure_each(passages: NDArray[np.float32]) -> list[Level]:
    """Measure passages, shape ``[n, length]``, like ``measure``."""
    if len(passages) == 1:
        return [measure(passages[0])]
    samples = passages.astype(np.float64)
    energies = np.einsum("ij,ij->i", samples, samples)
    if not np.isfinite(energies).all():
        samples[~np.isfinite(samples)] = 0.0
        energies = np.einsum("ij,ij->i", samples, samples)
    peaks = np.maximum(samples.max(axis=1), -samples.min(axis=1))
    amplitudes = zip(peaks.tolist(), np.sqrt(energies / samples.shape[1]).tolist(), strict=True)
    return [Level.of(peak=peak, rms=rms) for peak, rms in amplitudes]


def dbfs(amplitude: float) -> float:
    """Convert an amplitude, 1 at full scale, to dBFS."""
    return max(FLOOR_DBFS, 20 * math.log10(max(amplitude, 1e-12)))


class OverloadCounter:
    """Counts clipped samples: ``OVERLOAD_RUN`` or more at full scale in a row in a channel, however they are cut."""

    def __init__(self) -> None:
        self._tail: NDArray[np.bool_] | None = None  # of the last samples, [OVERLOAD_RUN - 1, channels]

    def feed(self, samples: NDArray[np.float32]) -> int:
        """Take the next samples, shape ``[n, channels]``; return how many of them complete or prolong a clipped run."""
        full = np.abs(samples) >= FULL_SCALE
        if self._tail is None or self._tail.shape[1] != full.shape[1]:
            self._tail = np.zeros((OVERLOAD_RUN - 1, full.shape[1]), bool)
        verdicts = np.concatenate([self._tail, full])
        self._tail = verdicts[len(verdicts) - (OVERLOAD_RUN - 1) :]
        clipped = verdicts[: len(full)].copy()
        for shift in range(1, OVERLOAD_RUN):
            clipped &= verdicts[shift : shift + len(full)]
        return int(clipped.sum())
