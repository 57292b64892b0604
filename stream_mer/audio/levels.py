"""How loud an input is, and whether it clips. Pure: no I/O and no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 0.999
"""From here on a sample counts as full scale: converters and resamplers differ by a hair."""

OVERLOAD_RUN = 3
"""So many samples at full scale in a row are clipping; a single one is a peak that just fits."""

FLOOR_DBFS = -120.0
"""What digital silence is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Loudness of a passage, decibels relative to full scale, ``FLOOR_DBFS`` for silence.

    Attributes:
        peak_dbfs: Of the largest sample.
        rms_dbfs: Root mean square; a sine at full scale has -3.
    """

    peak_dbfs: float = FLOOR_DBFS
    rms_dbfs: float = FLOOR_DBFS

    @classmethod
    def of(cls, *, peak: float, rms: float) -> Level:
        """Return the level of these amplitudes, 1 at full scale."""
        return cls(peak_dbfs=dbfs(peak), rms_dbfs=dbfs(rms))


def measure(samples: NDArray[np.float32]) -> Level:
    """Return the level of samples of any shape; samples that are not finite count as silence."""
    if not samples.size:
        return Level()
    flat = samples.ravel().astype(np.float64)
    if not math.isfinite(energy := float(flat.dot(flat))):
        flat[~np.isfinite(flat)] = 0.0
        energy = float(flat.dot(flat))
    return Level.of(peak=max(float(flat.max()), -float(flat.min())), rms=math.sqrt(energy / len(flat)))


def dbfs(amplitude: float) -> float:
    """Convert an amplitude, 1 at full scale, to decibels."""
    return max(FLOOR_DBFS, 20 * math.log10(max(amplitude, 1e-12)))


class OverloadCounter:
    """Counts clipped samples per channel and however the audio is cut: ``OVERLOAD_RUN`` or more in a row."""

    def __init__(self) -> None:
        self._tail: NDArray[np.bool_] | None = None  # the last samples' verdicts, [OVERLOAD_RUN - 1, channels]

    def feed(self, samples: NDArray[np.float32]) -> int:
        """Take the next samples, shape ``[n, channels]``; return how many complete or prolong a run that clips."""
        full = np.abs(samples) >= FULL_SCALE
        if self._tail is None or self._tail.shape[1] != full.shape[1]:
            self._tail = np.zeros((OVERLOAD_RUN - 1, full.shape[1]), bool)
        verdicts = np.concatenate([self._tail, full])
        self._tail = verdicts[len(verdicts) - (OVERLOAD_RUN - 1) :]
        clipped = verdicts[: len(full)].copy()
        for shift in range(1, OVERLOAD_RUN):
            clipped &= verdicts[shift : shift + len(full)]
        return int(clipped.sum())
