"""Streaming log-mel: every step is computed once, from the new samples of a hop."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_mer.audio.torchaudio_import import import_torchaudio
from stream_mer.types import SAMPLE_RATE_HZ, Samples

FFT_LENGTH = 512  # samples: 32 ms
STEP_LENGTH = 256  # samples from one step to the next: 16 ms
MEL_BANDS = 96  # Slaney's scale and normalisation, 0..8 kHz
POWER_GAIN = 10_000.0  # log10(1 + gain * power), as MSD-MusiCNN was trained


class LogMelStream:
    """Log-mel spectrogram of a stream: log10(1 + 10000 * mel power).

    Step ``s`` is centred on sample ``256 s`` and is ready once 256 samples after it are in. Audio before the first
    sample counts as silence. Feeding in pieces gives the same steps as feeding all at once, within the rounding of a
    float32 matrix product.
    """

    def __init__(self) -> None:
        self._pending: Samples = np.zeros(FFT_LENGTH // 2, np.float32)

    def feed(self, samples: Samples) -> Tensor:
        """Add samples and return the steps that they complete, shape ``[n, 96]`` (n may be 0)."""
        return log_mel(self.cut(samples))

    @torch.inference_mode()
    def cut(self, samples: Samples) -> Tensor:
        """Add samples and return what the steps that they complete are made of, shape ``[n, 512]``; see ``log_mel``.

        So the steps of several streams may be computed at once.
        """
        pending, n_steps = self._add(samples)
        if n_steps == 0:
            return torch.zeros(0, FFT_LENGTH)
        return torch.from_numpy(pending).unfold(0, FFT_LENGTH, STEP_LENGTH)

    def feed_few(self, samples: Samples) -> NDArray[np.float32]:
        """Like ``feed``, without torch: for a step or two, of many streams in many threads.

        Each operation of torch lets go of the interpreter's lock, and where many threads want that, each is a switch.
        """
        pending, n_steps = self._add(samples)
        strides = (STEP_LENGTH * pending.itemsize, pending.itemsize)
        cuts = np.ndarray((n_steps, FFT_LENGTH), pending.dtype, buffer=pending, strides=strides)
        window, filters = _arrays()
        parts = np.fft.rfft(cuts * window)
        steps: NDArray[np.float32] = np.log10((np.square(parts.real) + np.square(parts.imag)) @ filters + np.float32(1))
        return steps

    def _add(self, samples: Samples) -> tuple[Samples, int]:
        """Add samples; return all that wait, and how many steps they complete."""
        pending = np.concatenate([self._pending, samples])
        n_steps = max(0, (len(pending) - FFT_LENGTH) // STEP_LENGTH + 1)
        self._pending = pending[n_steps * STEP_LENGTH :].copy()
        return pending, n_steps


@torch.inference_mode()
def log_mel(cuts: Tensor) -> Tensor:
    """Log-mel steps [n, 96] of cuts of 512 samples each, [n, 512], on the device where these are."""
    if cuts.shape[0] == 0:
        return cuts.new_zeros(0, MEL_BANDS)
    window, filters = _transform(cuts.device)
    parts = torch.view_as_real(torch.fft.rfft(cuts * window)).flatten(1)  # [n, 2 * 257], real beside imaginary
    return (parts.square_() @ filters).add_(1.0).log10_()


@functools.cache
def _transform(device: torch.device) -> tuple[Tensor, Tensor]:
    """Window [512] and filter bank of torchaudio's ``MelSpectrogram``; the latter [2 * 257, 96], with the gain in it.

    Its forward pass is not used: for a few steps it costs several times what the transform itself does.
    """
    transform = import_torchaudio().transforms.MelSpectrogram(
        sample_rate=SAMPLE_RATE_HZ,
        n_fft=FFT_LENGTH,
        hop_length=STEP_LENGTH,
        n_mels=MEL_BANDS,
        f_min=0.0,
        f_max=SAMPLE_RATE_HZ / 2,
        power=2.0,
        norm="slaney",
        mel_scale="slaney",
    )
    filters = POWER_GAIN * transform.mel_scale.fb.repeat_interleave(2, dim=0)
    return transform.spectrogram.window.to(device), filters.to(device)


@functools.cache
def _arrays() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Window [512] and filter bank [257, 96] for ``feed_few``."""
    window, filters = _transform(torch.device("cpu"))
    return window.numpy(), np.ascontiguousarray(filters.numpy()[::2])
