"""The timeline is drawn to a file, or one line says why not."""

from __future__ import annotations

import itertools
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import stream_mer.server as web
from stream_mer.errors import SettingError
from stream_mer.outputs.files import plot as plot_module
from stream_mer.outputs.files.plot import CATEGORY_COLOURS, TimelinePlot
from stream_mer.types import (
    CATEGORIES,
    CLUSTERS,
    UNKNOWN,
    CategoryChange,
    EmotionEstimate,
    EmotionFrame,
    Interval,
    LyricLine,
)


def plot(n: int = 4) -> TimelinePlot:
    timeline = TimelinePlot()
    for i in range(n):
        estimate = EmotionEstimate(
            valence=0.1 * i,
            arousal=-0.1 * i,
            interval=Interval(valence=(-0.5, 0.5), arousal=(-0.4, 0.4), level=0.8),
            categories=dict.fromkeys(CATEGORIES, 0.25),
            clusters=dict.fromkeys(CLUSTERS, 0.2),
        )
        timeline.publish(
            EmotionFrame(
                index=i,
                t0=0,
                t1=0.5 * (i + 1),
                valence=0.1 * i,
                arousal=-0.1 * i,
                raw=estimate,
                category="happy",
                confidence=0.25,
                probs=estimate.categories,
            )
        )
    return timeline


@pytest.fixture
def matplotlib() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra 'offline'")


@pytest.mark.usefixtures("matplotlib")
def test_a_picture_is_written(tmp_path: Path) -> None:
    timeline = plot()
    timeline.publish(LyricLine(segment=0, revision=0, t0=0, t1=1, text=r"costs $\fra{5$ _now_", committed=True))
    timeline.save(tmp_path / "a.png", "a $ong_with_signs$.mp3")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG\r\n")


@pytest.mark.usefixtures("matplotlib")
@pytest.mark.parametrize("n", [0, 1])
def test_so_is_one_of_almost_nothing(n: int, tmp_path: Path) -> None:
    plot(n).save(tmp_path / "a.png", "short.wav")
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.usefixtures("matplotlib")
def test_words_in_another_script_are_drawn_without_a_warning(tmp_path: Path) -> None:
    timeline = plot()
    timeline.publish(LyricLine(segment=0, revision=0, t0=0, t1=1, text="月亮代表我的心 кино", committed=True))
    timeline.save(tmp_path / "a.png", "月亮.mp3")
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.usefixtures("matplotlib")
@pytest.mark.parametrize("name", ["nowhere/a.png", "a.notapicture", "folder.png"])
def test_a_picture_that_cannot_be_written_is_a_setting_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(SettingError, match=r"cannot (write|draw)") as caught:
        plot().save(tmp_path / name, "a")
    assert "\n" not in str(caught.value)


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SettingError, match=r"pip install 'stream-mer\[offline\]'"):
        plot().save(tmp_path / "a.png", "a")


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
    timeline.publish(LyricLine(segment=0, revision=0, t0=1, t1=2, text="the words below", committed=True))
    timeline.publish(replace(timeline.timeline.frames[-1], t1=30.0, category="angry", hold="override"))
    import matplotlib as mpl  # noqa: PLC0415 - an extra

    with mpl.rc_context({"svg.fonttype": "none"}):
        timeline.save(tmp_path / "a.svg", "title of it")
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
    timeline.publish(replace(timeline.timeline.frames[-1], t1=3 * 3600.0))
    with mpl.rc_context({"svg.fonttype": "none"}):
        timeline.save(tmp_path / "a.svg", "an evening")
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
        timeline.publish(LyricLine(segment=i, revision=0, t0=3 * i, t1=3 * i + 3, text=text, committed=True))
    timeline.save(tmp_path / "a.png", "words")
    rows = {row: sorted((x0, x1) for at, x0, x1 in places if at == row) for row, _, _ in places}
    assert len(rows) >= 3
    for row in rows.values():
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(row))
