"""What the newest audio is, and whether an estimate counts that is made on it (pure).

An emotion is claimed only of what sounds. Where nothing does, the estimate becomes neutral and says why in
``degraded``; the smoothing then lets its values fall to neutral, and the category is ``unknown``. A further state, such
as noise, needs a value in ``AudioState`` and its reason in ``REASONS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, TypeAlias

from stream_mer.types import SAMPLE_RATE_HZ, EmotionEstimate, Window

AudioState: TypeAlias = Literal["sound", "silence"]

SILENT = "silent"
"""In ``degraded``: nothing sounds, so no emotion is claimed."""

REASONS: Mapping[AudioState, str] = {"silence": SILENT}
"""States in which no emotion is claimed, and what ``degraded`` says then."""

SILENCE_DBFS = -60.0
"""Below this root mean square nothing is to be heard."""

SILENT_AFTER_S = 1.0
"""So long must be silent: rests within music are shorter."""

_BLOCK_SAMPLES = SAMPLE_RATE_HZ // 20  # short, so that a single beat within the newest second is sound


def audio_state(window: Window) -> AudioState:
    """Return what the newest second of a window is, or all of a shorter one. A constant offset is no sound."""
    newest = window.samples[-round(SILENT_AFTER_S * SAMPLE_RATE_HZ) :]
    n_blocks = len(newest) // _BLOCK_SAMPLES
    blocks = newest[-n_blocks * _BLOCK_SAMPLES :].reshape(n_blocks, -1) if n_blocks else newest.reshape(1, -1)
    if not blocks.size:
        return "silence"
    return "sound" if float(blocks.std(axis=1).max()) >= 10 ** (SILENCE_DBFS / 20) else "silence"


def counts(estimate: EmotionEstimate) -> bool:
    """Whether an estimate claims an emotion."""
    return not set(REASONS.values()).intersection(estimate.degraded)


def without_emotion(estimate: EmotionEstimate, state: AudioState) -> EmotionEstimate:
    """Return what is published in place of an estimate in a state in which no emotion is claimed.

    Valence and arousal are 0 with intervals over their whole range, all categories and clusters are equally likely, and
    words have no part in it.

    Raises:
        KeyError: In this state an emotion is claimed.
    """
    return replace(
        estimate,
        valence=0.0,
        arousal=0.0,
        interval=replace(estimate.interval, valence=(-1.0, 1.0), arousal=(-1.0, 1.0)),
        categories=dict.fromkeys(estimate.categories, 1 / len(estimate.categories)),
        clusters=dict.fromkeys(estimate.clusters, 1 / len(estimate.clusters)),
        modalities=("audio",),
        text_age_s=None,
        degraded=(*estimate.degraded, REASONS[state]),
    )
