"""Frames as rows: a spreadsheet reads them as they are."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from stream_mer.outputs.files.table import COLUMNS, CsvWriter
from stream_mer.types import (
    CATEGORIES,
    CLUSTERS,
    AudioState,
    EmotionEstimate,
    EmotionFrame,
    Interval,
    LyricLine,
    StreamStatus,
)


def frame(index: int, *, text_age_s: float | None = None, degraded: tuple[str, ...] = ()) -> EmotionFrame:
    estimate = EmotionEstimate(
        valence=-0.123456,
        arousal=0.5,
        interval=Interval(valence=(-1, 1), arousal=(-1, 1), level=0.8),
        categories=dict.fromkeys(CATEGORIES, 0.25),
        clusters=dict(zip(CLUSTERS, (0.1, 0.2, 0.3, 0.15, 0.25), strict=True)),
        modalities=("audio", "text") if text_age_s is not None else ("audio",),
        text_age_s=text_age_s,
        degraded=degraded,
    )
    probs = dict(zip(CATEGORIES, (0.1, 0.2, 0.3, 0.4), strict=True))
    return EmotionFrame(
        index=index, t0=0, t1=0.5 * (index + 1), valence=0.25, arousal=-0.5, raw=estimate, category="unknown",
        confidence=0.4, probs=probs,
    )  # fmt: skip


def line(text: str, *, committed: bool = True) -> LyricLine:
    return LyricLine(segment=0, revision=0, t0=0, t1=1, text=text, committed=committed)


def rows(*events: EmotionFrame | LyricLine | StreamStatus, header: bool = True) -> list[dict[str, str]]:
    file = io.StringIO()
    writer = CsvWriter(file, 'my "song", live.wav', header=header)
    for event in events:
        writer.publish(event)
    return list(csv.DictReader(io.StringIO(file.getvalue()), None if header else COLUMNS))


def test_a_frame_is_a_row_of_all_columns() -> None:
    (row,) = rows(frame(3, text_age_s=2.345, degraded=("lyrics_lagging", "gap")))
    assert tuple(row) == COLUMNS
    assert row == {
        "stream": 'my "song", live.wav', "index": "3", "t0": "0.0000", "t1": "2.0000",
        "valence": "0.2500", "arousal": "-0.5000", "raw_valence": "-0.1235", "raw_arousal": "0.5000",
        "category": "unknown", "confidence": "0.4000",
        "happy": "0.1000", "angry": "0.2000", "sad": "0.3000", "relaxed": "0.4000",
        "C1": "0.1000", "C2": "0.2000", "C3": "0.3000", "C4": "0.1500", "C5": "0.2500",
        "modalities": "audio+text", "text_age_s": "2.35", "degraded": "lyrics_lagging+gap",
        "audio_state": "", "audio_state_prob": "", "lyrics": "",
    }  # fmt: skip


def test_words_stand_once_in_the_row_after_they_were_committed() -> None:
    events = [frame(0), line("one, two"), line("guess", committed=False), line("three"), frame(1), frame(2)]
    assert [row["lyrics"] for row in rows(*events)] == ["", "one, two / three", ""]


def test_without_text_its_age_is_empty() -> None:
    (row,) = rows(frame(0))
    assert (row["modalities"], row["text_age_s"], row["degraded"]) == ("audio", "", "")


def test_the_header_is_written_only_where_asked_for_and_other_events_never() -> None:
    status = StreamStatus(source="ended", device="x", lyrics="off")
    assert len(rows(status, frame(0), header=False)) == 1
    assert rows(status) == []


def test_music_or_not_has_two_columns() -> None:
    one = frame(0)
    spoken = replace(one, raw=replace(one.raw, audio_state=AudioState(state="speech", prob=0.98765)))
    (row,) = rows(spoken)
    assert (row["audio_state"], row["audio_state_prob"]) == ("speech", "0.9877")
