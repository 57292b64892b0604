"""The public API on a tiny model: the same frames however the audio comes, errors of ours, no trace in the process."""

from __future__ import annotations

import gc
import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController, threadpool_limits
from tolerance import NETWORK

import stream_mer
from benchmarks.startup import PACKAGES
from stream_mer.errors import CheckpointError, LyricsError, SettingError, SourceError
from stream_mer.lyrics import feeds
from stream_mer.lyrics.text_features import VECTOR_SIZE
from stream_mer.outputs.files import COLUMNS
from stream_mer.types import EmotionFrame, Latency, LyricLine

RATE_HZ = 16_000
LRC = "[00:01.00]The morning light\n[00:03.20]is on the river\n"

Music = Callable[..., NDArray[np.float32]]


@pytest.fixture(scope="module")
def pcm(music: Music) -> NDArray[np.int16]:
    return (np.clip(music(6.3), -1, 1) * 32_767).astype(np.int16)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> dict[str, Any]:
    return {"model": str(tiny_model)}


def timeless(frames: Iterable[EmotionFrame]) -> list[EmotionFrame]:
    """Frames without what a clock measured."""
    return [
        replace(frame, latency=Latency(), raw=replace(frame.raw, features_ms=0.0, model_ms=0.0)) for frame in frames
    ]


def run(model: dict[str, Any], samples: NDArray[Any], *, block: int, rate_hz: int = RATE_HZ) -> list[EmotionFrame]:
    with stream_mer.Tagger(lyrics=False, **model) as tagger:
        frames = [
            frame
            for start in range(0, len(samples), block)
            for frame in tagger.feed(samples[start : start + block], rate_hz=rate_hz)
        ]
        return timeless([*frames, *tagger.flush()])


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = (
        "import sys, stream_mer; dir(stream_mer); stream_mer.__version__\n"
        "heavy = {'numpy', 'torch', 'msgspec', 'websockets', 'click', 'av', 'onnxruntime'}\n"
        "print(sorted(heavy & set(sys.modules)), sorted(m for m in sys.modules if m.startswith('stream_mer.')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] ['stream_mer.version']"


def test_tagging_loads_no_server_no_command_line_and_no_recogniser(
    model: dict[str, Any], pcm: NDArray[np.int16], tmp_path: Path, write_wav: Callable[..., Path]
) -> None:
    wav = write_wav(tmp_path / "song.wav", pcm / 32_768)
    script = (
        "import json, sys, stream_mer; stream_mer.tag(sys.argv[1], lyrics=False, **json.loads(sys.argv[2]));"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-c", script, str(wav), json.dumps(model)]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert loaded & {*PACKAGES, "click"} <= {"av", "msgspec", "numpy", "onnxruntime", "safetensors", "soxr"}


def test_every_exported_name_is_there() -> None:
    assert set(dir(stream_mer)) == set(stream_mer.__all__)
    assert all(getattr(stream_mer, name) is not None for name in stream_mer.__all__)
    with pytest.raises(AttributeError, match="tagg"):
        stream_mer.tagg  # type: ignore[attr-defined]  # noqa: B018 - that it is not there


@pytest.mark.parametrize("block", [1_000, 8_000, 24_001])
def test_frames_do_not_depend_on_the_blocks(block: int, model: dict[str, Any], pcm: NDArray[np.int16]) -> None:
    frames = run(model, pcm, block=block)
    assert frames == run(model, pcm, block=len(pcm))
    assert [frame.index for frame in frames] == list(range(13))
    assert frames[-1].t1 == pytest.approx(len(pcm) / RATE_HZ)


def test_nor_on_type_and_layout_of_the_samples(model: dict[str, Any], pcm: NDArray[np.int16]) -> None:
    floats = (pcm / 32_768).astype(np.float32)
    expected = run(model, pcm, block=5_000)
    for samples in (floats, floats.astype(np.float64), pcm.astype(np.int32) << 16, pcm[:, None]):
        assert run(model, samples, block=5_000) == expected
    assert run(model, np.stack([pcm, pcm], axis=1), block=5_000) == expected


def test_other_rates_give_nearly_the_same_and_may_change_on_the_way(
    model: dict[str, Any], pcm: NDArray[np.int16]
) -> None:
    at_48k = np.repeat(pcm, 3)
    frames = run(model, at_48k, block=4_800, rate_hz=48_000)
    assert len(frames) == 13
    with stream_mer.Tagger(lyrics=False, **model) as tagger:
        mixed = [*tagger.feed(pcm[:40_000], rate_hz=RATE_HZ), *tagger.feed(at_48k[120_000:], rate_hz=48_000)]
        mixed += tagger.flush()
    assert [frame.t1 for frame in mixed[:-1]] == [0.5 * i for i in range(1, 13)]
    assert mixed[-1].t1 == pytest.approx(len(pcm) / RATE_HZ, abs=1e-3)


def test_after_flush_a_new_stream_begins(model: dict[str, Any], pcm: NDArray[np.int16]) -> None:
    with stream_mer.Tagger(lyrics=False, **model) as tagger:
        assert tagger.flush() == []
        runs = [[*tagger.feed(pcm, rate_hz=RATE_HZ), *tagger.flush()] for _ in range(2)]
    assert timeless(runs[0]) == timeless(runs[1])


@pytest.mark.parametrize(
    ("samples", "rate_hz", "said"),
    [
        (np.zeros(10, np.int64), RATE_HZ, "int64"),
        (np.zeros(10, bool), RATE_HZ, "bool"),
        (["a"], RATE_HZ, "type"),
        (np.zeros((2, 16_000), np.float32), RATE_HZ, r"\[n, channels\]"),
        (np.zeros((2, 2, 2), np.float32), RATE_HZ, r"\[2, 2, 2\]"),
        ([[0.0], [0.0, 0.0]], RATE_HZ, "array"),
        (np.zeros(10, np.float32), 100, "4000"),
        (np.zeros(10, np.float32), 44_100.5, "whole number"),
    ],
)
def test_samples_that_cannot_be_are_errors_and_not_taken(
    samples: Any, rate_hz: Any, said: str, model: dict[str, Any], pcm: NDArray[np.int16]
) -> None:
    with stream_mer.Tagger(lyrics=False, **model) as tagger:
        with pytest.raises(SettingError, match=said):
            tagger.feed(samples, rate_hz=rate_hz)
        assert timeless([*tagger.feed(pcm, rate_hz=RATE_HZ), *tagger.flush()]) == run(model, pcm, block=len(pcm))


def test_what_is_not_finite_is_silence(model: dict[str, Any]) -> None:
    with stream_mer.Tagger(lyrics=False, **model) as tagger:
        frames = tagger.feed(np.full(RATE_HZ, np.nan, np.float32), rate_hz=RATE_HZ)
    assert [frame.raw.audio_state.state for frame in frames if frame.raw.audio_state] == ["silence"] * 2


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"hop_s": 9.0}, SettingError, "hop"),
        ({"hop_s": "fast"}, SettingError, "type"),
        ({"hopp_s": 0.5}, SettingError, "hop_s"),
        ({"lyrics_encoding": "klingon"}, SettingError, "encoding"),
        ({"device": "tpu"}, SettingError, "tpu"),
        ({"asr_device": "tpu"}, SettingError, "recogniser must be cpu or cuda, not 'tpu'"),
        ({"languages": ["xx"]}, SettingError, "knows no language 'xx'"),
        ({"recheck_s": 1}, SettingError, "every 5 to 3600 seconds, or 0, not 1"),
        ({"model": "joint-v0"}, CheckpointError, "joint-v0"),
        ({"lyrics": "missing.lrc"}, LyricsError, "missing"),
        ({"lyrics": None}, SettingError, "lyrics must be a path, True or False, not None"),
        ({"lyrics": b"song.lrc"}, SettingError, "lyrics must be a path"),
        ({"lyrics": "a\0b"}, SettingError, "character"),
    ],
)
def test_mistakes_are_errors_of_ours(
    options: dict[str, Any], error: type[Exception], said: str, model: dict[str, Any]
) -> None:
    with pytest.raises(error, match=said):
        stream_mer.Tagger(**{"lyrics": False, **model, **options})


def test_a_closed_tagger_says_so(model: dict[str, Any], pcm: NDArray[np.int16]) -> None:
    tagger = stream_mer.Tagger(lyrics=False, **model)
    tagger.close()
    tagger.close()
    for call in (lambda: tagger.feed(pcm, rate_hz=RATE_HZ), tagger.flush):
        with pytest.raises(SettingError, match="closed"):
            call()


def test_a_tagger_that_is_dropped_ends_its_thread_of_lyrics(
    model: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        feeds, "SentenceEncoder", lambda: SimpleNamespace(encode=lambda _: np.ones(VECTOR_SIZE, np.float32))
    )
    (tmp_path / "song.lrc").write_text("[10:00.00]much later\n")
    before = set(threading.enumerate())
    tagger = stream_mer.Tagger(lyrics=tmp_path / "song.lrc", live=True, **model)
    tagger.flush()
    tagger.feed(np.zeros(100, np.float32), rate_hz=RATE_HZ)
    threads = set(threading.enumerate()) - before
    assert threads
    del tagger
    gc.collect()
    assert not any(thread.is_alive() for thread in threads)


def test_numbers_of_numpy_are_options_too(model: dict[str, Any]) -> None:
    with stream_mer.Tagger(lyrics=False, **model, hop_s=np.float32(1.0), dwell_s=np.float64(2.0)) as tagger:  # type: ignore[arg-type]
        assert [frame.t1 for frame in tagger.feed(np.zeros(2 * RATE_HZ, np.float32), rate_hz=RATE_HZ)] == [1.0, 2.0]


def test_on_event_may_close_its_tagger(model: dict[str, Any], pcm: NDArray[np.int16]) -> None:
    tagger = stream_mer.Tagger(lyrics=False, on_event=lambda _: tagger.close(), **model)
    assert [frame.t1 for frame in tagger.feed(pcm, rate_hz=RATE_HZ)] == [0.5, 1.0]
    with pytest.raises(SettingError, match="closed"):
        tagger.flush()


@pytest.mark.parametrize("call", ["feed", "flush"])
def test_on_event_cannot_feed_or_flush_its_tagger(call: str, model: dict[str, Any], pcm: NDArray[np.int16]) -> None:
    def again(_: object) -> None:
        if call == "feed":
            tagger.feed(pcm, rate_hz=RATE_HZ)
        else:
            tagger.flush()

    with stream_mer.Tagger(lyrics=False, on_event=again, **model) as tagger:
        with pytest.raises(SettingError, match="on_event"):
            tagger.feed(pcm, rate_hz=RATE_HZ)
        with pytest.raises(SettingError, match="on_event"):  # and not that it is busy for ever
            tagger.feed(pcm, rate_hz=RATE_HZ)


def test_taggers_share_the_models_and_leave_the_process_as_it_is(
    model: dict[str, Any], pcm: NDArray[np.int16], tmp_path: Path, write_wav: Callable[..., Path]
) -> None:
    def process() -> tuple[object, ...]:
        return (
            [(library["filepath"], library["num_threads"]) for library in ThreadpoolController().info()],
            signal.getsignal(signal.SIGINT),
            signal.getsignal(signal.SIGTERM),
            list(logging.getLogger().handlers),
            sys.excepthook,
        )

    with threadpool_limits(2):
        before = process()
        taggers = [stream_mer.Tagger(lyrics=False, **model, hop_s=hop_s) for hop_s in (0.5, 1.0)]
        for tagger in taggers:
            assert tagger.feed(pcm, rate_hz=RATE_HZ)
            tagger.close()
        stream_mer.tag(write_wav(tmp_path / "a.wav", pcm / 32_768), lyrics=False, **model)
        assert process() == before
    assert len({id(tagger._engine._models.predictor) for tagger in taggers}) == 1


def test_taggers_in_several_threads_do_not_affect_each_other(model: dict[str, Any], music: Music) -> None:
    songs = [music(4.0, seed=seed) for seed in range(3)]
    alone = [run(model, song, block=3_000) for song in songs]
    together: list[list[EmotionFrame]] = [[] for _ in songs]

    def work(i: int) -> None:
        together[i] = run(model, songs[i], block=3_000)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(songs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(alone, together, strict=True):
        assert [frame.t1 for frame in one] == [frame.t1 for frame in other]
        values = [[(frame.raw.valence, frame.raw.arousal) for frame in frames] for frames in (one, other)]
        np.testing.assert_allclose(values[0], values[1], atol=NETWORK)


def test_a_file_and_the_same_audio_in_blocks_give_the_same_frames(
    model: dict[str, Any], pcm: NDArray[np.int16], tmp_path: Path, write_wav: Callable[..., Path]
) -> None:
    events: list[object] = []
    wav = write_wav(tmp_path / "song.wav", (pcm / 32_767).astype(np.float32))
    result = stream_mer.tag(wav, lyrics=False, on_event=events.append, **model)
    assert result.name == "song.wav"
    assert timeless(result.frames) == run(model, pcm, block=777)
    assert [event for event in events if isinstance(event, EmotionFrame)] == list(result.frames)
    assert result.summary.duration_s == pytest.approx(len(pcm) / RATE_HZ)
    assert sum(result.summary.probs.values()) == pytest.approx(1.0)


def test_known_lyrics_come_with_the_frames_and_stand_in_the_rows(
    model: dict[str, Any], pcm: NDArray[np.int16], tmp_path: Path, write_wav: Callable[..., Path]
) -> None:
    wav, lrc = write_wav(tmp_path / "song.wav", pcm / 32_767), tmp_path / "song.lrc"
    lrc.write_text(LRC)
    result = stream_mer.tag(wav, lyrics=lrc, **model)
    assert [line.text for line in result.lyrics] == ["The morning light", "is on the river"]
    rows = result.to_rows()
    assert [tuple(row) for row in rows] == [COLUMNS] * len(result.frames)
    assert [row["t1"] for row in rows if row["lyrics"]] == [1.0, 3.5]
    events: list[object] = []
    with stream_mer.Tagger(lyrics=lrc, on_event=events.append, **model) as tagger:
        frames = [*tagger.feed(pcm, rate_hz=RATE_HZ), *tagger.flush()]
    assert timeless(frames) == timeless(result.frames)
    assert [event.text for event in events if isinstance(event, LyricLine)] == [line.text for line in result.lyrics]


def test_lyrics_alone_are_tagged_too(model: dict[str, Any], tmp_path: Path) -> None:
    lrc = tmp_path / "song.lrc"
    lrc.write_text(LRC)
    result = stream_mer.tag(lrc, **model)
    assert {frame.raw.modalities for frame in result.frames[2:]} == {("text",)}
    assert result.summary.lyrics == "The morning light\nis on the river"
    with pytest.raises(SettingError, match="contradicts"):
        stream_mer.tag(lrc, lyrics=False, **model)


@pytest.mark.parametrize("path", [None, 3, b"song.mp3", "a\0b.mp3", "a\0b.lrc"])
def test_what_is_no_path_is_an_error_of_ours(path: Any, model: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="a file to tag must be a path"):
        stream_mer.tag(path, **model)


@pytest.mark.parametrize("name", ["missing.mp3", "x" * 5000, "http://user:secret@radio.example/live"])
def test_a_file_that_cannot_be_read_is_an_error_without_secrets(name: str, model: dict[str, Any]) -> None:
    with pytest.raises(SourceError) as caught:
        stream_mer.tag(name, lyrics=False, **model)
    assert "secret" not in str(caught.value)
