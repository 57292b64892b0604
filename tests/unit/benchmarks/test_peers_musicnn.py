"""The peer is the published network: checked against plain convolutions over the same made-up weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from benchmarks.peers_musicnn import FEATURES, WINDOW_STEPS, MusicnnTagger, find_musicnn, mean_windows
from benchmarks.peers_result import CLIP, FRAME, PeerMissingError
from stream_mer.errors import CheckpointError
from stream_mer.training.corpus import Clip

FRONT = (((7, 38), 204), ((7, 67), 204), ((128, 1), 51), ((64, 1), 51), ((32, 1), 51))
MIDDLE = (561, 64, 64)
EPSILON = 1e-3


def made_up_tensors() -> dict[str, NDArray[np.float32]]:
    """Under the names and in the shapes of the publication: kernels as [height, width, in, out]."""
    rng = np.random.default_rng(5)
    tensors: dict[str, NDArray[np.float32]] = {}

    def layer(name: str, shape: tuple[int, ...]) -> None:
        inputs = int(np.prod(shape[:-1]))
        tensors[f"{name}/kernel"] = (rng.standard_normal(shape) / np.sqrt(inputs)).astype(np.float32)
        tensors[f"{name}/bias"] = rng.normal(0, 0.1, shape[-1]).astype(np.float32)

    def norm(index: int, n: int) -> None:
        name = f"batch_normalization_{index}" if index else "batch_normalization"
        tensors[f"{name}/gamma"] = rng.uniform(0.5, 1.5, n).astype(np.float32)
        tensors[f"{name}/beta"] = rng.normal(0, 0.2, n).astype(np.float32)
        tensors[f"{name}/moving_mean"] = rng.normal(0, 0.2, n).astype(np.float32)
        tensors[f"{name}/moving_variance"] = rng.uniform(0.5, 1.5, n).astype(np.float32)

    norm(0, 1)
    for i, (size, filters) in enumerate(FRONT):
        layer(f"conv2d_{i}" if i else "conv2d", (*size, 1, filters))
        norm(i + 1, filters)
    for i, channels in enumerate(MIDDLE):
        layer(f"conv2d_{5 + i}", (7, channels, 1, 64))
        norm(6 + i, 64)
    norm(9, 2 * 753)
    layer("dense", (2 * 753, 200))
    norm(10, 200)
    layer("dense_1", (200, 50))
    return tensors


@pytest.fixture(scope="module")
def tensors_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "made_up.npz"
    np.savez(path, **made_up_tensors())  # type: ignore[arg-type]  # numpy's stub takes the names for its own options
    return path


@pytest.fixture(scope="module")
def tagger(tensors_file: Path) -> MusicnnTagger:
    return MusicnnTagger.load(tensors_file)


def plainly(log_mel: Tensor) -> Tensor:
    """One window [187, 96] through the network as its authors wrote it, with two-dimensional convolutions: [250]."""
    tensors = {name: torch.from_numpy(array) for name, array in made_up_tensors().items()}

    def norm(x: Tensor, index: int) -> Tensor:
        name = f"batch_normalization_{index}" if index else "batch_normalization"
        gamma, beta, mean, variance = (
            tensors[f"{name}/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (x - mean) / torch.sqrt(variance + EPSILON) * gamma + beta

    def convolve(x: Tensor, index: int) -> Tensor:
        """[steps, bands] to [filters, steps, positions], padded in time alone."""
        name = f"conv2d_{index}" if index else "conv2d"
        kernel = tensors[f"{name}/kernel"].permute(3, 2, 0, 1)
        before = (kernel.shape[2] - 1) // 2
        padded = functional.pad(x[None, None], (0, 0, before, kernel.shape[2] - 1 - before))
        return torch.relu(functional.conv2d(padded, kernel, tensors[f"{name}/bias"])[0])

    x = norm(log_mel, 0)
    front = torch.cat(
        [norm(convolve(x, i).permute(1, 2, 0), i + 1).amax(1) for i in range(len(FRONT))], dim=1
    )  # [187, 561]
    first = norm(convolve(front, 5)[:, :, 0].T, 6)
    second = norm(convolve(first, 6)[:, :, 0].T, 7) + first
    third = norm(convolve(second, 7)[:, :, 0].T, 8) + second
    channels = torch.cat([front, first, second, third], dim=1)
    pooled = torch.stack([channels.amax(0), channels.mean(0)], dim=1).flatten()
    embedding = norm(torch.relu(norm(pooled, 9) @ tensors["dense/kernel"] + tensors["dense/bias"]), 10)
    tags = torch.sigmoid(embedding @ tensors["dense_1/kernel"] + tensors["dense_1/bias"])
    return torch.cat([embedding, tags])


def some_log_mel(n_steps: int) -> Tensor:
    return torch.rand(n_steps, 96, generator=torch.Generator().manual_seed(n_steps)) * 3


def test_a_window_is_what_plain_convolutions_make_of_it(tagger: MusicnnTagger) -> None:
    log_mel = some_log_mel(WINDOW_STEPS)
    (found,) = tagger.window_features(log_mel)
    assert found.shape == (FEATURES,)
    np.testing.assert_allclose(found, plainly(log_mel).numpy(), rtol=1e-3, atol=1e-4)  # sums in another order


def test_windows_follow_one_another_and_a_rest_is_left_out(tagger: MusicnnTagger) -> None:
    log_mel = some_log_mel(2 * WINDOW_STEPS + 100)
    windows = tagger.window_features(log_mel)
    assert len(windows) == 2
    np.testing.assert_allclose(windows[1], tagger.window_features(log_mel[WINDOW_STEPS:])[0], rtol=1e-5, atol=1e-6)


def test_what_is_shorter_than_a_window_is_one_with_silence_after_it(tagger: MusicnnTagger) -> None:
    log_mel = some_log_mel(40)
    silence = torch.zeros(WINDOW_STEPS - 40, 96)
    np.testing.assert_array_equal(
        tagger.window_features(log_mel), tagger.window_features(torch.cat([log_mel, silence]))
    )


def test_audio_is_cut_into_windows_of_three_seconds(
    tagger: MusicnnTagger, music: Callable[..., NDArray[np.float32]]
) -> None:
    assert tagger.features(music(6.1)).shape == (2, FEATURES)
    assert tagger.features(music(1.0)).shape == (1, FEATURES)


def test_the_mean_is_over_the_windows_that_are_heard() -> None:
    windows = [np.array([[1.0, 0.0], [3.0, 2.0], [8.0, 1.0]], np.float32), np.array([[5.0, 7.0]], np.float32)]
    np.testing.assert_allclose(mean_windows(windows, None), [[4.0, 1.0], [5.0, 7.0]])
    np.testing.assert_allclose(mean_windows(windows, 2), [[2.0, 1.0], [5.0, 7.0]])


def test_without_tensors_it_says_which_option_names_them(tmp_path: Path) -> None:
    with pytest.raises(PeerMissingError, match=r"--musicnn PATH"):
        find_musicnn([], None, tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"no archive"], ids=["missing", "empty", "damaged"])
def test_tensors_that_cannot_be_read_are_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PeerMissingError, match=r"weights\.npz"):
        find_musicnn([], path, tmp_path)


def test_tensors_without_the_dense_layers_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "convolutions.npz"
    kept = {name: array for name, array in made_up_tensors().items() if not name.startswith("dense_1")}
    np.savez(path, **kept)  # type: ignore[arg-type]  # as above
    with pytest.raises(CheckpointError, match=r"convolutions\.npz lacks .*dense_1/kernel, dense_1/bias"):
        MusicnnTagger.load(path)
    with pytest.raises(PeerMissingError, match="dense_1/kernel"):
        find_musicnn([], path, tmp_path)


def test_clips_are_heard_once_for_both_and_anew_with_other_tensors(
    tensors_file: Path,
    tmp_path: Path,
    music: Callable[..., NDArray[np.float32]],
    write_wav: Callable[[Path, NDArray[np.float32]], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clips = [
        Clip(clip_id=f"c{i}", audio=write_wav(tmp_path / f"c{i}.wav", music(3.1, seed=i)), artist="a", fold=i % 2)
        for i in range(4)
    ]
    heard: list[int] = []
    features = MusicnnTagger.features

    def counting(tagger: MusicnnTagger, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        heard.append(len(samples))
        return features(tagger, samples)

    monkeypatch.setattr(MusicnnTagger, "features", counting)
    found = find_musicnn(clips, tensors_file, tmp_path / "cache")
    assert [(one.system, one.heard) for one in found.judged] == [("MSD-MusiCNN + SVM", h) for h in (CLIP, FRAME)]
    assert {one.how for one in found.judged} == {way.how for way in found.ways}
    assert len(heard) == 4
    find_musicnn(clips, tensors_file, tmp_path / "cache")
    assert len(heard) == 4
    other = tmp_path / "other.npz"
    np.savez(other, **{name: 2 * array for name, array in made_up_tensors().items()})  # type: ignore[arg-type]  # as above
    find_musicnn(clips, other, tmp_path / "cache")
    assert len(heard) == 8
