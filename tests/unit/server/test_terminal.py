"""The terminal's view: what is seen, and what is drawn of it."""

import io
from dataclasses import replace

import msgspec
import pytest
from rich.console import Console

from stream_mer.event_json import MessageEncoder
from stream_mer.server import messages as wire
from stream_mer.server.terminal import View, on_message, plain_line, render, settled_length, signed_bar
from stream_mer.types import clock
from tools.examples import FRAME, HELLO, LINE, STATUS, examples


def drawn(view: View, *, now: float = 10.0, connected: bool = True, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    console.print(render(view, now=now, connected=connected))
    return console.file.getvalue()


def seen(*events, stream: str = "main", view: View | None = None, now: float = 10.0) -> View:
    encoder = MessageEncoder(stream)
    view = view or View()
    for event in events:
        view = on_message(view, encoder.message(event), now=now)
    return view


DEGRADED = replace(FRAME, hold="freeze", category="unknown", raw=replace(FRAME.raw, degraded=("no_lyrics",)))


@pytest.mark.parametrize(
    ("events", "how", "words"),
    [
        (
            (STATUS, FRAME, LINE),
            {},
            ("live", "USB Audio CODEC", "Björk – Jóga", "+0.42", "+0.30", "happy", "61%", LINE.text, "0:42.5"),
        ),
        ((DEGRADED,), {}, ("degraded: no_lyrics", "frozen by an operator", "below the confidence threshold")),
        ((FRAME,), {"now": 30.0}, ("stale: 20 s",)),
        ((FRAME,), {"connected": False}, ("not connected, trying again",)),
    ],
    ids=["all", "degraded", "old", "no connection"],
)
def test_what_is_known_is_drawn(events, how, words):
    text = drawn(seen(*events), **how)
    assert [word for word in words if word not in text] == []
    assert ("stale" in text) is ("now" in how)


def test_the_point_moves_with_valence_and_arousal():
    def place(valence, arousal):
        rows = drawn(seen(replace(FRAME, valence=valence, arousal=arousal))).splitlines()
        row = next(i for i, line in enumerate(rows) if "●" in line)
        return row, rows[row].index("●")

    centre_row, centre_column = place(0.0, 0.0)
    assert place(0.8, 0.0)[1] > centre_column > place(-0.8, 0.0)[1]
    assert place(0.0, 0.8)[0] < centre_row < place(0.0, -0.8)[0]


def test_a_provisional_line_gives_way_to_the_committed_one():
    view = seen(replace(LINE, text="and the mourning", committed=False))
    assert view.provisional is not None
    assert "and the mourning …" in drawn(seen(FRAME, view=view))
    view = seen(LINE, view=view)
    assert view.provisional is None
    assert [line.text for line in view.lines] == ["and the morning comes again"]


@pytest.mark.parametrize(("settled", "text"), [(0, ""), (3, "and the morning"), (5, "and the morning comes again")])
def test_words_that_will_not_change_are_told_apart(settled, text):
    view = seen(FRAME, replace(LINE, committed=False, settled_words=settled))
    assert view.provisional.text[: settled_length(view.provisional)] == text
    assert "and the morning comes again …" in drawn(view)
    view = seen(FRAME, replace(LINE, text="other words", committed=False, settled_words=settled))
    assert settled_length(view.provisional) == 0


def test_only_the_newest_lines_are_kept_in_the_order_of_the_song():
    view = seen(*[replace(LINE, segment=i, text=f"line {i}") for i in (0, 2, 1, 3, 4, 5, 6)])
    assert [line.segment for line in view.lines] == [2, 3, 4, 5, 6]
    assert seen(FRAME, LINE, stream="foyer", view=view) == view, "another stream changes nothing"
    view = seen(replace(LINE, segment=7, committed=False), view=view)
    assert view.provisional is not None
    assert seen(replace(LINE, segment=7, committed=False, text=""), view=view).provisional is None, "it was withdrawn"


def test_after_a_break_all_stays_but_a_server_that_began_anew_begins_with_nothing():
    view = seen(*[replace(LINE, segment=i) for i in range(100, 106)], view=on_message(View(), HELLO, now=1.0))
    assert on_message(view, HELLO, now=2.0) == view
    anew = on_message(view, msgspec.structs.replace(HELLO, session="another evening"), now=2.0)
    assert seen(replace(LINE, segment=0), view=anew).lines[-1].segment == 0
    assert anew.stream == view.stream


def test_the_snapshot_counts_with_its_age():
    entry = wire.SnapshotEntry(age_s=8.0, message=examples()["emotion"])
    view = on_message(View(), wire.Ready(client_id="a", granted=(), snapshot=(entry,)), now=10.0)
    assert view.received_at == 2.0
    assert "stale: 8 s without a frame" in drawn(view, now=10.0)


def test_an_input_that_clips_or_loses_samples_is_said():
    well, troubled = replace(STATUS, lost_samples=0), replace(STATUS, clipping=True, lost_samples=19_200)
    for shown in (drawn(seen(troubled, FRAME), width=160), plain_line(seen(troubled, FRAME))):
        assert "too loud: it clips" in shown
        assert "1.2 s lost so far" in shown
    for shown in (drawn(seen(well, FRAME), width=160), plain_line(seen(well, FRAME))):
        assert "clips" not in shown
        assert "lost" not in shown


def test_escape_codes_in_lyrics_do_not_reach_the_terminal():
    text = drawn(seen(FRAME, replace(LINE, text="\x1b[2Jwiped [bold]not markup[/bold]")))
    assert "\x1b" not in text
    assert r"\u001b[2Jwiped" in text
    assert "[bold]not markup[/bold]" in text


def test_words_of_a_newer_server_are_shown_and_harmless():
    view = seen(STATUS, FRAME)
    new = msgspec.structs.replace(view.emotion.category, top="tender\x1b[2J")
    modalities = ("audio", "\x1b]0;video")
    emotion = msgspec.structs.replace(view.emotion, category=new, modalities=modalities, held=True, hold="fade")
    status = msgspec.structs.replace(view.status, source="warm\x1b[31m", lyrics="fresh")
    newer = replace(view, emotion=emotion, status=status)
    line = plain_line(newer)
    assert "tender" in line
    assert "audio+" in line
    assert "\x1b" not in line
    assert "warm" in drawn(newer)
    assert "held by an operator" in drawn(newer)


def test_a_narrow_terminal_is_wide_enough():
    assert max(len(line) for line in drawn(seen(STATUS, FRAME, LINE), width=44).splitlines()) <= 44


def test_plain_line_holds_what_matters():
    line = plain_line(seen(FRAME, LINE))
    assert "\n" not in line
    for words in [
        "main",
        "0:42.5",
        "valence +0.42",
        "arousal +0.30",
        "happy 61%",
        "audio+text",
        '"and the morning comes again"',
    ]:
        assert words in line


@pytest.mark.parametrize(("t_s", "text"), [(0, "0:00.0"), (59.96, "1:00.0"), (62.51, "1:02.5"), (3600, "60:00.0")])
def test_clock(t_s, text):
    assert clock(t_s) == text


def test_signed_bar_marks_the_value_inside_its_interval():
    bar = signed_bar(0.5, low=0.2, high=0.8).plain
    assert len(bar) == 26
    assert bar.index("░") < bar.index("█") < bar.rindex("░")
    assert signed_bar(-1.0, low=-1.5, high=-0.9).plain[0] == "█"
    assert signed_bar(1.0, low=1.0, high=2.0).plain[-1] == "█"
