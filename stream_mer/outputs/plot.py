"""A tagged file or a recorded show as a picture: the timeline of the page, from start to end. Needs matplotlib."""

from __future__ import annotations

import functools
import logging
import math
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_mer.errors import SettingError
from stream_mer.types import UNKNOWN, CategoryChange, EmotionFrame, LyricLine, StreamEvent
from stream_mer.utils.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

GAP_S = 3.0
"""Curves are interrupted after this time without a frame, as on the page, seconds."""

FIRST_S = 0.5
"""Duration that the first frame stands for, seconds."""

WORD_ROWS = 3

CATEGORY_COLOURS = {
    "happy": "#f3b74a",
    "angry": "#ee5d58",
    "sad": "#6c9bf5",
    "relaxed": "#52c4a2",
    UNKNOWN: "#8a90a2",
}
"""The colours of the page."""

_GROUND, _INK, _QUIET = "#0c0d12", "#f2f3f7", "#979db0"
_CURVES = {"valence": (_INK, "-"), "arousal": ("#c9a0ff", (0, (5, 3)))}
_WIDTH_IN, _WIDEST_IN, _HEIGHT_IN = 12.0, 48.0, 5.5
_WORDS_PT = 7
_INCHES_PER_S = 0.04
"""Pictures of up to five minutes are as wide as a page; longer ones are wider, up to twenty minutes."""

_DPI = 150
_TIMES_PER_IN = 0.8
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
"""Possible distances of the labels of the time axis, seconds."""

_FONTS = (
    "DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans",
    "Microsoft YaHei", "Malgun Gothic", "Arial Unicode MS",
)  # fmt: skip
"""Fonts for lyrics in any script: each character is drawn with the first installed one that has it. For characters that
none of these has, any other installed font is looked for."""

_MIN_CHARACTERS = 8
"""A line of lyrics is left out where there is only room for fewer characters of it."""

_MISSING = "□"
_SCRIPTS_SHOWN = 3
_PLACEHOLDERS = "LastResort"  # a font with a box for every character


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A span of time, seconds, in which the category and an operator's hold stayed the same."""

    t0: float
    t1: float
    category: str
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedText:
    """A line of lyrics in the picture.

    Attributes:
        t0: Its start, seconds.
        row: Row from the top, of ``WORD_ROWS``.
        text: As much of the line as fits.
    """

    t0: float
    row: int
    text: str


class Timeline:
    """Collects the events of one stream; implements ``ports.EventSink``."""

    def __init__(self) -> None:
        self.frames: list[EmotionFrame] = []
        self.cues: list[CategoryChange] = []
        self._lines: dict[int, LyricLine] = {}

    def publish(self, event: StreamEvent) -> None:
        """Take one event."""
        match event:
            case EmotionFrame():
                # A frame that an operator changed replaces the one of the same time.
                if self.frames and self.frames[-1].t1 == event.t1:
                    self.frames.pop()
                self.frames.append(event)
            case CategoryChange():
                self.cues.append(event)
            case LyricLine():
                self._lines[event.segment] = event

    @property
    def lines(self) -> list[LyricLine]:
        """The newest revisions of the lines, by time, without those that were taken back."""
        return sorted((line for line in self._lines.values() if line.text), key=lambda line: (line.t0, line.segment))

    @property
    def span_s(self) -> tuple[float, float]:
        """Start and end, seconds; never empty."""
        if not self.frames:
            return 0.0, FIRST_S
        begin = max(0.0, self.frames[0].t1 - FIRST_S)
        return begin, max(self.frames[-1].t1, begin + FIRST_S)

    def runs(self) -> Iterator[Run]:
        """Yield the spans of one category, in order."""
        if not self.frames:
            return
        begin = self.span_s[0]
        for frame, after in zip(self.frames, [*self.frames[1:], None], strict=True):
            broken = after is not None and after.t1 - frame.t1 > GAP_S
            if after is None or broken or _look(after) != _look(frame):
                yield Run(t0=begin, t1=frame.t1, category=frame.category, held=frame.hold is not None)
                begin = after.t1 - FIRST_S if after is not None and broken else frame.t1

    def curve(self, value: Callable[[EmotionFrame], float]) -> tuple[list[float], list[float]]:
        """Return times and values of the frames, with NaN where there were none for ``GAP_S``."""
        times: list[float] = []
        values: list[float] = []
        for frame in self.frames:
            if times and frame.t1 - times[-1] > GAP_S:
                times.append(frame.t1)
                values.append(math.nan)
            times.append(frame.t1)
            values.append(value(frame))
        return times, values

    def placed(self, width_s: Callable[[str], float], *, without: Set[str] = frozenset()) -> list[PlacedText]:
        """Lay out the lines in alternating rows, each cut where the next line of its row starts.

        Args:
            width_s: Returns the width of a text, in seconds of the time axis.
            without: Lines with one of these characters are left out.
        """
        placed, ends, apart_s = [], [self.span_s[1]] * WORD_ROWS, width_s("n")
        for i, line in reversed(list(enumerate(line for line in self.lines if without.isdisjoint(line.text)))):
            row = i % WORD_ROWS
            text = _cut(line.text, ends[row] - line.t0, width_s)
            ends[row] = min(ends[row], line.t0 - apart_s)
            if text:
                placed.append(PlacedText(t0=line.t0, row=row, text=text))
        return placed[::-1]


def _look(frame: EmotionFrame) -> tuple[str, bool]:
    return frame.category, frame.hold is not None


def _cut(text: str, room_s: float, width_s: Callable[[str], float]) -> str:
    """Return as many whole words of a text as fit, without spaces as many characters; empty where that says nothing."""
    ends = [n for n in range(len(text) - 1, _MIN_CHARACTERS - 1, -1) if " " not in text or text[n] == " "]
    candidates: Sequence[str] = [text, *(f"{text[:n].rstrip()}…" for n in ends)]
    low, high = 0, len(candidates)
    while low < high:  # the first one that fits: they grow shorter
        middle = (low + high) // 2
        if width_s(candidates[middle]) <= room_s:
            high = middle
        else:
            low = middle + 1
    return candidates[low] if low < len(candidates) else ""


def check_picture(path: Path, option: str) -> None:
    """Check that a picture can be drawn, before there is anything to draw.

    Args:
        path: Where it is written; its suffix names the format.
        option: Option of the command line, for the error.

    Raises:
        SettingError: matplotlib is not installed, or does not know the format.
    """
    try:
        import matplotlib as mpl  # noqa: F401, PLC0415 - slow to import, wanted by few
        from matplotlib.backend_bases import FigureCanvasBase  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise SettingError(f"{option} needs matplotlib: pip install 'stream-mer[offline]'") from error
    if _format_of(path) not in FigureCanvasBase.get_supported_filetypes():
        raise SettingError(f"cannot draw {path}: no picture ends so; name it .png, .svg or .pdf")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture; an older file stays until the new one is complete.

    Raises:
        SettingError: The file cannot be written.
    """
    with replacing(path) as file:
        try:
            figure.savefig(file, format=_format_of(path))
        except ValueError as error:  # such as more pixels than there can be
            raise SettingError(f"cannot draw {path}: {error}") from error


def _format_of(path: Path) -> str:
    return path.suffix.removeprefix(".").lower() or "png"


def draw_timeline(timeline: Timeline, path: Path, title: str) -> None:
    """Draw the events of a stream as a picture.

    Raises:
        SettingError: matplotlib is not installed or does not know the format, or the file cannot be written.
    """
    check_picture(path, "--plot")
    from matplotlib import rc_context  # noqa: PLC0415 - slow to import, wanted by --plot alone

    fonts, missing = _fonts_for(title + "".join(line.text for line in timeline.lines))
    if missing:
        scripts = _scripts_of(missing)
        log.warning(
            "%s: no installed font has %s: install one, such as Noto Sans; lyrics in it are left out", path, scripts
        )
        title = "".join(_MISSING if char in missing else char for char in title)
    # Names and lyrics are plain text: a dollar sign does not start a formula.
    look: dict[Any, Any] = {
        "font.family": fonts, "text.parse_math": False, "text.color": _INK, "xtick.color": _QUIET,
        "ytick.color": _QUIET, "axes.labelcolor": _QUIET, "axes.facecolor": _GROUND, "axes.edgecolor": "#262a35",
    }  # fmt: skip
    with rc_context(look), warnings.catch_warnings():
        # Of what no font has, one warning says enough.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        save_figure(_figure(timeline, title, missing), path)


def _fonts_for(text: str) -> tuple[list[str], frozenset[str]]:
    """Return installed fonts for the characters of a text, preferred ones first, and the characters that none has."""
    from matplotlib import font_manager  # noqa: PLC0415 - as in draw_timeline

    regular: dict[str, str] = {}
    for entry in font_manager.fontManager.ttflist:
        is_drawn = _PLACEHOLDERS not in entry.name.replace(" ", "")
        if is_drawn and entry.style == "normal" and entry.weight in (400, "normal", "regular", "book"):
            regular.setdefault(entry.name, entry.fname)
    fonts = [font for font in _FONTS if font in regular]
    missing = {char for char in text if char.isprintable() and not char.isspace()}
    for font in fonts:
        missing -= _characters_of(regular[font])
    for font in sorted(regular.keys() - set(fonts)):
        if not missing:
            break
        found = missing & _characters_of(regular[font])
        if found:
            fonts.append(font)
            missing -= found
    return fonts, frozenset(missing)


@functools.cache
def _characters_of(font_file: str) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font  # noqa: PLC0415 - as in draw_timeline

    try:
        return frozenset(map(chr, FT2Font(font_file).get_charmap()))
    except (OSError, RuntimeError, ValueError):  # a font that FreeType cannot read
        return frozenset()


def _scripts_of(characters: Iterable[str]) -> str:
    """Return the names of scripts, such as ``Thai and Hangul``, those of most characters first."""
    names = Counter(unicodedata.name(char, "UNKNOWN").split()[0] for char in characters)
    listed = [{"CJK": "Chinese characters"}.get(name, name.capitalize()) for name, _ in names.most_common()]
    return " and ".join(listed[:_SCRIPTS_SHOWN])


def _figure(timeline: Timeline, title: str, missing: frozenset[str] = frozenset()) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415 - as in draw_timeline

    begin, end = timeline.span_s
    width = min(_WIDEST_IN, max(_WIDTH_IN, _INCHES_PER_S * (end - begin)))
    figure = Figure(figsize=(width, _HEIGHT_IN), layout="constrained", facecolor=_GROUND, dpi=_DPI)
    band, curves, words = figure.subplots(3, 1, sharex=True, height_ratios=(0.5, 5, 1.2))
    band.set_title(title, loc="left")
    band.set(xlim=(begin, end), ylim=(0, 1))
    _draw_band(band, list(timeline.runs()))
    _draw_curves(curves, timeline)
    words.set(yticks=[], ylim=(0, WORD_ROWS))
    words.set_xticks(_round_times(begin, end, most=round(_TIMES_PER_IN * width)))
    words.xaxis.set_major_formatter(_clock)
    figure.draw_without_rendering()  # to know how wide a second is
    _draw_words(words, timeline, missing)
    return figure


def _draw_band(band: Axes, runs: Sequence[Run]) -> None:
    """Draw a stripe for each run of a category, a line above operator's overrides, and the legend."""
    for run in runs:
        band.axvspan(run.t0, run.t1, 0, 0.8, color=CATEGORY_COLOURS[run.category], linewidth=0)
        if run.held:
            band.axvspan(run.t0, run.t1, 0.88, 1, color=_INK, linewidth=0)
    for name, (colour, dash) in _CURVES.items():  # among the curves the legend would hide some
        band.plot([], [], color=colour, linestyle=dash, linewidth=1.8, label=name)
    for category in dict.fromkeys(run.category for run in runs):
        band.plot([], [], color=CATEGORY_COLOURS[category], linewidth=6, label=category)
    if runs:
        band.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=7, frameon=False, fontsize=8, borderpad=0)
    band.set_axis_off()


def _draw_curves(curves: Axes, timeline: Timeline) -> None:
    for name, (colour, dash) in _CURVES.items():
        times, values = timeline.curve(attrgetter(name))
        _, low = timeline.curve(_interval_end(name, 0))
        _, high = timeline.curve(_interval_end(name, 1))
        curves.plot(times, values, color=colour, linestyle=dash, linewidth=1.8)
        curves.fill_between(times, low, high, color=colour, alpha=0.1, linewidth=0)
    for cue in timeline.cues:
        colour = CATEGORY_COLOURS[cue.after]
        curves.axvline(cue.t, color=colour, linewidth=1, alpha=0.7)
        curves.plot([cue.t], [-1], marker="^", markersize=9, color=colour, clip_on=False)
    curves.axhline(0, color=_QUIET, linewidth=0.5)
    curves.set(ylim=(-1, 1), yticks=(-1, 0, 1))


def _interval_end(name: str, end: int) -> Callable[[EmotionFrame], float]:
    """Return a reader of the low (0) or high (1) end of an interval."""
    return lambda frame: float(getattr(frame.raw.interval, name)[end])


def _draw_words(words: Axes, timeline: Timeline, missing: frozenset[str]) -> None:
    def width_s(text: str) -> float:
        """Return the width of a text, in seconds."""
        drawn = words.text(0, 0, text, fontsize=_WORDS_PT)
        pixels = drawn.get_window_extent()
        drawn.remove()
        left, right = (words.transData.inverted().transform((x, 0))[0] for x in (pixels.x0, pixels.x1))
        return float(right - left)

    for one in timeline.placed(width_s, without=missing):
        words.text(one.t0, WORD_ROWS - one.row - 0.5, one.text, fontsize=_WORDS_PT, va="center", clip_on=True)


def _round_times(begin_s: float, end_s: float, *, most: int) -> list[float]:
    """Return round times, at most ``most`` of them or so."""
    step_s = next((step for step in _STEPS_S if end_s - begin_s <= step * most), _STEPS_S[-1])
    first, last = math.ceil(begin_s / step_s), math.floor(end_s / step_s)
    return [float(step_s * i) for i in range(first, last + 1)]


def _clock(t_s: float, _position: float = 0.0) -> str:
    minutes, seconds = divmod(round(t_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
