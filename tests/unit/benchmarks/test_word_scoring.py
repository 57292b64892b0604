import pytest

from benchmarks.word_scoring import (
    PublishedLine,
    SungWord,
    WordErrors,
    count_errors,
    final_words,
    measure_lags,
    normalise,
    percentile,
)
from stream_mer.types import LyricLine, LyricWord


def _published(
    at_s: float | None, words: list[tuple[float, str]], *, segment: int = 0, revision: int = 0, committed: bool = False
) -> PublishedLine:
    timed = tuple(LyricWord(t0=t0, t1=t0 + 0.4, text=text) for t0, text in words)
    line = LyricLine(
        segment=segment,
        revision=revision,
        t0=timed[0].t0,
        t1=timed[-1].t1,
        text=" ".join(word.text for word in timed),
        committed=committed,
        words=timed,
    )
    return PublishedLine(line=line, at_s=at_s)


def _sung(*words: tuple[float, str]) -> list[SungWord]:
    return [SungWord(t0=t0, t1=t0 + 0.5, text=text) for t0, text in words]


@pytest.mark.parametrize(
    ("text", "words"),
    [("Don't stop,", ["dont", "stop"]), ("Twenty-four!", ["twenty", "four"]), ("…", []), ("É «Là»", ["é", "là"])],
)
def test_case_and_punctuation_do_not_count(text: str, words: list[str]) -> None:
    assert normalise(text) == words


def test_errors_are_counted_and_rated() -> None:
    errors = count_errors(["Code", "Monkey", "get", "up"], ["code", "donkey,", "get", "up", "now"])
    assert errors == WordErrors(words=4, substituted=1, deleted=0, inserted=1)
    assert errors.rate == 0.5
    assert count_errors(["a", "b"], []).rate == 1.0


def test_a_word_counts_from_the_revision_that_first_showed_it_in_its_place() -> None:
    published = [
        _published(5.0, [(1.0, "code")]),
        _published(7.5, [(1.0, "code"), (2.0, "monkey")], revision=1),
        _published(10.0, [(1.0, "code"), (2.0, "Monkey!")], revision=2, committed=True),
        _published(None, [(11.0, "get")], segment=1, committed=True),
        _published(12.0, [(12.0, "never committed")], segment=2),
    ]
    heard = [(word.text, word.shown_s, word.committed_s) for word in final_words(published)]
    assert heard == [("code", 5.0, 10.0), ("Monkey!", 10.0, 10.0), ("get", None, None)]


def test_lags_run_from_the_end_of_the_sung_word() -> None:
    published = [
        _published(5.0, [(1.0, "Code,")]),
        _published(10.0, [(1.0, "Code,"), (2.0, "donkey"), (3.0, "up")], revision=1, committed=True),
        _published(None, [(20.0, "late")], segment=1, committed=True),
    ]
    lags = measure_lags(_sung((1.0, "code"), (2.0, "monkey"), (3.0, "up"), (20.0, "late")), final_words(published))
    assert lags.shown_s == pytest.approx([5.0 - 1.5, 10.0 - 3.5])
    assert lags.committed_s == pytest.approx([10.0 - 1.5, 10.0 - 3.5])


def test_an_equal_word_elsewhere_in_the_song_tells_nothing_of_the_lag() -> None:
    published = [_published(60.0, [(50.0, "love")], committed=True)]
    assert measure_lags(_sung((1.0, "love")), final_words(published)).shown_s == []


def test_nothing_heard_gives_no_lags_and_no_percentile() -> None:
    lags = measure_lags(_sung((1.0, "code")), [])
    assert lags.shown_s == []
    assert percentile(lags.shown_s, 50) is None
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0
