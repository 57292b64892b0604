"""The text files that ``tag`` writes: JSON lines with a summary, CSV tables, and lyrics as SubRip (SRT) and LRC."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import BinaryIO, TextIO

from stream_mer.audio.audio_state import has_emotion
from stream_mer.event_json import Message, MessageEncoder, encode, summary_message
from stream_mer.types import CATEGORIES, CLUSTERS, UNKNOWN, EmotionFrame, LyricLine, StreamEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A whole file in one value.

    Attributes:
        duration_s: End of the last frame, seconds.
        valence: Mean over the frames that claim an emotion, before smoothing, -1..1.
        arousal: Likewise.
        category: The most probable category, or ``UNKNOWN`` where no frame claims an emotion.
        probs: Probability of each category; sums to 1.
        clusters: Probability of each cluster; sums to 1.
        lyrics: The committed lines, one a line.
    """

    duration_s: float
    valence: float
    arousal: float
    category: str
    probs: Mapping[str, float]
    clusters: Mapping[str, float]
    lyrics: str


class FileSummary:
    """Collects the frames and lines of one file; implements ``ports.EventSink``.

    Probabilities are normalised geometric means: a frame that is sure against a category counts as much as one that is
    sure of it.

    Args:
        words_alone: The file has lyrics and no sound. Each frame reads all lyrics so far, so the last frame stands for
            the file.
    """

    def __init__(self, *, words_alone: bool = False) -> None:
        self._words_alone = words_alone
        self._duration_s = 0.0
        self._lines: dict[int, LyricLine] = {}
        self._reset()

    def publish(self, event: StreamEvent) -> None:
        """Take one event."""
        if isinstance(event, EmotionFrame):
            self._add(event)
        elif isinstance(event, LyricLine) and event.committed:
            self._lines[event.segment] = event

    def summary(self) -> Summary:
        """Return the summary of all events so far; without a frame that claims an emotion, it is neutral."""
        n = max(1, self._n_counted)
        probs = _normalised(self._category_logs, n)
        return Summary(
            duration_s=self._duration_s,
            valence=self._valence / n,
            arousal=self._arousal / n,
            category=max(CATEGORIES, key=probs.__getitem__) if self._n_counted else UNKNOWN,
            probs=probs,
            clusters=_normalised(self._cluster_logs, n),
            lyrics="\n".join(self._lines[segment].text for segment in sorted(self._lines)),
        )

    def _reset(self) -> None:
        self._n_counted = 0
        self._valence = self._arousal = 0.0
        self._category_logs = dict.fromkeys(CATEGORIES, 0.0)
        self._cluster_logs = dict.fromkeys(CLUSTERS, 0.0)

    def _add(self, frame: EmotionFrame) -> None:
        self._duration_s = frame.t1
        if not has_emotion(frame.raw):
            return
        if self._words_alone:
            self._reset()
        self._n_counted += 1
        self._valence += frame.raw.valence
        self._arousal += frame.raw.arousal
        for logs, probs in ((self._category_logs, frame.raw.categories), (self._cluster_logs, frame.raw.clusters)):
            for name, probability in probs.items():
                logs[name] += math.log(max(probability, 1e-9))


def _normalised(logs: dict[str, float], n: int) -> dict[str, float]:
    means = {name: total / n for name, total in logs.items()}
    top = max(means.values())
    weights = {name: math.exp(mean - top) for name, mean in means.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


COLUMNS = (
    "stream", "index", "t0", "t1", "valence", "arousal", "raw_valence", "raw_arousal", "category", "confidence",
    *CATEGORIES, *CLUSTERS, "modalities", "text_age_s", "degraded", "audio_state", "audio_state_prob", "lyrics",
)  # fmt: skip

LEAST_S = 0.1
"""Shortest duration of a subtitle, seconds."""

BREAK_S = 0.5
"""LRC has no ends of lines: an empty line marks a pause of this length or more, seconds."""

_TIME_TAG = re.compile(r"([\[<])(?=\d+:\d)")


class JsonlWriter:
    """Writes the ``emotion`` and ``lyrics`` messages of one stream, one a line, as a live client would get them.

    Args:
        file: Open for writing bytes; stays the caller's, who flushes and closes it.
        stream: Name of the stream, such as the file's name.
    """

    def __init__(self, file: BinaryIO, stream: str) -> None:
        self._file = file
        self._stream = stream
        self._encoder = MessageEncoder(stream)

    def publish(self, event: StreamEvent) -> None:
        """Write one event. Raises what the file raises, such as ``BrokenPipeError``."""
        if isinstance(event, (EmotionFrame, LyricLine)):
            self._write(self._encoder.message(event))

    def finish(self, summary: Summary) -> None:
        """Write the summary as the last line of the stream."""
        self._write(summary_message(self._stream, **asdict(summary)))

    def _write(self, message: Message) -> None:
        self._file.write(encode(message) + b"\n")


class CsvWriter:
    """Writes one row a frame; its last column has the lyrics committed since the row before it.

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


def _cell(name: str, value: object) -> object:
    if isinstance(value, int | float) and name != "index":
        return f"{value:.2f}" if name == "text_age_s" else f"{value:.4f}"
    return value


class LyricsWriter:
    """Collects the committed lines of one stream; implements ``ports.EventSink``.

    Args:
        render: ``srt`` or ``lrc``.
        shown: Returns a line as it is to be shown, with words masked for example.
    """

    def __init__(
        self,
        render: Callable[[Sequence[LyricLine]], str],
        shown: Callable[[LyricLine], LyricLine] = lambda line: line,
    ) -> None:
        self._render = render
        self._shown = shown
        self._lines: dict[int, LyricLine] = {}

    def publish(self, event: StreamEvent) -> None:
        """Take one event."""
        if isinstance(event, LyricLine) and event.committed:
            self._lines[event.segment] = self._shown(event)

    def text(self) -> str:
        """Return the content of the file."""
        return self._render([line for line in self._lines.values() if _plain(line.text)])


def srt(lines: Sequence[LyricLine]) -> str:
    """Return SubRip subtitles: numbered, by time, each ending at the latest where the next one starts."""
    blocks = []
    for number, (line, t1) in enumerate(_with_ends(lines), start=1):
        text = _plain(line.text).replace("-->", "→")
        blocks.append(f"{number}\n{_srt_time(line.t0)} --> {_srt_time(t1)}\n{text}\n")
    return "\n".join(blocks)


def lrc(lines: Sequence[LyricLine]) -> str:
    """Return LRC, by time; an empty line ends a line that is followed by a pause."""
    rows = []
    ends = _with_ends(lines)
    followings = [line.t0 for line, _ in ends[1:]] + [math.inf]
    for (line, t1), following in zip(ends, followings, strict=False):  # without lines there is nothing to pair
        # Brackets that would be read as a time are replaced.
        rows.append(f"[{_lrc_time(line.t0)}]{_TIME_TAG.sub('(', _plain(line.text))}")
        if following - t1 >= BREAK_S:
            rows.append(f"[{_lrc_time(t1)}]")
    return "".join(f"{row}\n" for row in rows)


def _with_ends(lines: Sequence[LyricLine]) -> list[tuple[LyricLine, float]]:
    """Return each line with its end: at least ``LEAST_S`` after its start, at most the start of the next one."""
    ordered = sorted(lines, key=lambda line: (line.t0, line.segment))
    ends = [max(line.t1, line.t0 + LEAST_S) for line in ordered]
    for i, (line, following) in enumerate(pairwise(ordered)):
        if following.t0 > line.t0:
            ends[i] = min(ends[i], following.t0)
    return list(zip(ordered, ends, strict=True))


def _plain(text: str) -> str:
    """Return the text in one line, without unprintable characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _srt_time(t_s: float) -> str:
    seconds, milliseconds = divmod(round(1000 * t_s), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d},{milliseconds:03d}"


def _lrc_time(t_s: float) -> str:
    seconds, hundredths = divmod(round(100 * t_s), 100)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes:02d}:{seconds:02d}.{hundredths:02d}"
