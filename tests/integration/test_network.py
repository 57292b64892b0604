"""Real servers send real audio over the loopback: a radio station that comes and goes, a file, an RTP sender."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from stream_mer.errors import SourceError
from stream_mer.sources.network import UrlSource
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, seconds

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="wants the program ffmpeg to make sound with")

BIT_RATE = 64_000


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 s of a tone as MP3."""
    path = tmp_path_factory.mktemp("radio") / "tone.mp3"
    make = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=440:duration=20", "-b:a", f"{BIT_RATE // 1000}k"]
    subprocess.run([*make, str(path)], check=True, timeout=60)
    return path


class Radio:
    """A station: some seconds of a file at once, then on and on in real time, to whoever connects."""

    def __init__(self, audio: bytes, *, port: int = 0) -> None:
        stopping = self._stopping = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "audio/mpeg")
                self.end_headers()
                step = BIT_RATE // 8 // 4
                for i in itertools.count():
                    if stopping.is_set():
                        return
                    at = i * step % (len(audio) - step)
                    try:
                        self.wfile.write(audio[at : at + step])
                    except OSError:
                        return
                    if i > 8:
                        stopping.wait(0.25)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def radio(tone: Path) -> Iterator[Radio]:
    station = Radio(tone.read_bytes())
    yield station
    station.stop()


@contextmanager
def served(data: bytes) -> Iterator[str]:
    """Put a file behind an address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/file"
    server.shutdown()
    server.server_close()


def assert_one_clock(chunks: list[AudioChunk]) -> None:
    for before, after in itertools.pairwise(chunks):
        assert after.start_sample == before.end_sample


def test_a_station_is_heard_in_real_time_although_it_sends_seconds_at_once(radio: Radio) -> None:
    source = UrlSource(f"http://127.0.0.1:{radio.port}/live.mp3")
    chunks, ahead_s = [], []
    began = time.monotonic()  # of the sample clock it is a little later
    for chunk in source.chunks():
        chunks.append(chunk)
        ahead_s.append(seconds(chunk.start_sample) - (time.monotonic() - began))
        if chunk.end_sample > 4 * SAMPLE_RATE_HZ:
            source.close()
    assert_one_clock(chunks)
    assert max(ahead_s) <= 0, "nothing comes before its time, however late the machine is"
    assert all(chunk.source == "live" for chunk in chunks)
    heard = np.concatenate([chunk.samples for chunk in chunks])[SAMPLE_RATE_HZ:]
    assert 0.05 < np.sqrt(np.mean(heard**2)) < 0.2  # ffmpeg's sine has a peak of 1/8


def test_a_station_that_goes_away_is_found_again_and_time_goes_on(tone: Path) -> None:
    station = Radio(tone.read_bytes())
    source = UrlSource(f"http://127.0.0.1:{station.port}/live.mp3", timeout_s=2)
    chunks: list[AudioChunk] = []
    states: list[str] = []
    restarted_at = recovered_s = None
    for chunk in source.chunks():
        chunks.append(chunk)
        if states[-1:] != [chunk.source]:
            states.append(chunk.source)
        if states == ["live"] and chunk.end_sample > SAMPLE_RATE_HZ:
            station.stop()
        if states[-1] == "reconnecting" and restarted_at is None:
            station = Radio(tone.read_bytes(), port=station.port)
            restarted_at = time.monotonic()
        if states[-1] == "live" and restarted_at is not None:
            recovered_s = time.monotonic() - restarted_at
            source.close()
    station.stop()
    assert_one_clock(chunks)
    assert states[0] == "live"
    assert "reconnecting" in states
    assert states[-1] == "live"
    assert not any(chunk.samples.any() for chunk in chunks if chunk.source != "live")
    print(f"heard again {recovered_s:.2f} s after the station was back")


def test_a_song_behind_an_address_ends_with_its_end(tmp_path: Path, tone: Path) -> None:
    short = tmp_path / "short.mp3"
    subprocess.run(["ffmpeg", "-v", "error", "-t", "1.5", "-i", str(tone), str(short)], check=True, timeout=60)
    with served(short.read_bytes()) as url:
        chunks = list(UrlSource(url).chunks())
    assert_one_clock(chunks)
    assert seconds(chunks[-1].end_sample) == pytest.approx(1.5, abs=0.1)


def test_an_rtp_sender_is_heard() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    send = ["ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", "sine=440:duration=30", "-c:a", "aac"]
    sender = subprocess.Popen([*send, "-f", "rtp_mpegts", f"rtp://127.0.0.1:{port}"], stdin=subprocess.DEVNULL)
    try:
        source = UrlSource(f"rtp://127.0.0.1:{port}")
        chunks = []
        for chunk in source.chunks():
            chunks.append(chunk)
            if chunk.end_sample > SAMPLE_RATE_HZ:
                source.close()
    finally:
        sender.kill()
        sender.wait()
    assert_one_clock(chunks)
    heard = np.concatenate([chunk.samples for chunk in chunks])
    assert np.sqrt(np.mean(heard[SAMPLE_RATE_HZ // 2 :] ** 2)) > 0.05


def test_where_nobody_answers_or_nothing_sounds_the_error_says_so() -> None:
    with (
        served(b"<html>no music here</html>") as url,
        pytest.raises(SourceError, match=r"cannot open http.*Invalid data"),
    ):
        list(UrlSource(url).chunks())
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(SourceError, match=rf"cannot open http://127.0.0.1:{port}/x: Connection refused; check"):
        list(UrlSource(f"http://127.0.0.1:{port}/x").chunks())


def test_close_ends_a_read_that_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = UrlSource(f"http://127.0.0.1:{silent.getsockname()[1]}/never", timeout_s=60)
        threading.Timer(0.3, source.close).start()
        assert list(source.chunks()) == []
