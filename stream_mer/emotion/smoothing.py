"""Causal smoothing of estimates, with hysteresis and dwell of the category. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from stream_mer.audio.audio_state import has_emotion
from stream_mer.config import SmoothingSettings
from stream_mer.types import UNKNOWN, CategoryChange, EmotionEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothed:
    """The smoothed values of one moment.

    Attributes:
        valence: -1..1.
        arousal: -1..1.
        probs: Probability of each category; sums to 1.
        category: A category, or ``UNKNOWN``.
        confidence: Probability of that category, or of the likeliest one where it is ``UNKNOWN``; 0..1.
        change: The change of category at this moment, if any.
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

    For estimates without emotion (``audio_state.has_emotion``), all values move to neutral in a straight line, which
    they reach ``release_s`` after the last estimate with one, and the category is ``UNKNOWN`` immediately.
    """

    def __init__(self, settings: SmoothingSettings) -> None:
        self._settings = settings
        self._category = _CategoryHold(settings)
        self._last_t: float | None = None
        self._valence = 0.0
        self._arousal = 0.0
        self._probs: dict[str, float] = {}
        self._fade: _Fade | None = None

    def set_settings(self, settings: SmoothingSettings) -> None:
        """Smooth by other settings from now on; values and category go on. From any thread."""
        self._settings = settings
        self._category.settings = settings

    def feed(self, t: float, estimate: EmotionEstimate) -> Smoothed:
        """Take the estimate of time ``t`` (seconds, rising) and return the smoothed values."""
        is_music = has_emotion(estimate)
        if self._last_t is None:
            self._valence, self._arousal = estimate.valence, estimate.arousal
            self._probs = dict(estimate.categories)
        elif is_music:
            self._approach(estimate, t - self._last_t)
        else:
            self._fall(t, self._last_t)
        if is_music:
            self._fade = None
        self._last_t = t
        change = self._category.feed(t, self._probs, is_music=is_music)
        category = self._category.current
        return Smoothed(
            valence=self._valence,
            arousal=self._arousal,
            probs=dict(self._probs),
            category=category,
            confidence=max(self._probs.values()) if category == UNKNOWN else self._probs[category],
            change=change,
        )

    def _approach(self, estimate: EmotionEstimate, step_s: float) -> None:
        attack, release = _share(step_s, self._settings.attack_s), _share(step_s, self._settings.release_s)
        leaves_neutral = abs(estimate.valence) > abs(self._valence)
        self._valence += (attack if leaves_neutral else release) * (estimate.valence - self._valence)
        self._arousal += (attack if estimate.arousal > self._arousal else release) * (estimate.arousal - self._arousal)
        for name, probability in estimate.categories.items():
            self._probs[name] += release * (probability - self._probs[name])

    def _fall(self, t: float, last_t: float) -> None:
        if self._fade is None:
            self._fade = _Fade(t=last_t, valence=self._valence, arousal=self._arousal, probs=dict(self._probs))
        begun, release_s = self._fade, self._settings.release_s
        left = max(0.0, 1.0 - (t - begun.t) / release_s) if release_s > 0 else 0.0
        self._valence, self._arousal = left * begun.valence, left * begun.arousal
        neutral = 1 / len(begun.probs)
        self._probs = {name: neutral + left * (value - neutral) for name, value in begun.probs.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fade:
    """Values and time at which the fall to neutral started."""

    t: float
    valence: float
    arousal: float
    probs: Mapping[str, float]


class _CategoryHold:
    """Keeps a category until another one is clearly likelier, and for the minimum dwell.

    A change leads from one category to another; ``UNKNOWN`` in between is not a change.
    """

    def __init__(self, settings: SmoothingSettings) -> None:
        self.settings = settings
        self._since_t: float | None = None
        self._named: str | None = None  # the last category that was not UNKNOWN
        self._named_at = 0.0
        self.current = UNKNOWN

    def feed(self, t: float, probs: Mapping[str, float], *, is_music: bool) -> CategoryChange | None:
        wanted = self._wanted(probs) if is_music else UNKNOWN
        if self._since_t is not None:
            may_turn = not is_music or t - self._since_t >= self.settings.dwell_s
            if wanted == self.current or not may_turn:
                return None
        self.current, self._since_t = wanted, t
        return None if wanted == UNKNOWN else self._change(t, wanted)

    def _change(self, t: float, category: str) -> CategoryChange | None:
        before, since_t = self._named, self._named_at
        if category == before:
            return None
        self._named, self._named_at = category, t
        if before is None:
            return None
        return CategoryChange(t=t, before=before, after=category, dwell_s=t - since_t)

    def _wanted(self, probs: Mapping[str, float]) -> str:
        best = max(probs, key=lambda name: probs[name])
        if self.current == UNKNOWN:
            return best if probs[best] >= self.settings.min_confidence else UNKNOWN
        if best != self.current and probs[best] >= probs[self.current] + self.settings.margin:
            return best if probs[best] >= self.settings.min_confidence else UNKNOWN
        # Hysteresis also at the threshold: the current category is kept until a margin below it.
        return self.current if probs[self.current] >= self.settings.min_confidence - self.settings.margin else UNKNOWN


def _share(step_s: float, time_constant_s: float) -> float:
    """Return the share of the distance that an exponential with this time constant covers in one step, 0..1."""
    return 1.0 if time_constant_s <= 0 else 1.0 - math.exp(-step_s / time_constant_s)
