"""The timeline is drawn to a file, or one line says why not."""

from __future__ import annotations

import itertools
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import stream_mer.server as web
from stream_mer.errors import SettingError
from stream_mer.outputs import plot as plot_module
from stream_mer.outputs.plot import CATEGORY_COLOURS, GAP_S, WORD_ROWS, Run, Timeline, draw_timeline
from stream_mer.types import (
    CATEGORIES,
    UNKNOWN,
    CategoryChange,
    LyricLine,
)
from tools.examples import CHANGE, FRAME, LINE


def plot(n: int = 4) -> Timeline:
    made = Timeline()
    for i in range(n):
        made.publish(replace(FRAME, index=i, t0=0, t1=0.5 * (i + 1), valence=0.1 * i, arousal=-0.1 * i))
    return made


def words(segment: int, t0: float, text: str, revision: int = 0) -> LyricLine:
    return replace(LINE, segment=segment, t0=t0, t1=t0 + 1, text=text, revision=revision, words=(), settled_words=0)


@pytest.fixture
def matplotlib() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra 'offline'")


@pytest.mark.usefixtures("matplotlib")
@pytest.mark.parametrize(
    ("n", "text", "title"),
    [
        (4, r"costs $\fra{5$ _now_", "a $ong_with_signs$.mp3"),
        (4, "月亮代表我的心 кино", "月亮.mp3"),
        (1, "", "short.wav"),
        (0, "", "empty.wav"),
    ],
)
def test_a_picture_is_written_without_a_warning(n: int, text: str, title: str, tmp_path: Path) -> None:
    made = plot(n)
    made.publish(words(0, 0.0, text))
    draw_timeline(made, tmp_path / "a.png", title)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.usefixtures("matplotlib")
@pytest.mark.parametrize("name", ["nowhere/a.png", "a.notapicture", "folder.png"])
def test_a_picture_that_cannot_be_written_is_a_setting_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(SettingError, match=r"cannot (write|draw)") as caught:
        draw_timeline(plot(), tmp_path / name, "a")
    assert "\n" not in str(caught.value)


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SettingError, match=r"pip install 'stream-mer\[offline\]'"):
        draw_timeline(plot(), tmp_path / "a.png", "a")


def test_every_category_has_its_colour_on_the_page() -> None:
    style = (Path(web.__file__).parent / "web" / "style.css").read_text(encoding="utf-8")
    for category in (*CATEGORIES, UNKNOWN):
        assert f"--{category}: {CATEGORY_COLOURS[category]};" in style


@pytest.mark.usefixtures("matplotlib")
def test_everything_that_is_to_be_seen_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture as vectors, where every part can be found again."""
    monkeypatch.setattr(plot_module, "_FONTS", ("DejaVu Sans",))
    timeline = plot(40)
    timeline.publish(CategoryChange(t=5.0, before="happy", after="sad", dwell_s=3.0))
    timeline.publish(words(0, 1.0, "the words below"))
    timeline.publish(replace(timeline.frames[-1], t1=30.0, category="angry", hold="override"))
    import matplotlib as mpl  # noqa: PLC0415 - an extra

    with mpl.rc_context({"svg.fonttype": "none"}):
        draw_timeline(timeline, tmp_path / "a.svg", "title of it")
    drawn = (tmp_path / "a.svg").read_text(encoding="utf-8")
    for text in ("title of it", "valence", "arousal", "happy", "angry", "the words below", "0:10"):
        assert f">{text}</text>" in drawn
    for colour in (CATEGORY_COLOURS["happy"], CATEGORY_COLOURS["angry"], CATEGORY_COLOURS["sad"], "#c9a0ff"):
        assert colour in drawn
    assert "relaxed" not in drawn
    tops = {text: re.search(rf'y="([\d.]+)"[^>]*>{text}</text>', drawn) for text in ("valence", "arousal", "happy")}
    assert len({found and found[1] for found in tops.values()}) == 1, "one legend above it all: it hides no curve"


@pytest.mark.usefixtures("matplotlib")
def test_the_times_of_an_evening_are_round_and_have_hours(tmp_path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - an extra

    timeline = plot(2)
    timeline.publish(replace(timeline.frames[-1], t1=3 * 3600.0))
    with mpl.rc_context({"svg.fonttype": "none"}):
        draw_timeline(timeline, tmp_path / "a.svg", "an evening")
    times = re.findall(r">(\d+(?::\d\d)+)</text>", (tmp_path / "a.svg").read_text(encoding="utf-8"))
    assert {"30:00", "1:00:00", "2:30:00"} <= set(times)
    assert all(time.endswith((":00", ":30")) for time in times)
    assert 10 <= len(times) <= 40


@pytest.mark.usefixtures("matplotlib")
def test_words_are_cut_before_they_touch_one_another_or_the_edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    places: list[tuple[int, float, float]] = []

    def savefig(figure: Figure, _file: object, *, dpi: float | None = None, **_: object) -> None:
        figure.dpi = dpi or figure.dpi
        figure.draw_without_rendering()
        words = figure.axes[2]
        drawn = [text.get_window_extent() for text in words.texts]
        places.extend((round(box.y0), box.x0, box.x1) for box in drawn)
        places.extend((round(box.y0), words.get_window_extent().x1, 0.0) for box in drawn)

    monkeypatch.setattr(Figure, "savefig", savefig)
    timeline = plot(180)
    for i in range(30):
        text = "this world and hear your cries, you wrote my trust, you wrote " * 2
        timeline.publish(words(i, 3.0 * i, text))
    draw_timeline(timeline, tmp_path / "a.png", "words")
    rows = {row: sorted((x0, x1) for at, x0, x1 in places if at == row) for row, _, _ in places}
    assert len(rows) >= 3
    for row in rows.values():
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(row))


@pytest.mark.usefixtures("matplotlib")
def test_lyrics_that_no_font_has_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - an extra

    made = plot(40)
    made.publish(words(0, 0.0, "words with letters"))
    made.publish(words(1, 5.0, "\U0001e900\U0001e901 \U00012000"))  # Adlam and cuneiform
    with mpl.rc_context({"svg.fonttype": "none"}):
        draw_timeline(made, tmp_path / "a.svg", "a \U0001e900 song")
    drawn = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert ">words with letters</text>" in drawn
    assert ">a □ song</text>" in drawn
    assert not {"\U0001e901", "\U00012000"}.intersection(drawn)
    (record,) = caplog.records
    assert record.message == (
        f"{tmp_path / 'a.svg'}: no installed font has Adlam and Cuneiform: install one, such as Noto Sans; "
        "lyrics in it are left out"
    )


@pytest.mark.usefixtures("matplotlib")
def test_any_installed_font_with_the_script_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot_module, "_FONTS", ("STIXGeneral",))  # both come with matplotlib
    fonts, missing = plot_module._fonts_for("a ש")
    assert fonts[0] == "STIXGeneral"
    assert len(fonts) == 2
    assert not missing


def test_words_without_room_are_hidden_and_cut_ones_are_whole_words() -> None:
    made = timeline((60.0, "sad"))
    for segment, (t0, text) in enumerate([(0.0, "hello there my darling"), (1.0, "b"), (2.0, "c"), (3.0, "d")]):
        made.publish(words(segment, t0, text))
    assert [one.text for one in made.placed(lambda text: len(text) / 2)] == ["b", "c", "d"]
    assert [one.text for one in made.placed(lambda text: len(text) / 8)] == ["hello there my darling", "b", "c", "d"]
    assert made.placed(lambda text: len(text) / 6)[0].text == "hello there my…"


def timeline(*frames: tuple[float, str], held: frozenset[float] = frozenset()) -> Timeline:
    made = Timeline()
    for t1, category in frames:
        made.publish(replace(FRAME, t1=t1, category=category, hold="freeze" if t1 in held else None))
    return made


def test_frames_of_one_category_are_one_run() -> None:
    made = timeline((0.5, "sad"), (1.0, "sad"), (1.5, "happy"), (2.0, "happy"), (2.5, "sad"))
    assert list(made.runs()) == [
        Run(t0=0.0, t1=1.0, category="sad", held=False),
        Run(t0=1.0, t1=2.0, category="happy", held=False),
        Run(t0=2.0, t1=2.5, category="sad", held=False),
    ]


def test_what_an_operator_held_is_a_run_of_its_own() -> None:
    made = timeline((0.5, "sad"), (1.0, "sad"), (1.5, "sad"), held=frozenset({1.0}))
    assert [run.held for run in made.runs()] == [False, True, False]


def test_a_frame_that_an_operator_changed_replaces_the_one_before() -> None:
    made = timeline((0.5, "sad"), (1.0, "sad"), (1.0, "angry"))
    assert [run.category for run in made.runs()] == ["sad", "angry"]
    assert len(made.frames) == 2


def test_nothing_is_drawn_where_nothing_was_for_long() -> None:
    later = 1.0 + GAP_S + 0.5
    made = timeline((0.5, "sad"), (1.0, "sad"), (later, "sad"))
    assert [(run.t0, run.t1) for run in made.runs()] == [(0.0, 1.0), (later - 0.5, later)]
    times, values = made.curve(lambda frame: frame.t1)
    assert times == [0.5, 1.0, later, later]
    assert math.isnan(values[2])
    assert [value for value in values if not math.isnan(value)] == [0.5, 1.0, later]


def test_of_nothing_there_is_a_span_all_the_same() -> None:
    made = Timeline()
    assert made.span_s == (0.0, 0.5)
    assert list(made.runs()) == []
    assert made.curve(lambda frame: frame.t1) == ([], [])
    assert made.placed(len) == []


def test_lines_are_their_newest_revisions() -> None:
    made = timeline((60.0, "sad"))
    for line in (words(0, 1.0, "frist"), words(1, 3.0, "gone"), words(0, 1.0, "first", 1), words(1, 3.0, "", 1)):
        made.publish(line)
    made.publish(CHANGE)
    assert [line.text for line in made.lines] == ["first"]
    assert made.cues == [CHANGE]


@given(st.lists(st.tuples(st.floats(0, 300), st.text(min_size=1, max_size=40)), max_size=30))
def test_no_words_run_into_others_or_out_of_the_picture(lines: list[tuple[float, str]]) -> None:
    made = timeline((300.0, "sad"))
    for segment, (t0, text) in enumerate(lines):
        made.publish(words(segment, t0, text))
    placed = made.placed(lambda text: 0.4 * len(text))
    for row in range(WORD_ROWS):
        of_row = [one for one in placed if one.row == row]
        ends = [one.t0 + 0.4 * len(one.text) for one in of_row]
        starts = [one.t0 for one in of_row[1:]]
        assert all(end <= start + 1e-6 for end, start in zip(ends, [*starts, 300.0], strict=False))
    for one in placed:
        there = [text for t0, text in lines if t0 == one.t0]
        assert one.text in there or any(text.startswith(one.text.removesuffix("…")) for text in there)


def test_words_with_room_are_whole() -> None:
    made = timeline((60.0, "sad"))
    for segment, (t0, text) in enumerate([(1.0, "one"), (5.0, "two"), (9.0, "three"), (13.0, "four")]):
        made.publish(words(segment, t0, text))
    assert [(one.row, one.text) for one in made.placed(lambda text: len(text) / 2)] == [
        (0, "one"),
        (1, "two"),
        (2, "three"),
        (0, "four"),
    ]
