"""Frames as rows of a table (CSV), one a frame, for spreadsheets and data frames."""

from __future__ import annotations

import csv
from typing import TextIO

from stream_mer.types import CATEGORIES, CLUSTERS, EmotionFrame, LyricLine, StreamEvent

COLUMNS = (
    "stream", "index", "t0", "t1", "valence", "arousal", "raw_valence", "raw_arousal", "category", "confidence",
    *CATEGORIES, *CLUSTERS, "modalities", "text_age_s", "degraded", "audio_state", "audio_state_prob", "lyrics",
)  # fmt: skip


class CsvWriter:
    """Writes one row a frame; the words committed since the row before it stand in its last column.

    Args:
        file: Open for writing text with ``newline=""``; stays the caller's.
        stream: Name of the stream, such as the file's name.
        header: Write the column names first.
    """

    def __init__(self, file: TextIO, stream: str, *, header: bool) -> None:
        self._rows = csv.writer(file)
        self._stream = stream
        self._words: list[str] = []
        if header:
            self._rows.writerow(COLUMNS)

    def publish(self, event: StreamEvent) -> None:
        """Write one event."""
        if isinstance(event, LyricLine) and event.committed:
            self._words.append(event.text)
        elif isinstance(event, EmotionFrame):
            self._rows.writerow(self._row(event))
            self._words.clear()

    def _row(self, frame: EmotionFrame) -> list[object]:
        numbers = (frame.t0, frame.t1, frame.valence, frame.arousal, frame.raw.valence, frame.raw.arousal)
        return [
            self._stream,
            frame.index,
            *(f"{number:.4f}" for number in numbers),
            frame.category,
            f"{frame.confidence:.4f}",
            *(f"{frame.probs[name]:.4f}" for name in CATEGORIES),
            *(f"{frame.raw.clusters[name]:.4f}" for name in CLUSTERS),
            "+".join(frame.raw.modalities),
            "" if frame.raw.text_age_s is None else f"{frame.raw.text_age_s:.2f}",
            "+".join(frame.raw.degraded),
            *_audio_state(frame),
            " / ".join(self._words),
        ]


def _audio_state(frame: EmotionFrame) -> tuple[str, str]:
    state = frame.raw.audio_state
    return ("", "") if state is None else (state.state, f"{state.prob:.4f}")
