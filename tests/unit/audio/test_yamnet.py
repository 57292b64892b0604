"""Patches are what their definition says however the audio comes, and the shipped network is the wheel's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from stream_mer.audio.yamnet import CLASSES, EMBEDDING_SIZE, PATCH_HOP, PATCH_LENGTH, Yamnet, YamnetPatches, find_yamnet
from stream_mer.cli.diagnose import demo_song
from stream_mer.errors import CheckpointError, SettingError
from stream_mer.types import Samples

# The definition is computed in float64. Below a magnitude of .001 float32 is off by 2.6e-4 at most (measured).
DEFINITION_TOLERANCE = 2e-3
PIECES_TOLERANCE = 1e-5  # a matrix product rounds differently for other numbers of rows
# Scores lie in -40..10. The reference adds up in another order: 3e-5 (measured); other processors in yet others.
SCORES_TOLERANCE = 2e-3
MUSIC = 132


def noise(length: int, seed: int = 0) -> Samples:
    return (0.3 * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


def in_one(samples: Samples, *, at_sample: int = 0) -> NDArray[np.float32]:
    return YamnetPatches(at_sample=at_sample).feed(samples)


def by_definition(samples: Samples) -> NDArray[np.float64]:
    """Log-mel of 15,600 samples as YAMNet's paper and code define it, term by term."""
    times = np.arange(400)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * times / 400)
    bins = np.arange(257)
    fourier = np.exp(-2j * np.pi * np.outer(times, bins) / 512)
    edges = np.linspace(1127 * np.log(1 + 125 / 700), 1127 * np.log(1 + 7500 / 700), 66)
    weights = np.zeros((257, 64))
    for k in range(257):
        mel = 1127 * np.log(1 + k * 16_000 / 512 / 700)
        for band in range(64):
            low, centre, high = edges[band : band + 3]
            weights[k, band] = max(0.0, min((mel - low) / (centre - low), (high - mel) / (high - centre)))
    frames = np.stack([samples[160 * i : 160 * i + 400].astype(np.float64) * hann for i in range(96)])
    return np.log(np.abs(frames @ fourier) @ weights + 0.001)


@pytest.fixture(scope="module")
def yamnet() -> Yamnet:
    return Yamnet()


@pytest.fixture(scope="module")
def demo_patches() -> NDArray[np.float32]:
    return in_one(demo_song()[: 40 * 16_000])


def test_a_patch_is_the_log_mel_of_the_samples_that_end_where_it_does() -> None:
    samples = noise(3 * PATCH_HOP)
    patches = in_one(samples)
    assert patches.shape == (3, 96, 64)
    assert patches.dtype == np.float32
    for k in (2, 3):
        np.testing.assert_allclose(
            patches[k - 1], by_definition(samples[k * PATCH_HOP - PATCH_LENGTH :]), rtol=0, atol=DEFINITION_TOLERANCE
        )


def test_audio_before_the_start_is_silence() -> None:
    samples = noise(8_000)
    padded = np.concatenate([np.zeros(PATCH_LENGTH - 8_000, np.float32), samples])
    patches = YamnetPatches(hop_samples=8_000).feed(samples)
    np.testing.assert_allclose(patches[0], by_definition(padded), rtol=0, atol=DEFINITION_TOLERANCE)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9_000), max_size=12), st.integers(0, 20_000))
def test_pieces_give_the_patches_of_one_pass(lengths: list[int], at_sample: int) -> None:
    samples = noise(40_000)
    stream, edges = YamnetPatches(at_sample=at_sample), np.minimum(np.cumsum(lengths), len(samples)).astype(int)
    patches = np.concatenate([stream.feed(piece) for piece in np.split(samples, edges)])
    np.testing.assert_allclose(patches, in_one(samples, at_sample=at_sample), rtol=0, atol=PIECES_TOLERANCE)


@pytest.mark.parametrize("at_sample", [1, 79, 80, 81, 160, 7_999, 8_000, 12_345])
def test_patches_lie_on_the_grid_of_the_sample_clock_wherever_the_stream_starts(at_sample: int) -> None:
    samples = noise(40_000)
    from_zero = samples.copy()
    from_zero[:at_sample] = 0.0
    expected = in_one(from_zero)[at_sample // PATCH_HOP :]
    patches = in_one(samples[at_sample:], at_sample=at_sample)
    np.testing.assert_allclose(patches, expected, rtol=0, atol=PIECES_TOLERANCE)


def test_a_recording_of_minutes_gives_the_patches_of_hops() -> None:
    samples = noise(60 * PATCH_HOP)
    stream = YamnetPatches()
    hops = np.concatenate([stream.feed(piece) for piece in np.split(samples, 60)])
    np.testing.assert_allclose(in_one(samples), hops, rtol=0, atol=PIECES_TOLERANCE)


def test_another_hop_cuts_the_same_patches_at_other_places() -> None:
    samples = noise(32_000)
    dense = YamnetPatches(hop_samples=1_600).feed(samples)
    np.testing.assert_allclose(dense[9::10], in_one(samples), rtol=0, atol=PIECES_TOLERANCE)
    with pytest.raises(ValueError, match="multiples of 160"):
        YamnetPatches(hop_samples=1_000)


def test_the_network_computes_what_the_onnx_reference_computes(
    yamnet: Yamnet, demo_patches: NDArray[np.float32]
) -> None:
    patches = demo_patches[[10, 30]]
    reference = ReferenceEvaluator(str(find_yamnet() / "yamnet.onnx"))
    embedding, scores = reference.run(["embedding", "scores"], {"patches": patches[:, None]})
    output = yamnet.run(patches)
    np.testing.assert_allclose(output.scores, scores, rtol=0, atol=SCORES_TOLERANCE)
    np.testing.assert_allclose(output.embedding, embedding, rtol=0, atol=1e-4)
    assert output.embedding.shape == (2, EMBEDDING_SIZE)
    assert output.scores.shape == (2, CLASSES)


def test_a_song_is_music_and_noise_is_not(yamnet: Yamnet, demo_patches: NDArray[np.float32]) -> None:
    song = 1 / (1 + np.exp(-yamnet.run(demo_patches).scores[:, MUSIC]))
    hiss = 1 / (1 + np.exp(-yamnet.run(in_one(noise(80_000))).scores[:, MUSIC]))
    assert np.quantile(song, 0.1) > 0.6
    assert hiss.max() < 0.05


def test_a_batch_gives_each_patch_what_it_gets_alone(yamnet: Yamnet, demo_patches: NDArray[np.float32]) -> None:
    together = yamnet.run(demo_patches[:5])
    for i in range(5):
        alone = yamnet.run(demo_patches[i : i + 1])
        np.testing.assert_allclose(together.scores[i], alone.scores[0], rtol=0, atol=SCORES_TOLERANCE)
        np.testing.assert_allclose(together.embedding[i], alone.embedding[0], rtol=0, atol=1e-4)


def test_no_patches_give_no_output_and_read_no_file(tmp_path: Path) -> None:
    output = Yamnet(tmp_path).run(np.zeros((0, 96, 64), np.float32))
    assert output.embedding.shape == (0, EMBEDDING_SIZE)
    assert output.scores.shape == (0, CLASSES)


def test_threads_share_one_network(demo_patches: NDArray[np.float32]) -> None:
    yamnet = Yamnet()
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(yamnet.run, [demo_patches[i : i + 1] for i in range(8)]))
    expected = yamnet.run(demo_patches[:8]).scores
    np.testing.assert_allclose(np.concatenate([o.scores for o in outputs]), expected, rtol=0, atol=SCORES_TOLERANCE)


def test_nothing_is_written_to_standard_error() -> None:
    imports = "import numpy as np; from stream_mer.audio.yamnet import Yamnet"
    program = f"{imports}; Yamnet().run(np.zeros((1, 96, 64), np.float32))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    patch = np.zeros((1, 96, 64), np.float32)
    with pytest.raises(CheckpointError, match="cannot read YAMNet in"):
        Yamnet(tmp_path).run(patch)
    shutil.copy(find_yamnet() / "yamnet.json", tmp_path)
    (tmp_path / "yamnet.onnx").write_bytes(b"no network")
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        Yamnet(tmp_path).run(patch)
    config = json.loads((tmp_path / "yamnet.json").read_text())
    (tmp_path / "yamnet.json").write_text(json.dumps({**config, "format": 99}))
    with pytest.raises(CheckpointError, match="another version"):
        Yamnet(tmp_path).run(patch)


# --- devices

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class Sessions:
    """Stands for ONNX Runtime where it has CUDA: remembers what sessions were asked for; none computes anything."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, start: bool = True) -> None:
        self.asked: list[list[Any]] = []
        self._start = start
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
        monkeypatch.setattr(onnxruntime, "InferenceSession", self)

    def __call__(self, content: bytes, options: object, *, providers: list[Any]) -> Sessions:
        assert content
        assert isinstance(options, onnxruntime.SessionOptions)
        self.asked.append(providers)
        return self

    def get_providers(self) -> list[str]:
        return [CUDA, CPU] if self._start else [CPU]


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "toaster", "", "cpu:0", "CUDA"])
def test_a_device_that_onnx_runtime_has_no_provider_for_is_a_setting_error(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    with pytest.raises(SettingError, match=f"has {CPU}; for cuda, pip install onnxruntime-gpu") as caught:
        Yamnet(device=device).load()
    assert repr(device) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["cuda:", "cuda:x", "cuda:-1", "cuda:1:2", "cuda:²", "gpu", "cpu:0"])
def test_a_name_that_is_no_device_is_a_setting_error_with_cuda_too(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = Sessions(monkeypatch)
    with pytest.raises(SettingError, match="is not available") as caught:
        Yamnet(device=device).load()
    assert repr(device) in str(caught.value)
    assert sessions.asked == []


@pytest.mark.parametrize(("device", "number"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("cuda:12", 12)])
def test_cuda_is_asked_for_the_device_of_that_number(device: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(monkeypatch)
    assert Yamnet(device=device).load() is sessions
    assert sessions.asked == [[(CUDA, {"device_id": number}), CPU]]


def test_the_processor_is_asked_for_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(monkeypatch)
    assert Yamnet().load() is sessions
    assert sessions.asked == [[CPU]]


def test_a_device_on_which_cuda_does_not_start_is_a_setting_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime would compute on the processor, and say nothing."""
    Sessions(monkeypatch, start=False)
    yamnet = Yamnet(device="cuda:99")
    for _ in range(2):
        with pytest.raises(SettingError, match="'cuda:99' is not available"):
            yamnet.load()
