"""Which passages may be sung: from probabilities to times."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from stream_mer.lyrics import vocals
from stream_mer.lyrics.gate import LevelGate, ShippedGate, VoiceGate, VoiceGateSettings, find_passages, is_inside
from stream_mer.lyrics.transcript import Passage
from stream_mer.sources.file import FileSource
from stream_mer.types import LyricWord, Samples

STEPS_PER_S = 62.5
PLAIN = VoiceGateSettings(smooth_s=0.016, margin_s=0.0)


def voice(*parts: tuple[float, float]) -> NDArray[np.float32]:
    """Probabilities from pairs of seconds and probability."""
    return np.concatenate([np.full(round(s * STEPS_PER_S), p, np.float32) for s, p in parts])


def found(probabilities: NDArray[np.float32], settings: VoiceGateSettings = PLAIN) -> list[tuple[float, float]]:
    passages = find_passages(probabilities, STEPS_PER_S, settings)
    return [(pytest.approx(one.t0, abs=0.02), pytest.approx(one.t1, abs=0.02)) for one in passages]


def test_a_voice_is_a_passage() -> None:
    assert found(voice((4.0, 0.0), (3.0, 0.9), (5.0, 0.0))) == [(4.0, 7.0)]


def test_no_voice_is_none() -> None:
    assert found(voice((4.0, 0.2))) == []


def test_a_voice_that_began_lasts_while_it_is_likely_at_all() -> None:
    assert found(voice((2.0, 0.3), (1.0, 0.8), (2.0, 0.3), (2.0, 0.1))) == [(0.0, 5.0)]


def test_what_never_is_likely_is_none() -> None:
    assert found(voice((5.0, 0.45), (2.0, 0.1))) == []


def test_breaths_are_bridged_and_solos_are_not() -> None:
    sung = voice((2.0, 0.9), (0.8, 0.0), (2.0, 0.9), (3.0, 0.0), (2.0, 0.9))
    assert found(sung) == [(0.0, 4.8), (7.8, 9.8)]


def test_a_blip_does_not_count() -> None:
    assert found(voice((2.0, 0.0), (0.2, 1.0), (2.0, 0.0))) == []


def test_passages_have_margins_within_the_audio() -> None:
    sung = voice((0.2, 0.0), (2.0, 0.9), (2.0, 0.0), (1.0, 0.9))
    assert found(sung, VoiceGateSettings(smooth_s=0.016, margin_s=0.5)) == [(0.0, 2.7), (3.7, 5.2)]


def test_one_wrong_step_neither_opens_nor_closes() -> None:
    sung = voice((2.0, 0.9), (0.064, 0.0), (2.0, 0.9), (3.0, 0.0), (0.064, 1.0), (3.0, 0.0))
    passages = found(sung, VoiceGateSettings(margin_s=0.0))
    assert len(passages) == 1


@given(arrays(np.float32, st.integers(0, 300), elements=st.floats(0, 1, width=32)))
@settings(max_examples=60, deadline=None)
def test_passages_are_in_order_apart_and_within_the_audio(probabilities: NDArray[np.float32]) -> None:
    passages = find_passages(probabilities, STEPS_PER_S, VoiceGateSettings())
    times = [t for one in passages for t in one]
    assert times == sorted(set(times))
    assert not times or (times[0] >= 0 and times[-1] <= len(probabilities) / STEPS_PER_S)


def tone(duration_s: float, level: float = 0.5) -> Samples:
    t = np.arange(round(16_000 * duration_s)) / 16_000
    return np.asarray(level * np.sin(2 * np.pi * 440 * t), np.float32)


def test_the_level_gate_opens_for_all_that_is_not_silence() -> None:
    assert LevelGate().passages(tone(2.0)) == (Passage(0.0, 2.0),)
    assert LevelGate().passages(tone(2.0, level=0.0005)) == ()
    assert LevelGate().passages(tone(0.0)) == ()


def test_the_voice_gate_asks_its_detector_and_places_what_it_says_in_time() -> None:
    def second_half(samples: Samples) -> NDArray[np.float32]:
        n = len(samples) // 256
        return (np.arange(n) >= n // 2).astype(np.float32)

    [passage] = VoiceGate(second_half, PLAIN).passages(tone(4.0))
    assert passage == (pytest.approx(2.0, abs=0.02), pytest.approx(4.0, abs=0.02))


def test_silence_is_not_shown_to_the_detector() -> None:
    def never(_: Samples) -> NDArray[np.float32]:
        raise AssertionError

    assert VoiceGate(never).passages(np.zeros(16_000, np.float32)) == ()


def test_a_word_is_inside_where_its_middle_is() -> None:
    passages = (Passage(1.0, 2.0), Passage(5.0, 6.0))
    assert is_inside(LyricWord(t0=0.8, t1=1.4, text="in"), passages)
    assert is_inside(LyricWord(t0=5.5, t1=6.5, text="in"), passages)
    assert not is_inside(LyricWord(t0=1.9, t1=3.0, text="out"), passages)
    assert not is_inside(LyricWord(t0=1.0, t1=2.0, text="nowhere"), ())


DEMO = Path(vocals.__file__).parents[1] / "demo"


def test_the_shipped_gate_passes_the_singer_of_the_demo_song_and_not_its_band() -> None:
    chunks = list(FileSource(DEMO / "demo.ogg").chunks())
    passages = ShippedGate().passages(np.concatenate([chunk.samples for chunk in chunks]))
    times = re.findall(r"\[(\d+):(\d+\.\d+)\]", (DEMO / "demo.lrc").read_text(encoding="utf-8"))
    sung_s = [60 * int(minutes) + float(rest) + 1.0 for minutes, rest in times]
    assert len(sung_s) == 16
    for t_s in sung_s:
        assert any(one.t0 <= t_s <= one.t1 for one in passages), t_s
    for t_s in (1.0, 20.5, 42.0):  # the band alone: before the first line and between the passages
        assert not any(one.t0 <= t_s <= one.t1 for one in passages), t_s


def test_without_its_weights_the_gate_knows_silence_alone_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vocals, "SHIPPED", "none")
    gate, band = ShippedGate(), np.full(16_000, 0.1, np.float32)
    assert [gate.passages(samples) for samples in (band, 0 * band, band)] == [((0.0, 1.0),), (), ((0.0, 1.0),)]
    assert [record.message for record in caplog.records if "instrumental" in record.message] == [
        caplog.records[0].message
    ]
