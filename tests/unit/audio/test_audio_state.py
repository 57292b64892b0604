"""What sounds, what does not, and what is said where nothing does."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_mer.audio.audio_state import REASONS, AudioStateDecider, has_emotion, is_silent, without_emotion
from stream_mer.audio.yamnet import Yamnet, YamnetPatches
from stream_mer.cli.diagnose import demo_song
from stream_mer.types import CATEGORIES, CLUSTERS, EmotionEstimate, Interval, Samples, Window

ESTIMATE = EmotionEstimate(
    valence=0.5,
    arousal=-0.2,
    interval=Interval(valence=(0.1, 0.9), arousal=(-0.6, 0.2), level=0.8),
    categories=dict(zip(CATEGORIES, (0.7, 0.1, 0.1, 0.1), strict=True)),
    clusters=dict(zip(CLUSTERS, (0.6, 0.1, 0.1, 0.1, 0.1), strict=True)),
    modalities=("audio", "text"),
    text_age_s=3.0,
    degraded=("lyrics_lagging",),
    features_ms=5.0,
    model_ms=2.0,
)


def state(samples: Samples) -> str:
    return "silence" if is_silent(Window(index=0, start_sample=0, samples=samples)) else "sound"


def silence(duration_s: float) -> Samples:
    return np.zeros(round(16_000 * duration_s), np.float32)


def noise(duration_s: float, dbfs: float) -> Samples:
    drawn = np.random.default_rng(0).standard_normal(round(16_000 * duration_s))
    return (10 ** (dbfs / 20) * drawn).astype(np.float32)


@pytest.mark.parametrize(("dbfs", "expected"), [(-20, "sound"), (-57, "sound"), (-63, "silence"), (-100, "silence")])
def test_what_is_above_60_decibels_below_full_scale_is_sound(dbfs: float, expected: str) -> None:
    assert state(noise(3.0, dbfs)) == expected


@pytest.mark.parametrize(("rest_s", "expected"), [(0.5, "sound"), (0.9, "sound"), (1.0, "silence"), (9.0, "silence")])
def test_a_rest_within_music_is_no_silence(rest_s: float, expected: str) -> None:
    assert state(np.concatenate([noise(3.0, -20), silence(rest_s)])) == expected


def test_a_single_beat_in_the_newest_second_is_sound() -> None:
    assert state(np.concatenate([silence(0.4), noise(0.02, -40), silence(0.5)])) == "sound"


def test_a_constant_offset_is_no_sound() -> None:
    assert state(silence(3.0) + np.float32(0.25)) == "silence"


@pytest.mark.parametrize("length", [0, 1, 5, 799, 800, 801])
def test_windows_of_any_length_have_a_state(length: int) -> None:
    assert state(np.zeros(length, np.float32)) == "silence"
    if length > 1:
        assert state(noise(1.0, -20)[:length]) == "sound"


def test_in_silence_no_emotion_is_claimed_and_it_is_said() -> None:
    told = without_emotion(ESTIMATE, "silence")
    assert (told.valence, told.arousal) == (0, 0)
    assert told.interval == Interval(valence=(-1, 1), arousal=(-1, 1), level=0.8)
    assert told.categories == pytest.approx(dict.fromkeys(CATEGORIES, 0.25))
    assert told.clusters == pytest.approx(dict.fromkeys(CLUSTERS, 0.2))
    assert (told.modalities, told.text_age_s) == (("audio",), None)
    assert told.degraded == ("lyrics_lagging", "silent")
    assert (told.features_ms, told.model_ms) == (5.0, 2.0)


def test_what_claims_no_emotion_does_not_count() -> None:
    assert has_emotion(ESTIMATE)
    assert not any(has_emotion(without_emotion(ESTIMATE, one)) for one in REASONS)


# --- music, speech, noise -------------------------------------------------------------------------------------------


def states(*parts: Samples) -> list[str]:
    """The state after each patch of the parts, heard one after the other."""
    decider, found = AudioStateDecider(), []
    for scores in Yamnet().run(YamnetPatches().feed(np.concatenate(parts))).scores:
        decider.feed(scores[None])
        assert decider.state is not None
        found.append(decider.state.state)
    return found


@pytest.mark.parametrize("dbfs", [-10, -20, -40, -55])
def test_white_noise_at_any_level_is_noise(dbfs: float) -> None:
    assert set(states(noise(8.0, dbfs))[3:]) == {"noise"}


def test_a_tone_is_noise() -> None:
    tone = 0.1 * np.sin(2 * np.pi * 1_000 * np.arange(8 * 16_000) / 16_000)
    assert set(states(tone.astype(np.float32))[3:]) == {"noise"}


@pytest.mark.parametrize("gain_db", [0, -20, -30])
def test_a_song_is_music_however_quiet_it_is(gain_db: float) -> None:
    song = demo_song()[: 30 * 16_000] * np.float32(10 ** (gain_db / 20))
    assert set(states(song)[3:]) == {"music"}


def test_music_ends_with_it_and_begins_with_it_again() -> None:
    song = demo_song()[: 10 * 16_000]
    found = states(song, noise(8.0, -30), song)
    assert found[9] == "music"
    assert set(found[13:18]) == {"noise"}
    assert set(found[21:]) == {"music"}


def test_before_the_first_patch_nothing_is_known() -> None:
    decider = AudioStateDecider()
    decider.feed(np.zeros((0, 521), np.float32))
    assert decider.state is None


def test_patches_at_once_give_the_state_of_one_after_the_other() -> None:
    scores = (3 * np.random.default_rng(0).standard_normal((20, 521)) - 4).astype(np.float32)
    at_once, one_by_one = AudioStateDecider(), AudioStateDecider()
    at_once.feed(scores)
    for row in scores:
        one_by_one.feed(row[None])
    assert at_once.state == one_by_one.state


def test_speech_over_music_is_music_and_a_short_break_is_no_end() -> None:
    decider = AudioStateDecider()
    sung, break_ = _scores({132: 3.0, 0: 2.0}), _scores({0: 2.0})
    for scores in [sung] * 6 + [break_] + [sung] * 2:
        decider.feed(scores)
        assert decider.state is not None
        assert decider.state.state == "music"
    decider.feed(np.repeat(break_, 6, axis=0))
    assert decider.state.state == "speech"
    assert 0.5 < decider.state.prob <= 1


def _scores(of_classes: dict[int, float]) -> NDArray[np.float32]:
    scores = np.full((1, 521), -9.0, np.float32)
    for index, score in of_classes.items():
        scores[0, index] = score
    return scores
