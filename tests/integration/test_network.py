"""Real servers send real audio over the loopback: a radio station that comes and goes, a file, an RTP sender."""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from helpers import free_port

from stream_mer.errors import SourceError
from stream_mer.sources.decoding import DecodedAudio, decode_url
from stream_mer.sources.network import SessionSource, UrlSource
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


class Station:
    """An HTTP server that answers every request in the same way until it is stopped.

    Args:
        answer: Ends the headers and writes the body.
        port: Where to listen; 0 for any.
        has_status: Begin with the status line of HTTP.
    """

    def __init__(
        self,
        answer: Callable[[BaseHTTPRequestHandler, threading.Event], None],
        *,
        port: int = 0,
        has_status: bool = True,
    ) -> None:
        stopping = self._stopping = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if has_status:
                    self.send_response(200)
                with contextlib.suppress(OSError):  # nobody listens any more
                    answer(self, stopping)

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


def radio_station(audio: bytes, *, port: int = 0) -> Station:
    """Some seconds of a file at once, then on and on in real time, to whoever connects."""

    def play(handler: BaseHTTPRequestHandler, stopping: threading.Event) -> None:
        handler.send_header("Content-Type", "audio/mpeg")
        handler.end_headers()
        step = BIT_RATE // 8 // 4
        for i in itertools.count():
            if stopping.is_set():
                return
            at = i * step % (len(audio) - step)
            handler.wfile.write(audio[at : at + step])
            if i > 8:
                stopping.wait(0.25)

    return Station(play, port=port)


@pytest.fixture
def radio(tone: Path) -> Iterator[Station]:
    station = radio_station(tone.read_bytes())
    yield station
    station.stop()


@contextmanager
def sent(*parts: bytes, forever: bytes = b"") -> Iterator[str]:
    """A radio station: it gives no length, sends the parts, and then one part on and on, if there is one."""

    def send(handler: BaseHTTPRequestHandler, stopping: threading.Event) -> None:
        handler.end_headers()
        for part in parts:
            handler.wfile.write(part)
        while forever and not stopping.is_set():
            handler.wfile.write(forever)

    station = Station(send)
    yield f"http://127.0.0.1:{station.port}/live"
    station.stop()


@contextmanager
def served(data: bytes) -> Iterator[str]:
    """Put a file behind an address."""

    def send(handler: BaseHTTPRequestHandler, _: threading.Event) -> None:
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    station = Station(send)
    yield f"http://127.0.0.1:{station.port}/file"
    station.stop()


def assert_one_clock(chunks: list[AudioChunk]) -> None:
    for before, after in itertools.pairwise(chunks):
        assert after.start_sample == before.end_sample


def first_second(source: UrlSource | SessionSource) -> np.ndarray:
    """Listen for a second; return all samples."""
    chunks = []
    for chunk in source.chunks():
        chunks.append(chunk)
        if chunk.end_sample > SAMPLE_RATE_HZ:
            source.close()
    assert_one_clock(chunks)
    return np.concatenate([chunk.samples for chunk in chunks])


def loudness(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples**2)))


@contextmanager
def sending(*arguments: str) -> Iterator[None]:
    """FFmpeg sends a tone in real time."""
    send = ["ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", "sine=440:duration=30", *arguments]
    sender = subprocess.Popen(send, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        sender.kill()
        sender.wait()


def test_a_station_is_heard_in_real_time_although_it_sends_seconds_at_once(radio: Station) -> None:
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
    assert 0.05 < loudness(heard) < 0.2  # ffmpeg's sine has a peak of 1/8


def test_a_station_that_goes_away_is_found_again_and_time_goes_on(tone: Path) -> None:
    station = radio_station(tone.read_bytes())
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
            station = radio_station(tone.read_bytes(), port=station.port)
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
    address = f"rtp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    with sending("-c:a", "aac", "-f", "rtp_mpegts", address):
        heard = first_second(UrlSource(address))
    assert loudness(heard[SAMPLE_RATE_HZ // 2 :]) > 0.05


def test_where_nobody_answers_or_nothing_sounds_the_error_says_so() -> None:
    with (
        served(b"<html>no music here</html>") as url,
        pytest.raises(SourceError, match=r"cannot open http.*Invalid data"),
    ):
        list(UrlSource(url).chunks())
    port = free_port()
    with pytest.raises(SourceError, match=rf"cannot open http://127.0.0.1:{port}/x: Connection refused; check"):
        list(UrlSource(f"http://127.0.0.1:{port}/x").chunks())


def test_close_ends_a_read_that_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = UrlSource(f"http://127.0.0.1:{silent.getsockname()[1]}/never", timeout_s=60)
        threading.Timer(0.3, source.close).start()
        assert list(source.chunks()) == []


def decoded(url: str) -> tuple[list[DecodedAudio], str]:
    """What an address gave as fast as it came, and why it ended; empty if that is its end."""
    runs: list[DecodedAudio] = []
    try:
        runs.extend(decode_url(url, timeout_s=60))
    except SourceError as error:
        return runs, str(error)
    return runs, ""


def length_s(runs: list[DecodedAudio]) -> float:
    return sum(len(run.samples) / run.rate_hz for run in runs)


def make(path: Path, *arguments: str) -> bytes:
    """2 s of a tone."""
    sound = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=440:duration=2"]
    subprocess.run([*sound, *arguments, str(path)], check=True, timeout=60)
    return path.read_bytes()


CHAINS = {
    "the quality of Vorbis": [
        ["-c:a", "libvorbis", "-ac", "2", "-q", "4"],
        ["-c:a", "libvorbis", "-ac", "2", "-q", "6"],
    ],
    "channels and codec": [["-c:a", "libopus", "-ac", "2"], ["-c:a", "libopus"], ["-c:a", "flac"]],
}


@pytest.mark.parametrize("changes", CHAINS)
@pytest.mark.parametrize("how", [sent, served])
def test_a_station_that_changes_its_title_is_heard_on(
    tmp_path: Path, changes: str, how: Callable[[bytes], AbstractContextManager[str]]
) -> None:
    links = [make(tmp_path / f"{i}.ogg", *options) for i, options in enumerate(CHAINS[changes])]
    with how(b"".join(links)) as url:
        runs, end = decoded(url)
    assert ("the other side ended it" in end) is (how is sent)
    assert length_s(runs) == pytest.approx(2.0 * len(links), abs=0.1)
    assert max(np.abs(run.samples).max() for run in runs) < 0.2  # ffmpeg's sine has a peak of 1/8


def test_ogg_flac_that_is_joined_in_its_middle_misses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = make(tmp_path / "a.ogg", "-c:a", "flac", "-page_duration", "100000")
    pages = [b"OggS" + page for page in whole.split(b"OggS")[1:]]
    headers = [page for page in pages if page[6:14] == bytes(8)]
    with sent(*headers, *pages[len(pages) // 2 :]) as url:
        runs, _ = decoded(url)
    assert 0.5 < length_s(runs) < 1.5
    assert "missing" not in caplog.text


def test_a_playlist_behind_an_address_leads_to_what_it_names(tmp_path: Path) -> None:
    with served(make(tmp_path / "a.mp3")) as song:
        dead = "http://127.0.0.1:9/gone"
        with served(f"[playlist]\nFile1={dead}\nFile2={song}\n".encode()) as inner, served(inner.encode()) as url:
            runs, end = decoded(url)
    assert end == ""
    assert length_s(runs) == pytest.approx(2.0, abs=0.1)


def test_an_hls_programme_is_heard_through_its_master(tmp_path: Path, served_folder: Callable[[Path], str]) -> None:
    folder = tmp_path / "hls"
    folder.mkdir()
    make(folder / "media.m3u8", "-c:a", "aac", "-hls_time", "1", "-hls_list_size", "0")
    (folder / "master.m3u8").write_text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=64000\nmedia.m3u8\n")
    runs, end = decoded(f"{served_folder(folder)}/master.m3u8")
    assert end == ""
    assert length_s(runs) == pytest.approx(2.0, abs=0.1)


ID3_WITHOUT_END = b"ID3\x04\0\0\x7f\x7f\x7f\x7fTXXX\x7f\x7f\x7f\0\0\0"


@pytest.mark.parametrize(
    ("begins", "forever", "message"),
    [
        (ID3_WITHOUT_END, b"a" * 65_536, "no audio within the first 64 MiB"),
        (b"#EXTM3U\n", b"#EXTINF:1,a\nhttp://127.0.0.1:9/x\n" * 1_000, "it is a playlist of more than 4 MiB"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n", b"#EXTINF:1,\nx\n" * 1_000, "it is a playlist of more than 4 MiB"),
        (b"OggS\0\x02", b"\0" * 65_536, "no audio within the first 64 MiB|Invalid data"),
    ],
    ids=["ID3", "M3U", "HLS", "Ogg"],
)
def test_a_hostile_station_is_given_up(begins: bytes, forever: bytes, message: str) -> None:
    with sent(begins, forever=forever) as url:
        runs, end = decoded(url)
    assert not runs
    assert re.search(message, end)
    assert end.startswith(f"cannot open {url}")
    assert "\n" not in end


@pytest.mark.parametrize("entry", ["file:///etc/passwd", "concat:/etc/passwd", "data:audio/wav;base64,"])
def test_a_playlist_behind_an_address_names_no_local_file(entry: str) -> None:
    with served(f"#EXTM3U\n{entry}\n".encode()) as url:
        runs, end = decoded(url)
    assert not runs
    assert "network address" in end


def test_a_described_session_is_heard(tmp_path: Path) -> None:
    port = free_port(socket.SOCK_DGRAM) & ~1
    description = tmp_path / "studio.sdp"
    description.write_text(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=Studio\nc=IN IP4 127.0.0.1\nt=0 0\n"
        f"m=audio {port} RTP/AVP 98\na=rtpmap:98 L24/48000/2\n"
    )
    audio = ["-ar", "48000", "-ac", "2", "-c:a", "pcm_s24be", "-payload_type", "98"]
    with sending(*audio, "-f", "rtp", f"rtp://127.0.0.1:{port}"):
        heard = first_second(SessionSource(description))
    assert loudness(heard[SAMPLE_RATE_HZ // 2 :]) > 0.05


def with_titles(audio: bytes, titles: list[bytes], *, interval: int) -> bytes:
    """Audio as a station sends it to who asks for titles: one after every so many bytes."""
    sent = b""
    for i, at in enumerate(range(0, len(audio), interval)):
        text = titles[i] if i < len(titles) else b""
        units = -(-len(text) // 16)
        piece = audio[at : at + interval]
        sent += piece + (bytes([units]) + text.ljust(16 * units, b"\0") if len(piece) == interval else b"")
    return sent


@pytest.mark.parametrize("status_line", [b"HTTP/1.0 200 OK", b"ICY 200 OK"], ids=["icecast", "shoutcast"])
def test_a_station_says_what_plays_and_each_title_begins_with_its_audio(tone: Path, status_line: bytes) -> None:
    titles = [b"StreamTitle='first';", b"", b"", b"StreamTitle='Bj\xf6rk - J\xf3ga';StreamUrl='';"]
    interval = BIT_RATE // 8  # a second
    sent = with_titles(tone.read_bytes(), titles, interval=interval)
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler, stopping: threading.Event) -> None:
        asked.append(handler.headers["Authorization"] or "")
        wants = handler.headers["Icy-MetaData"] == "1"
        handler.wfile.write(status_line + b"\r\nContent-Type: audio/mpeg\r\nicy-name: x\r\n")
        handler.wfile.write(b"icy-metaint: %d\r\n\r\n" % interval if wants else b"\r\n")
        handler.wfile.write(sent if wants else tone.read_bytes())
        stopping.wait(60)

    station = Station(answer, has_status=False)
    try:
        begun: dict[str | None, float] = {}
        heard_s = 0.0
        source = UrlSource(f"http://me:secret@127.0.0.1:{station.port}/live")
        for run in decode_url(source._url, timeout_s=30.0):
            begun.setdefault(run.title and run.title.title, heard_s)
            heard_s += len(run.samples) / run.rate_hz
            if heard_s > 8:
                break
    finally:
        station.stop()
    assert list(begun) == [None, "first", "Björk - Jóga"]
    assert begun["first"] == pytest.approx(1.0, abs=0.15)
    assert begun["Björk - Jóga"] == pytest.approx(4.0, abs=0.15)
    assert heard_s > 8  # no title was taken for audio
    assert asked[-1] == "Basic bWU6c2VjcmV0"


def test_each_song_of_an_ogg_station_has_its_title(tmp_path: Path) -> None:
    links = [
        make(
            tmp_path / f"{title}.ogg",
            *("-metadata", f"title={title}", "-metadata", "artist=Björk"),
            *("-c:a", "libvorbis"),
        )
        for title in ("one", "two")
    ]
    with sent(*links) as url:
        runs, _ = decoded(url)
    titles = [run.title and (run.title.title, run.title.artist) for run in runs]
    assert [title for title, _ in itertools.groupby(titles)] == [("one", "Björk"), ("two", "Björk")]
