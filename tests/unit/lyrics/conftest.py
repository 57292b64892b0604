"""Scripted recognisers and encoders: what they say is decided by the test, when they say it too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_mer.lyrics.transcript import Segment, Transcript
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, LyricWord, Samples


def word(t0: float, t1: float, text: str, probability: float = 0.9) -> LyricWord:
    return LyricWord(t0=t0, t1=t1, text=text, probability=probability)


class OracleRecogniser:
    """Hears a song it knows: the words whose sound lies in the samples it is given.

    The audio carries its own clock: sample ``i`` has the value ``(i + 1) * CLOCK`` (see `clocked_audio`), so the place
    of any buffer in the song can be read off its samples.
    """

    CLOCK = 1e-6

    def __init__(self, song: Iterable[LyricWord], *, language: str = "en") -> None:
        self.song = list(song)
        self.language = language
        self.calls: list[tuple[int, int, str | None]] = []
        self.loads = 0
        self.error: Exception | None = None
        self.load_error: Exception | None = None
        self.gate: threading.Event | None = None
        self.started = threading.Event()

    def load(self) -> None:
        self.loads += 1
        if self.load_error is not None:
            raise self.load_error

    def transcribe(self, samples: Samples, *, language: str | None = None) -> Transcript:
        self.started.set()
        if self.gate is not None:
            assert self.gate.wait(60)
        end = round(float(samples[-1]) / self.CLOCK)
        start = end - len(samples)
        self.calls.append((start, end, language))
        if self.error is not None:
            raise self.error
        t0, t1 = start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ
        heard = tuple(
            word(one.t0 - t0, one.t1 - t0, one.text, one.probability)
            for one in self.song
            if one.t0 >= t0 and one.t1 <= t1
        )
        segments = (Segment(words=heard, avg_logprob=-0.2),) if heard else ()
        return Transcript(segments=segments, language=language or self.language, language_probability=0.95)


class LetterEncoder:
    """Encodes a line by its length: enough to tell lines apart."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.error: Exception | None = None

    def encode(self, text: str) -> NDArray[np.float32]:
        if self.error is not None:
            raise self.error
        self.texts.append(text)
        vector = np.zeros(512, dtype=np.float32)
        vector[len(text) % 512] = 1.0
        return vector


def clocked_audio(start: int, stop: int) -> AudioChunk:
    samples = (np.arange(start + 1, stop + 1, dtype=np.float64) * OracleRecogniser.CLOCK).astype(np.float32)
    return AudioChunk(start_sample=start, samples=samples)


def plain_song(duration_s: float, *, every_s: float = 0.5, rest_every: int = 7, rest_s: float = 1.5) -> list[LyricWord]:
    """A song of distinct words, with a rest after every few of them."""
    song: list[LyricWord] = []
    t = 0.6
    while t + every_s < duration_s - 0.5:
        song.append(word(round(t, 2), round(t + every_s * 0.8, 2), f"w{len(song)}"))
        t += every_s + (rest_s if len(song) % rest_every == 0 else 0.0)
    return song


@pytest.fixture
def make_word() -> Callable[..., LyricWord]:
    return word


@pytest.fixture
def song_of() -> Callable[..., list[LyricWord]]:
    return plain_song


@pytest.fixture
def oracle() -> type[OracleRecogniser]:
    return OracleRecogniser


@pytest.fixture
def audio() -> Callable[[int, int], AudioChunk]:
    return clocked_audio


@pytest.fixture
def encoder() -> LetterEncoder:
    return LetterEncoder()
