"""Log-mel steps are the same however the audio comes, and are what librosa says they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.audio.features import (
    FFT_LENGTH,
    MEL_BANDS,
    POWER_GAIN,
    STEP_LENGTH,
    FilterBank,
    LogMelStream,
    hann_window,
    log_mel,
    overlapping,
    slaney_filters,
)
from stream_mer.types import SAMPLE_RATE_HZ, Floats, Samples

# A float32 matrix product rounds differently for other numbers of rows: 4.8e-7 at most on this noise (measured). Ten
# times that is still far below anything that the model could tell apart.
PIECES_TOLERANCE = 5e-6
# The reference computes in float64; the float32 transform under test differs from it by 2.2e-5 at most (measured).
LIBROSA_TOLERANCE = 1e-4


def noise(length: int, seed: int = 0) -> Samples:
    return (0.3 * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


def in_one(samples: Samples) -> Floats:
    return LogMelStream().feed(samples)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=20))
def test_pieces_give_the_steps_of_one_pass(lengths: list[int]) -> None:
    samples = noise(20_000)
    stream, edges = LogMelStream(), np.minimum(np.cumsum(lengths), len(samples)).astype(int)
    steps = np.concatenate([stream.feed(piece) for piece in np.split(samples, edges)])
    expected = in_one(samples)
    assert steps.shape == expected.shape
    assert steps.dtype == np.float32
    np.testing.assert_allclose(steps, expected, rtol=0, atol=PIECES_TOLERANCE)


def test_the_cuts_of_several_streams_are_computed_together() -> None:
    sounds = [noise(3_000, seed=1), noise(700, seed=2), noise(100, seed=3)]
    cuts = [LogMelStream().cut(samples) for samples in sounds]
    assert [len(cut) for cut in cuts] == [11, 2, 0]
    steps = np.split(log_mel(np.concatenate(cuts)), np.cumsum([len(cut) for cut in cuts])[:-1])
    for samples, of_one in zip(sounds, steps, strict=True):
        np.testing.assert_allclose(of_one, in_one(samples), rtol=0, atol=PIECES_TOLERANCE)


@pytest.mark.parametrize(("n", "pieces"), [(0, 0), (6, 0), (7, 1), (9, 1), (10, 2), (13, 3)])
def test_pieces_overlap_and_cannot_be_written_to(n: int, pieces: int) -> None:
    samples = np.arange(n, dtype=np.float32)
    cut = overlapping(samples, 7, 3)
    assert cut.tolist() == [list(range(3 * i, 3 * i + 7)) for i in range(pieces)]
    assert not cut.flags.writeable
    assert samples.flags.writeable


def test_a_window_is_that_of_hann_and_periodic() -> None:
    for length in (FFT_LENGTH, 400):
        longer = np.hanning(length + 1)  # symmetric; its last value would be the first of the next period
        np.testing.assert_allclose(hann_window(length), longer[:-1], rtol=0, atol=1e-7)


def test_the_filters_are_those_of_librosa() -> None:
    filters = pytest.importorskip("librosa.filters", reason="librosa comes with the extra 'dev'")
    expected = filters.mel(
        sr=SAMPLE_RATE_HZ, n_fft=FFT_LENGTH, n_mels=MEL_BANDS, fmin=0, fmax=8000, htk=False, norm="slaney", dtype=float
    )
    np.testing.assert_allclose(slaney_filters(), expected.T, rtol=1e-9, atol=1e-12)


def test_a_bank_of_filters_gives_what_the_whole_matrix_gives() -> None:
    """Whatever frequencies its bands read: here they overlap, leave some out, and read a single one."""
    filters = np.zeros((40, 10), np.float32)
    for band, (first, stop) in enumerate(zip(range(2, 32, 3), (4, 5, 9, 14, 19, 18, 30, 26, 27, 40), strict=True)):
        filters[first:stop, band] = noise(stop - first, seed=band)
    spectra = noise(5 * 40).reshape(5, 40)
    np.testing.assert_allclose(FilterBank(filters).apply(spectra), spectra @ filters, rtol=0, atol=1e-6)


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
    np.testing.assert_allclose(in_one(samples), expected, rtol=0, atol=LIBROSA_TOLERANCE)


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 511, 512, 16_000])
def test_a_step_is_ready_once_256_samples_after_its_centre_are_in(n: int) -> None:
    assert in_one(noise(n)).shape == (n // STEP_LENGTH, MEL_BANDS)


def test_a_click_is_loudest_in_the_step_centred_on_it() -> None:
    samples = np.zeros(8_000, np.float32)
    samples[20 * STEP_LENGTH] = 1.0
    assert in_one(samples).sum(1).argmax() == 20


def test_silence_is_zero_and_a_read_only_window_is_taken_without_a_word() -> None:
    samples = np.zeros(4_000, np.float32)
    samples.flags.writeable = False
    np.testing.assert_array_equal(in_one(samples), np.zeros((15, MEL_BANDS), np.float32))
