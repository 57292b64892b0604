"""What measuring one system gives, and what is said where a peer is not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stream_mer.errors import StreamMerError
from stream_mer.training.crossvalidation import Predictions

CLIP, FRAME = "whole clip", "10 s"
"""How much of each clip is heard: all of it, or its first ten seconds."""

FIGURES = {
    "quadrants_f1": "quadrants F1",
    "valence_r": "V r",
    "valence_ccc": "V CCC",
    "arousal_r": "A r",
    "arousal_ccc": "A CCC",
    "clusters_f1": "clusters F1",
}
"""The figures that are told, of ``training.scores.SCORES``, with their headings."""


class PeerMissingError(StreamMerError):
    """A peer cannot be measured here. The message says why, and what to do; the others are measured without it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """One system, as it heard the clips.

    Attributes:
        system: Its name.
        heard: ``CLIP`` or ``FRAME``.
        predictions: Out of fold, one row a clip.
        how: The ``Way.how`` of this system by which it would hear so.
        told: The names of the figures that its predictions can be judged by.
        is_base: Whether the others that heard as much are compared with this one.
    """

    system: str
    heard: str
    predictions: Predictions
    how: str
    told: frozenset[str] = frozenset(FIGURES)
    is_base: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to run a system.

    Attributes:
        how: What it is given and how often; unique.
        cpu_s: Measures once what a second of music costs, CPU seconds of one core.
        is_base: Whether the other ways are compared with this one.
    """

    how: str
    cpu_s: Callable[[], float]
    is_base: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is known of one system.

    Attributes:
        judged: Its predictions.
        ways: To be timed, all systems in turn.
        notes: What a reader must know, one sentence each.
    """

    judged: tuple[Judged, ...] = ()
    ways: tuple[Way, ...] = ()
    notes: tuple[str, ...] = ()
