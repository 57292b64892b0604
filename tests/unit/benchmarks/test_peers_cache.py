"""What a peer heard is kept clip by clip, and heard anew only where the audio is another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.peers_cache import cached_features, cached_predictions
from stream_mer.training.corpus import Clip
from stream_mer.training.crossvalidation import Predictions


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    made = []
    for i in range(5):
        audio = tmp_path / f"c{i}.wav"
        audio.write_bytes(bytes([i]) * 100)
        made.append(Clip(clip_id=f"c{i}", audio=audio, artist=f"a{i}", fold=i))
    return made


class Ear:
    """Hears the number that stands in a clip's file, and may be interrupted."""

    def __init__(self, *, breaks_at: str = "") -> None:
        self.heard: list[str] = []
        self._breaks_at = breaks_at

    def __call__(self, clip: Clip) -> NDArray[np.float32]:
        if clip.clip_id == self._breaks_at:
            raise KeyboardInterrupt
        self.heard.append(clip.clip_id)
        return np.array([clip.audio.read_bytes()[0], clip.middle_s or 0], np.float32)


def test_an_interrupted_run_goes_on_where_it_stopped(clips: list[Clip], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        cached_features(clips, tmp_path / "cache", Ear(breaks_at="c3"), "t")
    rest = Ear()
    features = cached_features(clips, tmp_path / "cache", rest, "t")
    assert rest.heard == ["c3", "c4"]
    assert [row[0] for row in features] == [0, 1, 2, 3, 4]
    silent = Ear()
    again = cached_features(clips, tmp_path / "cache", silent, "t")
    assert silent.heard == []
    np.testing.assert_array_equal(again, features)


def test_a_file_that_was_cut_off_while_it_was_written_does_not_count(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = np.save

    def cut_off(path: Path, array: NDArray[np.float32]) -> None:
        save(path, array)
        Path(path).write_bytes(Path(path).read_bytes()[:50])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(np, "save", cut_off)
        with pytest.raises(KeyboardInterrupt):
            cached_features(clips, tmp_path / "cache", Ear(), "t")
    ear = Ear()
    cached_features(clips, tmp_path / "cache", ear, "t")
    assert ear.heard == [clip.clip_id for clip in clips]


def test_another_recording_or_another_part_of_it_is_heard_anew(clips: list[Clip], tmp_path: Path) -> None:
    cached_features(clips, tmp_path / "cache", Ear(), "t")
    clips[1].audio.write_bytes(b"\x09")
    clips[4] = replace(clips[4], middle_s=2.0)
    ear = Ear()
    features = cached_features(clips, tmp_path / "cache", ear, "t")
    assert ear.heard == ["c1", "c4"]
    assert [row.tolist() for row in features] == [[0, 0], [9, 0], [2, 0], [3, 0], [4, 2]]


def test_the_order_is_that_of_the_clips(clips: list[Clip], tmp_path: Path) -> None:
    cached_features(clips, tmp_path / "cache", Ear(), "t")
    found = cached_features(clips[::-2], tmp_path / "cache", Ear(), "t")
    assert [row[0] for row in found] == [4, 2, 0]


def test_predictions_are_made_once_and_kept_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = Predictions(emotion=rng.normal(size=(3, 2)), category=rng.normal(size=(3, 4)), cluster=np.eye(5)[:3])
    file = tmp_path / "new" / "machines.npz"

    def interrupted() -> Predictions:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_predictions(file, interrupted)
    first = cached_predictions(file, lambda: made)
    kept = cached_predictions(file, interrupted)
    for found in (first, kept):
        for name in ("emotion", "category", "cluster"):
            np.testing.assert_array_equal(getattr(found, name), getattr(made, name))
