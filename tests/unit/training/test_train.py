"""From a folder of music to a checkpoint that tags, through the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stream_mer import cli
from stream_mer.emotion.backbone import TOKEN_FEATURES, Backbone
from stream_mer.emotion.checkpoint import load_checkpoint
from stream_mer.emotion.model import JointModelConfig
from stream_mer.training.dataset import ClipSet
from stream_mer.training.evaluate import FIGURES
from stream_mer.training.fit import Recipe
from stream_mer.training.train import train

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["stream-mer", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


Run = Callable[..., tuple[int, str, str]]


def test_train_writes_a_checkpoint_that_evaluate_reads_from_the_cache_and_tag_uses(
    command: Run, corpus_folder: Path, tiny_model: Path, tmp_path: Path, quick_encoder: type[Any]
) -> None:
    data = ["--corpus", corpus_folder, "--backbone", tiny_model, "--cache", tmp_path / "cache"]
    recipe = ["--seeds", 1, "--epochs", 1, "--threads", 1, "--no-transcripts"]

    code, out, err = command("train", *data, *recipe, "--out", tmp_path / "mine")
    assert (code, err) == (0, "")
    assert "Quadrants" in out
    assert "Audio tokens" not in out  # bars are for terminals
    loaded = load_checkpoint(tmp_path / "mine")
    assert (loaded.name, len(loaded.joint), loaded.config.audio_features) == ("mine", 1, TOKEN_FEATURES)
    assert loaded.training["clips"] == {"all": 10, "category": 9, "cluster": 10, "recognised": 3, "printed": 2}
    assert loaded.training["recipe"]["epochs"] == 1
    assert 0 < loaded.calibration.valence_error < 2
    card = (tmp_path / "mine" / "CARD.md").read_text()
    assert card.startswith("# mine")
    assert all(title in card for title in FIGURES.values())
    assert quick_encoder.encoded

    # Evaluating the same recipe computes nothing anew, and says the same.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream_mer.training.crossvalidation.fit", None)
        patch.setattr("stream_mer.training.tokens.ProcessPoolExecutor", None)
        code, out, err = command("evaluate", *data, *recipe, "--json", tmp_path / "table.json")
    assert (code, err) == (0, "")
    assert json.loads((tmp_path / "table.json").read_text()) == loaded.training["folds"]

    code, out, err = command("tag", corpus_folder / "audio/c1.wav", "--no-lyrics", "--model", tmp_path / "mine")
    assert (code, err) == (0, "")
    *frames, summary = [json.loads(line) for line in out.splitlines()]
    assert len(frames) == 12
    assert summary["type"] == "summary"
    low, high = frames[-1]["interval"]["arousal"]
    assert high - low == pytest.approx(2 * loaded.calibration.arousal_error, abs=1e-3) or low == -1 or high == 1


def test_the_ensemble_is_one_model_a_seed(clip_set: Callable[..., ClipSet], tmp_path: Path) -> None:
    torch.manual_seed(0)
    recipe = Recipe(epochs=1, model=JointModelConfig(audio_features=TOKEN_FEATURES, width=16, heads=2))
    folders = {"out": tmp_path / "two", "cache": tmp_path / "cache"}
    table = train(clip_set(10), Backbone(), recipe, range(2), **folders, origin="Made up by a test.")
    loaded = load_checkpoint(tmp_path / "two")
    assert len(loaded.joint) == loaded.training["seeds"] == 2
    assert loaded.training["folds"] == table.to_dict()
    first, second = (model.state_dict()["heads.emotion.weight"] for model in loaded.joint)
    assert not (first == second).all()
    assert "Made up by a test." in (tmp_path / "two" / "CARD.md").read_text()


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--corpus", "nowhere", "--out", "mine"], 1, "no corpus at nowhere"),
        (
            ["--corpus", "CORPUS", "--backbone", "nowhere.npz", "--out", "mine"],
            1,
            "cannot read the MSD-MusiCNN weights",
        ),
        (["--corpus", "CORPUS", "--backbone", "MODEL", "--out", "FILE"], 2, "is a file; give a folder"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    args: list[str], code: int, says: str, command: Run, request: pytest.FixtureRequest
) -> None:
    corpus, model = request.getfixturevalue("corpus_folder"), request.getfixturevalue("tiny_model")
    names = {"CORPUS": corpus, "MODEL": model, "FILE": corpus / "manifest.csv"}
    cache = request.getfixturevalue("tmp_path") / "cache"
    args = [str(names.get(arg, arg)) for arg in args]
    backbone = [] if "--backbone" in args else ["--backbone", str(model)]
    done, out, err = command("train", *args, *backbone, "--cache", cache)
    assert (done, out) == (code, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1
