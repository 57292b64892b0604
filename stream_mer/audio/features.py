"""Streaming log-mel spectrogram: every step is computed once. The only import of torchaudio.

The Linux wheel of torchaudio 2.11 links its native half against CUDA, so beside a CPU-only torch ``import torchaudio``
raises ``OSError: libc10_cuda.so``. stream_mer uses its Python half alone (``transforms``). On that error the loader of
the native half is replaced by one that reports it absent, which torchaudio handles, and the import is repeated.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_mer.types import SAMPLE_RATE_HZ, Samples

_ONE_BY_ONE = threading.Lock()
"""Many threads may import it at once, and the second try removes the first one's modules."""


def import_torchaudio() -> ModuleType:
    """Import torchaudio, without its native half where that cannot be loaded; from any thread.

    Raises:
        ImportError: torchaudio is not installed.
    """
    with _ONE_BY_ONE:
        return _import()


def _import() -> ModuleType:
    try:
        import torchaudio  # noqa: PLC0415 - slow to import, and may need the second try below
    except OSError:
        _replace_native_loader()
        import torchaudio  # noqa: PLC0415 - the second try
    module: ModuleType = torchaudio
    return module


def _replace_native_loader() -> None:
    # A copy of the names, because other threads may import meanwhile.
    for name in [name for name in list(sys.modules) if name.partition(".")[0] == "torchaudio"]:
        del sys.modules[name]
    package = importlib.util.find_spec("torchaudio")
    if package is None or not package.submodule_search_locations:
        raise ImportError("torchaudio is installed without its Python files; reinstall it")
    path = Path(package.submodule_search_locations[0]) / "_extension" / "utils.py"
    spec = importlib.util.spec_from_file_location("torchaudio._extension.utils", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}; reinstall torchaudio")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.__dict__["_load_lib"] = lambda _name: False
    sys.modules["torchaudio._extension.utils"] = module


FFT_LENGTH = 512  # samples: 32 ms
STEP_LENGTH = 256  # samples from one step to the next: 16 ms
MEL_BANDS = 96  # Slaney's scale and normalisation, 0..8 kHz
POWER_GAIN = 10_000.0  # log10(1 + gain * power), as MSD-MusiCNN was trained


class LogMelStream:
    """Log-mel spectrogram of a stream: log10(1 + 10000 * mel power).

    Step ``s`` is centred on sample ``256 s`` and is ready 256 samples later. Audio before the first sample counts as
    silence. Steps do not depend on how the audio is cut, within the rounding of a float32 matrix product.
    """

    def __init__(self) -> None:
        self._pending: Samples = np.zeros(FFT_LENGTH // 2, np.float32)

    def feed(self, samples: Samples) -> Tensor:
        """Take the next samples; return the steps that they complete, shape ``[n, 96]`` (n may be 0)."""
        return log_mel(self.cut(samples))

    @torch.inference_mode()
    def cut(self, samples: Samples) -> Tensor:
        """Take the next samples; return the cuts of the steps that they complete, shape ``[n, 512]``.

        ``log_mel`` computes the steps, of several streams at once.
        """
        pending, n_steps = self._add(samples)
        if n_steps == 0:
            return torch.zeros(0, FFT_LENGTH)
        return torch.from_numpy(pending).unfold(0, FFT_LENGTH, STEP_LENGTH)

    def feed_few(self, samples: Samples) -> NDArray[np.float32]:
        """Like ``feed``, without torch: for a step or two, of many streams in many threads.

        Each operation of torch releases the interpreter's lock, which costs a switch where many threads want it.
        """
        pending, n_steps = self._add(samples)
        strides = (STEP_LENGTH * pending.itemsize, pending.itemsize)
        cuts = np.ndarray((n_steps, FFT_LENGTH), pending.dtype, buffer=pending, strides=strides)
        window, filters = _arrays()
        parts = np.fft.rfft(cuts * window)
        steps: NDArray[np.float32] = np.log10((np.square(parts.real) + np.square(parts.imag)) @ filters + np.float32(1))
        return steps

    def _add(self, samples: Samples) -> tuple[Samples, int]:
        """Take the next samples; return all pending ones, and how many steps they complete."""
        pending = np.concatenate([self._pending, samples])
        n_steps = max(0, (len(pending) - FFT_LENGTH) // STEP_LENGTH + 1)
        self._pending = pending[n_steps * STEP_LENGTH :].copy()
        return pending, n_steps


@torch.inference_mode()
def log_mel(cuts: Tensor) -> Tensor:
    """Return log-mel steps, shape ``[n, 96]``, of cuts, shape ``[n, 512]``, on their device."""
    if cuts.shape[0] == 0:
        return cuts.new_zeros(0, MEL_BANDS)
    window, filters = _transform(cuts.device)
    parts = torch.view_as_real(torch.fft.rfft(cuts * window)).flatten(1)  # [n, 2 * 257], real beside imaginary
    return (parts.square_() @ filters).add_(1.0).log10_()


@functools.cache
def _transform(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return window [512] and filter bank [2 * 257, 96], gain included, of torchaudio's ``MelSpectrogram``.

    Its forward pass is not used: for a few steps it costs several times as much as the transform.
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
    """Return window [512] and filter bank [257, 96] for ``feed_few``."""
    window, filters = _transform(torch.device("cpu"))
    return window.numpy(), np.ascontiguousarray(filters.numpy()[::2])
