"""The detector of voices: what it may look at, what it says of nothing, and its files."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tolerance import LAYER
from weights import random_tensors

from stream_mer.errors import CheckpointError
from stream_mer.lyrics.vocals import (
    LOOKAHEAD_STEPS,
    VocalDetector,
    VocalShape,
    load_detector,
    save_detector,
    vocal_tensors,
)
from stream_mer.types import Floats

Weights = dict[str, NDArray[np.float32]]

SHAPE = VocalShape(shapes=2, width=8, dilations=(1, 2))


@pytest.fixture
def weights() -> Weights:
    return random_tensors(vocal_tensors(SHAPE), 0)


@pytest.fixture
def detector(weights: Weights) -> VocalDetector:
    return VocalDetector(SHAPE, weights)


def music(duration_s: float) -> Floats:
    return np.random.default_rng(0).normal(0, 0.1, round(16_000 * duration_s)).astype(np.float32)


def test_a_step_looks_ahead_so_far_and_no_further(detector: VocalDetector) -> None:
    log_mel = np.random.default_rng(0).standard_normal((80, 96)).astype(np.float32)
    other = log_mel.copy()
    other[60:] += 1.0
    changed = np.abs(detector.logits(log_mel) - detector.logits(other)) > LAYER
    assert changed.shape == (80,)
    assert not changed[: 60 - LOOKAHEAD_STEPS].any()
    assert changed[60 - LOOKAHEAD_STEPS]


def test_one_probability_a_step(detector: VocalDetector) -> None:
    found = detector.probabilities(music(2.0))
    assert found.shape == (125,)
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()


def test_the_same_samples_give_the_same_answer(detector: VocalDetector) -> None:
    samples = music(1.0)
    first, again = detector.probabilities(samples), detector.probabilities(samples)
    np.testing.assert_allclose(first, again, rtol=0, atol=LAYER)


@pytest.mark.parametrize("n", [0, 1, 255])
def test_audio_shorter_than_a_step_has_none(n: int, detector: VocalDetector) -> None:
    assert len(detector.probabilities(np.zeros(n, np.float32))) == 0


def test_it_comes_back_as_it_was_saved(detector: VocalDetector, weights: Weights, tmp_path: Path) -> None:
    save_detector(SHAPE, weights, tmp_path / "vocals", training={"hours": 1})
    samples = music(1.0)
    found = load_detector(tmp_path / "vocals").probabilities(samples)
    np.testing.assert_allclose(found, detector.probabilities(samples), rtol=0, atol=LAYER)


@pytest.mark.parametrize("damage", ["missing", "weights", "config", "shape"])
def test_damaged_files_are_one_clear_error(damage: str, weights: Weights, tmp_path: Path) -> None:
    save_detector(SHAPE, weights, tmp_path, training={})
    if damage == "missing":
        (tmp_path / "vocals.json").unlink()
    elif damage == "weights":
        (tmp_path / "vocals.safetensors").write_bytes(b"no weights")
    elif damage == "config":
        (tmp_path / "vocals.json").write_text("{")
    else:
        told = json.loads((tmp_path / "vocals.json").read_text())
        told["shape"]["width"] = 9
        (tmp_path / "vocals.json").write_text(json.dumps(told))
    with pytest.raises(CheckpointError, match="cannot read the vocal detector"):
        load_detector(tmp_path)


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ({"width": 10**6}, "<= 1024"),
        ({"width": "wide"}, "got `str`"),
        ({"kernel": 0}, ">= 1"),
        ({"dilations": []}, "length >= 1"),
        ({"dilations": [10**9]}, "<= 512"),
        ({"colour": "red"}, "no setting 'colour'"),
    ],
)
def test_a_shape_that_cannot_be_is_one_clear_error(
    shape: dict[str, object], says: str, weights: Weights, tmp_path: Path
) -> None:
    save_detector(SHAPE, weights, tmp_path, training={})
    told = json.loads((tmp_path / "vocals.json").read_text())
    told["shape"] |= shape
    (tmp_path / "vocals.json").write_text(json.dumps(told))
    with pytest.raises(CheckpointError, match=says) as caught:
        load_detector(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"shape":' * 50_000, "[]", "3", '{"shape": 3}', "NaN"])
def test_a_config_that_is_none_is_one_clear_error(content: str, weights: Weights, tmp_path: Path) -> None:
    save_detector(SHAPE, weights, tmp_path, training={})
    (tmp_path / "vocals.json").write_text(content)
    with pytest.raises(CheckpointError, match="cannot read the vocal detector"):
        load_detector(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_weights_that_are_no_numbers_are_one_clear_error(value: float, weights: Weights, tmp_path: Path) -> None:
    weights["last.weight"][:] = value
    save_detector(SHAPE, weights, tmp_path, training={})
    with pytest.raises(CheckpointError, match=r"last\.weight holds NaN or a value"):
        load_detector(tmp_path)


@pytest.mark.parametrize("name", ["layers.1.norm.running_mean", "first.bias"])
def test_weights_of_another_network_are_refused(name: str, weights: Weights) -> None:
    for wrong in ({**weights, name: np.zeros(9, np.float32)}, {key: weights[key] for key in weights if key != name}):
        with pytest.raises(ValueError, match=name):
            VocalDetector(SHAPE, wrong)
