"""The real recogniser on real sound: a voice made by espeak-ng over music made here."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_mer.config import LANGUAGES, LyricsSettings
from stream_mer.errors import LyricsError
from stream_mer.lyrics import whisper
from stream_mer.lyrics.feeds import LiveLyrics, LyricsOpener, OfflineLyrics
from stream_mer.lyrics.text_features import SentenceEncoder
from stream_mer.lyrics.tracker import LyricTracker
from stream_mer.lyrics.transcript import LimitedRecogniser
from stream_mer.lyrics.whisper import WhisperRecogniser
from stream_mer.sources.file import demo_song
from stream_mer.training.corpus import Clip, Corpus
from stream_mer.training.lyrics import recognised_lines, whole_clips, with_transcripts
from stream_mer.training.tokens import read_audio
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, LyricLine, Samples

pytestmark = pytest.mark.whisper

VERSE = (
    "The morning light is on the river.",
    "I remember every word you told me.",
    "Tomorrow we will walk along the mountain.",
    "And nobody can take this song away.",
)


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory: pytest.TempPathFactory, whisper_package: whisper.SplitPackage) -> WhisperRecogniser:
    del whisper_package  # it is there
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STREAM_MER_CACHE", str(cache))
        found = WhisperRecogniser(cpu_threads=1, allow_download=False)
        found.load()
    return found


@pytest.fixture(scope="module")
def speak(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Samples]:
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    folder = tmp_path_factory.mktemp("voice")

    def say(text: str, *, voice: str = "en-us") -> Samples:
        file = folder / "said.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", "140", "-w", str(file), text], check=True)
        return read_wav(file)

    return say


def read_wav(file: Path) -> Samples:
    with wave.open(str(file)) as stream:
        rate = stream.getframerate()
        samples = np.frombuffer(stream.readframes(stream.getnframes()), dtype="<i2").astype(np.float32) / 32768
    # espeak-ng speaks at 22,050 Hz with little above 8 kHz: linear interpolation is good enough for a test.
    times = np.arange(round(len(samples) * SAMPLE_RATE_HZ / rate)) * (rate / SAMPLE_RATE_HZ)
    return np.interp(times, np.arange(len(samples)), samples).astype(np.float32)


def band(duration_s: float) -> Samples:
    """A small band without a singer: bass, four chords, a beat."""
    rng = np.random.default_rng(7)
    n = round(duration_s * SAMPLE_RATE_HZ)
    t = np.arange(n) / SAMPLE_RATE_HZ
    roots = np.array([110.0, 87.31, 130.81, 98.0])[(t // 2).astype(int) % 4]
    phase = np.cumsum(roots) / SAMPLE_RATE_HZ
    pluck = np.exp(-3.0 * (t % 0.5))
    music: NDArray[np.float64] = 0.5 * np.sin(2 * np.pi * phase)
    for ratio in (2.0, 2.4, 3.0):
        music += 0.25 * pluck * sum(np.sin(2 * np.pi * phase * ratio * k) / k for k in (1, 2, 3, 4))
    music += 0.4 * np.sin(2 * np.pi * 60 * t) * np.exp(-18.0 * (t % 1.0))
    music += 0.15 * rng.standard_normal(n) * np.exp(-40.0 * ((t + 0.5) % 1.0))
    return (0.5 * music / np.abs(music).max()).astype(np.float32)


def sung(speak: Callable[..., Samples]) -> Samples:
    """The verse over the band, a second of pause after each line."""
    pause = np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)
    voice = np.concatenate([pause, *(part for line in VERSE for part in (speak(line), pause))])
    return (0.8 * voice / np.abs(voice).max() + 0.15 * band(len(voice) / SAMPLE_RATE_HZ + 1)[: len(voice)]).astype(
        np.float32
    )


def tag(samples: Samples, recogniser: WhisperRecogniser) -> tuple[OfflineLyrics, list[LyricLine]]:
    feed = OfflineLyrics(recogniser, SentenceEncoder())
    lines: list[LyricLine] = []
    for start in range(0, len(samples), 8000):
        feed.feed(AudioChunk(start_sample=start, samples=samples[start : start + 8000]))
        lines += feed.take_lines()
    feed.finish()
    return feed, lines + feed.take_lines()


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def found_share(lines: list[LyricLine]) -> float:
    said = words_of(" ".join(VERSE))
    heard = words_of(" ".join(line.text for line in lines if line.committed))
    return sum(word in heard for word in said) / len(said)


def test_most_words_over_music_are_found_in_place(recogniser: WhisperRecogniser, speak: Callable[..., Samples]) -> None:
    samples = sung(speak)
    feed, lines = tag(samples, recogniser)
    committed = [line for line in lines if line.committed]
    assert found_share(lines) >= 0.8
    assert len(words_of(" ".join(line.text for line in committed))) <= 1.2 * len(words_of(" ".join(VERSE)))
    assert {line.language for line in committed} == {"en"}
    first = next(word for line in committed for word in line.words if "morning" in word.text.lower())
    assert 0.5 <= first.t0 <= 2.5
    assert all(a.t0 <= b.t0 for a, b in zip(committed, committed[1:], strict=False))  # noqa: RUF007 - reads as meant
    state = feed.state()
    assert state.health == "ok"
    assert len(state.lines) == len(committed)
    assert all(0.4 <= line.reliability <= 1.0 for line in state.lines)


def test_music_without_a_voice_gives_no_words(recogniser: WhisperRecogniser) -> None:
    feed, lines = tag(band(16.0), recogniser)
    assert lines == []
    assert feed.state().lines == ()
    assert feed.state().health == "ok"


def test_a_live_feed_finds_the_words_beside_the_stream(
    recogniser: WhisperRecogniser, speak: Callable[..., Samples]
) -> None:
    samples = sung(speak)
    feed = LiveLyrics(recogniser, SentenceEncoder(), tracker=LyricTracker())
    lines: list[LyricLine] = []
    try:
        for start in range(0, len(samples), 8000):
            feed.feed(AudioChunk(start_sample=start, samples=samples[start : start + 8000]))
            # The audio comes as fast as the worker can follow, not in real time: a test has better things to do.
            while feed.state().lag_s > 3.0:
                time.sleep(0.01)
            lines += feed.take_lines()
        feed.finish()
        lines += feed.take_lines()
    finally:
        feed.close()
    assert not feed._worker.is_alive()
    assert found_share(lines) >= 0.6


def test_another_language_is_heard_as_what_it_is_and_its_lines_say_so(
    recogniser: WhisperRecogniser, speak: Callable[..., Samples]
) -> None:
    pause = np.zeros(2 * SAMPLE_RATE_HZ, dtype=np.float32)
    said = speak("La luz de la mañana está en el río. Mañana caminaremos por la montaña.", voice="es")
    _, lines = tag(np.concatenate([said, pause]), recogniser)
    committed = [line for line in lines if line.committed]
    assert {line.language for line in committed} == {"es"}
    heard = {word.strip(".,").lower() for line in committed for word in line.text.split()}
    assert {"luz", "está", "río", "montaña"} <= heard


@pytest.mark.parametrize(("languages", "heard"), [(("en", "fr"), {"en", "fr"}), (("en",), {"en"})])
def test_lines_in_turn_are_heard_in_the_languages_that_are_allowed(
    recogniser: WhisperRecogniser, speak: Callable[..., Samples], languages: tuple[str, ...], heard: set[str]
) -> None:
    pause = np.zeros(SAMPLE_RATE_HZ // 2, np.float32)
    song = [speak("I walk alone in the rain tonight."), pause, speak("My heart is broken and I cry."), pause]
    song += [speak("Je t'aime mon amour.", voice="fr"), pause, speak("La vie est douce et belle.", voice="fr")]
    settings = LyricsSettings(languages=languages)
    feed = LyricsOpener(settings, recogniser=recogniser, encoder=SentenceEncoder()).open(live=False)
    for start, samples in with_starts(np.concatenate([*song, pause, pause])):
        feed.feed(AudioChunk(start_sample=start, samples=samples))
    feed.finish()
    committed = [line for line in feed.take_lines() if line.committed]
    assert {line.language for line in committed} == heard
    words = words_of(" ".join(line.text for line in committed))
    assert {"alone", "rain", "heart", "broken"} <= set(words)
    assert ("amour" in words) is ("fr" in languages)


def with_starts(samples: Samples) -> Iterator[tuple[int, Samples]]:
    """Half seconds of audio, with the index of their first sample."""
    for start in range(0, len(samples), SAMPLE_RATE_HZ // 2):
        yield start, samples[start : start + SAMPLE_RATE_HZ // 2]


def test_the_real_packages_join_to_the_official_weights(whisper_package: whisper.SplitPackage, tmp_path: Path) -> None:
    folder = whisper.join_parts(whisper_package, cache=tmp_path)
    assert (folder / "model.bin").stat().st_size == 145_217_532
    assert {one.name for one in folder.iterdir()} == {*whisper.BASE_SHA256, "verified.json"}


def test_a_folder_that_holds_no_whisper_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"not a model")
    with pytest.raises(LyricsError, match="cannot be loaded"):
        WhisperRecogniser(str(tmp_path)).load()


def test_an_unknown_language_is_refused(recogniser: WhisperRecogniser) -> None:
    with pytest.raises(LyricsError, match="tlh"):
        recogniser.transcribe(band(2.0), language="tlh")


SUNG_S = (3.0, 18.0)
SUNG = "you and i are dancing in the street i can feel the rhythm in my feet clap your hands and come and sing with me"


def test_words_of_the_song_are_heard_once_and_kept(
    tmp_path: Path,
    write_wav: Callable[[Path, NDArray[np.float32]], Path],
    monkeypatch: pytest.MonkeyPatch,
    whisper_package: whisper.SplitPackage,
) -> None:
    del whisper_package  # it is there
    monkeypatch.setenv("STREAM_MER_CACHE", str(tmp_path / "weights"))
    start, end = (round(t * SAMPLE_RATE_HZ) for t in SUNG_S)
    song = read_audio(demo_song())[start:end]
    clips = tuple(
        Clip(clip_id=clip_id, audio=write_wav(tmp_path / f"{clip_id}.wav", samples), artist=clip_id, fold=fold)
        for fold, (clip_id, samples) in enumerate((("sung", song), ("silent", np.zeros_like(song))))
    )
    corpus = Corpus(root=tmp_path, clips=clips, transcripts={})

    found = with_transcripts(corpus, tmp_path / "cache", whole_clips(cpu_threads=1))

    row = found.transcripts["sung"]
    assert row["language"] == "en"
    text = " ".join(segment["text"] for segment in row["segments"])
    heard = re.findall(r"[a-z]+", text.lower())
    assert sum(word in heard for word in SUNG.split()) / len(SUNG.split()) >= 0.7, text
    for segment in row["segments"]:
        times = [t for word in segment["words"] for t in word[:2]]
        assert times == sorted(times)
        assert (segment["start"], segment["end"]) == (times[0], times[-1])
        assert times[-1] <= SUNG_S[1] - SUNG_S[0]
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "cache").rglob("*.json")]
    assert sorted(kept, key=lambda one: str(one["clip_id"])) == [found.transcripts["silent"], row]

    # As the text branch meets them: silence holds no words.
    lines = recognised_lines(found, tmp_path / "cache")
    assert len(lines["sung"]) >= 2
    assert len(lines["silent"]) == 0


def test_among_some_languages_the_one_that_is_sung_is_chosen(recogniser, speak) -> None:
    samples = speak(" ".join(VERSE[:2]))
    detected = recogniser.detect(samples)
    assert max(detected, key=lambda code: detected[code]) == "en"
    assert set(detected) == set(LANGUAGES) - {"yue"}  # that one is known since large-v3
    among = LimitedRecogniser(recogniser, ["de", "en"]).transcribe(samples)
    assert among.language == "en"
    assert among.language_probability > 0.8
    assert LimitedRecogniser(recogniser, ["de", "fr"]).transcribe(samples).language in {"de", "fr"}
