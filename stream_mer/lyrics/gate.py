"""Voice-activity gates in front of the recogniser: which passages may hold vocals. Pure.

A detector for speech discards singing. ``VoiceGate`` uses one that was trained on singing. ``LevelGate`` detects
silence alone, for use without that detector's weights. ``ShippedGate`` finds the weights.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream_mer.config import LyricsSettings
from stream_mer.errors import CheckpointError
from stream_mer.lyrics.transcript import Passage, VocalGate
from stream_mer.types import SAMPLE_RATE_HZ, LyricWord, Samples

_log = logging.getLogger(__name__)

Voice: TypeAlias = Callable[[Samples], NDArray[np.float32]]
"""Returns the probability of vocals at evenly spaced steps, shape ``[steps]``, 0..1; such as ``VocalDetector``'s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelGate:
    """Passes audio whose peak exceeds a level, so that silence and gaps cost no decode.

    Attributes:
        open_dbfs: The peak level, dBFS.
    """

    open_dbfs: float = -60.0

    def passages(self, samples: Samples) -> tuple[Passage, ...]:
        """Return the whole audio, or nothing."""
        if len(samples) == 0 or float(np.max(np.abs(samples))) <= 10.0 ** (self.open_dbfs / 20.0):
            return ()
        return (Passage(0.0, len(samples) / SAMPLE_RATE_HZ),)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceGateSettings:
    """Thresholds of vocals.

    A false passage costs a decode and perhaps hallucinated words; a missed one loses words. So the thresholds are low.

    Attributes:
        smooth_s: Probabilities are averaged over this time, seconds.
        open: Vocals start at this mean probability, 0..1.
        stay: They last while the mean is at least this, 0..1.
        bridge_s: Vocals closer than this are one passage, because singers breathe, seconds.
        least_s: Shorter vocals do not count, seconds.
        margin_s: Added before and after the vocals, seconds.
    """

    smooth_s: float = 0.5
    open: float = 0.5
    stay: float = 0.25
    bridge_s: float = 1.0
    least_s: float = 0.3
    margin_s: float = 0.5


class VoiceGate:
    """Passes what a detector takes for vocals.

    Args:
        voice: The detector.
        settings: Its thresholds.
    """

    def __init__(self, voice: Voice, settings: VoiceGateSettings | None = None) -> None:
        self._voice = voice
        self._settings = settings or VoiceGateSettings()

    def passages(self, samples: Samples) -> tuple[Passage, ...]:
        """Return passages that may be sung or spoken, in order, none touching the next."""
        if not LevelGate().passages(samples):
            return ()
        voice = self._voice(samples)
        return find_passages(voice, len(voice) * SAMPLE_RATE_HZ / len(samples), self._settings)


class ShippedGate:
    """A gate with the packaged vocal detector, loaded at the first use.

    Without the detector's weights it detects silence alone, with one warning.
    """

    def passages(self, samples: Samples) -> tuple[Passage, ...]:
        """Implement ``VocalGate``."""
        return self._gate.passages(samples)

    @cached_property
    def _gate(self) -> VocalGate:
        from stream_mer.lyrics.vocals import find_shipped, load_detector  # noqa: PLC0415 - only for recognition

        try:
            return VoiceGate(load_detector(find_shipped()).probabilities)
        except CheckpointError as error:
            _log.warning("the recogniser gets instrumental passages too: %s", error)
            return LevelGate()


def open_gate(settings: LyricsSettings) -> VocalGate:
    """Return the gate for these settings."""
    return ShippedGate() if settings.vocal_gate else LevelGate()


def find_passages(voice: NDArray[np.float32], steps_per_s: float, settings: VoiceGateSettings) -> tuple[Passage, ...]:
    """Return the passages of vocals, from their probability at each step, shape ``[n]``, 0..1."""
    if len(voice) == 0:
        return ()
    n = max(1, round(settings.smooth_s * steps_per_s))
    # Near the ends the average is over fewer steps.
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
    """Return whether the middle of a word lies in one of the passages."""
    middle_s = (word.t0 + word.t1) / 2
    return any(one.t0 <= middle_s <= one.t1 for one in passages)


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first index, and the one after the last, of each run of True."""
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
