"""Opening is bounded, and follows playlists only so far."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_mer.errors import SourceError
from stream_mer.sources import media
from stream_mer.sources.media import MAX_OPENING_BYTES, MAX_OPENING_S, OpeningBudget, follow_playlists, is_session


def test_opening_may_read_so_many_bytes() -> None:
    budget = OpeningBudget("song.mp3", lambda: 0.0)
    budget.spend(MAX_OPENING_BYTES)
    with pytest.raises(SourceError, match=r"cannot open song\.mp3: no audio within the first 64 MiB"):
        budget.spend(1)


def test_opening_may_take_so_long() -> None:
    now = 100.0
    budget = OpeningBudget("song.mp3", lambda: now)
    now += MAX_OPENING_S
    budget.spend(1)
    assert 0 < budget.left_s <= MAX_OPENING_S
    now += 0.001
    with pytest.raises(SourceError, match=r"no audio within 10 s"):
        budget.spend(1)


def test_what_is_open_may_go_on_for_ever() -> None:
    now = 0.0
    budget = OpeningBudget("song.mp3", lambda: now)
    budget.finish()
    now += 10 * MAX_OPENING_S
    budget.spend(10 * MAX_OPENING_BYTES)


def test_a_pipe_may_keep_us_waiting_but_not_send_a_header_without_end() -> None:
    now = 0.0
    budget = OpeningBudget("pipe", lambda: now)
    budget.remove_deadline()
    now += 10 * MAX_OPENING_S
    budget.spend(MAX_OPENING_BYTES)
    with pytest.raises(SourceError, match="64 MiB"):
        budget.spend(1)


def test_a_file_whose_header_has_no_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_OPENING_BYTES", 100_000)
    path = tmp_path / "song.flac"
    comments = b"\x04" + (900_000).to_bytes(3, "big")
    path.write_bytes(b"fLaC" + b"\0\0\0\x22" + bytes(34) + comments + b"a" * 1_000_000)
    with pytest.raises(SourceError, match=r"cannot open .*song\.flac: no audio within the first"):
        media.open_file(path)


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / f"{name}.m3u8").write_text(text)


MASTER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n"


def test_a_playlist_leads_to_the_address_that_it_names(tmp_path: Path) -> None:
    write(tmp_path, a="#EXTM3U\nb.m3u8\n", b="#EXTM3U\n#EXTINF:1,Radio\nhttp://radio.example/live\n")
    assert follow_playlists(tmp_path / "a.m3u8") == "http://radio.example/live"


def test_what_is_no_playlist_leads_to_itself(tmp_path: Path) -> None:
    (tmp_path / "song.mp3").write_bytes(b"ID3")
    for path in (tmp_path / "song.mp3", tmp_path / "gone.mp3", tmp_path):
        assert follow_playlists(path) == str(path)


def test_playlists_are_followed_three_deep(tmp_path: Path) -> None:
    write(tmp_path, a=MASTER + "b.m3u8", b=MASTER + "c.m3u8", c=MASTER + "d.m3u8", d="#EXTM3U\n#EXT-X-ENDLIST\nx.ts")
    assert follow_playlists(tmp_path / "a.m3u8") == str(tmp_path / "d.m3u8")
    write(tmp_path, d=MASTER + "e.m3u8", e="#EXTM3U\n#EXT-X-ENDLIST\nx.ts")
    with pytest.raises(SourceError, match="more than 3 deep"):
        follow_playlists(tmp_path / "a.m3u8")


@pytest.mark.parametrize("text", [MASTER + "self.m3u8\n", "#EXTM3U\nself.m3u8\n", "[playlist]\nFile1=self.m3u8\n"])
def test_a_playlist_that_names_itself_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path, self=text)
    with pytest.raises(SourceError, match=r"self\.m3u8 is not opened: playlists name playlists more than 3 deep"):
        media.open_file(tmp_path / "self.m3u8")


def test_a_file_may_not_reach_segments_on_the_network(tmp_path: Path) -> None:
    write(tmp_path, list="#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://user:secret@127.0.0.1:9/a.ts\n")
    with pytest.raises(SourceError, match=r"an HLS playlist of segments behind http://\*\*\*@127") as caught:
        media.open_file(tmp_path / "list.m3u8")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#EXTM3U\na.m4a\n", r"is a playlist, not an audio file: give the files that it names, such as .*a\.m4a"),
        ("#EXTM3U\nhttp://radio/live\n", r"is a playlist of http://radio/live: play it with stream-mer serve --source"),
    ],
)
def test_a_playlist_is_no_audio_file(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, list=text)
    with pytest.raises(SourceError, match=message):
        media.open_file(tmp_path / "list.m3u8")


@pytest.mark.parametrize(
    ("text", "expected"), [("v=0\r\no=-", True), ("SDP:\nv=0\n", True), ("RIFF", False), ("", False)]
)
def test_a_session_is_known_by_its_first_lines(tmp_path: Path, text: str, expected: bool) -> None:
    (tmp_path / "x.sdp").write_text(text)
    assert is_session(tmp_path / "x.sdp") is expected
    assert not is_session(tmp_path)


def test_a_place_that_is_not_there_is_no_exception(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    reader = media.FileReader(tmp_path / "a", OpeningBudget("a"), lambda: False)
    assert reader.seek(-5) < 0
    assert reader.seek(2**62 + 2**62) < 0
    assert reader.seek(1) == 1
    assert reader.read(10) == b"bc"
    reader.close()
