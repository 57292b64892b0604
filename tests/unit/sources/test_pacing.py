"""Never ahead of the clock, never later than needed."""

from __future__ import annotations

import threading

from stream_mer.sources.pacing import Pacer


class Clock:
    """Time that passes only by waiting, a little less than asked for each time, as timers may."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, wait_s: float) -> bool:
        self.waits.append(wait_s)
        self.now += wait_s if wait_s < 1e-3 else wait_s * 0.9
        return False


def test_audio_is_held_until_it_would_have_been_captured() -> None:
    clock = Clock()
    pacer = Pacer(threading.Event(), clock=clock, wait=clock.wait)
    for k in range(1, 20):
        assert pacer.hold(k * 1_600)
        assert clock.now >= 100.0 + k * 0.1


def test_a_slow_reader_catches_up_without_waiting() -> None:
    clock = Clock()
    pacer = Pacer(threading.Event(), clock=clock, wait=clock.wait)
    pacer.hold(1_600)
    clock.now += 5.0
    clock.waits.clear()
    for k in range(2, 50):
        assert pacer.hold(k * 1_600)
    assert clock.waits == []


def test_the_wait_ends_when_told() -> None:
    stop = threading.Event()
    stop.set()
    assert not Pacer(stop).hold(16_000 * 3_600)
