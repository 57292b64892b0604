"""Audio tokens of every clip, clean and degraded: computed once, cached, and reduced to principal components."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_mer.audio.yamnet import EMBEDDING_SIZE, PATCH_HOP, find_yamnet
from stream_mer.emotion.audio_branch import TOKEN_HOP, AudioBranch
from stream_mer.emotion.musicnn import TOKEN_STEPS, Backbone
from stream_mer.errors import SettingError
from stream_mer.sources.file import FileSource
from stream_mer.training.augment import CONDITIONS, STAGE, Degradation, StageSound, degrade
from stream_mer.training.corpus import Clip
from stream_mer.training.network import PrincipalComponents
from stream_mer.training.progress import track
from stream_mer.types import SAMPLE_RATE_HZ, Samples
from stream_mer.utils.blas import use_one_thread
from stream_mer.utils.files import replacing

CORES = os.cpu_count() or 1
_DEGRADING = 1  # count up when ``degrade`` gives another sound for the same settings: the cache then starts anew


class _Job(NamedTuple):
    """One file of tokens to be made; clean where there is no sound to degrade it to."""

    audio: Path
    middle_s: float | None
    target: Path
    sound: StageSound | Degradation | None = None
    seed: int = 0


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
    """All tokens of a recording, one every half second, [n, token_features], each with a patch of YAMNet of its own.

    A stream shares a patch between the tokens of a second: see ``as_streamed``.
    """
    branch = AudioBranch(backbone, patch_hop=TOKEN_HOP)
    stream = branch.open()
    branch.feed([(stream, samples)])
    tokens = stream.take()
    if not tokens:
        return np.zeros((0, branch.token_features), np.float16)
    return np.stack(tokens).astype(np.float16)


def as_streamed(tokens: NDArray[np.float16]) -> NDArray[np.float16]:
    """The tokens [n, token_features] of a recording as a stream has them: YAMNet's part is of the newest whole second.

    Training reads each token with a patch of its own, since more patches teach more.
    """
    together = PATCH_HOP // TOKEN_HOP
    newest = np.maximum(0, (np.arange(len(tokens)) + 1) // together * together - 1)
    return np.concatenate([tokens[:, :-EMBEDDING_SIZE], tokens[newest, -EMBEDDING_SIZE:]], axis=1)


def cached_tokens(
    clips: Sequence[Clip], backbone: Backbone, cache: Path, *, workers: int = CORES
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
    folder = _folder(backbone, cache)
    files = [folder / f"{name}.npy" for name in _names(clips)]
    jobs = [_Job(clip.audio, clip.middle_s, target) for clip, target in zip(clips, files, strict=True)]
    _complete(jobs, backbone, "Audio tokens", workers)
    return {clip.clip_id: _load(target) for clip, target in zip(clips, files, strict=True)}


def degraded_tokens(
    clips: Sequence[Clip],
    backbone: Backbone,
    cache: Path,
    *,
    sound: StageSound | Degradation = STAGE,
    copies: int = 1,
    workers: int = CORES,
) -> dict[str, list[NDArray[np.float16]]]:
    """Tokens of every clip as ``degrade`` makes it sound, ``copies`` times by other chances; else as the clean ones.

    What chance decides depends on clip id and copy alone, so more copies later keep those that there are, and the
    k-th tokens of every copy end at the same moment as the k-th clean ones.

    Args:
        clips: What to compute.
        backbone: The audio network.
        cache: A folder; holds one file a clip and copy, in a folder whose name changes with backbone and sound.
        sound: What to draw from, or one fixed chain.
        copies: Copies of each clip, 1 or more.
        workers: Processes.

    Returns:
        By clip id, copy 0 first; 0.2 MB a copy of 30 s.

    Raises:
        SourceError: A clip cannot be decoded.
    """
    folder = _folder(backbone, cache) / f"stage-{_sound_fingerprint(sound)}"
    folder.mkdir(exist_ok=True)
    files = {
        clip.clip_id: [folder / f"{name}-{copy}.npy" for copy in range(copies)]
        for clip, name in zip(clips, _names(clips), strict=True)
    }
    jobs = [
        _Job(clip.audio, clip.middle_s, files[clip.clip_id][copy], sound, _seed(clip.clip_id, copy))
        for copy in range(copies)
        for clip in clips
    ]
    _complete(jobs, backbone, "Audio tokens of degraded copies", workers)
    return {clip_id: [_load(target) for target in targets] for clip_id, targets in files.items()}


def conditioned_tokens(
    clips: Sequence[Clip], backbone: Backbone, cache: Path, condition: str, *, workers: int = CORES
) -> dict[str, NDArray[np.float16]]:
    """Tokens of every clip under one of ``CONDITIONS``; otherwise like ``cached_tokens``.

    Raises:
        SettingError: There is no such condition.
        SourceError: A clip cannot be decoded.
    """
    if condition not in CONDITIONS:
        raise SettingError(f"no condition is called {condition!r}; there are {', '.join(CONDITIONS)}")
    found = degraded_tokens(clips, backbone, cache, sound=CONDITIONS[condition], workers=workers)
    return {clip_id: copies[0] for clip_id, copies in found.items()}


def _complete(jobs: Sequence[_Job], backbone: Backbone, title: str, workers: int) -> None:
    """Do what is not done yet."""
    todo = [job for job in jobs if not job.target.is_file()]
    if todo:
        with ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(backbone,)) as pool:
            for _ in track(pool.map(_compute, todo), title, total=len(todo)):
                pass


def _load(path: Path) -> NDArray[np.float16]:
    kept: NDArray[np.float16] = np.load(path, allow_pickle=False)
    return kept


def _folder(backbone: Backbone, cache: Path) -> Path:
    folder = cache / f"tokens-{_fingerprint(backbone)}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _names(clips: Sequence[Clip]) -> list[str]:
    return [f"{clip.clip_id}-{audio_fingerprint(clip.audio, clip.middle_s)}" for clip in clips]


def _sound_fingerprint(sound: StageSound | Degradation) -> str:
    """Changes with the settings; they are plain values, whose representation says all."""
    return hashlib.sha256(f"{_DEGRADING} {sound!r}".encode()).hexdigest()[:12]


def _seed(clip_id: str, copy: int) -> int:
    """The same on every machine, and unlike any other clip's or copy's."""
    return int.from_bytes(hashlib.sha256(f"{copy} {clip_id}".encode()).digest()[:16], "little")


def _fingerprint(backbone: Backbone) -> str:
    """Changes with the weights of both networks and with what a token is."""
    state = hashlib.sha256(f"{TOKEN_HOP} {TOKEN_STEPS} {backbone.shape.token_features}".encode())
    state.update((find_yamnet() / "yamnet.onnx").read_bytes())
    for tensor in backbone.tensors().values():
        state.update(tensor.tobytes())
    return state.hexdigest()[:12]


def audio_fingerprint(audio: Path, middle_s: float | None = None) -> str:
    """Changes with what is in the file and with the part that is taken; not when the corpus moves or is copied."""
    with audio.open("rb") as file:
        content = hashlib.file_digest(file, "sha256")
    content.update(b"" if middle_s is None else f" {middle_s:g}".encode())
    return content.hexdigest()[:8]


_backbone: Backbone | None = None  # of a worker process


def _start_worker(backbone: Backbone) -> None:
    global _backbone  # noqa: PLW0603 - loaded once a process
    use_one_thread()
    _backbone = backbone


def _compute(job: _Job) -> None:
    assert _backbone is not None, "the pool's initializer ran"  # noqa: S101 - narrows the type
    samples = read_audio(job.audio, job.middle_s)
    if job.sound is not None:
        samples = degrade(samples, np.random.default_rng(job.seed), job.sound)
    part = job.target.with_suffix(f".{os.getpid()}.part.npy")  # another command may be at the same clip
    np.save(part, clip_tokens(samples, _backbone))
    part.replace(job.target)  # whole or not at all


MUSICNN_COMPONENTS, YAMNET_COMPONENTS = 200, 250
"""Components of each network's part of a token: more of them change no figure on the folds."""

_TOKENS = 6000  # that they are computed of; more change nothing
_SMALLEST_SPREAD = 1e-2  # relative to the mean of all features: a constant one stays small


def audio_components(tokens: Sequence[NDArray[np.float16]], cache: Path) -> PrincipalComponents:
    """The components of MusiCNN's and of YAMNet's part of the audio tokens, after each other.

    They are computed over all clips, without labels; the folds share them.

    Args:
        tokens: Of each clip, [n, token_features].
        cache: A folder; keeps them under a name that changes with the tokens.

    Returns:
        All components scaled alike, to a variance of 1 on average. Scaled one by one, the many that hold next to
        nothing would be as loud as those that matter.
    """
    sample = _sample(tokens)
    n_features = sample.shape[1]
    path = cache / f"components-{hashlib.sha256(sample.numpy().tobytes()).hexdigest()[:12]}.npz"
    if not path.is_file():
        of_yamnet = EMBEDDING_SIZE
        parts = [
            _components(sample[:, : n_features - of_yamnet], MUSICNN_COMPONENTS),
            _components(sample[:, n_features - of_yamnet :], YAMNET_COMPONENTS),
        ]
        basis = torch.block_diag(*parts)  # type: ignore[no-untyped-call]
        basis /= ((sample - sample.mean(0)) @ basis).square().mean().sqrt()
        cache.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez(file, mean=sample.mean(0).numpy(), basis=basis.numpy())
    with np.load(path, allow_pickle=False) as kept:
        found = PrincipalComponents(*kept["basis"].shape)
        found.mean.copy_(torch.from_numpy(kept["mean"]))
        found.basis.copy_(torch.from_numpy(kept["basis"]))
    return found


def of_yamnet(components: PrincipalComponents) -> Tensor:
    """Which components are of YAMNet's part of the tokens, [components]; a small corpus gives fewer than usual."""
    found: Tensor = (components.basis[-EMBEDDING_SIZE:] != 0).any(0)
    return found


@torch.inference_mode()
def reduce(tokens: NDArray[np.float16], components: PrincipalComponents) -> NDArray[np.float16]:
    """Tokens [n, token_features] as their components [n, components]."""
    reduced: NDArray[np.float16] = components(torch.from_numpy(tokens).float()).half().numpy()
    return reduced


def _sample(tokens: Iterable[NDArray[np.float16]]) -> Tensor:
    """Some of all tokens, [n, token_features], the same ones for the same clips."""
    of_clips = list(tokens)
    step = max(1, sum(map(len, of_clips)) // _TOKENS)
    return torch.from_numpy(np.concatenate(of_clips)[::step]).float()


def _components(sample: Tensor, n: int) -> Tensor:
    """Basis [features, n] of the largest principal components of standardised features."""
    n = min(n, *sample.shape)
    spread = sample.std(0)
    scale = 1.0 / (spread + _SMALLEST_SPREAD * spread.mean() + 1e-12)
    torch.manual_seed(0)  # the algorithm is a randomised one
    _, _, directions = torch.svd_lowrank((sample - sample.mean(0)) * scale, q=n, niter=2)
    return scale[:, None] * directions
