"""Captured blocks become chunks whose clock stays true."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from stream_mer.sources.resampling import MonoResampler
from stream_mer.sources.timeline import FILL_AFTER_S, CapturedBlock, Timeline
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk


def block(start: int, samples: np.ndarray, captured_at: float) -> CapturedBlock:
    return CapturedBlock(start=start, samples=samples.reshape(len(samples), -1), captured_at=captured_at)


def blocks_of(audio: np.ndarray, length: int, *, rate_hz: int = 16_000, at: float = 100.0) -> list[CapturedBlock]:
    """The audio as a device delivers it that began at the time ``at``."""
    return [
        block(start, piece := audio[start : start + length], at + (start + len(piece)) / rate_hz)
        for start in range(0, len(audio), length)
    ]


def timeline(rate_hz: int = 16_000, *, gain: float = 1.0) -> Timeline:
    line = Timeline(gain=gain)
    line.begin(rate_hz)
    return line


def feed(line: Timeline, blocks: Iterable[CapturedBlock]) -> list[AudioChunk]:
    return [chunk for each in blocks for chunk in line.feed(each)]


def lost_s(chunks: list[AudioChunk]) -> float:
    return sum(after.start_sample - before.end_sample for before, after in itertools.pairwise(chunks)) / SAMPLE_RATE_HZ


def noise(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(length).astype(np.float32)


def test_blocks_follow_each_other_without_a_seam() -> None:
    audio = noise(20_000)
    chunks = feed(timeline(), blocks_of(audio, 320))
    assert [c.start_sample for c in chunks] == list(range(0, 20_000, 320))
    np.testing.assert_array_equal(np.concatenate([c.samples for c in chunks]), np.clip(audio, -8, 8))
    assert {c.source for c in chunks} == {"live"}


def test_channels_are_averaged_amplified_and_keep_their_time_of_capture() -> None:
    stereo = np.array([[1.0, 0.0], [0.5, -0.5]], np.float32)
    (chunk,) = feed(timeline(gain=0.5), [block(0, stereo, captured_at=12.5)])
    np.testing.assert_array_equal(chunk.samples, [0.25, 0.0])
    assert chunk.captured_at == 12.5


def test_clipping_of_one_channel_is_told_before_gain_and_mixing_hide_it() -> None:
    audio = np.zeros((320, 2), np.float32)
    audio[100:105, 1] = 1.0
    (chunk,) = feed(timeline(gain=0.1), [block(0, audio, 1.0)])
    assert chunk.clipped_samples == 3  # the third in a row is the first that is called so


def held_back(rate_hz: int, length: int) -> int:
    """How many samples of a run soxr keeps until the run ends."""
    resampler = MonoResampler(rate_hz)
    resampler.feed(np.zeros(length, np.float32))
    return len(resampler.finish())


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
@pytest.mark.parametrize("gap", [1, 2, 441, 500_000])
def test_after_a_gap_audio_is_where_it_belongs_and_the_clock_never_goes_back(rate_hz: int, gap: int) -> None:
    first, second = 10_007, 20_003
    audio = noise(first + second, seed=1)
    blocks = [
        block(0, audio[:first], first / rate_hz),
        block(first + gap, audio[first:], (first + gap + second) / rate_hz),
    ]
    chunks = feed(timeline(rate_hz), blocks)
    for before, after in itertools.pairwise(chunks):
        assert after.start_sample >= before.end_sample
    end = chunks[-1].end_sample + held_back(rate_hz, second)
    # The two runs may each round by one sample, and the place of the second by half of one.
    assert abs(end - (first + gap + second) * 16_000 / rate_hz) <= 2


class Device:
    """Blocks of 20 ms of a device with its own clock; each sample says when it sounded (16 kHz, so nothing is lost).

    A sample that sounded at n / 16000 s of the device's life holds n modulo 8000, as a number between .1 and .9.
    """

    LENGTH = 320

    def __init__(self, *, drift: float = 0.0, jitter_s: float = 0.0, began_at: float = 50.0) -> None:
        self._drift = drift
        self._jitter_s = jitter_s
        self._random = np.random.default_rng(3)
        self._produced = 0  # on the true clock of what sounds
        self._counted = 0  # by the device
        self._began_at = began_at

    @property
    def now(self) -> float:
        return self._began_at + self._produced / SAMPLE_RATE_HZ / (1 + self._drift)

    def run(self, duration_s: float, *, lose: float = 0.0) -> Iterator[CapturedBlock]:
        for _ in range(round(duration_s * 50)):
            truth = np.arange(self._produced, self._produced + self.LENGTH)
            self._produced += self.LENGTH
            if self._random.uniform() >= lose:
                at = self.now + self._random.uniform() * self._jitter_s
                yield block(self._counted, (truth % 8_000 / 10_000 + 0.1).astype(np.float32), at)
                self._counted += self.LENGTH

    def skip(self, duration_s: float) -> None:
        """What sounds now is lost without a word."""
        self._produced += round(duration_s * SAMPLE_RATE_HZ)

    def restart(self) -> None:
        self._counted = 0


def shift_s(chunk: AudioChunk) -> float:
    """By how much the chunk's audio is placed too late (or, if negative, too early); within half of 0.5 s."""
    truth = round((float(chunk.samples[-1]) - 0.1) * 10_000)
    return ((chunk.end_sample - 1 - truth + 4_000) % 8_000 - 4_000) / SAMPLE_RATE_HZ


@pytest.mark.parametrize("drift", [-2e-4, 0.0, 2e-4])
def test_a_device_clock_that_drifts_and_jitters_loses_nothing(drift: float) -> None:
    chunks = feed(timeline(), Device(drift=drift, jitter_s=0.08).run(600))
    assert lost_s(chunks) == 0
    assert sum(len(chunk.samples) for chunk in chunks) == 600 * SAMPLE_RATE_HZ


def test_audio_lost_at_once_is_a_gap_of_its_length() -> None:
    device, line = Device(), timeline()
    assert lost_s(feed(line, device.run(5))) == 0
    device.skip(1.5)
    chunks = feed(line, device.run(20))
    assert lost_s(chunks) == pytest.approx(1.5, abs=0.01)
    assert abs(shift_s(chunks[-1])) < 0.01


@pytest.mark.parametrize("share", [0.02, 0.3, 0.68])
def test_audio_lost_bit_by_bit_is_found(share: float) -> None:
    device, line = Device(), timeline()
    feed(line, device.run(4))
    found, expected = lost_s(feed(line, device.run(120, lose=share))), share * 120
    # Up to one tolerance, and what the last period has not told yet, are still out; drift explains a little.
    slack = Timeline.TOLERANCE_S + share * Timeline.PERIOD_S + Timeline.DRIFT * 120
    assert abs(found - expected) < slack + 0.06 * expected


def late(blocks: Iterable[CapturedBlock], at: float) -> list[CapturedBlock]:
    """The blocks as a server delivers them that was held up until then: at once."""
    return [block(each.start, each.samples, max(at, each.captured_at)) for each in blocks]


def test_a_late_burst_is_no_loss() -> None:
    device, line = Device(), timeline()
    blocks = [*device.run(4), *late(held := list(device.run(0.5)), held[-1].captured_at), *device.run(10)]
    chunks = feed(line, blocks)
    assert lost_s(chunks) == 0
    assert sum(len(chunk.samples) for chunk in chunks) == 14.5 * SAMPLE_RATE_HZ


def test_nothing_is_filled_before_it_is_late_nor_before_there_was_audio() -> None:
    line, device = timeline(), Device()
    assert line.fill(1e6, "reconnecting") == []
    feed(line, device.run(1))
    assert line.fill(device.now + FILL_AFTER_S - 0.001, "stalled") == []


def test_silence_goes_on_at_the_rate_of_time_and_says_why() -> None:
    line, device = timeline(), Device()
    feed(line, device.run(1))
    filled = [chunk for k in range(1, 61) for chunk in line.fill(device.now + k * 0.05, "reconnecting")]
    assert filled[0].start_sample == SAMPLE_RATE_HZ
    assert all(after.start_sample == before.end_sample for before, after in itertools.pairwise(filled))
    assert filled[-1].end_sample == round((1 + 3 - FILL_AFTER_S) * SAMPLE_RATE_HZ)
    assert {chunk.source for chunk in filled} == {"reconnecting"}
    assert all(chunk.lost and not chunk.samples.any() for chunk in filled)


def test_what_the_resampler_held_back_comes_before_the_silence() -> None:
    line = timeline(48_000)
    chunks = feed(line, blocks_of(np.ones(48_000, np.float32), 960, rate_hz=48_000))
    assert chunks[-1].end_sample < SAMPLE_RATE_HZ
    rest, silence = line.fill(103.0, "stalled")
    assert (rest.source, silence.source) == ("live", "stalled")
    assert (rest.start_sample, rest.end_sample) == (chunks[-1].end_sample, SAMPLE_RATE_HZ)
    assert silence.start_sample == SAMPLE_RATE_HZ


@pytest.mark.parametrize("outage_s", [0.7, 3.0, 30.0])
@pytest.mark.parametrize("restarted", [True, False])
def test_after_an_outage_audio_is_where_it_belongs(outage_s: float, restarted: bool) -> None:
    device, line = Device(jitter_s=0.03), timeline()
    before = feed(line, device.run(6))
    device.skip(outage_s)
    filled = line.fill(device.now, "stalled")
    if restarted:
        device.restart()
        line.begin(16_000)
    after = feed(line, device.run(6))
    for one, other in itertools.pairwise([*before, *filled, *after]):
        assert other.start_sample >= one.end_sample
    assert abs(shift_s(before[-1])) < 0.002
    assert all(abs(shift_s(chunk)) < 0.035 for chunk in after)  # the first block may have been as late as that
    assert abs(shift_s(after[-1])) < 0.008
    assert after[-1].end_sample == pytest.approx((12 + outage_s) * SAMPLE_RATE_HZ, abs=0.01 * SAMPLE_RATE_HZ)


def test_audio_that_a_stalled_server_delivers_at_last_is_not_heard_twice() -> None:
    device, line = Device(), timeline()
    before = feed(line, device.run(6))
    held = list(device.run(2.5))
    filled = line.fill(device.now - 0.3, "stalled")
    after = feed(line, [*late(held, device.now), *device.run(5)])
    for one, other in itertools.pairwise([*before, *filled, *after]):
        assert other.start_sample >= one.end_sample
    assert all(abs(shift_s(chunk)) < 0.01 for chunk in after[5:])
    assert after[-1].end_sample == pytest.approx(13.5 * SAMPLE_RATE_HZ, abs=0.01 * SAMPLE_RATE_HZ)


def test_the_clock_stays_true_over_many_outages() -> None:
    device, line = Device(jitter_s=0.05), timeline()
    feed(line, device.run(6))
    for _ in range(60):
        device.skip(1.0)
        line.fill(device.now, "reconnecting")
        device.restart()
        line.begin(16_000)
        last = feed(line, device.run(3))[-1]
    assert abs(shift_s(last)) < 0.02


def test_a_device_that_comes_back_with_another_rate_is_heard_on_the_same_clock() -> None:
    line = timeline()
    feed(line, blocks_of(noise(16_000), 320))
    line.fill(102.0, "reconnecting")
    line.begin(48_000)
    chunks = feed(line, blocks_of(noise(96_000), 960, rate_hz=48_000, at=103.0))
    assert chunks[0].start_sample == 3 * SAMPLE_RATE_HZ
    assert chunks[-1].end_sample + held_back(48_000, 96_000) == pytest.approx(5 * SAMPLE_RATE_HZ, abs=1)


def test_hours_of_suspended_machine_cost_no_memory() -> None:
    line, device = timeline(), Device()
    feed(line, device.run(1))
    (silence,) = line.fill(device.now + 8 * 3_600, "stalled")
    assert len(silence.samples) == SAMPLE_RATE_HZ
    assert silence.end_sample == round((8 * 3_600 + 1 - FILL_AFTER_S) * SAMPLE_RATE_HZ)
