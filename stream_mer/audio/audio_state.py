"""What the newest audio is (music, speech, noise or silence), and whether an estimate counts that is made on it (pure).

An emotion is claimed only of music. Without it the estimate becomes neutral and says why in ``degraded``; the smoothing
then lets its values fall to neutral, and the category is ``unknown``.

Silence is a matter of level. The rest is read from YAMNet's scores (``audio.yamnet``): a few groups of AudioSet's
classes, weighed by a logistic regression (``tools/fit_audio_state.py``). Why so, and how right it is:
``docs/decisions/0012-music-or-not.md``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_mer.types import SAMPLE_RATE_HZ, AudioState, AudioStateName, EmotionEstimate, Window

SILENT = "silent"
"""In ``degraded``: nothing sounds, so no emotion is claimed."""

NO_MUSIC = "no_music"
"""In ``degraded``: what sounds is no music, so no emotion is claimed."""

REASONS: Mapping[AudioStateName, str] = {"silence": SILENT, "speech": NO_MUSIC, "noise": NO_MUSIC}
"""States in which no emotion is claimed, and what ``degraded`` says then."""

SILENCE = AudioState(state="silence", prob=1.0)

SILENCE_DBFS = -60.0
"""Below this root mean square nothing is to be heard."""

SILENT_AFTER_S = 1.0
"""So long must be silent: rests within music are shorter."""

_BLOCK_SAMPLES = SAMPLE_RATE_HZ // 20  # short, so that a single beat within the newest second is sound

RECENT_PATCHES = 6
"""The decision is about so many patches: 3 s."""

LEAVE_MUSIC, RETURN_TO_MUSIC = 0.4, 0.6
"""Music is given up below the first probability, and taken up again from the second on."""

_SCORE_RANGE = (-10.0, 5.0)
_SCORE_SCALE = 4.0


class SoundGroup(NamedTuple):
    """Some AudioSet classes that are read as one: the largest of their scores counts.

    Attributes:
        classes: Indices in YAMNet's scores.
        music: What it says for music.
        speech: What it says for speech.
        noise: What it says for noise.
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
"""What is read of the scores; names are AudioSet's. The numbers were fitted as
``tools/fit_audio_state.py`` does it, on the data that ``docs/decisions/0012-music-or-not.md`` names."""

OFFSETS = (-1.825, 1.139, 0.687)
"""Logits of music, speech and noise where all scores are 0."""


class AudioStateDecider:
    """Decides between music, speech and noise from the scores of the newest ``RECENT_PATCHES`` patches.

    Music is left only where the evidence is clear, and so is what is none: speech over music, a solo voice and drums
    remain music.
    """

    def __init__(self) -> None:
        self._recent: deque[NDArray[np.float64]] = deque(maxlen=RECENT_PATCHES)
        self._music = True

    def feed(self, scores: NDArray[np.float32]) -> None:
        """Take the scores of the next patches, shape ``[n, 521]`` (n may be 0)."""
        for evidence in patch_evidence(scores):
            self._recent.append(evidence)
            music = _softmax(np.mean(self._recent, axis=0))[0]
            self._music = music >= (LEAVE_MUSIC if self._music else RETURN_TO_MUSIC)

    @property
    def state(self) -> AudioState | None:
        """What the newest audio is; None before the first patch."""
        if not self._recent:
            return None
        music, speech, noise = _softmax(np.mean(self._recent, axis=0))
        if self._music:
            return AudioState(state="music", prob=music)
        return AudioState(state="speech", prob=speech) if speech >= noise else AudioState(state="noise", prob=noise)


def patch_evidence(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits of music, speech and noise for each patch, shape ``[n, 3]``, of scores ``[n, 521]``."""
    weights = np.array([[group.music, group.speech, group.noise] for group in GROUPS])
    evidence: NDArray[np.float64] = group_scores(scores) @ weights + np.array(OFFSETS)
    return evidence


def group_scores(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """The largest score of each of ``GROUPS``, limited and scaled, shape ``[n, len(GROUPS)]``."""
    greatest = np.stack([scores[:, group.classes].max(axis=1) for group in GROUPS], axis=1)
    limited: NDArray[np.float64] = greatest.astype(np.float64).clip(*_SCORE_RANGE)
    return limited / _SCORE_SCALE


def _softmax(logits: NDArray[np.float64]) -> list[float]:
    grown = np.exp(logits - logits.max())
    shares: list[float] = (grown / grown.sum()).tolist()
    return shares


def is_silent(window: Window) -> bool:
    """Whether nothing sounds in the newest second of a window, or in all of a shorter one.

    A constant offset is no sound.
    """
    newest = window.samples[-round(SILENT_AFTER_S * SAMPLE_RATE_HZ) :]
    n_blocks = len(newest) // _BLOCK_SAMPLES
    blocks = newest[-n_blocks * _BLOCK_SAMPLES :].reshape(n_blocks, -1) if n_blocks else newest.reshape(1, -1)
    if not blocks.size:
        return True
    return float(blocks.std(axis=1).max()) < 10 ** (SILENCE_DBFS / 20)


def counts(estimate: EmotionEstimate) -> bool:
    """Whether an estimate claims an emotion."""
    return not set(REASONS.values()).intersection(estimate.degraded)


def without_emotion(estimate: EmotionEstimate, state: AudioStateName) -> EmotionEstimate:
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
