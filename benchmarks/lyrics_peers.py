"""What to compare streamed lyrics with: fixed windows, as a newcomer would build it, and the whole song at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks.word_scoring import HeardWord
from stream_mer.lyrics.transcript import FilterSettings, filter_transcript
from stream_mer.lyrics.whisper import WhisperRecogniser, find_weights
from stream_mer.types import SAMPLE_RATE_HZ, Samples

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

WINDOW_S = 5.0

WINDOWS_NOTE = (
    f"5 s windows: faster-whisper's transcribe() with its defaults on windows of {WINDOW_S:g} s side by side, same "
    "weights, int8 and threads: beam 5, best of 5, temperatures 0 to 1 as fall-back, language detected in each window, "
    "no voice detector, no word times (spread evenly over a segment here), no filters of ours. A window's words are "
    "settled at its end, with compute time when its decode and those before it are done."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowWords:
    """What one window gave, and when: at its end, and when its decode was done, seconds of the song."""

    words: tuple[HeardWord, ...]
    end_s: float
    ready_s: float


def open_plain(model: str, *, cpu_threads: int) -> WhisperModel:
    """Open the same weights as faster-whisper does by itself.

    Raises:
        LyricsError: They are missing or damaged.
    """
    from faster_whisper import WhisperModel  # noqa: PLC0415 - heavy; only when the benchmark runs

    return WhisperModel(str(find_weights(model)), device="cpu", compute_type="int8", cpu_threads=cpu_threads)


def hear_windows(
    model: Any, samples: Samples, *, window_s: float = WINDOW_S, clock: Callable[[], float] = time.perf_counter
) -> list[WindowWords]:
    """Recognise window by window with default options; a decode begins when its window and the decode before are done.

    Args:
        model: faster-whisper's ``WhisperModel``.
        samples: The song, mono, 16 kHz.
        window_s: Length of a window.
        clock: Seconds, for how long decodes take.
    """
    length, heard, ready_s = round(window_s * SAMPLE_RATE_HZ), [], 0.0
    for start in range(0, len(samples), length):
        window = samples[start : start + length]
        started = clock()
        segments = list(model.transcribe(window)[0])
        took_s = clock() - started
        end_s = (start + len(window)) / SAMPLE_RATE_HZ
        ready_s = max(end_s, ready_s) + took_s
        words = tuple(word for one in segments for word in _spread(one, start / SAMPLE_RATE_HZ))
        heard.append(WindowWords(words=words, end_s=end_s, ready_s=ready_s))
    return heard


def words_at(windows: Sequence[WindowWords], when: Callable[[WindowWords], float]) -> list[HeardWord]:
    """All words, each shown and settled ``when`` its window was."""
    return [
        replace(word, shown_s=when(window), settled_s=when(window), line_s=when(window))
        for window in windows
        for word in window.words
    ]


def hear_whole(recogniser: WhisperRecogniser, samples: Samples, filters: FilterSettings) -> list[HeardWord]:
    """Recognise a song in one go with our own recogniser and filters: what no live listener can have."""
    heard = filter_transcript(recogniser.transcribe(samples), filters)
    return [HeardWord(text=word.text, t0=word.t0, t1=word.t1) for word in heard]


def _spread(segment: Any, offset_s: float) -> Iterator[HeardWord]:
    texts = str(segment.text).split()
    for i, text in enumerate(texts):
        t0, t1 = (segment.start + (segment.end - segment.start) * share / len(texts) for share in (i, i + 1))
        yield HeardWord(text=text, t0=offset_s + t0, t1=offset_s + t1)
