"""The command: what is there is measured, what is not is named, and our folds are those of `stream-mer evaluate`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import __main__ as runner
from benchmarks import peers
from benchmarks.peers_ours import judge
from benchmarks.peers_result import CLIP, FRAME, Found, Judged, PeerMissingError, Way
from benchmarks.report import REPORT_SCHEMA
from stream_mer import cli
from stream_mer.errors import SettingError
from stream_mer.training import crossvalidation, metrics, scores
from stream_mer.training.crossvalidation import FoldResults, Predictions

N_CLIPS = 8


@pytest.fixture(autouse=True)
def quick_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 samples in place of 1,000: what an interval is, the tests of ``metrics`` say."""
    monkeypatch.setattr(scores, "bootstrap", partial(metrics.bootstrap, rounds=30))


@pytest.fixture
def corpus(
    tmp_path: Path,
    music: Callable[..., NDArray[np.float32]],
    write_wav: Callable[[Path, NDArray[np.float32]], Path],
) -> Path:
    root = tmp_path / "corpus"
    root.mkdir()
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["clip_id", "audio", "artist", "fold", "quadrant", "cluster", "valence", "arousal"])
        for i in range(N_CLIPS):
            write_wav(root / f"c{i}.wav", music(3.5, seed=i))
            rows.writerow(
                [f"c{i}", f"c{i}.wav", f"artist {i}", i // 4, f"Q{i % 4 + 1}", f"C{i % 5 + 1}", 0.1 * i, -0.1 * i]
            )
    return root


@pytest.fixture
def asked(corpus: Path, tmp_path: Path, tiny_model: Path) -> list[str]:
    """Options that `stream-mer evaluate` takes too."""
    return [
        *("--corpus", str(corpus), "--cache", str(tmp_path / "cache"), "--backbone", str(tiny_model)),
        *("--no-transcripts", "--members", "1", "--epochs", "1", "--threads", "1"),
    ]


def report_of(arguments: list[str], file: Path) -> Mapping[str, Any]:
    assert runner.main(["peers", *arguments, "--runs", "1", "--json", str(file)]) == 0
    report: dict[str, Any] = json.loads(file.read_text())
    jsonschema.validate(report, REPORT_SCHEMA)
    return report


def no_training(*_: object, **__: object) -> None:
    raise AssertionError("a fold is trained")


@pytest.mark.parametrize("more", [[], ["--stage"]], ids=["as recorded", "with troubles of the sound"])
def test_our_folds_are_those_that_evaluate_left_in_the_cache(
    more: list[str], asked: list[str], tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "evaluated.json"
    cli.cli.main(["evaluate", *asked, *more, "--json", str(table)], standalone_mode=False)
    monkeypatch.setattr(crossvalidation, "fit", no_training)
    report = report_of([*asked, *more, "--system", "ours", "--model", str(tiny_model)], tmp_path / "peers.json")
    evaluated = json.loads(table.read_text())["none"]
    rows = {(row["system"], row["heard"]): row for row in report["tables"]["accuracy"]}
    assert len(rows) == 6
    whole = rows["stream_mer, audio alone", CLIP]
    for name in ("quadrants_f1", "valence_ccc", "valence_r", "arousal_ccc", "arousal_r", "clusters_f1"):
        assert whole[name] == pytest.approx(evaluated[name]["value"])
    frame = rows["stream_mer, audio alone", FRAME]
    assert frame["quadrants_f1"] == pytest.approx(evaluated["frame_quadrants_f1"]["value"])
    assert {row["cpu_ms"] > 0 for row in rows.values()} == {True}
    assert any("tiny" in note for note in report["notes"])


def test_peers_that_are_not_there_are_named_and_left_out(
    asked: list[str], tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Judged(
        system="ours",
        heard=CLIP,
        predictions=Predictions(
            emotion=np.zeros((N_CLIPS, 2)), category=np.eye(4)[[0] * N_CLIPS], cluster=np.eye(5)[[0] * N_CLIPS]
        ),
        how="live",
        is_base=True,
    )
    found = Found(judged=(ours,), ways=(Way(how="live", cpu_s=lambda: 0.004, is_base=True),))
    monkeypatch.setattr(peers, "find_ours", lambda *_: found)
    missing = ["--vibenet-python", str(tmp_path / "no-python"), "--musicnn", str(tmp_path / "no-weights.npz")]
    report = report_of([*asked, *missing, "--model", str(tiny_model)], tmp_path / "peers.json")
    assert [row["system"] for row in report["tables"]["accuracy"]] == ["ours"]
    left_out = [note for note in report["notes"] if "left out:" in note]
    assert [note.split(" was ")[0] for note in left_out] == ["VibeNet 0.1.0", "MSD-MusiCNN"]
    assert "no-python" in left_out[0]
    assert "no-weights.npz" in left_out[1]


def test_with_nothing_to_measure_it_is_one_clear_line(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["peers", *asked, "--system", "vibenet", "--system", "musicnn"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    for told in ("VibeNet 0.1.0 was left out", "--vibenet-python", "MSD-MusiCNN was left out", "--musicnn"):
        assert told in line


def test_a_peer_that_fails_is_no_peer_that_is_missing(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> Found:
        raise SettingError("it broke")

    monkeypatch.setattr(peers, "find_musicnn", fails)
    assert runner.main(["peers", *asked, "--system", "musicnn"]) == 2
    assert capsys.readouterr().err == "benchmarks: it broke\n"
    assert not issubclass(SettingError, PeerMissingError)


def test_ours_are_the_clips_alone_and_audio_alone_is_the_base() -> None:
    def predictions(level: float) -> Predictions:
        return Predictions(
            emotion=np.full((5, 2), level), category=np.full((5, 4), level), cluster=np.full((5, 5), level)
        )

    names = ("none", "recognised", "printed", "room")
    results = FoldResults(
        clips={name: predictions(i) for i, name in enumerate(names)},
        frames={name: predictions(10 + i) for i, name in enumerate(names)},
        members={},
        moments=(),
    )
    judged = judge(results, 3)  # two songs of words alone come after three clips
    assert [(one.system, one.heard, one.is_base, one.predictions.emotion[0, 0]) for one in judged] == [
        ("stream_mer, audio alone", CLIP, True, 0),
        ("stream_mer, recognised words", CLIP, False, 1),
        ("stream_mer, printed words", CLIP, False, 2),
        ("stream_mer, audio alone", FRAME, True, 10),
        ("stream_mer, recognised words", FRAME, False, 11),
        ("stream_mer, printed words", FRAME, False, 12),
    ]
    assert {one.predictions.emotion.shape for one in judged} == {(3, 2)}
    assert {one.predictions.category.shape for one in judged} == {(3, 4)}


def test_help_says_what_is_needed_and_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["peers", "--help"]) == 0
    told = capsys.readouterr().out
    lines = [line.strip() for line in told.splitlines()]
    assert "DIR/bin/pip install vibenet==0.1.0 onnx" in lines
    assert any(line.startswith("python -m benchmarks peers --corpus") for line in lines)
    for option in ("--corpus", "--stage-copies", "--vibenet-python", "--musicnn", "--system", "--runs", "--json"):
        assert any(line.startswith(option) for line in lines)
