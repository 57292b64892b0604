"""The real ``stream-mer tag`` on real files with the shipped checkpoint: the contract that others build on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tolerance import NETWORK

from stream_mer import Tagger, tag
from stream_mer.cli.diagnose import demo_song as demo_samples
from stream_mer.config import DEFAULT_MODEL
from stream_mer.emotion.checkpoint import find_model
from stream_mer.errors import CheckpointError, SourceError
from stream_mer.sources.decoding import decode_file
from stream_mer.sources.file import FileSource, demo_song
from stream_mer.types import CATEGORIES, CLUSTERS, SAMPLE_RATE_HZ, EmotionFrame

WriteWav = Callable[[Path, NDArray[np.float32]], Path]
Message = dict[str, Any]

WHOLE_S, CUT_S = 12.3, 8.0
LRC = "[00:01.00]The morning light is on the river\n[00:05.20]And nobody can take this song away\n[00:09.00]Goodbye\n"

EMOTION_FIELDS = {
    "type", "stream", "seq", "index", "t0", "t1", "valence", "arousal", "raw", "interval", "category", "clusters",
    "confidence", "modalities", "text_age_s", "degraded", "audio_state", "held", "hold", "hold_left_s",
    "latency_ms", "dropped",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def shipped() -> None:
    try:
        find_model(DEFAULT_MODEL)
    except CheckpointError:
        pytest.skip(f"the default checkpoint {DEFAULT_MODEL} is not there")


def stream_mer(*args: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "stream_mer", *map(str, args)]
    return subprocess.run(command, capture_output=True, check=False, timeout=500)


def tagged(*args: object) -> bytes:
    done = stream_mer("tag", *args)
    assert done.returncode == 0
    assert re.fullmatch(rb"(\d+ tagged\n)?", done.stderr), "of several files, how many there were"
    return done.stdout


def messages(output: bytes) -> list[Message]:
    return [json.loads(line) for line in output.splitlines()]


def timeless(output: bytes) -> list[Message]:
    """The messages without what a clock measured; their order and every other digit are kept."""
    return [{key: value for key, value in m.items() if key != "latency_ms"} for m in messages(output)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_wav: WriteWav) -> Path:
    """``song.wav`` with its lyrics, and the same song cut at 8 s."""
    root = tmp_path_factory.mktemp("songs")
    samples = demo_samples()[: round(WHOLE_S * SAMPLE_RATE_HZ)].copy()
    samples[6 * SAMPLE_RATE_HZ :] *= np.float32(0.2)
    write_wav(root / "song.wav", samples)
    write_wav(root / "cut.wav", samples[: round(CUT_S * SAMPLE_RATE_HZ)])
    (root / "song.lrc").write_text(LRC, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def whole(folder: Path) -> bytes:
    return tagged(folder / "song.wav", "--lyrics", folder / "song.lrc")


def test_every_emotion_message_holds_what_is_promised(whole: bytes) -> None:
    frames = [m for m in messages(whole) if m["type"] == "emotion"]
    assert [frame["t1"] for frame in frames] == [*np.arange(1, 25) / 2, WHOLE_S]
    for seq, frame in enumerate(frames):
        assert set(frame) == EMOTION_FIELDS
        assert (frame["stream"], frame["seq"], frame["index"], frame["dropped"]) == ("song.wav", seq, seq, 0)
        assert frame["t1"] - frame["t0"] <= 10
        assert set(frame["category"]["probs"]) == set(CATEGORIES)
        assert sum(frame["category"]["probs"].values()) == pytest.approx(1, abs=1e-3)
        assert frame["category"]["top"] in (*CATEGORIES, "unknown")
        probs = frame["category"]["probs"]
        assert frame["confidence"] == probs.get(frame["category"]["top"], max(probs.values()))
        assert set(frame["clusters"]) == set(CLUSTERS)
        assert set(frame["latency_ms"]) == {"capture", "queue", "features", "model", "total"}
        for name in ("valence", "arousal"):
            assert -1 <= frame[name] <= 1
            low, high = frame["interval"][name]
            assert -1 <= low <= frame["raw"][name] <= high <= 1
        assert frame["degraded"] == (["warming_up"] if frame["t1"] < 5 else [])
        assert ("text" in frame["modalities"]) == (frame["text_age_s"] is not None)
    assert [frame["modalities"] for frame in frames[:1]] == [["audio"]]
    assert "text" in frames[4]["modalities"]


def test_lyrics_stand_where_they_became_known_and_the_summary_is_last(whole: bytes) -> None:
    lines = messages(whole)
    order = [m["text"] if m["type"] == "lyrics" else m.get("t1") for m in lines]
    assert order.index(1.0) > order.index("The morning light is on the river") > order.index(0.5)
    assert order.index(5.5) > order.index("And nobody can take this song away") > order.index(5.0)
    summary = lines[-1]
    assert set(summary) == {*{"type", "stream", "duration_s", "valence", "arousal", "category", "clusters", "lyrics"}}
    assert (summary["type"], summary["stream"], summary["duration_s"]) == ("summary", "song.wav", WHOLE_S)
    assert summary["lyrics"].splitlines() == [line.partition("]")[2] for line in LRC.splitlines()]
    assert [m["type"] for m in lines].count("summary") == 1


def test_a_frame_knows_nothing_of_what_comes_later(whole: bytes, folder: Path) -> None:
    cut = timeless(tagged(folder / "cut.wav", "--lyrics", folder / "song.lrc"))[:-1]
    assert len([m for m in cut if m["type"] == "emotion"]) == CUT_S / 0.5
    assert [m | {"stream": "song.wav"} for m in cut] == timeless(whole)[: len(cut)]


@pytest.mark.whisper
@pytest.mark.usefixtures("whisper_package")
def test_nor_does_it_with_recognised_words(tmp_path: Path, write_wav: WriteWav) -> None:
    """The demo song, heard by the real recogniser to its 15th and to its 12th second."""
    try:
        song = demo_song()
    except SourceError as error:
        pytest.skip(str(error))
    samples = np.concatenate([chunk.samples for chunk in FileSource(song).chunks()])
    outputs = {}
    for length_s in (15, 12):
        path = write_wav(tmp_path / f"{length_s}.wav", samples[: length_s * SAMPLE_RATE_HZ])
        frames = [m for m in timeless(tagged(path)) if m["type"] == "emotion"]
        assert len(frames) == 2 * length_s
        outputs[length_s] = [frame | {"stream": ""} for frame in frames]
    assert outputs[12] == outputs[15][:24]
    for frames in outputs.values():
        assert any("text" in frame["modalities"] for frame in frames)


def test_lyrics_alone_are_tagged_with_the_real_encoder(folder: Path, tiny_model: Path) -> None:
    """No sound is needed, and what is sung later is not known sooner."""
    shorter = folder / "shorter.lrc"
    shorter.write_text("".join(LRC.splitlines(keepends=True)[:2]) + "[00:09.00]\n", encoding="utf-8")
    lines = timeless(tagged(folder / "song.lrc", shorter, "--model", tiny_model))
    frames, cut = (
        [m for m in lines if m["type"] == "emotion" and m["stream"] == name] for name in ("song.lrc", "shorter.lrc")
    )
    assert [m["modalities"] for m in frames] == [["audio"]] + [["text"]] * 37
    assert frames[-1]["t1"] == 19.0
    (summary, _) = (m for m in lines if m["type"] == "summary")
    assert summary["lyrics"].splitlines() == [line.partition("]")[2] for line in LRC.splitlines()]
    assert [m["t1"] for m in cut] == [m["t1"] for m in frames[:18]]
    alike = {"stream": "", "seq": 0}
    assert [m | alike for m in cut[:17]] == [m | alike for m in frames[:17]]


def test_out_takes_the_messages_and_plot_draws_each_file(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra 'offline'")
    files = [folder / "song.wav", folder / "cut.wav"]
    output = tagged(*files, "--no-lyrics", "--out", tmp_path / "tags.jsonl", "--plot", tmp_path / "picture.png")
    assert output == b""
    streams = [m["stream"] for m in messages((tmp_path / "tags.jsonl").read_bytes()) if m["type"] == "summary"]
    assert streams == ["song.wav", "cut.wav"]
    pictures = sorted(tmp_path.glob("*.png"))
    assert [picture.name for picture in pictures] == ["picture-cut.png", "picture-song.png"]
    assert all(picture.read_bytes().startswith(b"\x89PNG\r\n") for picture in pictures)


def test_a_bad_file_among_good_ones_is_named_and_the_others_are_done(folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"no music at all " * 1000)
    address = "http://127.0.0.1:9/song.mp3"
    done = stream_mer("tag", bad, folder / "cut.wav", tmp_path / "missing.flac", address, "--no-lyrics")
    assert done.returncode == 1
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 4
    assert lines.pop() == "1 tagged, 3 failed"
    for name in ("bad.mp3", "missing.flac", f"stream-mer serve --source {address}"):
        assert sum(name in line for line in lines) == 1
    assert [m["stream"] for m in messages(done.stdout)] == ["cut.wav"] * 17


def test_a_reader_that_has_had_enough_ends_it_without_a_word(folder: Path) -> None:
    """As with ``| head -1``: the song is tagged often enough that the pipe is closed long before its end."""
    command = [sys.executable, "-m", "stream_mer", "tag", *[str(folder / "song.wav")] * 5, "--no-lyrics"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["type"] == "emotion"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=500) == 0


ROUNDING = 1e-4
"""Messages hold four decimals."""


def values(frames: Iterable[EmotionFrame]) -> list[tuple[float, ...]]:
    return [(frame.t1, frame.valence, frame.arousal, frame.raw.valence, *frame.probs.values()) for frame in frames]


def test_frames_equal_those_of_the_command_on_the_demo_song() -> None:
    lines = messages(tagged(demo_song(), "--no-lyrics"))
    *told, summary = [message for message in lines if message["type"] in {"emotion", "summary"}]
    expected = [
        (m["t1"], m["valence"], m["arousal"], m["raw"]["valence"], *m["category"]["probs"].values()) for m in told
    ]
    result = tag(demo_song(), lyrics=False)
    np.testing.assert_allclose(values(result.frames), expected, atol=NETWORK + ROUNDING)
    assert [frame.category for frame in result.frames] == [m["category"]["top"] for m in told]
    assert result.summary.category == summary["category"]["top"]
    assert result.summary.valence == pytest.approx(summary["valence"], abs=NETWORK + ROUNDING)
    with Tagger(lyrics=False) as tagger:
        frames = []
        for decoded in decode_file(demo_song()):
            for block in np.array_split(decoded.samples, 3):
                frames += tagger.feed(block, rate_hz=decoded.rate_hz)
        frames += tagger.flush()
    np.testing.assert_allclose(values(frames), values(result.frames), atol=NETWORK)
