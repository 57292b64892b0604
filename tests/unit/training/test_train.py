"""From a folder of music to a checkpoint that tags, through the command line."""

import json
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from weights import random_backbone

from stream_mer import cli
from stream_mer.emotion.audio_branch import token_features
from stream_mer.emotion.checkpoint import load_checkpoint
from stream_mer.emotion.musicnn import BackboneShape
from stream_mer.training.calibrate import STRENGTHS, calibrate, earned_strength, with_earned_strength
from stream_mer.training.crossvalidation import cross_validate
from stream_mer.training.evaluate import AS_RECORDED, confusion_matrices, fold_table
from stream_mer.training.fit import fit
from stream_mer.training.metrics import SCORES
from stream_mer.training.train import train

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*args):
        monkeypatch.setattr(sys, "argv", ["stream-mer", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


SONGS = "id,lyrics,quadrant\n" + "".join(f"{k},a song that has number {k},Q{k % 4 + 1}\n" for k in range(6))


def test_train_writes_a_checkpoint_that_evaluate_reads_from_the_cache_and_tag_uses(
    command, corpus_folder, tiny_model, tmp_path, quick_encoder
):
    (tmp_path / "verses.csv").write_text(SONGS, encoding="utf-8")
    data = ["--corpus", corpus_folder, "--backbone", tiny_model, "--cache", tmp_path / "cache"]
    data += ["--no-transcripts", "--words", tmp_path / "verses.csv", "--stage-copies", 1]
    recipe = ["--members", 2, "--seed", 3, "--epochs", 1, "--threads", 1]

    code, out, err = command("train", *data, *recipe, "--out", tmp_path / "mine")
    assert code == 0
    assert err.splitlines() == [
        "verses.csv: 6 songs of words alone",
        "Training on all 16 clips, about as long as a fold",
    ]
    assert "Quadrants" in out
    assert "Words alone" in out
    assert "Audio tokens" not in out  # bars are for terminals
    loaded = load_checkpoint(tmp_path / "mine")
    shape = load_checkpoint(tiny_model).backbone.shape
    assert (loaded.name, loaded.joint.config.members, loaded.backbone.shape) == ("mine", 2, shape)
    assert loaded.joint.config.audio_features == token_features(loaded.backbone)
    assert loaded.training["clips"] == {
        "all": 10,
        "category": 9,
        "cluster": 10,
        "recognised": 3,
        "printed": 2,
        "words alone": 6,
    }
    told = loaded.training
    assert (told["members"], told["seed"], told["recipe"]["epochs"], told["stage_copies"]) == (2, 3, 1, 1)
    assert all(0 < error.valence <= 2 for error in loaded.calibration.errors)
    assert set(asdict(loaded.calibration.text_strength).values()) <= set(STRENGTHS)
    card = (tmp_path / "mine" / "CARD.md").read_text()
    assert card.startswith("# mine")
    assert all(title in card for title in SCORES.values())
    assert "verses" in card
    assert quick_encoder.encoded

    # Evaluating the same recipe computes nothing anew, and says the same.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream_mer.training.crossvalidation.fit", None)
        patch.setattr("stream_mer.training.tokens.ProcessPoolExecutor", None)
        code, out, err = command("evaluate", *data, *recipe, "--json", tmp_path / "table.json")
    assert (code, err.strip()) == (0, "verses.csv: 6 songs of words alone")
    assert "Words alone" in out
    assert json.loads((tmp_path / "table.json").read_text()) == loaded.training["folds"]

    code, out, err = command("tag", corpus_folder / "audio/c1.wav", "--no-lyrics", "--model", tmp_path / "mine")
    assert (code, err) == (0, "")
    *frames, summary = [json.loads(line) for line in out.splitlines()]
    assert len(frames) == 12
    assert summary["type"] == "summary"
    low, high = frames[-1]["interval"]["arousal"]
    assert high - low == pytest.approx(2 * loaded.calibration.half_widths(6.0)[1], abs=1e-3) or low == -1 or high == 1


@pytest.fixture
def backbone():
    return random_backbone(BackboneShape(filters=(2, 2, 2, 2, 2), pooled=200))


def test_what_is_shipped_is_the_model_of_all_clips_and_what_was_measured_on_folds(
    clip_set, small_recipe, backbone, tmp_path
):
    data = clip_set(20, songs=8, copies=1)
    folders = {"out": tmp_path / "both", "cache": tmp_path / "cache"}
    recipe = replace(small_recipe, epochs=2)
    table = train(data, backbone, recipe, 5, **folders, origin="Made up by a test.")
    config = json.loads((tmp_path / "both" / "config.json").read_text())
    tensors = load_file(tmp_path / "both" / "weights.safetensors")
    expected = fit(data, range(28), recipe, seed=5).state_dict()
    assert all(torch.equal(tensors[f"joint.{name}"], tensor) for name, tensor in expected.items())
    assert config["training"]["folds"] == table.to_dict()
    assert list(table.words) == ["verses"]
    assert "Made up by a test." in (tmp_path / "both" / "CARD.md").read_text()

    # The table is of results with the strength that the other folds earned; what is shipped may learn from all.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream_mer.training.crossvalidation.fit", None)
        bare = cross_validate(data, recipe, 5, tmp_path / "cache")
    strength = earned_strength(data, bare, np.ones(28, bool))
    moved = with_earned_strength(data, bare)
    assert config["calibration"]["text_strength"] == asdict(strength)
    assert table.to_dict() == fold_table(data, moved).to_dict()
    assert config["training"]["confusions"] == confusion_matrices(data, moved.clips["none"])
    calibrated = calibrate(data, moved)
    assert config["calibration"]["errors"] == [asdict(error) for error in calibrated.errors]
    assert config["calibration"]["category_temperature"] == calibrated.category_temperature


def test_troubles_of_the_sound_are_measured_and_change_nothing_else(clip_set, small_recipe, backbone, tmp_path):
    weights, stages = [], []
    for name, troubles in (("plain", ()), ("staged", ("in a hall",))):
        folders = {"out": tmp_path / name, "cache": tmp_path / "cache"}
        train(clip_set(12, troubles=troubles), backbone, small_recipe, 0, **folders, origin="")
        weights.append(load_file(tmp_path / name / "weights.safetensors"))
        stages.append(json.loads((tmp_path / name / "config.json").read_text())["training"]["stage"]["sounds"])
    assert all(torch.equal(weights[0][tensor], weights[1][tensor]) for tensor in weights[0])
    assert [list(stage) for stage in stages] == [[AS_RECORDED], [AS_RECORDED, "in a hall"]]
    assert stages[0][AS_RECORDED] == stages[1][AS_RECORDED]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--corpus", "nowhere", "--out", "mine"], 2, "no corpus at nowhere"),
        (
            ["--corpus", "CORPUS", "--backbone", "nowhere.npz", "--out", "mine"],
            2,
            "cannot read the MSD-MusiCNN weights",
        ),
        (["--corpus", "CORPUS", "--backbone", "MODEL", "--out", "FILE"], 2, "is a file; give a folder"),
        (["--corpus", "CORPUS", "--backbone", "MODEL", "--out", "mine", "--words", "no.csv"], 2, "cannot read no.csv"),
    ],
)
def test_what_cannot_be_trained_is_one_line(args, code, says, command, request):
    corpus, model = request.getfixturevalue("corpus_folder"), request.getfixturevalue("tiny_model")
    names = {"CORPUS": corpus, "MODEL": model, "FILE": corpus / "manifest.csv"}
    cache = request.getfixturevalue("tmp_path") / "cache"
    args = [str(names.get(arg, arg)) for arg in args]
    backbone = [] if "--backbone" in args else ["--backbone", str(model)]
    done, out, err = command("train", *args, *backbone, "--cache", cache)
    assert (done, out) == (code, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1
