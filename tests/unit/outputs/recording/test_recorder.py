"""The show is on disk, whatever the disk does, and the show never waits for it."""

import errno
import functools
import io
import json
import logging
import threading
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from helpers import PATIENCE_S, FakeClock, wait_for

from stream_mer.config import ServeSettings
from stream_mer.errors import SettingError
from stream_mer.event_json import MessageEncoder, event_of
from stream_mer.outputs.recording.format import MESSAGES, open_recording
from stream_mer.outputs.recording.recorder import BackgroundWriter, FlacFile, Recorder
from stream_mer.server.hub import Hub
from stream_mer.server.session import ServerInfo, hello
from stream_mer.sources.file import FileSource
from stream_mer.types import AudioChunk, Spread
from tools.examples import CHANGE, FRAME, LEVELS, LINE, STATUS

greet = functools.partial(
    hello,
    settings=ServeSettings(token="secret-token-of-a-test"),  # noqa: S106 - of a test
    info=ServerInfo(window_s=10.0, hop_s=0.5),
)


class Audio:
    """A source of scripted chunks."""

    name, live = "desk", True

    def __init__(self, chunks):
        self._chunks = chunks
        self.closed = False

    def chunks(self):
        yield from self._chunks

    def close(self):
        self.closed = True


def as_recorded(event):
    """An event as it is read again: rounded, and with what no message holds filled in."""
    return event_of(MessageEncoder("hall").message(event))


def noise(n, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)


def heard(path):
    return np.concatenate([chunk.samples for chunk in FileSource(path).chunks()])


def test_everything_that_is_published_is_recorded_with_its_time(tmp_path):
    hub, clock = Hub(), FakeClock(100.0)
    sinks = {stream: hub.sink(stream) for stream in ("hall", "bar")}
    recorder = Recorder(tmp_path / "shows", hello=greet, clock=clock)
    assert not hub.is_wanted("hall", "levels")
    recorder.start(hub)
    assert hub.is_wanted("hall", "levels"), "a show is programmed by them, too"
    spread = Spread(valence=((-1.0, -1.0), (0.5, 0.75)))
    for i, event in enumerate((replace(STATUS, spread=spread), FRAME, LINE, CHANGE, LEVELS)):
        clock.now = 100.0 + i / 3
        sinks["hall" if i % 2 else "bar"].publish(event)
    clock.now = 110.0
    recorder.stop()
    sinks["hall"].publish(FRAME)  # too late, and no error

    recording = open_recording(recorder.folder)
    assert [(one.at, one.stream, one.event) for one in recording.events()] == [
        (0.0, "bar", replace(STATUS, spread=spread)),
        (0.3333, "hall", as_recorded(FRAME)),
        (0.6667, "bar", LINE),
        (1.0, "hall", CHANGE),
        (1.3333, "bar", LEVELS),
    ]
    text = (recorder.folder / MESSAGES).read_text(encoding="utf-8")
    header, *lines = map(json.loads, text.splitlines())
    assert [(line["message"]["type"], line["message"]["seq"]) for line in lines[:-1]] == [
        ("status", 0),
        ("emotion", 0),
        ("lyrics", 0),
        ("change", 0),
        ("levels", 0),
    ]
    assert lines[-1] == {"at": 10.0, "ended": True}
    assert recording.streams == ("hall", "bar")
    assert header["hello"] == json.loads(msgspec.json.encode(greet(hub)))
    assert "secret-token-of-a-test" not in text


def test_a_new_show_never_touches_an_old_one(tmp_path):
    folders = set()
    for _ in range(3):
        recorder = Recorder(tmp_path, hello=greet)
        recorder.start(Hub())
        recorder.stop()
        folders.add(recorder.folder)
    assert len(folders) == 3
    assert all((folder / MESSAGES).is_file() for folder in folders)


def test_where_nothing_can_be_written_nothing_starts(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="cannot record to"):
        Recorder(tmp_path / "file", hello=greet).start(Hub())


def test_what_waits_in_the_process_is_little(tmp_path):
    hub = Hub()
    sink = hub.sink("hall")
    recorder = Recorder(tmp_path, hello=greet)
    recorder.start(hub)
    sink.publish(FRAME)
    wait_for(lambda: len(list(open_recording(recorder.folder).events())) == 1, "the disk, though nobody stops")
    recorder.stop()


class Blocked:
    """A file whose disk hangs until it is let go, or fails from some item on."""

    def __init__(self, *, fail_at=None):
        self.go = threading.Event()
        self.written = []
        self.lost = []
        self.closed = False
        self._fail_at = fail_at

    def write(self, item, *, lost):
        self.go.wait(PATIENCE_S)
        if item == self._fail_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.written.append(item)
        self.lost.append(lost)

    def flush(self):
        pass

    def close(self):
        self.closed = True


def test_a_slow_disk_costs_the_oldest_and_says_how_many(caplog):
    keeper = Blocked()
    writer = BackgroundWriter(keeper, "the messages", capacity=3)
    writer.start()
    writer.put(0)
    wait_for(lambda: not writer._items.statistics().waiting)
    for i in range(1, 11):
        writer.put(i)  # returns at once: the disk hangs on 0
    keeper.go.set()
    writer.stop()
    assert keeper.written == [0, 8, 9, 10]
    assert keeper.lost == [0, 7, 0, 0]
    assert keeper.closed
    assert "7 of the messages are lost" in caplog.text


def test_a_full_disk_is_said_once_and_the_show_goes_on(caplog):
    keeper = Blocked(fail_at=2)
    keeper.go.set()
    writer = BackgroundWriter(keeper, "the messages", capacity=100)
    for i in range(5):
        writer.put(i)
    writer.start()
    writer._thread.join(PATIENCE_S)
    for i in range(200):
        writer.put(i)  # nothing waits, nothing is raised, nothing piles up
    writer.stop()
    assert keeper.written == [0, 1]
    assert keeper.closed
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "the messages: No space left on device; no more of it is recorded, the show goes on")
    ]


def test_audio_is_kept_at_its_place_with_silence_for_what_is_missing(tmp_path):
    one, two = noise(10_000, 1), noise(5_000, 2)
    chunks = [
        AudioChunk(start_sample=0, samples=one),
        AudioChunk(start_sample=50_000, samples=two),
        AudioChunk(start_sample=52_000, samples=two),  # as no source would: what came twice is left out
    ]
    source = Audio(chunks)
    recorder = Recorder(tmp_path, hello=greet, audio=True)
    tapped = recorder.tap("main floor / left", source)
    assert (tapped.name, tapped.live) == ("desk", True)
    hub = Hub()
    hub.sink("main floor / left")
    recorder.start(hub)
    assert list(tapped.chunks()) == chunks
    tapped.close()
    assert source.closed
    recorder.stop()
    names = open_recording(recorder.folder).header.audio
    assert names == {"main floor / left": "main floor _ left.flac"}
    samples = heard(recorder.folder / names["main floor / left"])
    expected = np.concatenate([one, np.zeros(40_000, np.float32), two, two[3_000:]])
    assert len(samples) == len(expected)
    assert np.abs(samples - expected).max() < 1e-4


class FullDisk(io.RawIOBase):
    """Takes so many bytes and no more."""

    def __init__(self, left):
        super().__init__()
        self._left = left

    def writable(self):
        return True

    def write(self, data):
        if len(data) > self._left:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._left -= len(data)
        return len(data)


def test_a_full_disk_ends_the_audio_and_nothing_else(caplog):
    writer = BackgroundWriter(FlacFile(FullDisk(20_000)), "the audio of hall", capacity=1000)
    writer.start()
    for i in range(100):
        writer.put(AudioChunk(start_sample=1600 * i, samples=noise(1600, i)))
    writer._thread.join(PATIENCE_S)
    assert not writer._thread.is_alive()
    writer.put(AudioChunk(start_sample=0, samples=noise(10)))
    writer.stop()
    assert [record.getMessage() for record in caplog.records] == [
        "the audio of hall: No space left on device; no more of it is recorded, the show goes on"
    ]


def test_audio_that_was_cut_off_by_a_crash_can_be_heard(tmp_path):
    path = tmp_path / "cut.flac"
    keeper = FlacFile(path.open("xb"))
    samples = noise(64_000)
    for start in range(0, len(samples), 320):
        keeper.write(AudioChunk(start_sample=start, samples=samples[start : start + 320]), lost=0)
    keeper.flush()
    crashed = tmp_path / "crashed.flac"
    crashed.write_bytes(path.read_bytes())  # what is on disk while it is still being written
    keeper.close()
    assert len(heard(path)) == len(samples)
    rest = heard(crashed)
    assert len(samples) - 2 * 4_608 <= len(rest) <= len(samples), "FLAC's frames are of 4,608 samples at most"
    assert np.abs(rest - samples[: len(rest)]).max() < 1e-4


def test_without_audio_a_source_is_left_as_it_is(tmp_path):
    source = Audio([])
    assert Recorder(tmp_path, hello=greet).tap("hall", source) is source
