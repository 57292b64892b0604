"""What a person types, and what it gives."""

from __future__ import annotations

import io
import sys
import wave
from pathlib import Path

import pytest

from stream_mer.errors import DeviceError, SettingError, SourceError
from stream_mer.sources import catalogue
from stream_mer.sources.catalogue import open_source
from stream_mer.sources.file import FileSource
from stream_mer.sources.network import SessionSource, UrlSource
from stream_mer.sources.remote import RemoteSource
from stream_mer.sources.stdin import StdinSource


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(bytes(6_400))
    return path


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(64_000))))


@pytest.mark.parametrize("prefix", ["", "file:"])
def test_a_path(song: Path, prefix: str) -> None:
    source = open_source(f"{prefix}{song}", paced=False)
    assert isinstance(source, FileSource)
    assert sum(len(chunk.samples) for chunk in source.chunks()) == 3_200


def test_a_loop(song: Path) -> None:
    chunks = open_source(str(song), paced=False, loop=True).chunks()
    assert [next(chunks).start_sample for _ in range(4)] == [0, 1_600, 3_200, 4_800]


def test_a_file_whose_name_is_a_source(song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(song.parent)
    song.rename("demo")
    assert open_source("file:demo").name == "demo"
    assert isinstance(open_source("file:demo"), FileSource)


@pytest.mark.usefixtures("piped")
@pytest.mark.parametrize(
    ("options", "length"),
    [
        ({}, 64_000 // 2 * 16_000 / 44_100),
        ({"rate_hz": 16_000}, 32_000),
        ({"rate_hz": 16_000, "channels": 2}, 16_000),
        ({"rate_hz": 16_000, "sample_format": "f32le"}, 16_000),
    ],
)
def test_standard_input(options: dict[str, object], length: float) -> None:
    source = open_source("-", **options)  # type: ignore[arg-type]
    assert isinstance(source, StdinSource)
    assert abs(sum(len(chunk.samples) for chunk in source.chunks()) - length) <= 1


@pytest.mark.parametrize("is_there", [True, False])
def test_a_terminal_is_no_pipe(is_there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal() if is_there else None)
    with pytest.raises(SettingError, match="no pipe"):
        open_source("-")


@pytest.mark.parametrize(("spec", "wanted"), [("mic", None), ("mic:", None), ("mic:USB: left", "USB: left")])
def test_a_microphone(spec: str, wanted: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        catalogue, "MicrophoneSource", lambda name, *, channels, gain_db: asked.append((name, channels, gain_db))
    )
    open_source(spec)
    open_source(spec, channels="3,4", gain_db=-6.0)
    open_source(spec, channels=2)
    assert asked == [(wanted, None, 0.0), (wanted, (3, 4), -6.0), (wanted, (2,), 0.0)]


def test_an_unknown_microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_mer.sources.capture.PortAudioBackend.devices", lambda _self: ())
    with pytest.raises(DeviceError):
        open_source("mic:none such")


@pytest.mark.parametrize("spec", ["", "dmeo", "file:", "remote:desk"])
def test_what_is_no_source_lists_what_is(spec: str) -> None:
    with pytest.raises(SettingError, match="a source is: demo, mic, mic:NAME, "):
        open_source(spec)


def test_sources_beyond_this_machine() -> None:
    assert isinstance(open_source("remote"), RemoteSource)
    assert isinstance(open_source("http://radio.example/live.mp3"), UrlSource)
    with pytest.raises(SettingError, match="give an address with one of http"):
        open_source("ftp://radio.example/live.mp3")


@pytest.mark.parametrize("spec", ["gone.mp3", "folder/gone", "file:gone"])
def test_a_file_that_is_not_there(spec: str) -> None:
    with pytest.raises(SourceError, match="no such file"):
        open_source(spec)


@pytest.mark.parametrize("option", [{"rate_hz": 48_000}, {"sample_format": "s16le"}, {"channels": 2}])
def test_options_of_raw_audio_are_for_raw_audio(song: Path, option: dict[str, object]) -> None:
    with pytest.raises(SettingError, match="raw PCM"):
        open_source(str(song), **option)  # type: ignore[arg-type]


@pytest.mark.usefixtures("piped")
@pytest.mark.parametrize(
    ("spec", "option", "why"),
    [
        ("mic", {"rate_hz": 48_000}, "rate and format are for raw PCM"),
        ("mic", {"channels": "3;4"}, "such as 3,4"),
        ("-", {"rate_hz": 0}, "Hz"),
        ("-", {"channels": "3,4"}, "how many are interleaved"),
        ("-", {"channels": "none"}, "how many are interleaved"),
        ("-", {"gain_db": 3.0}, "gain is for microphones alone"),
        ("demo", {"gain_db": 3.0}, "gain is for microphones alone"),
        ("demo", {"channels": "1"}, "channels are for raw PCM on standard input"),
    ],
)
def test_an_option_that_does_not_fit_the_source(spec: str, option: dict[str, object], why: str) -> None:
    with pytest.raises(SettingError, match=why):
        open_source(spec, **option)  # type: ignore[arg-type]


@pytest.mark.parametrize("paced", [True, False])
@pytest.mark.parametrize("text", ["#EXTM3U\nhttp://radio/live\n", "[playlist]\nFile1=http://radio/live\n"])
def test_a_playlist_of_an_address_is_that_address(tmp_path: Path, text: str, paced: bool) -> None:
    (tmp_path / "radio.list").write_text(text)
    source = open_source(str(tmp_path / "radio.list"), paced=paced)
    assert isinstance(source, UrlSource)
    assert source.name == "http://radio/live"


def test_a_playlist_that_names_itself_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "self.m3u8").write_text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nself.m3u8\n")
    with pytest.raises(SourceError, match="more than 3 deep"):
        open_source(str(tmp_path / "self.m3u8"))


def test_a_described_session_is_live(tmp_path: Path) -> None:
    (tmp_path / "studio.sdp").write_text("v=0\nm=audio 5004 RTP/AVP 98\n")
    source = open_source(str(tmp_path / "studio.sdp"))
    assert isinstance(source, SessionSource)
    assert (source.name, source.live) == ("studio.sdp", True)


@pytest.mark.parametrize("spec", ["-", "mic", "mic:USB", "monitor", "remote", "demo"])
def test_only_files_and_addresses_have_tracks(spec: str) -> None:
    with pytest.raises(SettingError, match="a track can be chosen in files and addresses, not in"):
        open_source(spec, track="2")


@pytest.mark.parametrize("spec", ["x" * 1999, "file:" + "x" * 1999])
def test_a_name_that_no_file_can_have(spec: str) -> None:
    with pytest.raises(SettingError, match="too long"):
        open_source(spec)
