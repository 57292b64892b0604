"""Streaming log-mel: every step is computed once, from the new samples of a hop."""

from __future__ import annotations

import functools

import numpy as np
import torch
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
        pending = np.concatenate([self._pending, samples])
        n_steps = max(0, (len(pending) - FFT_LENGTH) // STEP_LENGTH + 1)
        self._pending = pending[n_steps * STEP_LENGTH :].copy()
        if n_steps == 0:
            return torch.zeros(0, FFT_LENGTH)
        return torch.from_numpy(pending).unfold(0, FFT_LENGTH, STEP_LENGTH)


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
