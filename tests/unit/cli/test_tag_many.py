"""``stream-mer tag`` on folders: files of their own, the table, what is left out, and what the terminal shows."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_mer.cli.diagnose import demo_song
from stream_mer.outputs.summary_table import read_table
from stream_mer.types import SAMPLE_RATE_HZ

WriteWav = Callable[[Path, NDArray[np.float32]], Path]
Command = Callable[..., Any]


@pytest.fixture
def tag(stream_mer: Command, tiny_model: Path) -> Command:
    """``stream-mer tag`` with the tiny model and without lyrics."""
    return lambda *args: stream_mer("tag", "--model", tiny_model, "--no-lyrics", *args)


@pytest.fixture(scope="session")
def one_song(tmp_path_factory: pytest.TempPathFactory, write_wav: WriteWav) -> Path:
    """3 s of real music."""
    return write_wav(tmp_path_factory.mktemp("songs") / "song.wav", demo_song()[: 3 * SAMPLE_RATE_HZ])


@pytest.fixture
def music(tmp_path: Path, one_song: Path) -> Path:
    """Two songs, a file that is none, and what is left out."""
    folder = tmp_path / "music"
    (folder / "more").mkdir(parents=True)
    shutil.copy(one_song, folder / "a.wav")
    shutil.copy(one_song, folder / "more" / "月亮.wav")
    (folder / "bad.mp3").write_bytes(b"no music at all " * 1000)
    (folder / "notes.txt").write_text("nothing to tag")
    return folder


def test_a_folder_gives_a_file_each_and_a_table(tag: Command, music: Path, tmp_path: Path) -> None:
    done = tag(music, "--out", f"{tmp_path}/tags/", "--summary", tmp_path / "t.csv")
    assert (done.code, done.out) == (1, "")
    error, end = done.err.splitlines()
    assert error.startswith("stream-mer: ")
    assert error.count("bad.mp3") == 1
    assert end == "2 tagged, 1 failed"
    written = sorted(str(path.relative_to(tmp_path / "tags")) for path in tmp_path.glob("tags/**/*.*"))
    assert written == ["a.wav.jsonl", "more/月亮.wav.jsonl"]
    rows = read_table(tmp_path / "t.csv")
    assert [Path(row.file).name for row in rows] == ["a.wav", "bad.mp3", "月亮.wav"]
    assert [row.duration_s for row in rows] == [3.0, None, 3.0]
    assert "bad.mp3" in (rows[1].error or "")
    assert rows[0].valence_mean is not None
    shares = (rows[0].happy_share, rows[0].angry_share, rows[0].sad_share, rows[0].relaxed_share, rows[0].unknown_share)
    assert sum(share or 0 for share in shares) == pytest.approx(1, abs=1e-3)


@pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="names of files are text there")
def test_a_name_that_is_no_utf_8_stands_in_the_table(tag: Command, one_song: Path, tmp_path: Path) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    shutil.copy(one_song, os.fsdecode(bytes(folder) + b"/n\xff.wav"))
    options = ("--out", f"{tmp_path}/tags/", "--summary", tmp_path / "t.csv", "--skip-existing")
    assert tag(folder, *options).code == 0
    (row,) = read_table(tmp_path / "t.csv")
    assert row.file.endswith(r"n\xff.wav")
    assert row.error is None
    assert len(list(tmp_path.glob("tags/*.jsonl"))) == 1


def test_what_is_there_is_skipped_and_what_is_missing_or_failed_is_done(
    tag: Command, music: Path, tmp_path: Path
) -> None:
    options = ("--out", f"{tmp_path}/tags/", "--summary", tmp_path / "t.csv", "--skip-existing")
    assert tag(music, *options).code == 1
    kept = (tmp_path / "tags/a.wav.jsonl").stat().st_mtime_ns
    (tmp_path / "tags/more/月亮.wav.jsonl").unlink()
    done = tag(music, *options)
    assert done.err.splitlines()[-1] == "1 tagged, 1 failed, 1 skipped"
    assert (tmp_path / "tags/a.wav.jsonl").stat().st_mtime_ns == kept
    assert (tmp_path / "tags/more/月亮.wav.jsonl").exists()
    (music / "bad.mp3").unlink()
    done = tag(music, *options)
    assert (done.code, done.err) == (0, "0 tagged, 2 skipped\n")
    assert [Path(row.file).name for row in read_table(tmp_path / "t.csv")] == ["bad.mp3", "a.wav", "月亮.wav"]


def test_an_interrupted_run_keeps_what_is_finished(
    tag: Command, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stream_mer.emotion.smoothing import Smoother  # noqa: PLC0415 - what is replaced

    feed, calls = Smoother.feed, iter(range(1000))

    def interrupt(*args: Any) -> Any:
        if next(calls) >= 8:  # in the second song
            raise KeyboardInterrupt
        return feed(*args)

    monkeypatch.setattr(Smoother, "feed", interrupt)
    done = tag(music, "--out", f"{tmp_path}/tags/", "--summary", tmp_path / "t.csv")
    assert done.code == 130
    assert done.err.strip().splitlines()[-2:] == [
        "1 tagged, 1 failed, 1 left",
        "What is finished is kept: the same command with --skip-existing does the rest.",
    ]
    assert [path.name for path in tmp_path.glob("tags/**/*.*")] == ["a.wav.jsonl"]
    assert [Path(row.file).name for row in read_table(tmp_path / "t.csv")] == ["a.wav", "bad.mp3"]


def test_an_existing_folder_takes_the_results_of_one_file_too(tag: Command, one_song: Path, tmp_path: Path) -> None:
    done = tag(one_song, "--out", tmp_path, "--format", "csv")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert len((tmp_path / "song.wav.csv").read_text().splitlines()) == 1 + 6


@pytest.mark.skipif(sys.platform != "linux", reason="a folder in which even root can make none")
def test_a_folder_for_results_that_cannot_be_made_is_named(tag: Command, one_song: Path) -> None:
    done = tag(one_song, "--out", "/proc/more/")
    assert done.code == 1
    assert "cannot write to /proc/more: No such file or directory" in done.err


def test_a_folder_without_audio_fails_and_writes_nothing(tag: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = tag(tmp_path / "empty", "--out", tmp_path / "tags.jsonl")
    assert (done.code, done.out) == (1, "")
    assert "empty is a folder without audio files" in done.err
    assert not (tmp_path / "tags.jsonl").exists()


def test_an_excerpt_has_the_times_of_the_file(tag: Command, one_song: Path, tmp_path: Path) -> None:
    done = tag(one_song, "--start", "1.25", "--duration", "1.1")
    assert (done.code, done.err) == (0, "")
    *frames, summary = done.messages
    assert [frame["t1"] for frame in frames] == [1.75, 2.25, 2.35]
    assert [frame["t0"] for frame in frames] == [1.25] * 3
    assert summary["type"] == "summary"
    late = tag(one_song, "--start", "60")
    assert (late.code, late.out) == (1, "")
    assert "song.wav ends before 60 s" in late.err
    (tmp_path / "a.lrc").write_text("[00:01.00]la\n")
    refused = tag(one_song, "--start", "-1")
    assert refused.code == 2


def test_a_terminal_gets_text_and_json_if_asked(tag: Command, one_song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tag_on_terminal(*args: object) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(type(sys.stdout), "isatty", lambda _: True, raising=False)
            return tag(one_song, *args)

    text = tag_on_terminal()
    assert text.code == 0
    assert text.out.splitlines()[0].endswith("song.wav  0:03")
    assert "  valence  " in text.out
    for options in (["--json"], ["--format", "jsonl"]):
        assert tag_on_terminal(*options).messages[-1]["type"] == "summary"
    assert tag_on_terminal("--format", "csv").out.startswith("stream,index,")
