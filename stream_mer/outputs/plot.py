"""A tagged file as a picture: valence and arousal, the category, and the words over time."""

from __future__ import annotations

import warnings
from pathlib import Path

from stream_mer.errors import SettingError
from stream_mer.types import CATEGORIES, UNKNOWN, EmotionFrame, LyricLine, StreamEvent

CATEGORY_COLOURS = {
    "happy": "#f2b134",
    "angry": "#d8433c",
    "sad": "#4a6fa5",
    "relaxed": "#57a773",
    UNKNOWN: "#8a8a8a",
}


_FONTS = (
    "DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans",
    "Microsoft YaHei", "Malgun Gothic", "Arial Unicode MS",
)  # fmt: skip
"""Lyrics come in any script: each character is drawn with the first of these that is installed and has it."""


class TimelinePlot:
    """Collects the events of one file and draws them; implements ``ports.EventSink``."""

    def __init__(self) -> None:
        self._frames: list[EmotionFrame] = []
        self._lines: list[LyricLine] = []

    def publish(self, event: StreamEvent) -> None:
        """Take one event."""
        if isinstance(event, EmotionFrame):
            self._frames.append(event)
        elif isinstance(event, LyricLine) and event.committed:
            self._lines.append(event)

    def save(self, path: Path, title: str) -> None:
        """Draw the picture.

        Raises:
            SettingError: matplotlib is not installed, or the file cannot be written.
        """
        try:
            from matplotlib import font_manager, rc_context  # noqa: PLC0415 - slow to import, wanted by --plot alone
        except ImportError as error:
            raise SettingError("--plot needs matplotlib: pip install 'stream-mer[offline]'") from error
        installed = set(font_manager.get_font_names())
        # Names and lyrics are plain text: a dollar sign in them begins no formula.
        fonts = [font for font in _FONTS if font in installed]
        with rc_context({"font.family": fonts, "text.parse_math": False}), warnings.catch_warnings():
            # Where no font has a character, its place is a box; a line on stderr for each would help nobody.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            self._draw(path, title)

    def _draw(self, path: Path, title: str) -> None:
        from matplotlib.figure import Figure  # noqa: PLC0415 - as in save

        figure = Figure(figsize=(12, 6), layout="constrained")
        curves, bands, words = figure.subplots(3, 1, sharex=True, height_ratios=(5, 3, 1))
        times = [frame.t1 for frame in self._frames]
        for name, colour in (("valence", "#2a7fb8"), ("arousal", "#d2691e")):
            curves.plot(times, [getattr(frame, name) for frame in self._frames], color=colour, label=name)
            low = [getattr(frame.raw.interval, name)[0] for frame in self._frames]
            high = [getattr(frame.raw.interval, name)[1] for frame in self._frames]
            curves.fill_between(times, low, high, color=colour, alpha=0.08)
        curves.axhline(0, color="#999999", linewidth=0.5)
        curves.set(ylim=(-1, 1), ylabel="-1 .. 1", title=title)
        curves.legend(loc="upper right", ncols=2)
        shares = [[frame.probs[name] for frame in self._frames] for name in CATEGORIES]
        bands.stackplot(times, shares, labels=CATEGORIES, colors=[CATEGORY_COLOURS[name] for name in CATEGORIES])
        bands.set(ylim=(0, 1), ylabel="category")
        bands.legend(loc="upper right", ncols=len(CATEGORIES))
        for i, line in enumerate(self._lines):
            words.text(line.t0, (i % 4) / 4, line.text, fontsize=6, clip_on=True)
        words.set(yticks=[], xlabel="seconds", ylabel="lyrics", ylim=(-0.1, 1))
        try:
            figure.savefig(path, dpi=150)
        except (OSError, ValueError) as error:
            raise SettingError(f"cannot write the picture {path}: {error}") from error
