"""Streaming log-mel: every step is computed once, from the new samples of a hop."""

from __future__ import annotations

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
        self._transform = import_torchaudio().transforms.MelSpectrogram(
            sample_rate=SAMPLE_RATE_HZ,
            n_fft=FFT_LENGTH,
            hop_length=STEP_LENGTH,
            n_mels=MEL_BANDS,
            f_min=0.0,
            f_max=SAMPLE_RATE_HZ / 2,
            power=2.0,
            norm="slaney",
            mel_scale="slaney",
            center=False,  # the stream itself is padded, once, at its start
        )
        self._pending = torch.zeros(FFT_LENGTH // 2)

    @torch.inference_mode()
    def feed(self, samples: Samples) -> Tensor:
        """Add samples and return the steps that they complete, shape ``[n, 96]`` (n may be 0)."""
        # Copied: a window's samples are read-only, which torch cannot express.
        pending = torch.cat([self._pending, torch.from_numpy(samples.copy())])
        n_steps = max(0, (len(pending) - FFT_LENGTH) // STEP_LENGTH + 1)
        self._pending = pending[n_steps * STEP_LENGTH :]
        if n_steps == 0:
            return torch.zeros(0, MEL_BANDS)
        power: Tensor = self._transform(pending[: (n_steps - 1) * STEP_LENGTH + FFT_LENGTH])
        return torch.log10(1.0 + POWER_GAIN * power).T
