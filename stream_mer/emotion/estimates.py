"""From the model's outputs to estimates: weighting of lyric lines, text gate, probabilities, prediction intervals.

Computed for one stream at a time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_mer.emotion.checkpoint import Calibration, CategoryLink
from stream_mer.types import CATEGORIES, CLUSTERS, AudioState, EmotionEstimate, EncodedLine, Interval, LyricState

WARMING_UP = "warming_up"
"""In ``degraded``: the stream is younger than ``WARM_AFTER_S``, so that the estimate is less certain."""

WARM_AFTER_S = 5.0

MIN_TEXT_GATE = 0.01  # with less influence text is not listed as a modality of the estimate
_LEAST_WEIGHT = 1e-9  # of all lines: below, there are none
_CATEGORY, _CLUSTER = slice(2, 2 + len(CATEGORIES)), slice(2 + len(CATEGORIES), None)

Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextContext:
    """The lyrics until the end of a window, as the joint model reads them.

    Attributes:
        lines: The lines that count.
        weights: Of each one.
        gate: Influence of the lyrics on the result, 0..1.
        age_s: Age of the newest line, seconds; None without any that counts.
    """

    lines: tuple[EncodedLine, ...] = ()
    weights: Sequence[float] = ()
    gate: float = 0.0
    age_s: float | None = None

    @classmethod
    def from_lines(cls, lyrics: LyricState, t1: float, *, half_life_s: float, half_lines: float) -> TextContext:
        """Weigh the lines of a window that ends at ``t1`` seconds.

        Args:
            lyrics: The lines.
            t1: End of the window.
            half_life_s: Age at which a line weighs half as much.
            half_lines: Reliable, new lines at which the gate is 0.5.
        """
        ages_s = [max(0.0, t1 - line.t1) for line in lyrics.lines]
        weights = [
            line.reliability * 2 ** (-age_s / half_life_s) for line, age_s in zip(lyrics.lines, ages_s, strict=True)
        ]
        total = sum(weights)
        if total < _LEAST_WEIGHT:
            return cls()
        return cls(
            lines=tuple(itertools.compress(lyrics.lines, weights)),
            weights=[weight for weight in weights if weight],
            gate=total / (total + half_lines),
            age_s=min(ages_s),
        )

    def mean(self) -> Numbers:
        """Return the weighted mean of the lines, [text_features]; there is one at least."""
        vectors = np.stack([line.vector for line in self.lines])
        mean: Numbers = np.array(self.weights) @ vectors / sum(self.weights)
        return mean.astype(np.float32)


def apply_text_gate(audio: Numbers, both: Numbers, gate: float, calibration: Calibration) -> Numbers:
    """Move each output of audio alone, [11], towards that of both modalities, by gate and text strength.

    An output of strength 0 is returned as it is.
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
    audio_state: AudioState | None = None,
) -> EmotionEstimate:
    """Make an estimate of the outputs [11] of one window.

    Args:
        outputs: Valence and arousal, the category's logits, the cluster's logits.
        words: Context of the lyrics.
        lyrics: The lyrics; their ``degraded`` becomes part of the estimate's.
        calibration: Of the model.
        heard_s: Audio since the stream started, seconds.
        words_alone: The estimate is of lyrics alone.
        clock: Time that features and model took, milliseconds.
        audio_state: What the audio is; None where there is none.
    """
    strength = 1.0 if words_alone else calibration.text_strength.greatest
    has_text = strength * words.gate >= MIN_TEXT_GATE
    numbers: list[float] = outputs.tolist()
    valence, arousal = numbers[:2]
    features_ms, model_ms = clock
    valence_error, arousal_error = calibration.half_widths(heard_s)
    categories = _softmax(numbers[_CATEGORY], calibration.category_temperature)
    if not words_alone:  # the link was fitted on audio
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
        modalities=("audio",) * (not words_alone) + ("text",) * has_text,
        text_age_s=words.age_s if has_text else None,
        degraded=(*lyrics.degraded, *(WARMING_UP,) * warming_up),
        features_ms=features_ms,
        model_ms=model_ms,
        audio_state=audio_state,
    )


def linked(categories: Sequence[float], valence: float, arousal: float, link: CategoryLink) -> list[float]:
    """Make the category agree with the point; see ``CategoryLink``.

    Args:
        categories: Probability of each of ``CATEGORIES`` by its own head.
        valence: -1..1.
        arousal: -1..1.
        link: Weight of the point.

    Returns:
        Probabilities that sum to 1.
    """
    if not link.weight:
        return list(categories)
    pleasant, lively = _positive(valence / link.valence_sd), _positive(arousal / link.arousal_sd)
    quadrants = (pleasant * lively, (1 - pleasant) * lively, (1 - pleasant) * (1 - lively), pleasant * (1 - lively))
    weighted = [p * max(q, 1e-6) ** link.weight for p, q in zip(categories, quadrants, strict=True)]
    total = sum(weighted)
    return [p / total for p in weighted]


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
