"""What is slow to learn of the peers, kept in files: a run that was interrupted goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_mer.training.corpus import Clip
from stream_mer.training.crossvalidation import Predictions
from stream_mer.training.progress import track
from stream_mer.training.tokens import audio_fingerprint

Features = NDArray[np.float32]


def cached_features(
    clips: Sequence[Clip], folder: Path, compute: Callable[[Clip], Features], title: str
) -> list[Features]:
    """What a peer hears in every clip, in order.

    Args:
        clips: The clips.
        folder: Holds a file a clip, under a name that changes with what is in the audio file. Its own name must change
            with everything else that ``compute`` depends on.
        compute: Called for each clip that ``folder`` lacks, one after the other.
        title: Of the progress bar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{clip.clip_id}-{audio_fingerprint(clip.audio, clip.middle_s)}.npy" for clip in clips]
    todo = [(clip, file) for clip, file in zip(clips, files, strict=True) if not file.is_file()]
    for clip, file in track(todo, title, total=len(todo)) if todo else ():
        part = file.with_suffix(".part.npy")
        np.save(part, compute(clip))
        part.replace(file)  # whole or not at all
    return [np.load(file, allow_pickle=False) for file in files]


def cached_predictions(file: Path, compute: Callable[[], Predictions]) -> Predictions:
    """Predictions from ``file`` (``.npz``), whose name changes with all that ``compute`` depends on."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        made = compute()
        part = file.with_suffix(".part.npz")
        np.savez(part, emotion=made.emotion, category=made.category, cluster=made.cluster)
        part.replace(file)  # whole or not at all
    with np.load(file, allow_pickle=False) as kept:
        return Predictions(emotion=kept["emotion"], category=kept["category"], cluster=kept["cluster"])
