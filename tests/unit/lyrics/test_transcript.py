from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.lyrics.transcript import (
    FilterSettings,
    LimitedRecogniser,
    Segment,
    Transcript,
    cut_loops,
    filter_transcript,
    is_believable,
)
from stream_mer.types import LyricWord, Samples

SETTINGS = FilterSettings()


def sung(text: str, *, word_s: float = 0.4, probability: float = 0.9) -> tuple[LyricWord, ...]:
    return tuple(
        LyricWord(t0=index * word_s, t1=(index + 1) * word_s, text=one, probability=probability)
        for index, one in enumerate(text.split())
    )


GOOD = sung("there is a tall thin man")


def test_a_sound_segment_passes_unchanged() -> None:
    transcript = Transcript(segments=(Segment(words=GOOD, avg_logprob=-0.3),), language="en")
    assert filter_transcript(transcript, SETTINGS) == list(GOOD)


@pytest.mark.parametrize(
    "segment",
    [
        Segment(words=()),
        Segment(words=GOOD, no_speech_prob=0.8, avg_logprob=-0.95),
        Segment(words=GOOD, avg_logprob=-1.3),
        Segment(words=GOOD, compression_ratio=3.0),
        Segment(words=sung("there is a tall thin man", probability=0.1)),
        Segment(words=sung("there is a tall thin man", word_s=0.05)),
        Segment(words=sung("there is", word_s=0.0)),
    ],
    ids=["empty", "no voice", "unsure", "loop", "improbable words", "too fast", "no room"],
)
def test_what_has_not_the_structure_of_singing_is_dropped(segment: Segment) -> None:
    assert not is_believable(segment, SETTINGS)


def test_doubt_about_a_voice_does_not_count_against_sure_words() -> None:
    assert is_believable(Segment(words=GOOD, no_speech_prob=0.9, avg_logprob=-0.2), SETTINGS)


def test_a_pass_in_a_language_it_is_unsure_of_holds_no_words() -> None:
    transcript = Transcript(segments=(Segment(words=GOOD),), language="nn", language_probability=0.2)
    assert filter_transcript(transcript, SETTINGS) == []


def test_a_loop_is_cut_after_some_rounds_and_the_rest_of_the_song_stays() -> None:
    heard = sung("oh " + "thank you " * 20 + "and good night")
    kept = " ".join(one.text for one in cut_loops(heard, SETTINGS))
    assert kept == "oh " + "thank you " * SETTINGS.max_repeats + "and good night"


@given(st.lists(st.sampled_from(["la", "da", "di"]), max_size=60))
def test_no_run_of_words_is_left_more_often_than_allowed(names: list[str]) -> None:
    kept = [one.text for one in cut_loops(sung(" ".join(names)), SETTINGS)]
    rounds = SETTINGS.max_repeats + 1
    for size in range(1, SETTINGS.max_repeat_words + 1):
        for start in range(len(kept) - size * rounds + 1):
            assert kept[start : start + size * rounds] != kept[start : start + size] * rounds


class Detects:
    """Implements ``Recogniser`` and ``LanguageDetector``; transcribes nothing."""

    def __init__(self, probabilities: dict[str, float]) -> None:
        self._probabilities = probabilities
        self.asked: list[str | None] = []

    def load(self) -> None:
        """Do nothing."""

    def detect(self, samples: Samples) -> dict[str, float]:
        del samples
        return self._probabilities

    def transcribe(self, samples: Samples, *, language: str | None = None) -> Transcript:
        del samples
        self.asked.append(language)
        return Transcript(language=language or "cy")


SILENCE = np.zeros(16_000, np.float32)


def test_the_likeliest_of_the_languages_is_chosen_and_is_as_likely_as_among_them() -> None:
    inner = Detects({"cy": 0.6, "de": 0.3, "en": 0.1})
    transcript = LimitedRecogniser(inner, ["en", "de"]).transcribe(SILENCE)
    assert inner.asked == ["de"]
    assert transcript.language == "de"
    assert transcript.language_probability == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("probabilities", "language", "asked"),
    [
        pytest.param({"cy": 1.0}, "fr", "fr", id="given"),
        pytest.param({}, None, None, id="a model of one language"),
    ],
)
def test_a_language_that_is_given_or_cannot_be_detected_is_left(probabilities, language, asked) -> None:
    inner = Detects(probabilities)
    LimitedRecogniser(inner, ["en", "de"]).transcribe(SILENCE, language=language)
    assert inner.asked == [asked]


def test_where_none_of_the_languages_is_likely_the_transcript_is_not_believed() -> None:
    transcript = LimitedRecogniser(Detects({"cy": 1.0}), ["en", "de"]).transcribe(SILENCE)
    assert (transcript.language, transcript.language_probability) == ("en", 0.0)
