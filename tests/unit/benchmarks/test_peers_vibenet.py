"""VibeNet that is not there is told in one sentence; what one that is there says arrives whole."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import peers_vibenet
from benchmarks.peers_result import CLIP, FRAME, PeerMissingError
from benchmarks.peers_vibenet import HIDDEN, find_python, find_vibenet, open_vibenet, raw
from stream_mer.errors import StreamMerError
from stream_mer.training.corpus import Clip
from stream_mer.training.metrics import pearson

WORKER = """
import json, sys
print(json.dumps({"names": ["energy", "speechiness", "valence"]}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if "time_s" in asked:
        told = {"cpu_s": asked["time_s"] / asked["repeats"]}
    elif asked["audio"].endswith("broken.wav"):
        told = {"error": "ValueError: no audio"}
    elif asked["audio"].endswith("deadly.wav"):
        sys.exit(1)
    else:
        with open(asked["audio"], "rb") as file:
            level = file.read()[0] / 100
        heard = asked["first_s"] or 30.0
        told = {"hidden": [level] * 255 + [heard], "outputs": [1 - level, 0.5, level]}
    print(json.dumps(told), flush=True)
"""
"""Speaks as the real one does; hears the first byte of a file."""


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interpreter of which the benchmark believes that it has VibeNet, and a worker in its place."""
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    monkeypatch.setattr(peers_vibenet, "WORKER", worker)
    monkeypatch.setattr(peers_vibenet, "NEEDED", "pass")
    return Path(sys.executable)


def clip(folder: Path, name: str, *, level: int = 0, fold: int = 0) -> Clip:
    audio = folder / f"{name}.wav"
    audio.write_bytes(bytes([level]))
    valence = level / 50 - 1
    return Clip(
        clip_id=name,
        audio=audio,
        artist=name,
        fold=fold,
        category=0 if valence > 0 else 2,
        valence=valence,
        arousal=-valence,
    )


def test_without_an_interpreter_it_says_how_to_get_one() -> None:
    with pytest.raises(PeerMissingError, match=r"--vibenet-python PATH.*pip install vibenet==0\.1\.0"):
        find_python(None)


def test_an_interpreter_without_vibenet_is_named_with_what_it_lacks() -> None:
    with pytest.raises(PeerMissingError, match="No module named") as told:
        find_python(Path(sys.executable))
    assert sys.executable in str(told.value)
    assert "\n" not in str(told.value)


def test_what_is_no_interpreter_is_named(tmp_path: Path) -> None:
    with pytest.raises(PeerMissingError, match="No such file"):
        find_python(tmp_path / "bin" / "python")


def test_hidden_layer_and_outputs_arrive_in_order(scripted: Path, tmp_path: Path) -> None:
    with open_vibenet(scripted) as vibenet:
        assert vibenet.names == ("energy", "speechiness", "valence")
        heard = vibenet.features(clip(tmp_path, "a", level=25), first_s=10.0)
        assert vibenet.cpu_s(10.0, repeats=4) == 2.5
    assert heard.dtype == np.float32
    assert heard[[0, HIDDEN - 1]].tolist() == [0.25, 10.0]
    assert heard[HIDDEN:].tolist() == [0.75, 0.5, 0.25]


def test_what_it_cannot_hear_is_an_error_and_the_next_clip_is_heard(scripted: Path, tmp_path: Path) -> None:
    with open_vibenet(scripted) as vibenet:
        with pytest.raises(StreamMerError, match="no audio"):
            vibenet.features(clip(tmp_path, "broken"))
        assert vibenet.features(clip(tmp_path, "whole", level=50))[0] == 0.5


def test_a_process_that_ends_early_is_told(scripted: Path, tmp_path: Path) -> None:
    with open_vibenet(scripted) as vibenet:
        for _ in range(2):
            with pytest.raises(StreamMerError, match="ended early"):
                vibenet.features(clip(tmp_path, "deadly"))


def test_its_own_valence_and_energy_are_found_by_name_and_told_by_correlation_alone() -> None:
    outputs = np.array([[0.1, 0.9, 0.4], [0.3, 0.9, 0.2]], np.float32)
    judged = raw(outputs, ("energy", "speechiness", "valence"), CLIP, "how")
    np.testing.assert_allclose(judged.predictions.emotion, [[0.4, 0.1], [0.2, 0.3]], rtol=1e-6)
    assert judged.told == {"valence_r", "arousal_r"}


def test_it_hears_clips_whole_and_their_beginning_and_keeps_both(scripted: Path, tmp_path: Path) -> None:
    clips = [clip(tmp_path, f"c{i}", level=5 + 5 * i, fold=i % 3) for i in range(18)]
    cache = tmp_path / "cache"
    with contextlib.ExitStack() as stack:
        found = find_vibenet(clips, scripted, cache, stack)
        assert [(one.system, one.heard) for one in found.judged] == [
            ("VibeNet 0.1.0, its valence and energy", CLIP),
            ("VibeNet 0.1.0 + SVM", CLIP),
            ("VibeNet 0.1.0, its valence and energy", FRAME),
            ("VibeNet 0.1.0 + SVM", FRAME),
        ]
        assert [way.cpu_s() for way in found.ways] == [1.0, pytest.approx(10 / 2 / 0.5)]
    assert {one.how for one in found.judged} == {way.how for way in found.ways}
    truth = np.array([clip.valence for clip in clips], dtype=np.float64)
    for one in found.judged:
        assert pearson(truth, one.predictions.emotion[:, 0]) > 0.8
        assert pearson(-truth, one.predictions.emotion[:, 1]) > 0.8
    heard_s = {
        folder.name: {float(np.load(file)[HIDDEN - 1]) for file in folder.iterdir()}
        for folder in cache.iterdir()
        if folder.is_dir()
    }
    assert heard_s == {"vibenet-0.1.0-whole": {30.0}, "vibenet-0.1.0-10s": {10.0}}
