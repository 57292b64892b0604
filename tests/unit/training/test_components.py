"""Principal components of audio tokens: each network's by itself, all of one scale, computed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stream_mer.emotion.audio_branch import YAMNET
from stream_mer.training import tokens as module
from stream_mer.training.tokens import audio_components, of_yamnet, reduce

MUSICNN_FEATURES = 30


@pytest.fixture(autouse=True)
def few_components(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MUSICNN_COMPONENTS", 6)
    monkeypatch.setattr(module, "YAMNET_COMPONENTS", 8)


@pytest.fixture(scope="module")
def tokens() -> list[NDArray[np.float16]]:
    """Of ten clips; each network's part is a mixture of ten hidden signals, and a little noise."""
    rng = np.random.default_rng(0)
    mixing = [rng.standard_normal((10, n)) for n in (MUSICNN_FEATURES, YAMNET.embedding_size)]
    found = []
    for _ in range(10):
        parts = [rng.standard_normal((20, 10)) @ mix + 0.1 * rng.standard_normal((20, mix.shape[1])) for mix in mixing]
        found.append((np.concatenate(parts, axis=1) + 2.0).astype(np.float16))
    return found


def test_components_have_a_variance_of_one_on_average_and_no_mean(
    tokens: list[NDArray[np.float16]], tmp_path: Path
) -> None:
    found = audio_components(tokens, tmp_path)
    reduced = torch.cat([found(torch.from_numpy(of_clip).float()) for of_clip in tokens])
    assert reduced.shape == (200, 14)
    assert float(reduced.square().mean()) == pytest.approx(1, abs=1e-3)
    assert float(reduced.mean(0).abs().max()) < 1e-2


def test_each_component_is_of_one_network(tokens: list[NDArray[np.float16]], tmp_path: Path) -> None:
    found = audio_components(tokens, tmp_path)
    assert found.basis.shape == (MUSICNN_FEATURES + YAMNET.embedding_size, 14)
    assert not found.basis[:MUSICNN_FEATURES, 6:].any()
    assert not found.basis[MUSICNN_FEATURES:, :6].any()
    assert of_yamnet(found).tolist() == [False] * 6 + [True] * 8


def test_a_small_corpus_gives_fewer_components_of_each(tokens: list[NDArray[np.float16]], tmp_path: Path) -> None:
    found = audio_components([tokens[0][:4]], tmp_path)
    assert of_yamnet(found).tolist() == [False] * 4 + [True] * 4


def test_the_largest_components_are_kept(tokens: list[NDArray[np.float16]], tmp_path: Path) -> None:
    found = audio_components(tokens, tmp_path)
    x = torch.from_numpy(np.concatenate(tokens)).double()[:, :MUSICNN_FEATURES]
    spread = x.std(0)
    exact = torch.linalg.svdvals((x - x.mean(0)) / (spread + 0.01 * spread.mean()))[:6]
    ours = found(torch.from_numpy(np.concatenate(tokens)).float())[:, :6].norm(dim=0).double()
    torch.testing.assert_close(ours / ours[0], exact / exact[0], rtol=0.02, atol=0.02)  # a randomised algorithm


def test_they_are_computed_once_and_alike_everywhere(
    tokens: list[NDArray[np.float16]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = audio_components(tokens, tmp_path / "a"), audio_components(tokens, tmp_path / "b")
    assert torch.equal(first.basis, other.basis)
    changed = [tokens[0] + np.float16(1), *tokens[1:]]
    assert not torch.equal(audio_components(changed, tmp_path / "a").mean, first.mean)
    monkeypatch.setattr(module, "_components", None)  # nothing may be computed
    again = audio_components(tokens, tmp_path / "a")
    assert torch.equal(again.basis, first.basis)
    assert torch.equal(again.mean, first.mean)


def test_tokens_are_reduced_to_what_the_model_reads(tokens: list[NDArray[np.float16]], tmp_path: Path) -> None:
    found = audio_components(tokens, tmp_path)
    reduced = reduce(tokens[3], found)
    assert (reduced.dtype, reduced.shape) == (np.float16, (20, 14))
    expected = (tokens[3].astype(np.float64) - found.mean.double().numpy()) @ found.basis.double().numpy()
    np.testing.assert_allclose(reduced, expected, atol=5e-3)  # float16
