"""Audio from a network on a sample clock that keeps the world's time."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from stream_mer.errors import SettingError
from stream_mer.ports import ChunkableSource, Chunker, Preview, PreviewableSource
from stream_mer.sources import media
from stream_mer.sources.decoding import DecodedAudio
from stream_mer.sources.file import COARSE_CHUNK_SAMPLES, FINE_CHUNK_SAMPLES, HopChunker
from stream_mer.sources.media import url_schemes
from stream_mer.sources.network import ArrivalClock, UrlSource, _Pace, _Receiver
from stream_mer.sources.timeline import FILL_AFTER_S
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, Samples, seconds
from stream_mer.utils.mailbox import MailboxClosed


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


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://dj:secret@radio.example:8000/live.mp3?key=abc", "https://radio.example:8000/live.mp3"),
        ("http://dj:secret@[::1]:8000/live", "http://[::1]:8000/live"),
        ("http://dj:sec/ret@radio.example/live", "http://radio.example/live"),
        ("http://dj:sec?r#t@radio.example/live?key=abc#x", "http://radio.example/live"),
        ("HTTP://Radio.example/Live", "http://Radio.example/Live"),
        (" http://radio.example/live\n", "http://radio.example/live"),
    ],
)
def test_the_name_tells_the_port_and_no_secret(url: str, name: str) -> None:
    assert UrlSource(url).name == name


def test_a_scheme_in_capitals_is_passed_on_in_small_letters() -> None:
    # FFmpeg knows no HTTP.
    assert UrlSource("HTTP://dj:Secret@Radio.example/Live?Key=A")._url == "http://dj:Secret@Radio.example/Live?Key=A"


def test_a_scheme_is_offered_only_where_ffmpeg_was_built_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    url_schemes.cache_clear()
    monkeypatch.setattr(media, "_has_protocol", lambda scheme: scheme != "srt")
    try:
        with pytest.raises(SettingError) as refused:
            UrlSource("srt://mixer.example:7000?passphrase=secret")
        assert str(refused.value) == (
            "cannot listen to 'srt://mixer.example:7000?passphrase=***': this build of FFmpeg has no srt: "
            "give an address with one of http, https, rtp, rtsp, rtmp, tcp, udp"
        )
        monkeypatch.setattr(media, "_has_protocol", lambda scheme: True)  # noqa: ARG005 - as the real one
        url_schemes.cache_clear()
        assert UrlSource("srt://mixer.example:7000").name == "srt://mixer.example:7000"
    finally:
        url_schemes.cache_clear()


def test_ffmpeg_is_asked_which_protocols_it_has() -> None:
    assert media._has_protocol("http")
    assert not media._has_protocol("nosuch")


class World:
    """A clock that only waiting moves, and blocks that arrive by it."""

    def __init__(self, arrivals: list[tuple[float, DecodedAudio]]) -> None:
        self.now = 100.0
        self.waits = 0
        self._arrivals = [(100.0 + at, block) for at, block in arrivals]
        self.reader = _Receiver("http://127.0.0.1/", 1.0, threading.Event())
        self.reader.blocks = self  # type: ignore[assignment]

    def clock(self) -> float:
        return self.now

    def is_set(self) -> bool:
        return False

    def wait(self, time_s: float) -> None:
        self.waits += 1
        self.now += max(time_s, 1e-6)  # a shorter one would be lost in the rounding

    def get(self, timeout_s: float) -> DecodedAudio:
        if not self._arrivals:
            raise MailboxClosed
        at, block = self._arrivals[0]
        if at > self.now + timeout_s:
            self.now += timeout_s
            raise TimeoutError
        self.now = max(self.now, at)
        del self._arrivals[0]
        return block

    def hear(self, chunker: Chunker, preview: Preview | None = None) -> list[AudioChunk]:
        pace = _Pace(self.reader, self, self.clock)  # type: ignore[arg-type]
        return list(pace.chunks(chunker) if preview is None else pace.chunks(chunker, preview, lambda: True))

    def watch(self, chunker: Chunker) -> tuple[list[AudioChunk], list[tuple[int, float]]]:
        """Return the chunks, and from when on every 20 ms of them could be shown before."""
        shown: list[tuple[int, float]] = []

        def preview(start: int, samples: Samples, due_at: float, is_closed: Callable[[], bool]) -> None:
            assert not is_closed()
            first = (start // FINE_CHUNK_SAMPLES + 1) * FINE_CHUNK_SAMPLES
            ends = range(first, start + len(samples) + 1, FINE_CHUNK_SAMPLES)
            shown.extend((at, max(self.now, due_at + seconds(at - start))) for at in ends)

        return self.hear(chunker, preview), shown


def packets(length_s: float, block_s: float, rate_hz: int = SAMPLE_RATE_HZ) -> list[DecodedAudio]:
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (round(length_s * rate_hz), 2)).astype(np.float32)
    n = round(block_s * rate_hz)
    return [DecodedAudio(samples=audio[at : at + n], rate_hz=rate_hz, gap_s=0.0) for at in range(0, len(audio), n)]


HOP = SAMPLE_RATE_HZ // 2
COARSE = HopChunker(hop_samples=HOP, longest_samples=COARSE_CHUNK_SAMPLES)
FINE = HopChunker(hop_samples=HOP, longest_samples=FINE_CHUNK_SAMPLES)


def handed_over_at(chunks: list[AudioChunk]) -> dict[int, float]:
    """When the last sample of each hop was."""
    end = chunks[-1].end_sample
    return {
        hop: next(chunk.captured_at for chunk in chunks if chunk.end_sample >= hop) for hop in range(HOP, end + 1, HOP)
    }


@pytest.mark.parametrize("block_s", [0.02, 0.026, 0.1, 0.3])
@pytest.mark.parametrize("how", ["at once", "in real time", "unevenly"])
def test_a_hop_is_whole_as_early_in_long_pieces_as_in_short_ones(how: str, block_s: float) -> None:
    sent = packets(5.0, block_s)
    late = np.random.default_rng(1).uniform(0, 0.2, len(sent))
    at = {"at once": 0 * late, "in real time": block_s * np.arange(len(sent))}
    at["unevenly"] = np.maximum.accumulate(at["in real time"] + late)
    arrivals = list(zip(at[how].tolist(), sent, strict=True))
    coarse, fine = World(arrivals), World(arrivals)
    chunks, finely = coarse.hear(COARSE), fine.hear(FINE)
    for one in (chunks, finely):
        assert [chunk.start_sample for chunk in one[1:]] == [chunk.end_sample for chunk in one[:-1]]
    whole = np.concatenate([chunk.samples for chunk in finely])
    np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in chunks]), whole)
    early, before = handed_over_at(chunks), handed_over_at(finely)
    assert len(early) == len(before) == 10
    assert all(early[hop] <= before[hop] + 1e-4 for hop in early)
    watched, shown = World(arrivals).watch(COARSE)
    np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in watched]), whole)
    assert all(at <= before[hop] + 1e-4 for hop, at in handed_over_at(watched).items())
    # What is shown is shown no later than it would be handed over finely.
    assert [at for at, _ in shown] == list(range(FINE_CHUNK_SAMPLES, len(whole) + 1, FINE_CHUNK_SAMPLES))
    times = np.array([shown_at for _, shown_at in shown])
    ends = np.array([chunk.end_sample for chunk in finely])
    due = np.array([finely[np.searchsorted(ends, at)].captured_at for at, _ in shown])
    assert (times <= due + 1e-4).all()


def test_long_pieces_wake_a_stream_a_few_times_a_hop_and_short_ones_as_often_as_blocks_come() -> None:
    arrivals = [(0.0, block) for block in packets(5.0, 0.02)]
    coarse, fine = World(arrivals), World(arrivals)
    assert len(coarse.hear(COARSE)) <= 21
    assert coarse.waits <= 30
    assert len(fine.hear(FINE)) == 250


def test_an_address_is_cut_as_whoever_listens_asks_for() -> None:
    assert isinstance(UrlSource("http://127.0.0.1/a.mp3"), ChunkableSource)
    assert isinstance(UrlSource("http://127.0.0.1/a.mp3"), PreviewableSource)


def test_what_was_sent_at_once_is_shown_evenly_while_long_pieces_are_waited_for() -> None:
    chunks, shown = World([(0.0, block) for block in packets(2.0, 0.02)]).watch(COARSE)
    assert len(chunks) <= 9
    times = np.array([at for _, at in shown])
    np.testing.assert_allclose(np.diff(times), 0.02, atol=1e-4)
    assert times[0] == pytest.approx(100.0)


def test_a_second_is_decoded_in_runs_and_what_comes_just_in_time_packet_by_packet() -> None:
    receiver = _Receiver("http://127.0.0.1/", 1.0, threading.Event())
    (block, *_) = packets(0.02, 0.02)
    lengths = []
    for _ in range(30):
        lengths.append(receiver._decode_at_least_s())
        receiver.blocks.put(block)
    assert lengths == [0.0] * 25 + [0.25] * 5
    receiver.take(0.4)
    assert receiver._decode_at_least_s() == 0.0


def test_silence_stands_in_for_what_does_not_come_in_long_pieces_too() -> None:
    first, later = packets(1.0, 0.02), packets(1.0, 0.02)
    world = World([(0.0, block) for block in first] + [(4.0, block) for block in later])
    chunks = world.hear(COARSE)
    assert [chunk.start_sample for chunk in chunks[1:]] == [chunk.end_sample for chunk in chunks[:-1]]
    silent = [chunk for chunk in chunks if chunk.source == "stalled"]
    assert 0 <= silent[0].captured_at - (101.0 + FILL_AFTER_S) < 0.2
    assert seconds(silent[-1].end_sample) == pytest.approx(4.0 - FILL_AFTER_S, abs=0.2)


def test_blocks_of_two_rates_are_not_mixed() -> None:
    world = World([(0.0, block) for block in [*packets(0.1, 0.02), *packets(0.1, 0.02, rate_hz=48_000)]])
    chunks = world.hear(COARSE)
    assert chunks[-1].end_sample == pytest.approx(3_200, abs=700)  # a resampler keeps a little
