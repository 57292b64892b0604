"""Audio from a network on a sample clock that keeps the world's time."""

from __future__ import annotations

import numpy as np
import pytest

from stream_mer.errors import SettingError
from stream_mer.sources.decoding import DecodedAudio
from stream_mer.sources.network import ArrivalClock, UrlSource
from stream_mer.sources.timeline import FILL_AFTER_S
from stream_mer.types import SAMPLE_RATE_HZ


def second(value: float = 0.5, *, rate_hz: int = SAMPLE_RATE_HZ) -> DecodedAudio:
    return DecodedAudio(samples=np.full((rate_hz, 2), value, np.float32), rate_hz=rate_hz, gap_s=0.0)


def test_what_comes_at_once_is_placed_one_after_the_other_and_told_to_be_early() -> None:
    clock = ArrivalClock()
    assert clock.ahead_s(100.0) < 0  # nothing is held back before the first audio
    starts = [clock.place(second(), 100.0).start_sample for _ in range(3)]
    assert starts == [0, SAMPLE_RATE_HZ, 2 * SAMPLE_RATE_HZ]
    assert clock.ahead_s(100.0) == pytest.approx(3.0)
    assert clock.ahead_s(103.5) == pytest.approx(-0.5)


def test_silence_stands_in_for_what_is_overdue_and_audio_goes_on_behind_it() -> None:
    clock = ArrivalClock()
    assert clock.fill(99.0, "reconnecting") is None
    clock.place(second(), 100.0)
    assert clock.fill(101.0 + 0.9 * FILL_AFTER_S, "stalled") is None
    silence = clock.fill(103.0, "reconnecting")
    assert silence is not None
    assert (silence.start_sample, silence.source) == (SAMPLE_RATE_HZ, "reconnecting")
    assert not silence.samples.any()
    assert clock.ahead_s(103.0) == pytest.approx(-FILL_AFTER_S)
    after = clock.place(second(), 103.1)
    assert (after.start_sample, after.source) == (silence.end_sample, "live")


def test_a_change_of_rate_begins_anew_and_leaves_no_gap() -> None:
    clock = ArrivalClock()
    first = clock.place(second(), 0.0)
    other = clock.place(second(rate_hz=44_100), 1.0)
    assert other.start_sample == first.end_sample
    assert len(other.samples) == pytest.approx(SAMPLE_RATE_HZ, abs=1200)  # the resampler keeps a little


@pytest.mark.parametrize("url", ["", "song.mp3", "ftp://host/a.mp3", "file:///etc/passwd", "http://", "concat:a|b"])
def test_what_is_no_network_address_is_refused(url: str) -> None:
    with pytest.raises(SettingError, match="give an address with one of http"):
        UrlSource(url)


def test_the_name_tells_no_secret() -> None:
    assert UrlSource("https://dj:secret@radio.example:8000/live.mp3?key=abc").name == "https://radio.example/live.mp3"
