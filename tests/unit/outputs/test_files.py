"""JSON lines are the live messages; tables and lyrics are read again by readers of these formats."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_mer.event_json import MessageEncoder, encode
from stream_mer.lyrics.files import parse_lyrics
from stream_mer.outputs.files import (
    COLUMNS,
    LEAST_S,
    CsvWriter,
    FileSummary,
    JsonlWriter,
    LyricsWriter,
    Summary,
    lrc,
    srt,
)
from stream_mer.types import CATEGORIES, CLUSTERS, UNKNOWN, EmotionFrame, LyricLine, StreamEvent
from tools.examples import CHANGE, FRAME, LINE, STATUS, SUMMARY


def frame(index: int, *, raw: tuple[float, float] = (0.0, 0.0), probs: Sequence[float] = (0.25,) * 4) -> EmotionFrame:
    """A frame of 0.5 s; ``raw`` and ``probs`` are those before smoothing."""
    categories = dict(zip(CATEGORIES, probs, strict=True))
    estimate = replace(FRAME.raw, valence=raw[0], arousal=raw[1], categories=categories)
    return replace(FRAME, index=index, t0=0.0, t1=0.5 * (index + 1), valence=0.9, arousal=-0.9, raw=estimate)


def silent(index: int) -> EmotionFrame:
    one = frame(index)
    return replace(one, raw=replace(one.raw, degraded=("lyrics_lagging", "silent")))


def line(t0: float, t1: float, text: str, segment: int = 0, *, committed: bool = True) -> LyricLine:
    return replace(LINE, segment=segment, t0=t0, t1=t1, text=text, committed=committed, words=(), settled_words=0)


def summed(*events: StreamEvent, words_alone: bool = False) -> Summary:
    summary = FileSummary(words_alone=words_alone)
    for event in events:
        summary.publish(event)
    return summary.summary()


def test_emotion_is_the_mean_before_smoothing_of_the_frames_that_claim_one() -> None:
    probs = (0.7, 0.1, 0.1, 0.1)
    summary = summed(frame(0, raw=(0.5, -0.2), probs=probs), frame(1, raw=(-0.1, 0.6), probs=probs), silent(2))
    assert (summary.valence, summary.arousal) == pytest.approx((0.2, 0.2))
    assert list(summary.probs.values()) == pytest.approx(probs)
    assert (summary.category, summary.duration_s) == ("happy", 1.5)


@pytest.mark.parametrize("events", [(), (STATUS,), (silent(0), silent(1))])
def test_without_a_frame_that_claims_an_emotion_a_file_is_unknown(events: tuple[StreamEvent, ...]) -> None:
    summary = summed(*events)
    assert (summary.category, summary.valence, summary.arousal, summary.lyrics) == (UNKNOWN, 0, 0, "")
    assert summary.probs == pytest.approx(dict.fromkeys(CATEGORIES, 0.25))
    assert summary.clusters == pytest.approx(dict.fromkeys(CLUSTERS, 0.2))


def test_of_words_alone_the_newest_frame_stands_for_the_file() -> None:
    newest = frame(1, raw=(-0.1, 0.6), probs=(0.1, 0.1, 0.6, 0.2))
    summary = summed(frame(0, probs=(0.7, 0.1, 0.1, 0.1)), newest, words_alone=True)
    assert (summary.valence, summary.arousal, summary.duration_s) == pytest.approx((-0.1, 0.6, 1.0))
    assert summary.probs == pytest.approx(newest.raw.categories)
    assert summary.clusters == pytest.approx(newest.raw.clusters)


def test_probabilities_are_geometric_means() -> None:
    one, other = (0.7, 0.1, 0.1, 0.1), (0.1, 0.4, 0.4, 0.1)
    summary = summed(frame(0, probs=one), frame(1, probs=other))
    roots = [math.sqrt(x * y) for x, y in zip(one, other, strict=True)]
    assert list(summary.probs.values()) == pytest.approx([root / sum(roots) for root in roots])
    against = summed(*[frame(i, probs=(0.5, 0.4, 0.05, 0.05)) for i in range(3)], frame(3, probs=(0, 0.6, 0.2, 0.2)))
    assert against.category == "angry", "a frame that is sure against a category counts"
    assert 0 < against.probs["happy"] < 0.05


def test_a_long_file_does_not_underflow() -> None:
    summary = summed(*[frame(i, probs=(1.0, 0.0, 0.0, 0.0)) for i in range(20_000)])
    assert summary.probs["happy"] == pytest.approx(1)
    assert sum(summary.probs.values()) == pytest.approx(1)


def test_lyrics_are_the_committed_lines_in_their_order_in_their_last_version() -> None:
    texts = [(1, "second"), (0, "first, misheard"), (0, "first")]
    lines = [line(0, 1, text, segment) for segment, text in texts]
    assert summed(*lines, line(0, 1, "not yet", 2, committed=False)).lyrics == "first\nsecond"


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


def rows(*events: StreamEvent, header: bool = True) -> list[dict[str, str]]:
    file = io.StringIO()
    writer = CsvWriter(file, 'my "song", live.wav', header=header)
    for event in events:
        writer.publish(event)
    return list(csv.DictReader(io.StringIO(file.getvalue()), None if header else COLUMNS))


def test_a_frame_is_a_row_of_all_columns() -> None:
    raw = replace(FRAME.raw, valence=-0.123456, text_age_s=2.345, degraded=("lyrics_lagging", "gap"))
    (row,) = rows(replace(FRAME, raw=raw))
    assert tuple(row) == COLUMNS
    assert row == {
        "stream": 'my "song", live.wav', "index": "84", "t0": "32.5000", "t1": "42.5000",
        "valence": "0.4183", "arousal": "0.2957", "raw_valence": "-0.1235", "raw_arousal": "0.3312",
        "category": "happy", "confidence": "0.6127",
        "happy": "0.6127", "angry": "0.1205", "sad": "0.0901", "relaxed": "0.1767",
        "C1": "0.3100", "C2": "0.4200", "C3": "0.1200", "C4": "0.0900", "C5": "0.0600",
        "modalities": "audio+text", "text_age_s": "2.35", "degraded": "lyrics_lagging+gap",
        "audio_state": "music", "audio_state_prob": "0.9871", "lyrics": "",
    }  # fmt: skip


def test_without_text_and_audio_state_their_columns_are_empty() -> None:
    raw = replace(FRAME.raw, modalities=("audio",), text_age_s=None, audio_state=None)
    (row,) = rows(replace(FRAME, raw=raw))
    empty = ("text_age_s", "degraded", "audio_state", "audio_state_prob")
    assert (row["modalities"], *(row[name] for name in empty)) == ("audio", "", "", "", "")


def test_words_stand_once_in_the_row_after_they_were_committed() -> None:
    lines = [line(0, 1, "one, two"), line(0, 1, "guess", committed=False), line(0, 1, "three")]
    found = rows(frame(0), *lines, frame(1), frame(2))
    assert [row["lyrics"] for row in found] == ["", "one, two / three", ""]


def test_the_header_is_written_only_where_asked_for_and_other_events_never() -> None:
    assert len(rows(STATUS, frame(0), header=False)) == 1
    assert rows(STATUS) == []


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


def test_the_writer_takes_what_was_committed_and_not_taken_back() -> None:
    writer = LyricsWriter(lrc)
    for event in (
        FRAME,
        line(1.0, 2.0, "frist", committed=False),
        line(1.0, 2.0, "first"),
        line(5.0, 6.0, "never", 1, committed=False),
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
