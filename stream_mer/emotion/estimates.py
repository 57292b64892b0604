"""From the model's outputs to estimates: words weighed by age and worth, probabilities, prediction intervals.

Numbers of one stream at a time, hence numpy: a call of it costs a fraction of one of torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_mer.emotion.checkpoint import Calibration
from stream_mer.types import CATEGORIES, CLUSTERS, EmotionEstimate, Interval, LyricState

MIN_TEXT_GATE = 0.01  # below this influence the text is not called a modality of the estimate
_CATEGORY, _CLUSTER = slice(2, 2 + len(CATEGORIES)), slice(2 + len(CATEGORIES), None)

Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
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
    def sung(cls, lyrics: LyricState, t1: float, *, half_life_s: float, half_lines: float) -> Words:
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


def moved(audio: Numbers, both: Numbers, gate: float, calibration: Calibration) -> Numbers:
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
    words: Words,
    lyrics: LyricState,
    calibration: Calibration,
    *,
    words_alone: bool,
    clock: tuple[float, float],
) -> EmotionEstimate:
    """Say what the outputs [11] of one window mean.

    Args:
        outputs: Valence and arousal, the category's logits, the cluster's logits.
        words: What was sung.
        lyrics: Where that comes from.
        calibration: Of the model.
        words_alone: Whether nothing but the words was judged.
        clock: Milliseconds that features and model took.
    """
    strength = 1.0 if words_alone else calibration.text_strength.greatest
    spoken = strength * words.gate >= MIN_TEXT_GATE
    numbers: list[float] = outputs.tolist()
    valence, arousal = numbers[:2]
    features_ms, model_ms = clock
    return EmotionEstimate(
        valence=valence,
        arousal=arousal,
        interval=Interval(
            valence=_around(valence, calibration.valence_error),
            arousal=_around(arousal, calibration.arousal_error),
            level=calibration.level,
        ),
        categories=dict(zip(CATEGORIES, _softmax(numbers[_CATEGORY], calibration.category_temperature), strict=True)),
        clusters=dict(zip(CLUSTERS, _softmax(numbers[_CLUSTER], calibration.cluster_temperature), strict=True)),
        modalities=("audio",) * (not words_alone) + ("text",) * spoken,
        text_age_s=words.age_s if spoken else None,
        degraded=lyrics.degraded,
        features_ms=features_ms,
        model_ms=model_ms,
    )


def _softmax(logits: list[float], temperature: float) -> list[float]:
    greatest = max(logits)
    grown = [math.exp((logit - greatest) / temperature) for logit in logits]
    total = sum(grown)
    return [share / total for share in grown]


def _around(value: float, error: float) -> tuple[float, float]:
    return max(-1.0, value - error), min(1.0, value + error)
