"""The detector of voices: what it may look at, what it says of nothing, and its files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tolerance import LAYER

from stream_mer.errors import CheckpointError
from stream_mer.lyrics.vocals import (
    LOOKAHEAD_STEPS,
    VocalDetector,
    VocalNetwork,
    VocalShape,
    load_detector,
    save_detector,
)

SHAPE = VocalShape(shapes=2, width=8, dilations=(1, 2))


@pytest.fixture
def network() -> VocalNetwork:
    torch.manual_seed(0)
    return VocalNetwork(SHAPE).eval()


def music(duration_s: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(16_000 * duration_s)).astype(np.float32)


def test_a_step_looks_ahead_so_far_and_no_further(network: VocalNetwork) -> None:
    log_mel = torch.randn(1, 80, 96)
    other = log_mel.clone()
    other[:, 60:] += 1.0
    with torch.inference_mode():
        changed = ((network(log_mel) - network(other)).abs() > LAYER)[0]
    assert not changed[: 60 - LOOKAHEAD_STEPS].any()
    assert changed[60 - LOOKAHEAD_STEPS]


def test_one_probability_a_step(network: VocalNetwork) -> None:
    found = VocalDetector(network).probabilities(music(2.0))
    assert found.shape == (125,)
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()


def test_the_same_samples_give_the_same_answer(network: VocalNetwork) -> None:
    detector, samples = VocalDetector(network), music(1.0)
    first, again = detector.probabilities(samples), detector.probabilities(samples)
    np.testing.assert_allclose(first, again, rtol=0, atol=LAYER)


@pytest.mark.parametrize("n", [0, 1, 255])
def test_audio_shorter_than_a_step_has_none(n: int, network: VocalNetwork) -> None:
    assert len(VocalDetector(network).probabilities(np.zeros(n, np.float32))) == 0


def test_it_comes_back_as_it_was_saved(network: VocalNetwork, tmp_path: Path) -> None:
    save_detector(network, tmp_path / "vocals", training={"hours": 1})
    samples = music(1.0)
    found = load_detector(tmp_path / "vocals").probabilities(samples)
    np.testing.assert_allclose(found, VocalDetector(network).probabilities(samples), rtol=0, atol=LAYER)


@pytest.mark.parametrize("damage", ["missing", "weights", "config", "shape"])
def test_damaged_files_are_one_clear_error(damage: str, network: VocalNetwork, tmp_path: Path) -> None:
    save_detector(network, tmp_path, training={})
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
    shape: dict[str, object], says: str, network: VocalNetwork, tmp_path: Path
) -> None:
    save_detector(network, tmp_path, training={})
    told = json.loads((tmp_path / "vocals.json").read_text())
    told["shape"] |= shape
    (tmp_path / "vocals.json").write_text(json.dumps(told))
    with pytest.raises(CheckpointError, match=says) as caught:
        load_detector(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"shape":' * 50_000, "[]", "3", '{"shape": 3}', "NaN"])
def test_a_config_that_is_none_is_one_clear_error(content: str, network: VocalNetwork, tmp_path: Path) -> None:
    save_detector(network, tmp_path, training={})
    (tmp_path / "vocals.json").write_text(content)
    with pytest.raises(CheckpointError, match="cannot read the vocal detector"):
        load_detector(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_weights_that_are_no_numbers_are_one_clear_error(value: float, network: VocalNetwork, tmp_path: Path) -> None:
    with torch.no_grad():
        network.last.weight.fill_(value)
    save_detector(network, tmp_path, training={})
    with pytest.raises(CheckpointError, match=r"last\.weight holds NaN or a value"):
        load_detector(tmp_path)
