"""Levels every 20 ms, measured while somebody wants them."""

import numpy as np
import pytest

from stream_mer.audio.level_meter import PASSAGE_LENGTH, LevelMeter, OnsetStream
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk


def clicks(duration_s: float, every_s: float = 0.5) -> np.ndarray:
    """Decaying tones on a quiet hum."""
    t = np.arange(int(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    since = t % every_s
    return (0.01 * np.sin(2 * np.pi * 110 * t) + 0.5 * np.exp(-since / 0.04) * np.sin(2 * np.pi * 880 * since)).astype(
        np.float32
    )


def feed(meter: LevelMeter, samples: np.ndarray, cuts: list[int], start: int = 0) -> list:
    levels, position = [], 0
    for stop in [*cuts, len(samples)]:
        levels += meter.feed(AudioChunk(start_sample=start + position, samples=samples[position:stop]))
        position = stop
    return levels


def test_there_are_fifty_a_second_however_the_audio_is_cut():
    audio = clicks(2.0)
    whole = feed(LevelMeter(wanted=lambda: True), audio, [])
    pieces = feed(LevelMeter(wanted=lambda: True), audio, [7, 500, 501, 9_000, 30_001])
    assert len(whole) == 100
    assert [level.t for level in whole] == pytest.approx([0.02 * (i + 1) for i in range(100)])
    assert [level.t for level in pieces] == [level.t for level in whole]
    for name in ("rms_db", "peak_db", "onset"):
        values = [[getattr(level, name) for level in levels] for levels in (pieces, whole)]
        np.testing.assert_allclose(*values, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("interval_s", [0.0, 0.02, 0.1, 10.0])
def test_blocks_are_measured_together_where_levels_are_read_seldom(interval_s):
    audio, meter = clicks(1.0), LevelMeter(wanted=lambda: True, interval_s=lambda: interval_s)
    found = [meter.feed(AudioChunk(start_sample=at, samples=audio[at : at + 320])) for at in range(0, len(audio), 320)]
    together = {0.0: 1, 0.02: 1, 0.1: 5, 10.0: 10}[interval_s]
    assert [len(levels) for levels in found] == ([0] * (together - 1) + [together]) * (50 // together)
    whole = feed(LevelMeter(wanted=lambda: True), audio, [])
    np.testing.assert_allclose(
        [(level.t, level.rms_db, level.peak_db, level.onset) for levels in found for level in levels],
        [(level.t, level.rms_db, level.peak_db, level.onset) for level in whole],
        atol=1e-4,
    )


def test_a_chunk_that_was_measured_for_a_preview_is_not_measured_again():
    meter, chunk = LevelMeter(wanted=lambda: True), AudioChunk(start_sample=320, samples=clicks(0.25))
    assert len(meter.feed(chunk)) == 12
    assert meter.feed(chunk) == []
    assert meter.feed(AudioChunk(start_sample=4_320, samples=clicks(0.25)))[0].t == pytest.approx(0.28)


def test_levels_are_those_of_the_passage():
    t = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    levels = feed(LevelMeter(wanted=lambda: True), np.sin(2 * np.pi * 1000 * t).astype(np.float32), [])
    assert all(level.peak_db == pytest.approx(0.0, abs=0.01) for level in levels)
    assert all(level.rms_db == pytest.approx(-3.01, abs=0.01) for level in levels)
    (silence, *_) = feed(LevelMeter(wanted=lambda: True), np.zeros(PASSAGE_LENGTH, np.float32), [])
    assert (silence.rms_db, silence.peak_db, silence.onset) == (-120.0, -120.0, 0.0)


@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_onsets_stand_out_where_tones_begin_loud_or_quiet(gain):
    onsets = np.array([level.onset for level in feed(LevelMeter(wanted=lambda: True), gain * clicks(4.0), [])])
    begins = np.arange(1, 8) * 25  # half a second is 25 passages
    strongest = [onsets[max(0, at - 1) : at + 3].max() for at in begins]
    between = np.concatenate([onsets[at + 5 : at + 20] for at in begins])
    assert min(strongest) > 0.7
    assert between.max() < 0.3
    assert onsets.min() >= 0.0
    assert onsets.max() <= 1.0


def test_who_comes_into_the_middle_of_steady_music_is_told_of_no_onset():
    t = np.arange(5 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    noise = 0.1 * np.random.default_rng(1).standard_normal(len(t))
    music = (noise + 0.3 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)
    for begin in range(0, len(music) - SAMPLE_RATE_HZ, 4_001):
        levels = feed(LevelMeter(wanted=lambda: True), music[begin : begin + 3_200], [], start=begin)
        assert max(level.onset for level in levels[1:]) < 0.5


def test_faint_hiss_is_no_onset():
    hiss = 1e-4 * np.random.default_rng(1).standard_normal(SAMPLE_RATE_HZ).astype(np.float32)
    onsets = OnsetStream().feed(hiss, PASSAGE_LENGTH)
    assert len(onsets) == 50
    assert max(onsets) < 0.1


def test_nothing_is_computed_while_nobody_wants_it():
    wanted = False
    meter = LevelMeter(wanted=lambda: wanted)
    assert feed(meter, clicks(1.0), []) == []
    wanted = True
    levels = feed(meter, clicks(1.0), [], start=SAMPLE_RATE_HZ)
    assert levels[0].t == pytest.approx(1.02)
    assert len(levels) == 50


def test_a_gap_begins_anew():
    meter = LevelMeter(wanted=lambda: True)
    feed(meter, clicks(0.5)[:100], [])
    levels = feed(meter, clicks(0.5), [], start=3 * SAMPLE_RATE_HZ)
    assert levels[0].t == pytest.approx(3.02)
