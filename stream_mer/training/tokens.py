"""The audio tokens of every clip, computed once and kept: training then takes minutes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stream_mer.audio.features import LogMelStream
from stream_mer.emotion.backbone import BLOCK_STEPS, TOKEN_BLOCKS, TOKEN_FEATURES, Backbone, BackboneStream
from stream_mer.sources.file import FileSource
from stream_mer.training.corpus import Clip
from stream_mer.training.progress import track
from stream_mer.types import SAMPLE_RATE_HZ, Samples

_PIECE_SAMPLES = 160_000  # 10 s at a time bound the memory that the backbone takes


def read_audio(path: Path, middle_s: float | None = None) -> Samples:
    """Decode a file to mono 16 kHz: all of it, or its middle ``middle_s`` seconds.

    Raises:
        SourceError: It cannot be decoded.
    """
    samples = np.concatenate([chunk.samples for chunk in FileSource(path).chunks()])
    if middle_s is None:
        return samples
    length = round(middle_s * SAMPLE_RATE_HZ)
    start = max(0, (len(samples) - length) // 2)
    return samples[start : start + length]


def clip_tokens(samples: Samples, backbone: Backbone) -> NDArray[np.float16]:
    """All tokens of a recording, one a block of 31 steps, [n, 1794], as a stream computes them."""
    stream = BackboneStream(backbone, context_steps=len(samples))
    log_mel = LogMelStream()
    for start in range(0, len(samples), _PIECE_SAMPLES):
        stream.feed(log_mel.feed(samples[start : start + _PIECE_SAMPLES]))
    return np.asarray(stream.grid_tokens().numpy(), dtype=np.float16)


def cached_tokens(
    clips: Sequence[Clip], backbone: Backbone, cache: Path, *, workers: int = 2
) -> dict[str, NDArray[np.float16]]:
    """Tokens of every clip by clip id; computes what the cache lacks, with a progress bar, and can be interrupted.

    Args:
        clips: What to compute.
        backbone: The audio network.
        cache: A folder; holds one file a clip under a name that changes with backbone and audio.
        workers: Processes.

    Raises:
        SourceError: A clip cannot be decoded.
    """
    folder = cache / f"tokens-{_fingerprint(backbone)}"
    folder.mkdir(parents=True, exist_ok=True)
    marks = {clip.clip_id: audio_fingerprint(clip.audio, clip.middle_s) for clip in clips}
    files = {clip_id: folder / f"{clip_id}-{mark}.npy" for clip_id, mark in marks.items()}
    todo = [(clip.audio, clip.middle_s, files[clip.clip_id]) for clip in clips if not files[clip.clip_id].is_file()]
    if todo:
        with ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(backbone,)) as pool:
            for _ in track(pool.map(_compute, todo), "Audio tokens", total=len(todo)):
                pass
    return {clip_id: np.load(path, allow_pickle=False) for clip_id, path in files.items()}


def _fingerprint(backbone: Backbone) -> str:
    """Changes with the weights and with what a token is."""
    state = hashlib.sha256(f"{BLOCK_STEPS} {TOKEN_BLOCKS} {TOKEN_FEATURES}".encode())
    for tensor in backbone.state_dict().values():
        state.update(tensor.numpy().tobytes())
    return state.hexdigest()[:12]


def audio_fingerprint(audio: Path, middle_s: float | None = None) -> str:
    """Changes when another file, or another part of it, takes the clip's place; cheap, because it does not read it."""
    about = audio.stat()
    part = "" if middle_s is None else f" {middle_s:g}"
    return hashlib.sha256(f"{audio.resolve()} {about.st_size} {about.st_mtime_ns}{part}".encode()).hexdigest()[:8]


_backbone: Backbone | None = None  # of a worker process


def _start_worker(backbone: Backbone) -> None:
    global _backbone  # noqa: PLW0603 - loaded once a process
    torch.set_num_threads(1)
    _backbone = backbone


def _compute(job: tuple[Path, float | None, Path]) -> None:
    audio, middle_s, target = job
    assert _backbone is not None, "the pool's initializer ran"  # noqa: S101 - narrows the type
    part = target.with_suffix(".part.npy")
    np.save(part, clip_tokens(read_audio(audio, middle_s), _backbone))
    part.replace(target)  # whole or not at all
