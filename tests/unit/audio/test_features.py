"""Log-mel steps are the same however the audio comes, and are what librosa says they are."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.audio import features
from stream_mer.audio.features import FFT_LENGTH, MEL_BANDS, POWER_GAIN, STEP_LENGTH, LogMelStream, import_torchaudio
from stream_mer.types import SAMPLE_RATE_HZ, Samples

# A float32 matrix product rounds differently for other numbers of rows: 4.8e-7 at most on this noise (measured). Ten
# times that is still far below anything that the model could tell apart.
PIECES_TOLERANCE = 5e-6
# The reference computes in float64; the float32 transform under test differs from it by 2.2e-5 at most (measured).
LIBROSA_TOLERANCE = 1e-4


def noise(length: int, seed: int = 0) -> Samples:
    return (0.3 * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


def in_one(samples: Samples) -> torch.Tensor:
    return LogMelStream().feed(samples)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=20))
def test_pieces_give_the_steps_of_one_pass(lengths: list[int]) -> None:
    samples = noise(20_000)
    stream, edges = LogMelStream(), np.minimum(np.cumsum(lengths), len(samples)).astype(int)
    steps = torch.cat([stream.feed(piece) for piece in np.split(samples, edges)])
    expected = in_one(samples)
    assert steps.shape == expected.shape
    torch.testing.assert_close(steps, expected, rtol=0, atol=PIECES_TOLERANCE)


def test_a_step_or_two_without_torch_are_the_same() -> None:
    samples, stream = noise(8_000), LogMelStream()
    steps = np.concatenate([stream.feed_few(piece) for piece in np.split(samples, [100, 420, 740, 1_400, 1_420])])
    assert steps.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(steps), in_one(samples), rtol=0, atol=PIECES_TOLERANCE)


def test_many_threads_may_be_the_first_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imported by two at once, torchaudio has no ``transforms`` for one of them."""
    at_once, most, together = [], [], threading.Barrier(8)

    def load() -> types.ModuleType:
        at_once.append(1)
        most.append(len(at_once))
        time.sleep(0.005)  # so that another thread would come in here
        at_once.pop()
        return types.ModuleType("torchaudio")

    def ask() -> None:
        together.wait()
        import_torchaudio()

    monkeypatch.setattr(features, "_import", load)
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


def test_librosa_says_the_same() -> None:
    """librosa's filters over numpy's transform, which is what its ``melspectrogram`` computes; that takes seconds."""
    filters = pytest.importorskip("librosa.filters", reason="librosa comes with the extra 'dev'")
    t = np.arange(16_000) / SAMPLE_RATE_HZ
    chirp = 0.5 * np.sin(2 * np.pi * (50 * t + 3700 * t**2))
    samples = (chirp + noise(len(t)) * np.linspace(0, 1, len(t))).astype(np.float32)
    padded = np.concatenate([np.zeros(FFT_LENGTH // 2), samples])
    rows = np.lib.stride_tricks.sliding_window_view(padded, FFT_LENGTH)[::STEP_LENGTH]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT_LENGTH) / FFT_LENGTH)
    power = np.abs(np.fft.rfft(rows * hann)) ** 2
    mel = filters.mel(
        sr=SAMPLE_RATE_HZ, n_fft=FFT_LENGTH, n_mels=MEL_BANDS, fmin=0, fmax=8000, htk=False, norm="slaney"
    )
    expected = np.log10(1 + POWER_GAIN * power @ mel.T)
    assert expected.max() > 1  # the comparison is of something
    np.testing.assert_allclose(in_one(samples).numpy(), expected, rtol=0, atol=LIBROSA_TOLERANCE)


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 511, 512, 16_000])
def test_a_step_is_ready_once_256_samples_after_its_centre_are_in(n: int) -> None:
    assert in_one(noise(n)).shape == (n // STEP_LENGTH, MEL_BANDS)


def test_a_click_is_loudest_in_the_step_centred_on_it() -> None:
    samples = np.zeros(8_000, np.float32)
    samples[20 * STEP_LENGTH] = 1.0
    assert int(in_one(samples).sum(1).argmax()) == 20


def test_silence_is_zero_and_a_read_only_window_is_taken_without_a_word() -> None:
    samples = np.zeros(4_000, np.float32)
    samples.flags.writeable = False
    assert torch.equal(in_one(samples), torch.zeros(15, MEL_BANDS))


WITHOUT_NATIVE_HALF = """
import torch
asked = []
def refuse(path):
    asked.append(str(path))
    raise OSError("libc10_cuda.so: cannot open shared object file")
torch.ops.load_library = refuse
from stream_mer.audio.features import import_torchaudio
torchaudio = import_torchaudio()
assert asked, "nothing was refused, so nothing was tried"
assert torchaudio.transforms.MelSpectrogram(sample_rate=16000, n_fft=512, n_mels=96)(torch.ones(2000)).shape[0] == 96
assert import_torchaudio() is torchaudio
"""


def test_a_native_half_that_cannot_be_loaded_is_done_without() -> None:
    """In a process of its own, because it needs a torchaudio that nobody has imported."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NATIVE_HALF], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_a_torchaudio_that_is_there_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = types.ModuleType("torchaudio")
    monkeypatch.setitem(sys.modules, "torchaudio", whole)
    assert import_torchaudio() is whole


def test_no_torchaudio_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(ImportError):
        import_torchaudio()
