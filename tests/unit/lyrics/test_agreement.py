from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.lyrics.agreement import AgreementSettings, LocalAgreement, normalise
from stream_mer.types import LyricWord

STRICT = AgreementSettings(bridge_words=0, sure_probability=2.0)


def words(text: str, *, start_s: float = 0.0, step_s: float = 0.5) -> list[LyricWord]:
    return [
        LyricWord(t0=start_s + index * step_s, t1=start_s + (index + 0.8) * step_s, text=one)
        for index, one in enumerate(text.split())
    ]


def text(found: list[LyricWord]) -> str:
    return " ".join(one.text for one in found)


def test_two_passes_commit_their_common_prefix_in_the_newer_spelling() -> None:
    agreement = LocalAgreement(STRICT)
    assert agreement.update(words("all alone buy the cable")) == []
    assert text(list(agreement.pending)) == "all alone buy the cable"
    assert text(agreement.update(words("All, alone by the table"))) == "All, alone"
    assert text(list(agreement.pending)) == "by the table"
    assert agreement.committed_until_s == pytest.approx(0.9)


def test_committed_words_are_skipped_in_later_passes() -> None:
    agreement = LocalAgreement(STRICT)
    for _ in range(2):
        committed = agreement.update(words("one two three"))
    assert text(committed) == "one two three"
    assert agreement.update(words("one two three four")) == []
    assert text(agreement.update(words("three four five", start_s=1.0))) == "four"


def test_a_committed_tail_said_again_with_later_times_is_not_committed_twice() -> None:
    agreement = LocalAgreement(STRICT)
    agreement.update(words("one two three"))
    agreement.update(words("one two three"))
    shifted = words("two three four five", start_s=0.75)
    agreement.update(shifted)
    assert text(agreement.update(shifted)) == "four five"


def test_a_repeated_word_that_was_really_sung_twice_stays() -> None:
    agreement = LocalAgreement(STRICT)
    agreement.update(words("la la"))
    assert text(agreement.update(words("la la"))) == "la la"
    agreement.update(words("la la la la"))
    assert text(agreement.update(words("la la la la"))) == "la la"


def test_a_word_that_both_passes_keep_differing_on_is_bridged_by_what_follows() -> None:
    agreement = LocalAgreement(AgreementSettings(bridge_words=2))
    agreement.update(words("good monkey likes the moon"))
    assert text(agreement.update(words("code monkey likes the sun"))) == "code monkey likes the"


def test_one_chance_agreement_does_not_bridge() -> None:
    agreement = LocalAgreement(AgreementSettings(bridge_words=2))
    agreement.update(words("good monkey tells me"))
    assert agreement.update(words("code monkey likes the")) == []


def test_a_sure_word_with_enough_audio_after_it_needs_no_second_pass() -> None:
    agreement = LocalAgreement(AgreementSettings(sure_probability=0.8, sure_context_s=1.0))
    heard = [LyricWord(t0=t, t1=t + 0.4, text=name, probability=p) for t, name, p in
             ((0.0, "sure", 0.9), (0.5, "too", 0.9), (1.0, "doubt", 0.3), (1.5, "late", 0.9))]  # fmt: skip
    assert text(agreement.update(heard, audio_until_s=2.5)) == "sure too"


def test_words_about_to_leave_the_buffer_are_committed_without_agreement() -> None:
    agreement = LocalAgreement(STRICT)
    agreement.update(words("never to be agreed"))
    assert text(agreement.commit_before(1.0)) == "never to"
    assert text(list(agreement.pending)) == "be agreed"


def test_case_punctuation_and_width_do_not_count_but_letters_of_any_script_do() -> None:
    assert normalise("Don’t!") == normalise("don't") == "dont"
    assert normalise("ＡＢＣ") == "abc"
    assert normalise("我们，") == "我们"
    assert normalise("...") == "..."


timed_pass = st.lists(
    st.tuples(
        st.sampled_from(["la", "love", "me", "do", "Do,", "you"]),
        st.floats(0.0, 20.0, allow_nan=False),
        st.floats(0.0, 1.5, allow_nan=False),
        st.floats(0.0, 1.0),
    ),
    max_size=8,
).map(
    lambda rows: [LyricWord(t0=t, t1=t + d, text=w, probability=p) for w, t, d, p in sorted(rows, key=lambda r: r[1])]
)


@given(st.lists(timed_pass, max_size=8), st.integers(0, 3), st.sampled_from([0.5, 2.0]))
def test_what_is_committed_only_grows_and_never_runs_backwards(
    passes: list[list[LyricWord]], bridge_words: int, sure: float
) -> None:
    agreement = LocalAgreement(AgreementSettings(bridge_words=bridge_words, sure_probability=sure))
    seen: list[LyricWord] = []
    until = float("-inf")
    for one in passes:
        before = list(seen)
        seen.extend(agreement.update(one, audio_until_s=25.0))
        assert seen[: len(before)] == before
        assert agreement.committed_until_s >= until
        until = agreement.committed_until_s
        assert all((w.t0 + w.t1) / 2 > until for w in agreement.pending)
    assert all(a.t0 <= b.t0 for a, b in pairwise(seen))
    assert all(w.t1 >= w.t0 for w in seen)


@given(timed_pass)
def test_a_pass_that_is_borne_out_word_for_word_is_committed_whole(one: list[LyricWord]) -> None:
    agreement = LocalAgreement(STRICT)
    agreement.update(one)
    assert [w.text for w in agreement.update(one)] == [w.text for w in one]
    assert agreement.pending == ()
