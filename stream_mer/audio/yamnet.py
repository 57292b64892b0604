"""YAMNet: Google's network for AudioSet, with its log-mel patches.

A *patch* is the log-mel spectrogram of 15,600 samples (0.975 s): 96 steps of 64 bands. Of each patch the network gives
521 scores, one for each AudioSet class, and the activations of its last two blocks averaged over time and frequency
(earlier ones gain nothing: ``docs/decisions/0013-ratings-of-listeners.md``). Patches lie on a fixed grid of the sample
clock (``PATCH_HOP``), so that all users share them.

Weights are int8 with scales, activations float32: see ``docs/decisions/0011-yamnet.md``.
"""

from __future__ import annotations

import functools
import json
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from stream_mer.audio.features import FilterBank, hann_window, overlapping
from stream_mer.errors import CheckpointError, SettingError
from stream_mer.types import SAMPLE_RATE_HZ, Floats, Samples
from stream_mer.utils.model_files import find_packaged

FRAME_LENGTH = 400  # samples of one step: 25 ms
STEP_LENGTH = 160  # samples from one step to the next: 10 ms
FFT_LENGTH = 512
MEL_BANDS = 64  # 125..7500 Hz
PATCH_STEPS = 96
PATCH_LENGTH = (PATCH_STEPS - 1) * STEP_LENGTH + FRAME_LENGTH
"""Samples of a patch: 15,600."""

PATCH_HOP = 16_000
"""Samples from one patch to the next: patches end at multiples of this on the sample clock, a second apart."""

CLASSES = 521
EMBEDDING_SIZE = 2048
"""Channels of the last two blocks."""

_LOG_OFFSET = 0.001
_MEL_RANGE_HZ = (125.0, 7500.0)
_STEPS_AT_ONCE = 2_000  # 20 s; bounds the memory of a long recording
_MODEL, _NETWORK, _CONFIG = "yamnet-v1", "yamnet.onnx", "yamnet.json"
_FORMAT = 2
_CUDA = "CUDAExecutionProvider"


def log_mel(frames: Floats) -> Floats:
    """Return log-mel steps, shape ``[n, 64]``, of frames, shape ``[n, 400]``: log(mel magnitude + 0.001)."""
    window, filters = _transform()
    steps = filters.apply(np.abs(np.fft.rfft(frames * window, FFT_LENGTH)))
    steps += np.float32(_LOG_OFFSET)
    return np.log(steps, out=steps)


@functools.cache
def _transform() -> tuple[Floats, FilterBank]:
    """Return the periodic Hann window [400] and triangular filters [257, 64], equally wide on 1127 ln(1 + f / 700)."""
    frequencies = np.arange(FFT_LENGTH // 2 + 1) * SAMPLE_RATE_HZ / FFT_LENGTH
    mel = 1127 * np.log1p(frequencies / 700)[:, None]
    low, high = 1127 * np.log1p(np.array(_MEL_RANGE_HZ) / 700)
    edges = np.linspace(low, high, MEL_BANDS + 2)
    rising = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    return hann_window(FRAME_LENGTH), FilterBank(np.maximum(0, np.minimum(rising, falling)))


class YamnetPatches:
    """Cuts a stream into patches, each step computed once.

    A patch ends at each multiple of ``hop_samples`` on the sample clock and covers the 15,600 samples before it. Audio
    before the start of the stream counts as silence. Patches do not depend on how the audio is cut.

    Args:
        at_sample: Index of the first sample on the sample clock.
        hop_samples: Samples from one patch to the next; a multiple of 160.
    """

    def __init__(self, *, at_sample: int = 0, hop_samples: int = PATCH_HOP) -> None:
        if hop_samples <= 0 or hop_samples % STEP_LENGTH:
            raise ValueError(f"patches end at multiples of {STEP_LENGTH} samples; {hop_samples} is none")
        self._hop_steps = hop_samples // STEP_LENGTH
        # Step ``s`` ends at sample 160 s. The first one to compute is the first that ends after ``at_sample``.
        self._step = at_sample // STEP_LENGTH + 1
        silent = max(0, at_sample - (self._step * STEP_LENGTH - FRAME_LENGTH))
        self._pending: Samples = np.zeros(silent, np.float32)
        silence = np.full(MEL_BANDS, np.log(_LOG_OFFSET), np.float32)
        self._steps: Floats = np.tile(silence, (PATCH_STEPS, 1))

    def feed(self, samples: Samples) -> Floats:
        """Take the next samples; return the patches that they complete, shape ``[n, 96, 64]`` (n may be 0)."""
        pending = np.concatenate([self._pending, samples], dtype=np.float32)
        n_steps = max(0, (len(pending) - FRAME_LENGTH) // STEP_LENGTH + 1)
        self._pending = pending[n_steps * STEP_LENGTH :].copy()
        patches: list[Floats] = []
        for start in range(0, n_steps, _STEPS_AT_ONCE):
            stop = min(n_steps, start + _STEPS_AT_ONCE)
            piece = pending[start * STEP_LENGTH : (stop - 1) * STEP_LENGTH + FRAME_LENGTH]
            patches += self._add_steps(log_mel(overlapping(piece, FRAME_LENGTH, STEP_LENGTH)))
        return np.stack(patches) if patches else np.zeros((0, PATCH_STEPS, MEL_BANDS), np.float32)

    def _add_steps(self, steps: Floats) -> list[Floats]:
        """Take the next steps [n, 64] and return the patches that they complete."""
        known = np.concatenate([self._steps, steps])
        first = -self._step % self._hop_steps  # index in ``steps`` of the first one that ends a patch
        ends = range(PATCH_STEPS + first + 1, len(known) + 1, self._hop_steps)
        patches = [known[end - PATCH_STEPS : end] for end in ends]  # views
        self._steps = known[-PATCH_STEPS:]
        self._step += len(steps)
        return patches


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class YamnetOutput:
    """Outputs of YAMNet.

    Attributes:
        embedding: Mean activations of the last two blocks, one after the other, shape ``[n, 2048]``, 0 or more.
        scores: Score of each AudioSet class before the sigmoid, shape ``[n, 521]``.
    """

    embedding: Floats
    scores: Floats


class Yamnet:
    """The network, shared by all streams; its file is read at the first ``run``. Thread-safe.

    Args:
        folder: Folder of ``yamnet.onnx`` and ``yamnet.json``; None for the packaged ones.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``. CUDA needs the package ``onnxruntime-gpu``.
    """

    def __init__(self, folder: Path | None = None, *, device: str = "cpu") -> None:
        self._folder = folder
        self._device = device
        self._lock = threading.Lock()  # held while the file is read
        self._session: onnxruntime.InferenceSession | None = None

    def run(self, patches: Floats) -> YamnetOutput:
        """Run patches of one stream or of several.

        Args:
            patches: Shape ``[n, 96, 64]``, as ``YamnetPatches`` cuts them; n may be 0.

        Raises:
            CheckpointError: The file is missing or damaged.
        """
        if len(patches) == 0:
            return YamnetOutput(
                embedding=np.zeros((0, EMBEDDING_SIZE), np.float32), scores=np.zeros((0, CLASSES), np.float32)
            )
        embedding, scores = self.load().run(["embedding", "scores"], {"patches": patches[:, None]})
        return YamnetOutput(embedding=embedding, scores=scores)

    def load(self) -> onnxruntime.InferenceSession:
        """Read the file, if that has not been done, and return the session.

        Raises:
            CheckpointError: The file is missing or damaged.
            SettingError: The device is not available.
        """
        with self._lock:
            if self._session is None:
                session = _open(self._folder or find_yamnet(), _providers(self._device))
                # Where CUDA cannot start, ONNX Runtime takes the processor without an error.
                if self._device != "cpu" and _CUDA not in session.get_providers():
                    raise SettingError(f"the device {self._device!r} is not available: CUDA cannot start on it")
                self._session = session
            return self._session


def find_yamnet() -> Path:
    """Return the folder of the packaged network.

    Raises:
        CheckpointError: It is missing.
    """
    return find_packaged(_MODEL, _CONFIG)


def _providers(device: str) -> list[str | tuple[str, dict[str, int]]]:
    """Return what runs the network on a device, by ONNX Runtime's names.

    Raises:
        SettingError: It is not available.
    """
    cpu: list[str | tuple[str, dict[str, int]]] = ["CPUExecutionProvider"]
    if device == "cpu":
        return cpu
    kind, colon, number = device.partition(":")
    available = onnxruntime.get_available_providers()
    if kind != "cuda" or _CUDA not in available:
        raise SettingError(
            f"the device {device!r} is not available: ONNX Runtime has {', '.join(available)}; "
            "for cuda, pip install onnxruntime-gpu in place of onnxruntime"
        )
    if colon and not (number.isascii() and number.isdigit()):
        raise SettingError(f"the device {device!r} is not available: write cuda, or cuda:N for number N")
    return [(_CUDA, {"device_id": int(number or 0)}), *cpu]


def _open(folder: Path, providers: list[str | tuple[str, dict[str, int]]]) -> onnxruntime.InferenceSession:
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        if config["format"] != _FORMAT or config["outputs"] != {"embedding": EMBEDDING_SIZE, "scores": CLASSES}:
            raise CheckpointError(f"YAMNet in {folder} was made by another version of stream_mer: install again")
        content = (folder / _NETWORK).read_bytes()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"cannot read YAMNet in {folder}: {error}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    # Converts the int8 weights to float32 once, at the start. Without it every run does, in three times its own time.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no narrower common base
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"cannot read YAMNet in {folder}: {reason}") from error
