"""The summary of a whole file, from its frames. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from stream_mer.audio.audio_state import has_emotion
from stream_mer.types import CATEGORIES, CLUSTERS, UNKNOWN, EmotionFrame, LyricLine, StreamEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A whole file in one value.

    Attributes:
        duration_s: End of the last frame, seconds.
        valence: Mean over the frames that claim an emotion, before smoothing, -1..1.
        arousal: Likewise.
        category: The most probable category, or ``UNKNOWN`` where no frame claims an emotion.
        probs: Probability of each category; sums to 1.
        clusters: Probability of each cluster; sums to 1.
        lyrics: The committed lines, one a line.
    """

    duration_s: float
    valence: float
    arousal: float
    category: str
    probs: Mapping[str, float]
    clusters: Mapping[str, float]
    lyrics: str


class FileSummary:
    """Collects the frames and lines of one file; implements ``ports.EventSink``.

    Valence and arousal are means over all frames that claim an emotion, before smoothing. Probabilities are normalised
    geometric means: a frame that is sure against a category counts as much as one that is sure of it.

    Args:
        words_alone: The file has lyrics and no sound. Each frame reads all lyrics so far, so the last frame stands for
            the file.
    """

    def __init__(self, *, words_alone: bool = False) -> None:
        self._words_alone = words_alone
        self.n_frames = 0
        self.duration_s = 0.0
        self._lines: dict[int, LyricLine] = {}
        self._reset()

    def publish(self, event: StreamEvent) -> None:
        """Take one event."""
        if isinstance(event, EmotionFrame):
            self._add(event)
        elif isinstance(event, LyricLine) and event.committed:
            self._lines[event.segment] = event

    @property
    def valence(self) -> float:
        """-1..1; 0 without frames."""
        return self._emotion[0] / max(1, self._n_counted)

    @property
    def arousal(self) -> float:
        """-1..1; 0 without frames."""
        return self._emotion[1] / max(1, self._n_counted)

    @property
    def categories(self) -> dict[str, float]:
        """Probability of each category."""
        return _normalised(self._category_logs, self._n_counted)

    @property
    def clusters(self) -> dict[str, float]:
        """Probability of each cluster."""
        return _normalised(self._cluster_logs, self._n_counted)

    @property
    def category(self) -> str:
        """The most probable category of the file; ``UNKNOWN`` if no frame claims an emotion."""
        if not self._n_counted:
            return UNKNOWN
        return max(CATEGORIES, key=self.categories.__getitem__)

    @property
    def lyrics(self) -> str:
        """The committed lines, one a line."""
        return "\n".join(self._lines[segment].text for segment in sorted(self._lines))

    def summary(self) -> Summary:
        """Return the summary of all events so far."""
        return Summary(
            duration_s=self.duration_s,
            valence=self.valence,
            arousal=self.arousal,
            category=self.category,
            probs=self.categories,
            clusters=self.clusters,
            lyrics=self.lyrics,
        )

    def _reset(self) -> None:
        self._n_counted = 0
        self._emotion = [0.0, 0.0]
        self._category_logs = dict.fromkeys(CATEGORIES, 0.0)
        self._cluster_logs = dict.fromkeys(CLUSTERS, 0.0)

    def _add(self, frame: EmotionFrame) -> None:
        self.n_frames += 1
        self.duration_s = frame.t1
        if not has_emotion(frame.raw):
            return
        if self._words_alone:
            self._reset()
        self._n_counted += 1
        self._emotion[0] += frame.raw.valence
        self._emotion[1] += frame.raw.arousal
        for logs, probs in ((self._category_logs, frame.raw.categories), (self._cluster_logs, frame.raw.clusters)):
            for name, probability in probs.items():
                logs[name] += math.log(max(probability, 1e-9))


def _normalised(logs: dict[str, float], n: int) -> dict[str, float]:
    means = {name: total / max(1, n) for name, total in logs.items()}
    top = max(means.values())
    weights = {name: math.exp(mean - top) for name, mean in means.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
