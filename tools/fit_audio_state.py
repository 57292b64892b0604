"""Fit the weights of ``stream_mer/audio/audio_state.py`` and print them, with the figures on sources kept apart.

    python tools/fit_audio_state.py --music DIR ... --speech DIR ... --noise DIR ... --held DIR ...

Each DIR is a source: its audio files are heard one after the other. What is also named with ``--held`` is
judged, and not learned from. Synthetic noise (white, pink, brown, hum, tones; -10 to -58 dBFS) is added,
a third of it kept apart. Music is heard as it is and 30 and 40 dB quieter, what is none as it is and 20 dB quieter.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from stream_mer.audio.audio_state import GROUPS, RECENT_PATCHES, SILENCE_DBFS, AudioStateDecider, group_scores
from stream_mer.audio.yamnet import PATCH_HOP, PATCH_LENGTH, Yamnet, YamnetPatches
from stream_mer.errors import StreamMerError
from stream_mer.sources.file import FileSource
from stream_mer.types import SAMPLE_RATE_HZ, Samples

LABELS = ("music", "speech", "noise")
SUFFIXES = {".wav", ".ogg", ".oga", ".opus", ".flac", ".mp3"}
GAINS_DB = {"music": (0, -30, -40), "speech": (0, -20), "noise": (0, -20)}
CLIP_S, CLIPS = 10, 40  # of one source at most
INVERSE_REGULARISATION = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """YAMNet's scores [n, 521] of a clip, and where it comes from."""

    scores: NDArray[np.float32]
    label: str
    source: str
    gain_db: float
    held: bool


def read_source(folder: Path) -> Iterator[Samples]:
    """Clips of 10 s out of a folder's files; short files follow each other."""
    pending: list[Samples] = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES):
        try:
            pending += [chunk.samples for chunk in FileSource(path).chunks()][: CLIP_S * 50]
        except StreamMerError as error:
            print(f"left out: {error}")
        joined = np.concatenate(pending) if pending else np.zeros(0, np.float32)
        while len(joined) >= CLIP_S * SAMPLE_RATE_HZ:
            yield joined[: CLIP_S * SAMPLE_RATE_HZ]
            joined = joined[CLIP_S * SAMPLE_RATE_HZ :]
        pending = [joined]


def synthetic_noise() -> Iterator[tuple[str, Samples]]:
    """Name and samples, root mean square 1."""
    rng = np.random.default_rng(0)
    n = CLIP_S * SAMPLE_RATE_HZ
    frequencies = np.fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ).clip(20)
    times = np.arange(n) / SAMPLE_RATE_HZ
    for name, power in (("white", 0.0), ("pink", 0.5), ("brown", 1.0)):
        for _ in range(3):
            yield name, _level(np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) / frequencies**power, n))
    for mains_hz in (50, 60, 100, 120):
        partials = [
            rng.uniform(0.05, 1) / k * np.sin(2 * np.pi * (mains_hz * k * times + rng.random())) for k in range(1, 20)
        ]
        yield "hum", _level(np.sum(partials, axis=0) + 0.05 * rng.standard_normal(n))
    for tone_hz in (440, 1000, 3000):
        yield "tone", _level(np.sin(2 * np.pi * tone_hz * times))


def _level(samples: NDArray[np.float64]) -> Samples:
    levelled: Samples = (samples / samples.std()).astype(np.float32)
    return levelled


def hear(yamnet: Yamnet, samples: Samples) -> NDArray[np.float32]:
    """Scores of a clip's patches, without those at its start, and those that are silent."""
    patches = YamnetPatches().feed(samples)
    ends = PATCH_HOP * np.arange(1, len(patches) + 1)
    levels = [np.square(samples[max(0, end - PATCH_LENGTH) : end]).mean() for end in ends]
    sounding = (np.array(levels) > 10 ** (SILENCE_DBFS / 10)) & (ends >= PATCH_LENGTH)
    return yamnet.run(patches[sounding]).scores


def collect(options: argparse.Namespace) -> list[Clip]:
    """Hear everything."""
    yamnet = Yamnet()
    clips = []
    for label in LABELS:
        for folder in getattr(options, label):
            held = folder in options.held
            for _, samples in zip(range(CLIPS), read_source(folder), strict=False):
                for gain in GAINS_DB[label]:
                    scores = hear(yamnet, samples * np.float32(10 ** (gain / 20)))
                    clips.append(Clip(scores=scores, label=label, source=str(folder), gain_db=gain, held=held))
    for i, (name, samples) in enumerate(synthetic_noise()):
        for dbfs in (-10, -20, -30, -40, -50, -58):
            scores = hear(yamnet, samples * np.float32(10 ** (dbfs / 20)))
            clips.append(Clip(scores=scores, label="noise", source=name, gain_db=dbfs, held=i % 3 == 2))
    return [clip for clip in clips if len(clip.scores)]


def fit(clips: list[Clip]) -> LogisticRegression:
    """Fit on what is not kept apart: music, speech and noise weigh alike, and so do the sources of each."""
    learned = [clip for clip in clips if not clip.held]
    sources = {label: {clip.source for clip in learned if clip.label == label} for label in LABELS}
    patches = Counter[tuple[str, str]]()
    for clip in learned:
        patches[clip.source, clip.label] += len(clip.scores)
    rows = np.concatenate([group_scores(clip.scores) for clip in learned])
    labels = np.concatenate([np.full(len(clip.scores), LABELS.index(clip.label)) for clip in learned])
    weights = np.concatenate(
        [
            np.full(len(clip.scores), 1e4 / len(sources[clip.label]) / patches[clip.source, clip.label])
            for clip in learned
        ]
    )
    return LogisticRegression(C=INVERSE_REGULARISATION, max_iter=2000).fit(rows, labels, sample_weight=weights)


def report(clips: list[Clip]) -> None:
    """Print, with the weights in force, how many patches after 3 s are taken for music."""
    for key in sorted({(clip.held, clip.label, clip.source, clip.gain_db) for clip in clips}):
        states: list[str] = []
        for clip in clips:
            if (clip.held, clip.label, clip.source, clip.gain_db) != key:
                continue
            decider = AudioStateDecider()
            for k in range(len(clip.scores)):
                decider.feed(clip.scores[k : k + 1])
                if k >= RECENT_PATCHES and decider.state is not None:
                    states.append(decider.state.state)
        if states:
            shares = {state: f"{states.count(state) / len(states):.1%}" for state in LABELS}
            print("held " if key[0] else "fitted", *key[1:], len(states), shares)


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for label in LABELS:
        parser.add_argument(f"--{label}", type=Path, nargs="+", default=[])
    parser.add_argument("--held", type=Path, nargs="+", default=[])
    clips = collect(parser.parse_args())
    model = fit(clips)
    for i in range(len(GROUPS)):
        print(i, *(f"{weight:+.3f}" for weight in model.coef_[:, i]))
    print("offsets", *(f"{offset:+.3f}" for offset in model.intercept_))
    report(clips)


if __name__ == "__main__":
    main()
