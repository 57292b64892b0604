"""The gates in front of the recogniser (pure): which passages of the audio may hold a voice.

A detector made for speech is of no use here: it throws singing away. ``VoiceGate`` asks one that was taught by singing;
``LevelGate`` only knows silence, and serves where that detector's weights are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream_mer.lyrics.transcript import Passage
from stream_mer.types import SAMPLE_RATE_HZ, LyricWord, Samples

Voice: TypeAlias = Callable[[Samples], NDArray[np.float32]]
"""Says how likely there is a voice at each step, evenly spread over the samples, 0..1 (``VocalDetector``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelGate:
    """Opens where the loudest sample exceeds a level, so that silence and gaps never cost a decode.

    Attributes:
        open_dbfs: Peak level above which audio is let through, decibels below full scale.
    """

    open_dbfs: float = -60.0

    def passages(self, samples: Samples) -> tuple[Passage, ...]:
        """All of it, or nothing."""
        if len(samples) == 0 or float(np.max(np.abs(samples))) <= 10.0 ** (self.open_dbfs / 20.0):
            return ()
        return (Passage(0.0, len(samples) / SAMPLE_RATE_HZ),)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceGateSettings:
    """When a passage counts as sung.

    A passage let through in vain costs a decode, and perhaps words that nobody sang; one held back loses words that
    somebody did. So the limits are low.

    Attributes:
        smooth_s: Probabilities are averaged over so long.
        open: From this mean probability on a voice begins, 0..1.
        stay: A voice that began lasts while the mean is at least this, 0..1.
        bridge_s: Two voices closer than this are one passage: singers breathe.
        least_s: Shorter voices do not count.
        margin_s: A passage begins and ends so much before and after its voice.
    """

    smooth_s: float = 0.5
    open: float = 0.5
    stay: float = 0.25
    bridge_s: float = 1.0
    least_s: float = 0.3
    margin_s: float = 0.5


class VoiceGate:
    """Opens where a detector hears a voice.

    Args:
        voice: The detector.
        settings: When a passage counts as sung.
    """

    def __init__(self, voice: Voice, settings: VoiceGateSettings | None = None) -> None:
        self._voice = voice
        self._settings = settings or VoiceGateSettings()

    def passages(self, samples: Samples) -> tuple[Passage, ...]:
        """Passages that may be sung or spoken, in order, none touching the next."""
        if not LevelGate().passages(samples):
            return ()
        voice = self._voice(samples)
        return find_passages(voice, len(voice) * SAMPLE_RATE_HZ / len(samples), self._settings)


def find_passages(voice: NDArray[np.float32], steps_per_s: float, settings: VoiceGateSettings) -> tuple[Passage, ...]:
    """Passages of a voice from its probability at each step, [n], 0..1."""
    if len(voice) == 0:
        return ()
    n = max(1, round(settings.smooth_s * steps_per_s))
    # Past both ends there is nothing to average: dividing by what there is keeps an edge as loud as it was.
    weights = np.convolve(np.ones(len(voice)), np.ones(n), "same")
    smooth = np.convolve(voice, np.ones(n), "same") / np.maximum(weights, 1.0)
    found: list[Passage] = []
    for first, last in _runs(smooth >= settings.stay):
        if smooth[first:last].max() < settings.open:
            continue
        t0, t1 = first / steps_per_s, last / steps_per_s
        if found and t0 - found[-1].t1 < settings.bridge_s:
            t0 = found.pop().t0
        found.append(Passage(t0, t1))
    end_s, margin_s = len(voice) / steps_per_s, settings.margin_s
    wide = [
        Passage(max(one.t0 - margin_s, 0.0), min(one.t1 + margin_s, end_s))
        for one in found
        if one.t1 - one.t0 >= settings.least_s
    ]
    return tuple(_joined(wide))


def is_inside(word: LyricWord, passages: Sequence[Passage]) -> bool:
    """Say whether the middle of a word lies in one of the passages."""
    middle_s = (word.t0 + word.t1) / 2
    return any(one.t0 <= middle_s <= one.t1 for one in passages)


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and one past the last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return [(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def _joined(passages: Sequence[Passage]) -> list[Passage]:
    joined: list[Passage] = []
    for one in passages:
        if joined and one.t0 <= joined[-1].t1:
            joined[-1] = Passage(joined[-1].t0, one.t1)
        else:
            joined.append(one)
    return joined
