"""JSON lines are the live messages; tables and lyrics are read again by readers of these formats."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_mer.event_json import MessageEncoder, encode
from stream_mer.lyrics.files import parse_lyrics
from stream_mer.outputs.files.summary import Summary
from stream_mer.outputs.files.writers import COLUMNS, LEAST_S, CsvWriter, JsonlWriter, LyricsWriter, lrc, srt
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
from tools.examples import CHANGE, FRAME, LINE, STATUS

SUMMARY = Summary(
    duration_s=214.36,
    valence=0.3811,
    arousal=0.2204,
    category="happy",
    probs=FRAME.probs,
    clusters=FRAME.raw.clusters,
    lyrics="and the morning comes again",
)


def test_lines_are_the_live_messages_without_those_that_a_file_has_no_use_for():
    file = io.BytesIO()
    writer = JsonlWriter(file, "song.mp3")
    live = MessageEncoder("song.mp3")
    expected = []
    for event in (STATUS, FRAME, LINE, CHANGE, FRAME):
        writer.publish(event)
        message = live.message(event)
        if event in (FRAME, LINE):
            expected.append(encode(message))
    writer.finish(SUMMARY)
    lines = file.getvalue().splitlines()
    assert lines[:-1] == expected
    assert [json.loads(line)["type"] for line in lines] == ["emotion", "lyrics", "emotion", "summary"]


def test_text_is_utf_8_and_a_line_break_in_it_breaks_no_line():
    file = io.BytesIO()
    JsonlWriter(file, "夜.mp3").finish(replace(SUMMARY, lyrics="夜に\n光"))
    (line,) = file.getvalue().splitlines()
    assert "夜に" in line.decode()
    assert json.loads(line)["lyrics"] == "夜に\n光"


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


def committed_line(text: str, *, committed: bool = True) -> LyricLine:
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
    events = [
        frame(0),
        committed_line("one, two"),
        committed_line("guess", committed=False),
        committed_line("three"),
        frame(1),
        frame(2),
    ]
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


def line(t0: float, t1: float, text: str, segment: int = 0) -> LyricLine:
    return replace(LINE, segment=segment, t0=t0, t1=t1, text=text, words=(), settled_words=0)


SONG = [line(1.0, 3.5, "first line", 0), line(4.0, 6.0, "second", 1), line(3_661.239, 3_663.0, "an hour later", 2)]


def test_subtitles_are_subrip() -> None:
    assert srt(SONG) == (
        "1\n00:00:01,000 --> 00:00:03,500\nfirst line\n\n"
        "2\n00:00:04,000 --> 00:00:06,000\nsecond\n\n"
        "3\n01:01:01,239 --> 01:01:03,000\nan hour later\n"
    )


def test_lrc_ends_lines_before_pauses() -> None:
    assert lrc(SONG) == (
        "[00:01.00]first line\n[00:03.50]\n[00:04.00]second\n[00:06.00]\n[61:01.24]an hour later\n[61:03.00]\n"
    )
    assert lrc([line(1.0, 3.9, "no pause", 0), line(4.0, 5.0, "in between", 1)]).count("]\n") == 1


def test_of_no_lines_there_is_an_empty_file() -> None:
    assert (srt([]), lrc([])) == ("", "")


def test_the_writer_takes_what_was_committed_and_not_taken_back() -> None:
    writer = LyricsWriter(lrc)
    for event in (
        FRAME,
        replace(line(1.0, 2.0, "frist"), committed=False),
        line(1.0, 2.0, "first"),
        replace(line(5.0, 6.0, "never", 1), committed=False),
        line(3.0, 4.0, "  ", 2),
        line(3.0, 4.0, "\0", 3),
    ):
        writer.publish(event)
    assert writer.text() == "[00:01.00]first\n[00:02.00]\n"


moments = st.integers(0, 3_600_000).map(lambda ms: ms / 1000)
texts = st.text(max_size=40)
songs = st.lists(st.tuples(moments, st.integers(0, 9_000), texts), max_size=12).map(
    lambda rows: [line(t0, t0 + ms / 1000, text, i) for i, (t0, ms, text) in enumerate(rows)]
)


def plain(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


@given(songs)
@example([line(0.0, 1.0, "[00:12.00] not a time"), line(2.0, 3.0, "<1:05>nor\u2028this", 1)])
@example([line(0.0, 1.0, "[ti: not a title]"), line(2.0, 3.0, "[offset:+500]", 1)])
@example([line(59.9999, 61.0, "rounds to a minute")])
def test_our_reader_reads_what_is_written_as_lrc(song: list[LyricLine]) -> None:
    writer = LyricsWriter(lrc)
    for one in song:
        writer.publish(one)
    wanted = sorted((one for one in song if plain(one.text)), key=lambda one: (one.t0, one.segment))
    read = parse_lyrics(writer.text())
    assert [one.text for one in read] == [re.sub(r"[\[<](?=\d+:\d)", "(", plain(one.text)) for one in wanted]
    assert [one.t0 for one in read] == pytest.approx([one.t0 for one in wanted], abs=0.0051)
    for one, original, following in zip(read, wanted, [*wanted[1:], None], strict=False):
        end = max(original.t1, original.t0 + LEAST_S)
        if following is None or following.t0 >= end + 0.5:
            assert one.t1 == pytest.approx(end, abs=0.0051)


BLOCK = re.compile(r"(\d+)\n(\d\d+):(\d\d):(\d\d),(\d{3}) --> (\d\d+):(\d\d):(\d\d),(\d{3})\n([^\n]+)\n")


@given(songs)
@example([line(0.0, 1.0, "a --> b")])
@example([line(1.0, 5.0, "a"), line(1.0, 5.0, "b", 1), line(1.05, 2.0, "c", 2)])
def test_subtitles_are_numbered_in_order_and_end_before_the_next(song: list[LyricLine]) -> None:
    writer = LyricsWriter(srt)
    for one in song:
        writer.publish(one)
    text = writer.text()
    blocks = BLOCK.findall(text)
    assert "\n".join(match[0] for match in BLOCK.finditer(text)) == text, "nothing else is in it"
    wanted = sorted((one for one in song if plain(one.text)), key=lambda one: (one.t0, one.segment))
    assert [int(block[0]) for block in blocks] == list(range(1, len(wanted) + 1))
    assert [block[9] for block in blocks] == [plain(one.text).replace("-->", "→") for one in wanted]
    times = [
        (
            int(b[1]) * 3600 + int(b[2]) * 60 + int(b[3]) + int(b[4]) / 1000,
            int(b[5]) * 3600 + int(b[6]) * 60 + int(b[7]) + int(b[8]) / 1000,
        )
        for b in blocks
    ]
    assert [start for start, _ in times] == pytest.approx([one.t0 for one in wanted])
    for (start, end), following in zip(times, [*times[1:], None], strict=False):
        assert end > start
        assert following is None or following[0] == start or end <= following[0] + 1e-9
