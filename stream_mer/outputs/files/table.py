"""Frames as rows of a table (CSV), one a frame, for spreadsheets and data frames."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import TextIO

from stream_mer.types import CATEGORIES, CLUSTERS, EmotionFrame, LyricLine, StreamEvent

COLUMNS = (
    "stream", "index", "t0", "t1", "valence", "arousal", "raw_valence", "raw_arousal", "category", "confidence",
    *CATEGORIES, *CLUSTERS, "modalities", "text_age_s", "degraded", "audio_state", "audio_state_prob", "lyrics",
)  # fmt: skip


_DECIMALS = {"text_age_s": 2}
"""Decimals of a number in a CSV file; 4 where not named."""


def row_of(frame: EmotionFrame, stream: str, words: Sequence[str] = ()) -> dict[str, object]:
    """Return a frame as a row: a value for each of ``COLUMNS``, None where there is none.

    Args:
        frame: The frame.
        stream: Name of the stream.
        words: Lines of lyrics that were committed since the frame before.
    """
    raw, state = frame.raw, frame.raw.audio_state
    return {
        "stream": stream,
        "index": frame.index,
        "t0": frame.t0,
        "t1": frame.t1,
        "valence": frame.valence,
        "arousal": frame.arousal,
        "raw_valence": raw.valence,
        "raw_arousal": raw.arousal,
        "category": frame.category,
        "confidence": frame.confidence,
        **{name: frame.probs[name] for name in CATEGORIES},
        **{name: raw.clusters[name] for name in CLUSTERS},
        "modalities": "+".join(raw.modalities),
        "text_age_s": raw.text_age_s,
        "degraded": "+".join(raw.degraded),
        "audio_state": None if state is None else state.state,
        "audio_state_prob": None if state is None else state.prob,
        "lyrics": " / ".join(words),
    }


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
            row = row_of(event, self._stream, self._words)
            self._rows.writerow(_cell(name, row[name]) for name in COLUMNS)
            self._words.clear()


def _cell(name: str, value: object) -> object:
    return f"{value:.{_DECIMALS.get(name, 4)}f}" if isinstance(value, float) else value
