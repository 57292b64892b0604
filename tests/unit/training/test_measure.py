"""A checkpoint is measured on anyone's clips as they are: nothing is trained, and every clip goes the live way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from tolerance import KEPT, LAYER

from stream_mer.cli import evaluate
from stream_mer.config import WindowSettings
from stream_mer.emotion.checkpoint import TextStrength, load_checkpoint
from stream_mer.emotion.predictor import EmotionPredictor
from stream_mer.errors import CorpusError
from stream_mer.training import prepare as prepare_module
from stream_mer.training.dataset import ClipSet
from stream_mer.training.evaluate import COLUMNS, measure, predict_all
from stream_mer.training.metrics import SCORES
from stream_mer.training.prepare import prepare_to_measure
from stream_mer.training.tokens import read_audio
from stream_mer.types import NO_LYRICS, Window

Rows = list[dict[str, str]]
Writer = Callable[[Path, Rows], None]


@pytest.fixture
def root(corpus_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(corpus_folder, tmp_path / "corpus"))


@pytest.fixture
def evaluated(
    tiny_model: Path, tmp_path: Path, quick_encoder: type[Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs ``evaluate --model`` on a folder, in this process and without listening for words."""
    monkeypatch.setattr("stream_mer.training.crossvalidation.fit", None)  # nothing may be trained
    assert quick_encoder is not None

    def run(*args: object) -> Result:
        given = ["--model", tiny_model, "--cache", tmp_path / "cache", "--no-transcripts", "--threads", 1, *args]
        return CliRunner().invoke(evaluate.command, [str(arg) for arg in given])

    return run


@pytest.mark.usefixtures("jobs")
def test_the_table_is_printed_and_written_without_any_training(
    evaluated: Callable[..., Result], corpus_folder: Path, tmp_path: Path
) -> None:
    done = evaluated("--corpus", corpus_folder, "--json", tmp_path / "found.json")
    assert done.exit_code == 0, done.output
    assert "tiny as it is, no training" in done.stdout
    assert "What a listener is shown" in done.stdout
    assert "Warning: 10 clips are few; with fewer than 30" in done.stderr
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert (found["model"], found["clips"]) == ("tiny", 10)
    assert all(list(found[kind]) == list(SCORES) for kind in COLUMNS)
    assert found["none"]["quadrants_f1"]["n"] == 9
    assert found["none"]["clusters_f1"]["n"] == 10
    assert found["live"]["cues a minute"]["n"] == 10


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize("how", ["names", "semicolons", "a mark at the beginning", "bare"])
def test_anyones_manifest_gives_the_same_table(
    how: str, evaluated: Callable[..., Result], root: Path, tmp_path: Path, manifest_rows: Rows
) -> None:
    def figures() -> Any:
        done = evaluated("--corpus", root, "--json", tmp_path / "found.json")
        assert done.exit_code == 0, done.output
        found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["none"]
        return {
            name: found[name]["value"] for name in ("quadrants_accuracy", "quadrants_f1", "valence_ccc", "arousal_r2")
        }

    expected = figures()
    assert None not in expected.values()
    names = dict(zip(("Q1", "Q2", "Q3", "Q4", ""), ("happy", "Angry", "SAD", "relaxed", ""), strict=True))
    kept = ["audio", "quadrant", "valence", "arousal"] if how == "bare" else list(manifest_rows[0])
    mark, sign = ("\ufeff" if how.startswith("a mark") else ""), ";" if how == "semicolons" else ","
    lines = [sign.join(f" {name.upper()}" if how == "names" else name for name in kept)]
    for row in manifest_rows:
        cells = dict(row)
        if how in ("names", "semicolons"):
            cells["quadrant"] = names[row["quadrant"]]
        if how == "semicolons":  # as a spreadsheet writes it where numbers have a decimal comma
            cells |= {name: row[name].replace(".", ",") for name in ("valence", "arousal")}
        lines.append(sign.join(cells[name] for name in kept))
    (root / "manifest.csv").write_text(mark + "\n".join(lines) + "\n", encoding="utf-8")
    assert figures() == pytest.approx(expected, abs=LAYER)


@pytest.mark.usefixtures("jobs")
def test_folds_and_artists_do_not_matter(
    evaluated: Callable[..., Result], root: Path, manifest_rows: Rows, manifest_writer: Writer
) -> None:
    manifest_writer(root, [row | {"artist": "The One", "fold": "9"} for row in manifest_rows])
    done = evaluated("--corpus", root)
    assert done.exit_code == 0, done.output
    assert "fold" not in done.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--epochs", "3"], "--epochs is about training"),
        (["--stage-copies", "1"], "--stage-copies is about training"),
        (["--ablations"], "--ablations is about training"),
        (["--words", "songs.csv"], "--words is about training"),
    ],
)
def test_options_of_training_are_refused(
    args: list[str], says: str, evaluated: Callable[..., Result], corpus_folder: Path
) -> None:
    done = evaluated("--corpus", corpus_folder, *args)
    assert done.exit_code == 2
    assert says in done.stderr


def test_clips_without_any_label_are_refused(
    root: Path, tiny_model: Path, tmp_path: Path, manifest_rows: Rows, manifest_writer: Writer
) -> None:
    manifest_writer(root, [{"audio": row["audio"]} for row in manifest_rows])
    with pytest.raises(CorpusError, match=r"no clip of .*corpus has a quadrant, a cluster, or valence and arousal"):
        prepare_to_measure([root], load_checkpoint(tiny_model), tmp_path / "cache")
    assert CorpusError.exit_code == 2


@pytest.mark.usefixtures("jobs", "quick_encoder")
def test_clips_are_heard_as_in_a_live_stream(corpus_folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Audio to tokens to components to outputs gives what the predictor of a live stream gives at the same times."""
    checkpoint = load_checkpoint(tiny_model)
    data = prepare_to_measure([corpus_folder], checkpoint, tmp_path, transcripts=False)
    results = predict_all(data, checkpoint)
    samples = read_audio(data.clips[2].audio)
    stream = EmotionPredictor(checkpoint).open_stream(WindowSettings())
    for moment, outputs in enumerate(results.moments[2]):
        end = 8_000 * (moment + 1)
        window = Window(index=moment, start_sample=0, samples=samples[:end])
        live = stream.predict(window, NO_LYRICS)
        assert (live.valence, live.arousal) == pytest.approx(outputs[:2], abs=10 * KEPT)


@pytest.mark.usefixtures("jobs", "quick_encoder")
@pytest.mark.parametrize("transcripts", [True, False])
def test_the_recogniser_listens_only_where_it_is_asked_to(
    transcripts: bool, corpus_folder: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def heard(corpus: Any, cache: Path, _recogniser: object) -> Any:
        asked.append(cache)
        return corpus

    monkeypatch.setattr(prepare_module, "with_transcripts", heard)
    prepare_to_measure([corpus_folder], load_checkpoint(tiny_model), tmp_path, transcripts=transcripts)
    assert asked == [tmp_path] * transcripts


def test_words_move_the_result_as_far_as_the_checkpoint_lets_them(
    clip_set: Callable[..., ClipSet], tiny_model: Path
) -> None:
    data, loaded = clip_set(8), load_checkpoint(tiny_model)
    torch.manual_seed(0)
    config = replace(loaded.joint.config, audio_components=data.tokens.shape[3])
    joint = type(loaded.joint)(config).eval()
    found = {}
    for strength in (0.0, 1.0):
        calibration = replace(
            loaded.calibration, text_strength=TextStrength(emotion=strength, category=0.0, cluster=0.0)
        )
        found[strength] = predict_all(data, replace(loaded, joint=joint, calibration=calibration)).clips
    np.testing.assert_allclose(found[0.0]["printed"].emotion, found[0.0]["none"].emotion, rtol=0, atol=LAYER)
    spoken = [row for row in range(8) if data.has_lines(row, "printed")]
    assert (np.abs(found[1.0]["printed"].emotion - found[1.0]["none"].emotion)[spoken] > LAYER).any()
    np.testing.assert_allclose(found[1.0]["printed"].category, found[1.0]["none"].category, rtol=0, atol=LAYER)
    measured = measure(data, replace(loaded, joint=joint))
    assert json.dumps(measured.to_dict(), allow_nan=False)
