"""From the model's outputs to estimates: words weighed by age and worth, probabilities, prediction intervals.

Numbers of one stream at a time, hence numpy: a call of it costs a fraction of one of torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_mer.emotion.checkpoint import Calibration, CategoryLink
from stream_mer.types import CATEGORIES, CLUSTERS, EmotionEstimate, Interval, LyricState

WARMING_UP = "warming_up"
"""In ``degraded``: less than ``WARM_AFTER_S`` was heard, so that the estimate is less sure than it will be."""

WARM_AFTER_S = 5.0

MIN_TEXT_GATE = 0.01  # below this influence the text is not called a modality of the estimate
_CATEGORY, _CLUSTER = slice(2, 2 + len(CATEGORIES)), slice(2 + len(CATEGORIES), None)

Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextContext:
    """What was sung until the end of a window, as the joint model reads it (``JointModel.fuse``).

    Attributes:
        mean: Weighted mean of the lines, [text_features]; None without any that counts.
        gate: How far words may move the result, 0..1.
        age_s: Age of the newest line, seconds; None without any that counts.
    """

    mean: Numbers | None = None
    gate: float = 0.0
    age_s: float | None = None

    @classmethod
    def from_lines(cls, lyrics: LyricState, t1: float, *, half_life_s: float, half_lines: float) -> TextContext:
        """Weigh the lines of a window that ends at ``t1`` seconds.

        Args:
            lyrics: The lines.
            t1: End of the window.
            half_life_s: Age at which a line weighs half as much.
            half_lines: Lines, sure and new, that move the result half as far as words may.
        """
        if not lyrics.lines:
            return cls()
        ages_s = np.array([max(0.0, t1 - line.t1) for line in lyrics.lines], np.float32)
        weights = np.array([line.reliability for line in lyrics.lines], np.float32) * np.exp2(-ages_s / half_life_s)
        counting = weights > 0
        if not counting.any():
            return cls()
        vectors = np.stack([line.vector for line, counts in zip(lyrics.lines, counting, strict=True) if counts])
        heard = float(weights.sum())
        return cls(
            mean=(weights[counting] @ vectors / max(heard, 1e-9)).astype(np.float32),
            gate=heard / (heard + half_lines),
            age_s=float(ages_s.min()),
        )


def apply_text_gate(audio: Numbers, both: Numbers, gate: float, calibration: Calibration) -> Numbers:
    """Let words move each output of audio alone, [11], as far as they have earned.

    An output whose strength is 0 is that of ``audio`` itself: nothing is computed of it.
    """
    strength = calibration.text_strength
    factors = np.empty_like(audio)
    factors[:2], factors[_CATEGORY], factors[_CLUSTER] = strength.emotion, strength.category, strength.cluster
    out = np.where(factors == 0, audio, audio + gate * factors * (both - audio))
    out[:2] = out[:2].clip(-1.0, 1.0)
    return out


def estimate(
    outputs: Numbers,
    words: TextContext,
    lyrics: LyricState,
    calibration: Calibration,
    *,
    heard_s: float,
    words_alone: bool,
    clock: tuple[float, float],
) -> EmotionEstimate:
    """Say what the outputs [11] of one window mean.

    Args:
        outputs: Valence and arousal, the category's logits, the cluster's logits.
        words: What was sung.
        lyrics: Where that comes from.
        calibration: Of the model.
        heard_s: Seconds of audio since the stream began.
        words_alone: Whether nothing but the words was judged.
        clock: Milliseconds that features and model took.
    """
    strength = 1.0 if words_alone else calibration.text_strength.greatest
    spoken = strength * words.gate >= MIN_TEXT_GATE
    numbers: list[float] = outputs.tolist()
    valence, arousal = numbers[:2]
    features_ms, model_ms = clock
    valence_error, arousal_error = calibration.half_widths(heard_s)
    categories = _softmax(numbers[_CATEGORY], calibration.category_temperature)
    if not words_alone:  # there the point is that of words, which the link was not fitted to
        categories = linked(categories, valence, arousal, calibration.category_link)
    warming_up = not words_alone and heard_s < WARM_AFTER_S
    return EmotionEstimate(
        valence=valence,
        arousal=arousal,
        interval=Interval(
            valence=_around(valence, valence_error),
            arousal=_around(arousal, arousal_error),
            level=calibration.level,
        ),
        categories=dict(zip(CATEGORIES, categories, strict=True)),
        clusters=dict(zip(CLUSTERS, _softmax(numbers[_CLUSTER], calibration.cluster_temperature), strict=True)),
        modalities=("audio",) * (not words_alone) + ("text",) * spoken,
        text_age_s=words.age_s if spoken else None,
        degraded=(*lyrics.degraded, *(WARMING_UP,) * warming_up),
        features_ms=features_ms,
        model_ms=model_ms,
    )


def linked(categories: Sequence[float], valence: float, arousal: float, link: CategoryLink) -> list[float]:
    """Hold category and point together; see ``CategoryLink``.

    Args:
        categories: Probability of each of ``CATEGORIES`` by its own head.
        valence: -1..1.
        arousal: -1..1.
        link: How much the point counts.

    Returns:
        Probabilities that sum to 1.
    """
    if not link.weight:
        return list(categories)
    pleasant, lively = _positive(valence / link.valence_sd), _positive(arousal / link.arousal_sd)
    quadrants = (pleasant * lively, (1 - pleasant) * lively, (1 - pleasant) * (1 - lively), pleasant * (1 - lively))
    weighed = [p * max(q, 1e-6) ** link.weight for p, q in zip(categories, quadrants, strict=True)]
    total = sum(weighed)
    return [p / total for p in weighed]


def _positive(z: float) -> float:
    """Probability that a normal variable of mean ``z`` and deviation 1 is above 0."""
    return 0.5 * (1.0 + math.erf(z / math.sqrt(2.0)))


def _softmax(logits: list[float], temperature: float) -> list[float]:
    greatest = max(logits)
    grown = [math.exp((logit - greatest) / temperature) for logit in logits]
    total = sum(grown)
    return [share / total for share in grown]


def _around(value: float, error: float) -> tuple[float, float]:
    return max(-1.0, value - error), min(1.0, value + error)
