"""The real ``stream-mer evaluate`` and ``train`` on made-up trees in the layout of public data sets."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

Music = Callable[..., NDArray[np.float32]]
WriteWav = Callable[[Path, NDArray[np.float32]], Path]


def stream_mer(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stream_mer", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)


@pytest.fixture
def pmemo(tmp_path: Path, music: Music, write_wav: WriteWav) -> Path:
    """Ten choruses by five artists with ratings, two of them with lyrics; one more has no audio."""
    home = tmp_path / "PMEmo2019"
    for name in ("annotations", "chorus", "lyrics"):
        (home / name).mkdir(parents=True)
    songs = range(1, 12)
    ratings = "".join(f"{song},{0.08 * song:.3f},{0.95 - 0.07 * song:.3f}\n" for song in songs)
    (home / "annotations/static_annotations.csv").write_text("musicId,Arousal(mean),Valence(mean)\n" + ratings)
    about = "".join(f"{song},{song}.mp3,Song {song},Artist {song % 5},Album,5,00:10,00:15\n" for song in songs)
    (home / "metadata.csv").write_text(
        "musicId,fileName,title,artist,album,duration,chorus_start_time,chorus_end_time\n" + about
    )
    for song, first in ((1, "The morning light"), (2, "A cold and lonely rain")):
        (home / f"lyrics/{song}.lrc").write_text(f"[00:01.00]{first}\n[00:03.00]is on the river\n")
    for song in songs[:10]:
        write_wav(home / f"chorus/{song}.wav", music(5.0, seed=song))
    return home


@pytest.fixture
def jamendo(tmp_path: Path, music: Music, write_wav: WriteWav) -> Path:
    """Ten tracks by five artists; the first is a whole song."""
    root = tmp_path / "mtg-jamendo-dataset"
    (root / "data").mkdir(parents=True)
    moods = ("happy", "horror", "sad", "calm")
    rows = ["TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"]
    for i in range(10):
        (root / f"audio/{i:02}").mkdir(parents=True)
        write_wav(root / f"audio/{i:02}/{i}.wav", music(35.0 if i == 0 else 5.0, seed=i))
        rows.append(f"track_{i:07}\tartist_{i // 2}\talbum_0\t{i:02}/{i}.mp3\t5.0\tmood/theme---{moods[i % 4]}\n")
    (root / "data/autotagging_moodtheme.tsv").write_text("".join(rows))
    return root


def test_ratings_without_quadrants_are_measured(pmemo: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = stream_mer(
        *["evaluate", "--corpus", pmemo, "--backbone", tiny_model, "--cache", tmp_path / "cache", "--no-transcripts"],
        *["--members", 1, "--epochs", 1, "--threads", 1, "--json", tmp_path / "table.json"],
    )
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    assert told[0].endswith("10 of 11 clips taken; left out: 1 without an audio file (11)")
    assert "it brings no folds, so 5 were made" in told[1]
    figures = json.loads((tmp_path / "table.json").read_text())
    for kind in ("none", "printed"):
        assert [figures[kind][name]["n"] for name in ("valence_ccc", "arousal_ccc", "quadrants_f1")] == [10, 10, 0]
        assert all(-1 <= figures[kind][name]["value"] <= 1 for name in ("valence_ccc", "arousal_ccc"))
    # Each [members, clip and frame, conditions, clips, outputs], before words are held to what they have earned.
    folds = [np.load(path)["outputs"] for path in sorted((tmp_path / "cache").glob("folds-*/*.npz"))]
    assert len(folds) == 5
    moved = [(fold[0, 0, 0] != fold[0, 0, 2]).any(axis=1) for fold in folds]  # audio alone, and with printed words
    assert int(np.concatenate(moved).sum()) == 2


def test_quadrants_without_ratings_make_a_model(jamendo: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = stream_mer(
        *["train", "--corpus", jamendo, "--format", "jamendo", "--backbone", tiny_model, "--no-transcripts"],
        *["--cache", tmp_path / "cache", "--members", 1, "--epochs", 1, "--threads", 1, "--out", tmp_path / "mine"],
    )
    assert done.returncode == 0, done.stderr
    assert "10 of 10 clips taken" in done.stderr
    config = json.loads((tmp_path / "mine/config.json").read_text())
    assert config["training"]["clips"]["category"] == 10
    assert config["training"]["folds"]["none"]["quadrants_f1"]["n"] == 10
    assert config["training"]["folds"]["none"]["valence_ccc"]["n"] == 0
    lengths = sorted(len(np.load(path)) for path in (tmp_path / "cache").glob("tokens-*/*.npy"))
    assert lengths[-1] <= 30.0 / 0.49  # the middle 30 s of the whole song


def test_a_folder_that_holds_nothing_is_one_line(tmp_path: Path, tiny_model: Path) -> None:
    done = stream_mer("evaluate", "--corpus", tmp_path, "--backbone", tiny_model, "--format", "deam")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("stream-mer: no DEAM at ")
    assert done.stderr.count("\n") == 1
