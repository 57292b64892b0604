"""From nervous estimates to steady values (pure): causal smoothing, and hysteresis and dwell of the category."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from stream_mer.config import SmoothingSettings
from stream_mer.types import UNKNOWN, CategoryChange, EmotionEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothed:
    """The steady values of one moment.

    Attributes:
        valence: -1..1.
        arousal: -1..1.
        probs: Probability of each category; sums to 1.
        category: A category, or ``UNKNOWN``.
        confidence: Probability of that category, or of the likeliest one where it is ``UNKNOWN``; 0..1.
        change: Set where the category changed at this moment.
    """

    valence: float
    arousal: float
    probs: Mapping[str, float]
    category: str
    confidence: float
    change: CategoryChange | None = None


class Smoother:
    """Exponential smoothing with one time constant for growing and one for falling back.

    Arousal grows when it rises; valence grows when it moves away from neutral; the probabilities use the slower one.
    """

    def __init__(self, settings: SmoothingSettings) -> None:
        self._settings = settings
        self._category = _CategoryHold(settings)
        self._last_t: float | None = None
        self._valence = 0.0
        self._arousal = 0.0
        self._probs: dict[str, float] = {}

    def feed(self, t: float, estimate: EmotionEstimate) -> Smoothed:
        """Take the estimate of time ``t`` (seconds, rising) and return the steady values."""
        if self._last_t is None:
            self._valence, self._arousal = estimate.valence, estimate.arousal
            self._probs = dict(estimate.categories)
        else:
            step_s = t - self._last_t
            attack, release = _share(step_s, self._settings.attack_s), _share(step_s, self._settings.release_s)
            leaves_neutral = abs(estimate.valence) > abs(self._valence)
            self._valence += (attack if leaves_neutral else release) * (estimate.valence - self._valence)
            self._arousal += (attack if estimate.arousal > self._arousal else release) * (
                estimate.arousal - self._arousal
            )
            for name, probability in estimate.categories.items():
                self._probs[name] += release * (probability - self._probs[name])
        self._last_t = t
        change = self._category.feed(t, self._probs)
        category = self._category.current
        return Smoothed(
            valence=self._valence,
            arousal=self._arousal,
            probs=dict(self._probs),
            category=category,
            confidence=max(self._probs.values()) if category == UNKNOWN else self._probs[category],
            change=change,
        )


class _CategoryHold:
    """Keeps a category until another one is clearly likelier, and for the minimum dwell."""

    def __init__(self, settings: SmoothingSettings) -> None:
        self._settings = settings
        self._since_t: float | None = None
        self.current = UNKNOWN

    def feed(self, t: float, probs: Mapping[str, float]) -> CategoryChange | None:
        wanted = self._wanted(probs)
        if self._since_t is None:
            self.current, self._since_t = wanted, t
            return None
        dwell_s = t - self._since_t
        if wanted == self.current or dwell_s < self._settings.dwell_s:
            return None
        change = CategoryChange(t=t, before=self.current, after=wanted, dwell_s=dwell_s)
        self.current, self._since_t = wanted, t
        return change

    def _wanted(self, probs: Mapping[str, float]) -> str:
        best = max(probs, key=lambda name: probs[name])
        if self.current == UNKNOWN:
            return best if probs[best] >= self._settings.min_confidence else UNKNOWN
        if best != self.current and probs[best] >= probs[self.current] + self._settings.margin:
            return best if probs[best] >= self._settings.min_confidence else UNKNOWN
        # Hysteresis also at the threshold: what is shown is given up only a margin below it.
        return self.current if probs[self.current] >= self._settings.min_confidence - self._settings.margin else UNKNOWN


def _share(step_s: float, time_constant_s: float) -> float:
    """How far an exponential with this time constant moves in one step, 0..1."""
    return 1.0 if time_constant_s <= 0 else 1.0 - math.exp(-step_s / time_constant_s)
