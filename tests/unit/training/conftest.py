"""A made-up corpus: a few seconds of chords, with labels, transcripts and printed words."""

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stream_mer.audio.yamnet import EMBEDDING_SIZE
from stream_mer.emotion.joint import JointModelConfig
from stream_mer.lyrics.text_features import LINE_FEATURES, VECTOR_SIZE
from stream_mer.training import calibrate, lyrics, metrics, tokens
from stream_mer.training.corpus import Clip, Rating, RatingCurve
from stream_mer.training.dataset import ClipSet
from stream_mer.training.fit import Recipe
from stream_mer.training.lyrics import ClipLines
from stream_mer.training.metrics import bootstrap
from stream_mer.training.network import PrincipalComponents

N_CLIPS = 10
TOKEN_FEATURES = 200  # fewer components than real tokens have: training asks the data how many there are
VALENCES = {"Q1": 0.4, "Q2": -0.4, "Q3": -0.3, "Q4": 0.3}
AROUSALS = {"Q1": 0.3, "Q2": 0.5, "Q3": -0.4, "Q4": -0.2}


def rows():
    """The manifest: clip ``c9`` lacks every label but its cluster, clips 0 and 3 have printed words."""
    made = []
    for i in range(N_CLIPS):
        quadrant = f"Q{i % 4 + 1}"
        rated = i != 9
        made.append(
            {
                "clip_id": f"c{i}",
                "audio": f"audio/c{i}.wav",
                "artist": f"artist {i // 2}",
                "fold": str(i // 2),
                "quadrant": quadrant if rated else "",
                "cluster": f"C{i % 5 + 1}",
                "valence": str(VALENCES[quadrant] + i / 50) if rated else "",
                "arousal": str(AROUSALS[quadrant] - i / 50) if rated else "",
                "lyrics": f"lyrics/c{i}.txt" if i in (0, 3) else "",
            }
        )
    return made


def transcript(i):
    words = [[k * 0.5, k * 0.5 + 0.4, f"word{i}{k}", 0.9] for k in range(6)]
    segment = {"words": words, "no_speech_prob": 0.1, "avg_logprob": -0.3, "compression_ratio": 1.2}
    return {"clip_id": f"c{i}", "language": "en", "language_probability": 0.98, "segments": [segment]}


def write_manifest(root, made):
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(made[0]))
        writer.writeheader()
        writer.writerows(made)


@pytest.fixture
def manifest_rows():
    return rows()


@pytest.fixture
def manifest_writer():
    return write_manifest


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory, music, write_wav):
    """A whole corpus on disk; not to be changed."""
    root = tmp_path_factory.mktemp("corpus")
    for name in ("audio", "lyrics"):
        (root / name).mkdir()
    write_manifest(root, rows())
    for i in range(N_CLIPS):
        write_wav(root / f"audio/c{i}.wav", music(6.0, seed=i))
    for i in (0, 3):
        (root / f"lyrics/c{i}.txt").write_text(f"[Chorus]\nline one of {i}\n\nline two of {i}\n", encoding="utf-8")
    heard = "".join(json.dumps(transcript(i)) + "\n" for i in (0, 1, 4))
    (root / "transcripts.jsonl").write_text(heard + "\n", encoding="utf-8")
    return root


class HashEncoder:
    """A sentence encoder that knows nothing, at once: the direction depends on the text alone."""

    encoded: list[str]

    def __init__(self):
        type(self).encoded = []

    def encode(self, text):
        type(self).encoded.append(text)
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
        vector = np.random.default_rng(seed).standard_normal(VECTOR_SIZE)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.fixture
def quick_encoder(monkeypatch):
    monkeypatch.setattr(lyrics, "SentenceEncoder", HashEncoder)
    HashEncoder.encoded = []
    return HashEncoder


def made_up_lines(rng):
    return ClipLines(
        vectors=rng.standard_normal((3, LINE_FEATURES)).astype(np.float32) / np.float32(23),
        t1=np.array([1.0, 4.0, 7.0], np.float32),
        reliability=np.array([0.9, 0.5, 0.8], np.float32),
    )


def made_up_components():
    """One half of the components of each network."""
    half, of_musicnn = TOKEN_FEATURES // 2, 120
    found = PrincipalComponents(of_musicnn + EMBEDDING_SIZE, TOKEN_FEATURES)
    found.basis.zero_()
    found.basis[:half, :half] = torch.eye(half)
    found.basis[of_musicnn : of_musicnn + half, half:] = torch.eye(half)
    return found


def made_up_curve(i, valence, arousal):
    """Every half second, rising or falling about the clip's own rating; the last two seconds have none."""
    places = range(1, 21)
    slope = 0.01 if i % 2 else -0.01
    return RatingCurve.of(Rating(0.5 * k, valence + slope * (k - 10), arousal - slope * (k - 10)) for k in places)


def made_up_clip(name, i, rng):
    category = i % 4
    return Clip(
        clip_id=name,
        audio=Path(f"{name}.wav"),
        artist=f"artist {i // 2}",
        fold=i // 2 % 5,
        category=category,
        cluster=i % 5,
        valence=(0.5, -0.5, -0.5, 0.5)[category] + 0.1 * rng.standard_normal(),
        arousal=(0.5, 0.5, -0.5, -0.5)[category] + 0.1 * rng.standard_normal(),
    )


def made_up_clips(n, *, seed=0, songs=0, copies=0, troubles=(), listeners=False):
    """Clips whose tokens tell their labels, without audio; every third has recognised words, every fourth printed.

    Beside them so many ``songs`` of which there are words alone, and of each clip so many degraded ``copies``. Under
    each of the ``troubles`` a clip sounds like the one after it. ``listeners`` rated every second clip, and every
    fourth one from moment to moment, too; the others' ratings are of mood words.
    """
    rng = np.random.default_rng(seed)
    clips, tokens = [], {}
    recognised = {}
    printed = {}
    for i in range(n):
        clips.append(made_up_clip(f"m{i}", i, rng))
        if listeners and i % 2 == 0:
            valence, arousal = (v or 0.0 for v in (clips[i].valence, clips[i].arousal))
            curve = made_up_curve(i // 4, valence, arousal) if i % 4 == 0 else None
            clips[i] = replace(clips[i], rated_by="listeners", dynamic=curve)
        token = 0.3 * rng.standard_normal((24, TOKEN_FEATURES))
        token[:, 40 * (i % 4) : 40 * (i % 4) + 40] += 1.0
        tokens[f"m{i}"] = token.astype(np.float16)
        lines = made_up_lines(rng)
        recognised |= {f"m{i}": lines} if i % 3 == 0 else {}
        printed |= {f"m{i}": lines} if i % 4 == 0 else {}
    verses = [made_up_clip(f"s{i}", i, rng) for i in range(songs)]
    printed |= {song.clip_id: made_up_lines(rng) for song in verses}
    return ClipSet(
        clips,
        tokens,
        {"recognised": recognised, "printed": printed},
        {"verses": verses} if songs else None,
        degraded={name: [of_one + np.float16(k + 1) for k in range(copies)] for name, of_one in tokens.items()},
        sounds={trouble: {f"m{i}": tokens[f"m{(i + 1) % n}"] for i in range(n)} for trouble in troubles},
        components=made_up_components(),
    )


@pytest.fixture(autouse=True)
def quick_intervals(monkeypatch):
    """Tables draw 30 samples in place of 1,000: what an interval is, the tests of ``metrics`` say."""
    for module in (metrics, calibrate):
        monkeypatch.setattr(module, "bootstrap", partial(bootstrap, rounds=30))


@pytest.fixture(scope="session")
def clip_set():
    return made_up_clips


@pytest.fixture(scope="session")
def small_recipe():
    """One round of a narrow ensemble of two, for what ``clip_set`` makes."""
    model = JointModelConfig(
        audio_features=TOKEN_FEATURES,
        audio_components=TOKEN_FEATURES,
        text_features=LINE_FEATURES,
        members=2,
        width=16,
        heads=2,
    )
    return Recipe(epochs=1, batch_size=16, moments=2, model=model)


class InThisProcess:
    """Stands in for the pool of processes, so that a test can count the work."""

    jobs: Sequence[Any] = ()

    def __init__(self, _workers, *, initializer, initargs):
        initializer(*initargs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def map(self, work, jobs):
        type(self).jobs = jobs
        return map(work, jobs)


@pytest.fixture
def jobs(monkeypatch):
    """What the last call computed."""
    monkeypatch.setattr(tokens, "ProcessPoolExecutor", InThisProcess)
    InThisProcess.jobs = ()

    def taken():
        done, InThisProcess.jobs = InThisProcess.jobs, ()
        return done

    return taken
