"""Folders and patterns become files, files become tasks, and their results have places of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stream_mer.batch import FoundFile, Task, Wanted, find_files, places
from stream_mer.outputs.recording.format import MESSAGES
from stream_mer.outputs.summary_table import FileRow


@pytest.fixture
def music(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of mixed kinds, two levels deep; the working folder is the one above it."""
    for name in (
        "b.mp3", "a.FLAC", "notes.txt", "a.lrc", "cover.jpg", ".hidden.mp3", "._a.mp3", ".cache/x.mp3", "more/c.wav",
        "more/月亮 [live].ogg", "more/deep/film.mkv",
    ):  # fmt: skip
        file = tmp_path / "music" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "music"


def found(*arguments: str) -> list[str]:
    return [one.path for one in find_files(arguments) if isinstance(one, FoundFile)]


ALL = ["a.FLAC", "b.mp3", "more/c.wav", "more/月亮 [live].ogg", "more/deep/film.mkv"]


@pytest.mark.usefixtures("music")
def test_a_folder_is_searched_for_audio_at_any_depth_in_order() -> None:
    assert found("music") == [f"music/{name}" for name in ALL]


@pytest.mark.usefixtures("music")
@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("music/*.mp3", ["b.mp3"]),
        ("music/**/*.wav", ["more/c.wav"]),
        ("music/[ab].*", ["a.FLAC", "a.lrc", "b.mp3"]),
        ("music/m*", ALL[2:]),
    ],
)
def test_a_quoted_pattern_is_expanded(pattern: str, names: list[str]) -> None:
    assert found(pattern) == [f"music/{name}" for name in names]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_in_a_folder_is_not_waited_for_and_a_broken_link_is_named(music: Path) -> None:
    os.mkfifo(music / "pipe.wav")
    (music / "z.mp3").symlink_to(music / "nothing.mp3")
    assert found("music") == [f"music/{name}" for name in (*ALL[:2], "z.mp3", *ALL[2:])]
    assert found("music/*.wav", "music/b*") == ["music/b.mp3"]


@pytest.mark.usefixtures("music")
def test_a_file_whose_name_looks_like_a_pattern_is_that_file() -> None:
    assert found("music/more/月亮 [live].ogg") == ["music/more/月亮 [live].ogg"]


@pytest.mark.usefixtures("music")
def test_what_a_folder_and_a_pattern_both_have_counts_once_and_what_is_named_twice_stays() -> None:
    assert len(found("music", "music/**/*.mp3", "music/more")) == len(ALL)
    assert found("music/b.mp3", "music/b.mp3") == ["music/b.mp3"] * 2


@pytest.mark.usefixtures("music")
def test_links_that_lead_in_circles_end() -> None:
    Path("music/more/up").symlink_to("..")
    assert len(found("music")) == len(ALL)


@pytest.mark.parametrize("argument", ["empty", "no-such-*.mp3"])
def test_an_argument_without_files_is_an_error_of_its_own(argument: str, music: Path) -> None:
    (music.parent / "empty").mkdir()
    (error, file) = find_files([argument, "music/b.mp3"])
    assert isinstance(error, FileRow)
    assert error.error is not None
    assert argument in error.error
    assert file == FoundFile(path="music/b.mp3", root="music")


def test_a_recording_is_one_file(music: Path) -> None:
    (music / MESSAGES).write_bytes(b"")
    assert found("music") == ["music"]


@pytest.mark.usefixtures("music")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["music"], ALL),
        (["music/b.mp3"], ["b.mp3"]),
        (["music/b.mp3", "music/more/c.wav"], ["b.mp3", "more/c.wav"]),
        (["music/**/*.wav"], ["more/c.wav"]),
        (["music/more", "music/b.mp3"], ["more/c.wav", "more/月亮 [live].ogg", "more/deep/film.mkv", "b.mp3"]),
    ],
)
def test_places_of_results_mirror_the_folders(arguments: list[str], expected: list[str]) -> None:
    files = [one for one in find_files(arguments) if isinstance(one, FoundFile)]
    assert places(files) == [Path(one) for one in expected]
    assert places([]) == []


def test_a_task_names_what_it_writes() -> None:
    wanted = Wanted(output_format="jsonl", plot=Path("a/p.png"), srt=Path("s.srt"))
    task = Task(file="x.mp3", stream="x.mp3", outputs=wanted.of("x"), target=Path("out/x.mp3.jsonl"))
    assert task.paths() == [Path("out/x.mp3.jsonl"), Path("a/p-x.png"), Path("s-x.srt")]
    assert task.name == "x.mp3"
