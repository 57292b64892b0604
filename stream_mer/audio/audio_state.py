"""Classify the newest audio as music, speech, noise or silence, and neutralise estimates without music. Pure.

Emotion is estimated only of music. Without it the estimate becomes neutral and says why in ``degraded``; the smoothing
then lets its values decay to neutral, and the category is ``unknown``.

Silence is a matter of level. The rest follows from YAMNet's scores (``audio.yamnet``): groups of AudioSet classes,
weighted by a logistic regression (``tools/fit_audio_state.py``). For reasons and accuracy see
``docs/decisions/0012-music-or-not.md``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_mer.types import SAMPLE_RATE_HZ, AudioState, AudioStateName, EmotionEstimate, Floats, Window

SILENT = "silent"
"""In ``degraded``: the audio is silent, so there is no emotion."""

NO_MUSIC = "no_music"
"""In ``degraded``: the audio is not music, so there is no emotion."""

REASONS: Mapping[AudioStateName, str] = {"silence": SILENT, "speech": NO_MUSIC, "noise": NO_MUSIC}
"""States without emotion, and their code in ``degraded``."""

_WITHOUT_EMOTION = frozenset(REASONS.values())

SILENCE = AudioState(state="silence", prob=1.0)

SILENCE_DBFS = -60.0
"""Audio below this root mean square is silent."""

SILENT_AFTER_S = 1.0
"""Silence must last this long, seconds: rests within music are shorter."""

_BLOCK_SAMPLES = SAMPLE_RATE_HZ // 20  # short, so that a single beat within the newest second is sound

RECENT_PATCHES = 3
"""Patches that a decision is based on: 3 s."""

LEAVE_MUSIC, RETURN_TO_MUSIC = 0.4, 0.6
"""Music ends below the first probability, and starts again from the second on (hysteresis)."""

_SCORE_RANGE = (-10.0, 5.0)
_SCORE_SCALE = 4.0


class SoundGroup(NamedTuple):
    """AudioSet classes whose largest score is one feature.

    Attributes:
        classes: Indices in YAMNet's scores.
        music: Weight for music.
        speech: Weight for speech.
        noise: Weight for noise.
    """

    classes: tuple[int, ...]
    music: float
    speech: float
    noise: float


GROUPS: tuple[SoundGroup, ...] = (
    # "Music"
    SoundGroup((132,), music=2.509, speech=-1.088, noise=-1.422),
    # "Musical instrument" .. "Scratching (performance technique)"
    SoundGroup(tuple(range(133, 211)), music=-0.856, speech=0.95, noise=-0.095),
    # "Pop music" .. "Scary music"
    SoundGroup(tuple(range(211, 277)), music=-0.41, speech=-0.737, noise=1.148),
    # "Singing" .. "Humming"
    SoundGroup(tuple(range(24, 33)), music=-0.444, speech=1.034, noise=-0.59),
    # "Speech" .. "Speech synthesizer"
    SoundGroup(tuple(range(6)), music=-0.458, speech=0.917, noise=-0.459),
    # "Shout" .. "Sigh", "Groan" .. "Sniff"
    SoundGroup((*range(6, 24), *range(33, 46)), music=0.033, speech=0.242, noise=-0.275),
    # "Hands", "Clapping", "Cheering" .. "Children playing", "Noise" .. "Vibration"
    SoundGroup((56, 57, 58, *range(61, 67), *range(507, 518)), music=-0.346, speech=-0.87, noise=1.216),
    # the rest: bodies, animals, nature, machines, things
    SoundGroup(
        (*range(46, 56), *range(67, 132), *range(277, 494), *range(495, 507)), music=-0.884, speech=0.556, noise=0.328
    ),
)
"""Features of the scores; names are AudioSet's. ``tools/fit_audio_state.py`` fitted the weights, on the data of
``docs/decisions/0012-music-or-not.md``."""

OFFSETS = (-1.825, 1.139, 0.687)
"""Logits of music, speech and noise if all scores are 0."""


_CLASSES = np.concatenate([group.classes for group in GROUPS])  # those of one group after those of another
_STARTS = np.cumsum([0, *(len(group.classes) for group in GROUPS[:-1])])
_WEIGHTS = np.array([[group.music, group.speech, group.noise] for group in GROUPS])
_OFFSETS = np.array(OFFSETS)


class AudioStateDecider:
    """Decides between music, speech and noise from the scores of the newest ``RECENT_PATCHES`` patches.

    Hysteresis keeps speech over music, a solo voice and drums as music.
    """

    def __init__(self) -> None:
        self._recent: deque[list[float]] = deque(maxlen=RECENT_PATCHES)
        self._probs: list[float] = []
        self._music = True

    def feed(self, scores: Floats) -> None:
        """Take the scores of the next patches, shape ``[n, 521]`` (n may be 0)."""
        for evidence in patch_evidence(scores).tolist():
            self._recent.append(evidence)
            self._probs = _softmax([sum(of_one) / len(self._recent) for of_one in zip(*self._recent, strict=True)])
            self._music = self._probs[0] >= (LEAVE_MUSIC if self._music else RETURN_TO_MUSIC)

    @property
    def state(self) -> AudioState | None:
        """State of the newest audio; None before the first patch."""
        if not self._recent:
            return None
        music, speech, noise = self._probs
        if self._music:
            return AudioState(state="music", prob=music)
        return AudioState(state="speech", prob=speech) if speech >= noise else AudioState(state="noise", prob=noise)


def patch_evidence(scores: Floats) -> NDArray[np.float64]:
    """Return logits of music, speech and noise, shape ``[n, 3]``, of scores, shape ``[n, 521]``."""
    evidence: NDArray[np.float64] = group_scores(scores) @ _WEIGHTS + _OFFSETS
    return evidence


def group_scores(scores: Floats) -> NDArray[np.float64]:
    """Return the largest score of each of ``GROUPS``, clipped and scaled, shape ``[n, len(GROUPS)]``."""
    greatest = np.maximum.reduceat(scores[:, _CLASSES], _STARTS, axis=1)
    limited: NDArray[np.float64] = greatest.astype(np.float64).clip(*_SCORE_RANGE)
    return limited / _SCORE_SCALE


def _softmax(logits: Sequence[float]) -> list[float]:
    greatest = max(logits)
    grown = [math.exp(logit - greatest) for logit in logits]
    total = sum(grown)
    return [share / total for share in grown]


def is_silent(window: Window) -> bool:
    """Return whether the newest second of a window, or all of a shorter one, is silent but for a constant offset."""
    newest = window.samples[-round(SILENT_AFTER_S * SAMPLE_RATE_HZ) :]
    n_blocks = len(newest) // _BLOCK_SAMPLES
    blocks = newest[-n_blocks * _BLOCK_SAMPLES :].reshape(n_blocks, -1) if n_blocks else newest.reshape(1, -1)
    if not blocks.size:
        return True
    limit = 10 ** (SILENCE_DBFS / 20)
    if float(blocks[-1].std()) >= limit:  # the usual case
        return False
    return float(blocks.std(axis=1).max()) < limit


def has_emotion(estimate: EmotionEstimate) -> bool:
    """Return whether an estimate holds an emotion."""
    return _WITHOUT_EMOTION.isdisjoint(estimate.degraded)


def without_emotion(estimate: EmotionEstimate, state: AudioStateName) -> EmotionEstimate:
    """Return the neutral estimate that replaces ``estimate`` in a state without emotion.

    Valence and arousal are 0 with intervals over their whole range, all categories and clusters have equal
    probabilities, and lyrics have no influence.

    Raises:
        KeyError: The state is one with emotion.
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
