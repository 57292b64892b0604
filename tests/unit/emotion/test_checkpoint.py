"""A checkpoint comes back as it was written; anything else is one clear line."""

from __future__ import annotations

import json
import math
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from stream_mer.emotion import checkpoint as checkpoint_module
from stream_mer.emotion.checkpoint import (
    FORMAT,
    Calibration,
    CategoryLink,
    PredictionError,
    TextStrength,
    find_model,
    load_checkpoint,
    save_checkpoint,
)
from stream_mer.errors import CheckpointError


def test_what_was_saved_is_what_is_loaded(tiny_model: Path, tmp_path: Path) -> None:
    first = load_checkpoint(tiny_model)
    save_checkpoint(first, tmp_path / "copy")
    second = load_checkpoint(tmp_path / "copy")
    assert (first.name, second.name) == ("tiny", "copy")
    assert second.joint.config == first.joint.config
    assert second.backbone.shape == first.backbone.shape
    errors = (PredictionError(heard_s=0.0, valence=0.4, arousal=0.3),)
    assert second.calibration == first.calibration == Calibration(errors=errors)
    assert second.training == {"note": "random weights"}
    parts = (first.backbone.tensors(), second.backbone.tensors()), (first.joint.tensors, second.joint.tensors)
    for before, after in parts:
        assert before.keys() == after.keys()
        for name, tensor in before.items():
            assert tensor.dtype == after[name].dtype
            np.testing.assert_array_equal(after[name], tensor)


def test_all_of_a_calibration_is_read_back(tiny_model: Path, tmp_path: Path) -> None:
    first = load_checkpoint(tiny_model)
    calibration = replace(
        first.calibration,
        errors=tuple(PredictionError(heard_s=at, valence=0.5 / at, arousal=0.4 / at) for at in (1.0, 5.0, 15.0)),
        level=0.9,
        category_accuracy=((0.4, 0.45), (0.9, 0.88)),
        text_strength=TextStrength(emotion=0.25, category=1.5, cluster=0.0),
        category_link=CategoryLink(weight=0.7, valence_sd=0.3, arousal_sd=0.1),
        valence_spread=((-0.5, -0.9), (0.0, 0.1), (0.4, 0.8)),
        arousal_spread=((-1.0, -1.0), (1.0, 1.0)),
    )
    save_checkpoint(replace(first, calibration=calibration), tmp_path / "told")
    assert load_checkpoint(tmp_path / "told").calibration == calibration
    file = tmp_path / "told" / "config.json"
    config = json.loads(file.read_text())
    config["calibration"] = {"errors": config["calibration"]["errors"]}  # as in older checkpoints
    file.write_text(json.dumps(config))
    assert load_checkpoint(tmp_path / "told").calibration == Calibration(errors=calibration.errors)


def test_weights_that_lie_across_memory_are_saved_as_they_read(tiny_model: Path, tmp_path: Path) -> None:
    """As they are after a transposition; a file of tensors holds bytes in order."""
    first = load_checkpoint(tiny_model)
    turned = np.asfortranarray(first.backbone.middle[0].weight)
    assert not turned.flags.c_contiguous
    middle = (replace(first.backbone.middle[0], weight=turned), *first.backbone.middle[1:])
    save_checkpoint(replace(first, backbone=replace(first.backbone, middle=middle)), tmp_path / "turned")
    found = load_checkpoint(tmp_path / "turned").backbone.middle[0].weight
    np.testing.assert_array_equal(found, turned)


def test_nothing_in_it_is_a_pickle(tiny_model: Path) -> None:
    assert sorted(path.name for path in tiny_model.iterdir()) == ["config.json", "weights.safetensors"]
    config = json.loads((tiny_model / "config.json").read_text())
    assert (config["format"], config["joint"]["members"]) == (FORMAT, 2)
    assert config["backbone"] == {"filters": [20, 16, 8, 6, 4], "pooled": 200}


def change(**changes: Any) -> Callable[[Path], None]:
    """Change entries of the config; ``joint__width=3`` changes one within ``joint``, None takes an entry away."""

    def damage(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        for path, value in changes.items():
            *outer, last = path.split("__")
            place = config[outer[0]] if outer else config
            if value is None:
                del place[last]
            else:
                place[last] = value
        (folder / "config.json").write_text(json.dumps(config))

    return damage


def write(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(data) and None


def halve(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return damage


def empty(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(b"")

    return damage


def retensor(name: str, change: Callable[[NDArray[Any]], NDArray[Any] | None]) -> Callable[[Path], None]:
    """Change a tensor of the weights, or take it away."""

    def damage(folder: Path) -> None:
        tensors = load_file(folder / "weights.safetensors")
        changed = change(tensors.pop(name))
        save_file(
            tensors if changed is None else {**tensors, name: np.ascontiguousarray(changed)},
            folder / "weights.safetensors",
        )

    return damage


def sparse(name: str, size: int) -> Callable[[Path], None]:
    """Make a file as large as that, of which nothing takes room."""

    def damage(folder: Path) -> None:
        with (folder / name).open("r+b") as file:
            file.truncate(size)

    return damage


def replace_by_folder(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def errors(*pairs: tuple[float, float]) -> Callable[[Path], None]:
    """Half widths of both coordinates by the seconds heard."""
    return change(calibration__errors=[{"heard_s": at, "valence": width, "arousal": width} for at, width in pairs])


BIAS = "joint.heads.emotion.bias"

DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no folder": (shutil.rmtree, "cannot read the model"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "cannot read the model"),
    "no weights": (lambda folder: (folder / "weights.safetensors").unlink(), "cannot read the model"),
    "weights empty": (empty("weights.safetensors"), "cannot read the model"),
    "weights cut": (halve("weights.safetensors"), "cannot read the model"),
    "weights garbage": (write("weights.safetensors", b"\xff" * 5000), "cannot read the model"),
    "config empty": (empty("config.json"), "cannot read the model"),
    "config cut": (halve("config.json"), "cannot read the model"),
    "config binary": (write("config.json", b"\xff\xfe\x00"), "cannot read the model"),
    "config a list": (write("config.json", b"[1, 2]"), "does not match"),
    "config bare": (write("config.json", b"{}"), "does not match"),
    "other format": (change(format=FORMAT + 1), f"it has format {FORMAT + 1}, and this version reads {FORMAT}"),
    "other categories": (change(categories=["a", "b"]), "other categories or clusters"),
    "other clusters": (change(clusters=["C1"]), "other categories or clusters"),
    "other tokens": (change(joint__audio_features=99), "tokens of 99 features, but its audio branch makes 2736"),
    "other backbone": (change(backbone__pooled=3), "but its audio branch makes 2342"),
    "other filters": (change(backbone__filters=[20, 16, 8, 6, 5]), "size mismatch"),
    "a bank too few": (change(backbone__filters=[20, 16, 8, 6]), "does not match"),
    "no backbone": (change(backbone=None), "backbone"),
    "other width": (change(joint__width=32), "size mismatch"),
    "heads do not divide": (change(joint__heads=3), "3 heads cannot share a width of 16 evenly"),
    "no such setting": (change(joint__colour="red"), "colour"),
    "other ensemble": (change(joint__members=3), "size mismatch"),
    "no ensemble": (change(joint__members=0), "does not match"),
    "no calibration": (change(calibration=None), "calibration"),
    "odd calibration": (change(calibration__wisdom=3), "wisdom"),
    "odd strength": (change(calibration__text_strength={"wisdom": 3}), "wisdom"),
    "config nested": (write("config.json", b"[" * 100_000), "nested too deeply"),
    "config nested within": (write("config.json", b'{"training": ' + b'{"a":' * 100_000), "nested too deeply"),
    "config of a gigabyte": (sparse("config.json", 1 << 30), "config.json is larger than 4 MiB"),
    "weights of a terabyte": (sparse("weights.safetensors", 1 << 40), "weights.safetensors is larger than 2048 MiB"),
    "config a folder": (replace_by_folder("config.json"), "config.json is no file"),
    "a million filters": (
        change(backbone__filters=[10**6] * 5, backbone__pooled=10**6, joint__audio_features=2 * 10**6 + 2336),
        "<= 4096",
    ),
    "filters of another size": (
        change(backbone__filters=[4096] * 5, backbone__pooled=16_384, joint__audio_features=35_104),
        "size mismatch",
    ),
    "members without number": (change(joint__members=10**6), "<= 100"),
    "width in words": (change(joint__width="wide"), "Expected `int`, got `str`"),
    "no half-life": (change(joint__text_half_life_s=0), ">= 0.1"),
    "temperature 0": (change(calibration__category_temperature=0), ">= 0.01"),
    "temperature below 0": (change(calibration__cluster_temperature=-1.0), ">= 0.01"),
    "temperature no number": (change(calibration__category_temperature=math.nan), "$.category_temperature"),
    "temperature without end": (change(calibration__category_temperature=math.inf), "<= 100"),
    "temperature in words": (change(calibration__category_temperature="warm"), "got `str`"),
    "temperature true": (change(calibration__category_temperature=True), "got `bool`"),
    "no errors": (change(calibration__errors=[]), "length >= 1"),
    "errors missing": (change(calibration__errors=None), "errors"),
    "errors of before": (change(calibration__errors=0.4), "errors"),
    "error without end": (errors((0, 1e300)), "<= 2"),
    "error below 0": (errors((0, -0.1)), ">= 0"),
    "error no number": (errors((0, math.nan)), "errors"),
    "error before the start": (errors((-1, 0.4)), ">= 0"),
    "errors that fall back": (errors((5, 0.4), (1, 0.3)), "calibration.errors does not rise"),
    "errors without end": (errors(*[(0, 0.4)] * 1001), "<= 1000"),
    "odd error": (change(calibration__errors=[{"heard_s": 0, "valence": 1, "arousal": 1, "wisdom": 3}]), "wisdom"),
    "half an error": (change(calibration__errors=[{"heard_s": 0, "valence": 1}]), "arousal"),
    "odd link": (change(calibration__category_link={"wisdom": 3}), "wisdom"),
    "link without end": (change(calibration__category_link={"weight": 1e9}), "<= 10"),
    "link below 0": (change(calibration__category_link={"weight": -1}), ">= 0"),
    "link of a deviation of 0": (change(calibration__category_link={"valence_sd": 0}), ">= 0.01"),
    "spread that falls": (change(calibration__valence_spread=[[0, 0.5], [0.5, 0]]), "valence_spread does not rise"),
    "spread that goes back": (change(calibration__arousal_spread=[[0.5, 0], [0, 0.5]]), "arousal_spread does not rise"),
    "spread above 1": (change(calibration__valence_spread=[[0, 1.5]]), "<= 1"),
    "spread without end": (change(calibration__arousal_spread=[[0, 0]] * 1001), "<= 1000"),
    "spread of three": (change(calibration__arousal_spread=[[0, 0, 0]]), "does not match"),
    "components of nothing": (change(joint__audio_components=0), ">= 1"),
    "more components than features": (change(joint__audio_components=2737), "2737 components cannot come of 2736"),
    "other components": (change(joint__audio_components=25), "size mismatch"),
    "newest tokens without end": (change(joint__newest_tokens=10**6), "<= 120"),
    "one time scale": (change(joint__newest_tokens=0), "does not match"),
    "level of 80": (change(calibration__level=80), "<= 1.0"),
    "calibration a list": (change(calibration=[1]), "calibration is a table"),
    "strength without end": (change(calibration__text_strength={"emotion": 1e9}), "<= 10"),
    "accuracy that falls": (change(calibration__category_accuracy=[[0.5, 0.9], [0.6, 0.1]]), "does not rise"),
    "accuracy above 1": (change(calibration__category_accuracy=[[0.5, 7]]), "<= 1.0"),
    "accuracy without end": (change(calibration__category_accuracy=[[0.5, 0.5]] * 1001), "<= 1000"),
    "categories a text": (change(categories="happy"), "other categories or clusters"),
    "format a text": (change(format="2"), "it has format '2'"),
    "a tensor that is no number": (retensor(BIAS, lambda old: old * math.nan), "holds NaN or a value"),
    "a tensor without end": (retensor(BIAS, lambda old: old + math.inf), "holds NaN or a value"),
    "a tensor beyond all range": (retensor(BIAS, lambda old: old + 1e30), "beyond 1e+06"),
    "a tensor of doubles": (retensor(BIAS, lambda old: old.astype(np.float64)), "float64 in place of float32"),
    "a tensor of halves": (retensor(BIAS, lambda old: old.astype(np.float16)), "float16 in place of float32"),
    "a tensor of integers": (retensor(BIAS, lambda old: old.astype(np.int32)), "int32 in place of float32"),
    "a tensor flat": (retensor(BIAS, lambda old: old.flatten()), "size mismatch"),
    "a tensor missing": (
        retensor(BIAS, lambda _: None),
        f"1 tensors are missing, such as {BIAS.removeprefix('joint.')}",
    ),
    "a channel that is not there": (retensor("backbone.pooled", lambda old: old + 10**6), "names channels"),
    "odd accuracy": (change(calibration__category_accuracy=[[0.5]]), "does not match"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_checkpoint_that_is_not_whole_is_one_line_that_says_why(kind: str, tiny_model: Path, tmp_path: Path) -> None:
    damage, says = DAMAGE[kind]
    folder = tmp_path / "broken"
    shutil.copytree(tiny_model, folder)
    damage(folder)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    message = str(caught.value)
    assert says in message
    assert str(folder) in message
    assert "\n" not in message
    assert len(message) < 600


def test_a_config_that_asks_for_terabytes_takes_no_memory(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "greedy"
    shutil.copytree(tiny_model, folder)
    change(joint__members=100, joint__width=4096)(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="size mismatch"):
        load_checkpoint(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "KiB"


def test_a_name_longer_than_any_file_is_no_model() -> None:
    for name in ("x" * 5000, "x/" * 5000, "nul\0"):
        with pytest.raises(CheckpointError, match="no model") as caught:
            find_model(name)
        assert len(str(caught.value)) < 600


def test_a_model_is_found_by_its_folder_or_its_name(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_model(str(tiny_model)) == tiny_model
    package = tmp_path / "stream_mer"
    monkeypatch.setattr(checkpoint_module, "__file__", str(package / "emotion" / "checkpoint.py"))
    shutil.copytree(tiny_model, tmp_path / "models" / "in-repository")
    shutil.copytree(tiny_model, package / "models" / "in-package")
    assert find_model("in-repository") == tmp_path / "models" / "in-repository"
    assert find_model("in-package") == package / "models" / "in-package"


def test_an_unknown_model_is_an_error_that_lists_the_known_ones(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "stream_mer"
    monkeypatch.setattr(checkpoint_module, "__file__", str(package / "emotion" / "checkpoint.py"))
    with pytest.raises(CheckpointError, match=r"no model 'x'.*\(none is installed\)"):
        find_model("x")
    for name in ("beta", "alpha"):
        shutil.copytree(tiny_model, package / "models" / name)
    with pytest.raises(CheckpointError, match="one of: alpha, beta"):
        find_model("x")
