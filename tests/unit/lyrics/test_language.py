from __future__ import annotations

from stream_mer.lyrics.language import LanguageLock, LanguageSettings

SETTINGS = LanguageSettings(votes=2, recheck_s=60.0, max_failed=3)


def hear(lock: LanguageLock, now_s: float, language: str, probability: float = 0.9, *, believable: bool = True) -> None:
    detected = lock.wanted(now_s) is None
    lock.heard(now_s, language=language, probability=probability, detected=detected, believable=believable)


def test_a_fixed_language_is_told_from_the_start_and_stays() -> None:
    lock = LanguageLock(LanguageSettings(fixed="zh"))
    hear(lock, 2.0, "zh", believable=False)
    assert lock.wanted(1000.0) == "zh"


def test_it_settles_after_enough_sure_votes_in_a_row() -> None:
    lock = LanguageLock(SETTINGS)
    hear(lock, 2.0, "en")
    hear(lock, 4.0, "ja")
    assert lock.wanted(6.0) is None
    hear(lock, 6.0, "ja")
    assert lock.settled == lock.wanted(8.0) == "ja"


def test_unsure_passes_and_passes_without_words_do_not_vote() -> None:
    lock = LanguageLock(SETTINGS)
    for t in range(10):
        hear(lock, float(t), "en", probability=0.4)
        hear(lock, float(t), "nn", believable=False)
    assert lock.settled == ""


def test_a_settled_language_is_checked_again_and_can_change() -> None:
    lock = LanguageLock(SETTINGS)
    hear(lock, 2.0, "en")
    hear(lock, 4.0, "en")
    assert lock.wanted(63.0) == "en"
    assert lock.wanted(64.0) is None
    hear(lock, 64.0, "en")
    assert lock.wanted(66.0) == "en"
    hear(lock, 124.0, "es")
    assert lock.wanted(126.0) is None
    hear(lock, 126.0, "es")
    assert lock.wanted(128.0) == "es"


def test_passes_that_hear_nothing_believable_open_it_again() -> None:
    lock = LanguageLock(SETTINGS)
    hear(lock, 2.0, "en")
    hear(lock, 4.0, "en")
    for t in (6.0, 8.0):
        hear(lock, t, "en", believable=False)
    assert lock.settled == "en"
    hear(lock, 10.0, "en", believable=False)
    assert lock.wanted(12.0) is None
