import pytest

from benchmarks.word_scoring import (
    HeardWord,
    PublishedLine,
    SungWord,
    WordErrors,
    count_errors,
    count_invented,
    final_words,
    find_quiet,
    measure_lags,
    normalise,
    percentile,
)
from stream_mer.types import LyricLine, LyricWord


def _published(
    at_s: float | None,
    words: list[tuple[float, str]],
    *,
    segment: int = 0,
    revision: int = 0,
    committed: bool = False,
    settled: int = 0,
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
        settled_words=len(timed) if committed else settled,
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
        _published(5.0, [(1.0, "code"), (2.0, "donkey")]),
        _published(7.5, [(1.0, "code"), (2.0, "monkey")], revision=1, settled=1),
        _published(10.0, [(1.0, "code"), (2.0, "Monkey!")], revision=2, settled=2),
        _published(15.0, [(1.0, "code"), (2.0, "Monkey!")], revision=3, committed=True),
        _published(None, [(16.0, "get")], segment=1, committed=True),
        _published(17.0, [(17.0, "never committed")], segment=2),
    ]
    heard = [(word.text, word.shown_s, word.settled_s, word.line_s) for word in final_words(published)]
    assert heard == [("code", 5.0, 7.5, 15.0), ("Monkey!", 10.0, 10.0, 15.0), ("get", None, None, None)]


def test_lags_run_from_the_end_of_the_sung_word() -> None:
    published = [
        _published(5.0, [(1.0, "Code,")]),
        _published(7.0, [(1.0, "Code,")], settled=1, revision=1),
        _published(10.0, [(1.0, "Code,"), (2.0, "donkey"), (3.0, "up")], revision=2, committed=True),
        _published(None, [(20.0, "late")], segment=1, committed=True),
    ]
    lags = measure_lags(_sung((1.0, "code"), (2.0, "monkey"), (3.0, "up"), (20.0, "late")), final_words(published))
    assert lags.shown_s == pytest.approx([5.0 - 1.5, 10.0 - 3.5])
    assert lags.settled_s == pytest.approx([7.0 - 1.5, 10.0 - 3.5])
    assert lags.line_s == pytest.approx([10.0 - 1.5, 10.0 - 3.5])


def test_words_where_nobody_sings_are_invented() -> None:
    sung = _sung((10.0, "code"), (13.0, "monkey"), (30.0, "up"))
    quiet = find_quiet(sung, 34.0)
    assert quiet == [(0.0, 9.0), (14.5, 29.0)]
    assert find_quiet(sung, 40.0)[-1] == (31.5, 40.0)
    heard = [
        HeardWord(text="Thanks", t0=2.0, t1=2.4),
        HeardWord(text="code", t0=8.9, t1=10.4),
        HeardWord(text="solo", t0=14.0, t1=15.1),
        HeardWord(text="held", t0=29.0, t1=30.0),
        HeardWord(text="anywhere"),
    ]
    assert count_invented(heard, quiet) == 2


def test_an_equal_word_elsewhere_in_the_song_tells_nothing_of_the_lag() -> None:
    published = [_published(60.0, [(50.0, "love")], committed=True)]
    assert measure_lags(_sung((1.0, "love")), final_words(published)).shown_s == []


def test_nothing_heard_gives_no_lags_and_no_percentile() -> None:
    lags = measure_lags(_sung((1.0, "code")), [])
    assert lags.shown_s == []
    assert percentile(lags.shown_s, 50) is None
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0
