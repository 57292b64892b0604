"""The command line: help that works, exit codes as promised, one line for every failure and never a traceback."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_mer import cli
from stream_mer.cli import COMMANDS
from stream_mer.cli.diagnose import demo_song
from stream_mer.config import ASR_MODELS
from stream_mer.errors import CheckpointError, SettingError, SourceError
from stream_mer.lyrics import feeds
from stream_mer.lyrics.text_features import VECTOR_SIZE
from stream_mer.sources.file import demo_song as demo_file
from stream_mer.types import SAMPLE_RATE_HZ
from stream_mer.version import __version__

WriteWav = Callable[[Path, NDArray[np.float32]], Path]


Command = Callable[..., Any]


@pytest.fixture
def tag(stream_mer: Command, tiny_model: Path) -> Command:
    """``stream-mer tag`` with the tiny model and without lyrics."""
    return lambda *args: stream_mer("tag", "--model", tiny_model, "--no-lyrics", *args)


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory, write_wav: WriteWav) -> Path:
    """2.3 s of real music, so that its last frame is a tail and an emotion is claimed of it."""
    return write_wav(tmp_path_factory.mktemp("songs") / "song.wav", demo_song()[: round(2.3 * SAMPLE_RATE_HZ)])


def in_one_line(done: Any, *says: str) -> None:
    """Check that the failure is one line on stderr, without a traceback."""
    assert "Traceback" not in done.err
    lines = done.err.strip().splitlines()
    if re.fullmatch(r"\d+ tagged(, \d+ failed)?", lines[-1]):  # of several files
        lines.pop()
    assert len(lines) == 1, done.err
    for words in says:
        assert words in done.err


# --- help


def test_help_lists_every_command(stream_mer: Command) -> None:
    done = stream_mer("--help")
    assert (done.code, done.err) == (0, "")
    for name in COMMANDS:
        assert name in done.out
    assert stream_mer("-h").out == done.out


OPTIONS = {
    "serve": [
        "--operator-token",
        "--allow-origin",
        "--tls-certificate",
        "--tls-key",
        "--limit",
        "--source",
        "--from",
        "--host",
        "--port",
        "--token",
        "--loop",
        "--rate",
        "--model",
        "--lyrics",
        "--hop",
    ],
    "worker": ["--nats", "--nats-creds", "--nats-ca", "--lease", "--replicas", "--name", "--max-channels", "--model"],
    "channels": ["--nats", "--nats-creds", "--loop", "--json", "add|remove"],
    "tag": [
        *["--format", "--out", "--plot", "--lyrics", "--no-lyrics", "--hop", "--device", "--model", "--context"],
        *["--asr-model", "--min-confidence", "--min-accuracy", "--srt", "--lrc", "FILE..."],
        *["--jobs", "--summary", "--skip-existing", "--json", "--start", "--duration"],
    ],
    "replay": ["--speed", "--loop", "--from", "--host", "--port", "--token", "DIR"],
    "send": ["--to", "--stream", "--token", "--ca", "--channels", "--gain", "--loop", "SOURCE"],
    "listen": ["--stream", "--token", "--json", "URL"],
    "lights": ["--example", "--tags", "--demo", "--picture", "[RIG]"],
    "midi": ["--test", "--once", "[WHERE]"],
    "osc": ["--test", "--once", "--stream", "--monitor", "[WHERE]"],
    "devices": ["--meter", "--seconds", "--channels"],
    "config": ["--config", "--json", "--example", "[COMMAND"],
    "diagnose": ["--model", "--asr-model", "--host", "--port", "--json"],
    "train": [
        *["--corpus", "--format", "--out", "--backbone", "--cache", "--no-transcripts", "--stage-copies", "--stage"],
        *["--words", "--members", "--seed", "--epochs", "--threads", "--origin"],
    ],
    "train-vocals": ["--out", "--epochs", "--seed", "--workers", "--threads", "--cache", "FOLDERS..."],
    "evaluate": [
        *["--model", "--corpus", "--format", "--backbone", "--cache", "--no-transcripts", "--stage-copies", "--stage"],
        *["--words", "--members", "--seed", "--epochs", "--threads", "--json", "--ablations"],
    ],
    "protocol": ["--schema"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_names_its_options(name: str, stream_mer: Command) -> None:
    done = stream_mer(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"stream-mer {name} " in done.out.splitlines()[0]
    for option in OPTIONS[name]:
        assert option in done.out


def test_the_version_is_reported(stream_mer: Command) -> None:
    done = stream_mer("--version")
    assert (done.code, done.out.strip()) == (0, f"stream-mer, version {__version__}")


# --- what main makes of errors


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["sreve"], "There is no command 'sreve'; did you mean 'serve'?"),
        (["song.wav"], "to tag it: stream-mer tag song.wav"),
        (["http://radio.example/live"], "to hear it: stream-mer serve --source http://radio.example/live"),
        (["serve", "song.wav"], "did you mean stream-mer serve --source song.wav?"),
        (["serve", "--port", "0", "my song.wav"], 'did you mean stream-mer serve --source "my song.wav"?'),
        (
            ["tag", "song.wav", "--asr-model", "huge"],
            "there is no Whisper model 'huge'; choose a folder, or from tiny,",
        ),
        (["tag", "song.wav", "--asr-model", "bse"], "there is no Whisper model 'bse'; did you mean 'base'?"),
        (["serve", "--asr-model", "huge"], "large-v3-turbo"),
    ],
)
def test_what_was_meant_is_suggested(
    args: list[str], says: str, stream_mer: Command, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(song.parent)
    done = stream_mer(*args)
    assert (done.code, done.out) == (2, "")
    assert says in done.err
    assert "Traceback" not in done.err


def test_the_models_of_the_recogniser_are_those_that_it_knows() -> None:
    utils = pytest.importorskip("faster_whisper.utils")
    assert sorted(ASR_MODELS) == sorted(utils.available_models())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingError("hop is odd; give another"), 2),
        (SourceError("the cable was pulled; plug it in"), 1),
        (CheckpointError("the model is damaged; fetch it again"), 2),
    ],
)
def test_an_expected_error_is_its_message_and_its_exit_code(
    error: Exception, code: int, stream_mer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli.cli, "invoke", fail)
    done = stream_mer("devices")
    assert done.code == code
    in_one_line(done, f"stream-mer: {error}")


def test_an_interrupt_is_no_failure_of_the_program(stream_mer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.cli, "invoke", interrupt)
    done = stream_mer("devices")
    assert done.code == 130
    assert "Traceback" not in done.err


# --- bad usage


@pytest.mark.parametrize(
    "args", [["sing"], ["tag"], ["tag", "x.wav", "--hop", "soon"], ["tag", "x.wav", "--format", "xml"]]
)
def test_usage_that_cannot_be_exits_with_2(args: list[str], stream_mer: Command) -> None:
    done = stream_mer(*args)
    assert done.code == 2
    assert "Traceback" not in done.err
    assert done.err.strip().splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--hop", "0.05"], "hop must be 0.1 to 2 seconds, not 0.05"),
        (["--hop", "3"], "hop must be 0.1 to 2"),
        (["--hop", "nan"], "hop must be 0.1 to 2"),
        (["--context", "1"], "context must be 3 to 60"),
        (["--min-confidence", "2"], "minimum confidence must be 0 to 1"),
        (["--min-accuracy", "0.7"], "does not tell how often it is right"),
        (["--device", "toaster"], "the device 'toaster' is not available"),
        (["--asr-device", "tpu"], "the device of the recogniser must be cpu or cuda, not 'tpu'"),
        (["--lyrics", "words.txt"], "--lyrics and --no-lyrics contradict each other"),
        (["--out", "no-such-folder/tags.jsonl"], "cannot write no-such-folder/tags.jsonl"),
        (["--srt", "."], "cannot write ."),
        (["--summary", "table.txt"], "a summary is a .csv or a .parquet file"),
        (["--summary", "no-such-folder/table.csv"], "cannot write no-such-folder/table.csv"),
        (["--json", "--format", "csv"], "--json and --format csv contradict each other"),
        (["--skip-existing"], "--skip-existing needs a file for each input"),
        (["--srt", "no-such-folder/song.srt"], "cannot write no-such-folder/song.srt"),
        (["--model", "no-such-model"], "no model 'no-such-model'"),
    ],
)
def test_a_setting_that_cannot_be_exits_with_2_and_leaves_older_results(
    args: list[str], says: str, tag: Command, song: Path, results: Path
) -> None:
    done = tag(song, "--out", results, *args)
    assert (done.code, done.out) == (2, "")
    in_one_line(done, says)
    assert results.read_text() == "of a week"


@pytest.mark.parametrize("name", ["nowhere/song.png", "song.nosuch"])
def test_a_picture_that_cannot_be_written_exits_with_2(name: str, tag: Command, song: Path, results: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra 'offline'")
    done = tag(song, "--out", results, "--plot", results.parent / name)
    assert done.code == 2
    in_one_line(done, Path(name).name)
    assert results.read_text() == "of a week"


def test_the_category_is_unknown_below_an_expected_accuracy(
    stream_mer: Command, tiny_model: Path, song: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    # Random weights are unsure of everything: by this table right in 30 % of the cases, and never surer than .99.
    config["calibration"]["category_accuracy"] = [[0.25, 0.3], [0.99, 0.9]]
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))

    def categories(*args: str) -> set[str]:
        done = stream_mer("tag", "--model", tmp_path / "model", "--no-lyrics", song, *args)
        assert (done.code, done.err) == (0, "")
        return {message["category"]["top"] for message in done.messages if message["type"] == "emotion"}

    assert "unknown" not in categories("--min-accuracy", "0.3")
    assert categories("--min-accuracy", "0.9") == {"unknown"}
    done = stream_mer("tag", "--model", tmp_path / "model", "--no-lyrics", song, "--min-accuracy", "0.95")
    assert (done.code, done.out) == (2, "")
    in_one_line(done, "nowhere expected to be right in 95%", "ask for at most 0.9")


@pytest.mark.parametrize("words", [None, b"", b"\xff\xfe\x00"])
@pytest.mark.parametrize("command", ["tag", "serve"])
def test_given_lyrics_that_cannot_be_used_exit_with_2(
    command: str, words: bytes | None, stream_mer: Command, tiny_model: Path, results: Path
) -> None:
    given = results.with_name("given.lrc")
    if words is not None:
        given.write_bytes(words)
    inputs = [demo_file(), "--out", results] if command == "tag" else ["--port", 0]
    done = stream_mer(command, *inputs, "--model", tiny_model, "--lyrics", given)
    assert (done.code, done.out) == (2, "")
    in_one_line(done, "given.lrc")
    assert results.read_text() == "of a week"


MISTAKES_OF_CLUSTERS = [
    (["channels", "add", "only"], "stream-mer channels add NAME SOURCE"),
    (["channels", "list", "much"], "1 words after list"),
    (["channels", "remove"], "stream-mer channels remove NAME"),
    (["channels", "--nats", "http://x"], "not an address of NATS"),
    (["serve", "--from", "nats://x", "--source", "demo"], "leave --source"),
    (["serve", "--from", "nats://x", "--record-audio"], "leave --source and --record-audio"),
    (["serve", "--only", "main"], "among the channels of --from"),
    (["serve", "--from", "x"], "not an address of NATS"),
    (["worker", "--lease", "0.1"], "the lease must be"),
    (["worker", "--replicas", "9"], "the replicas must be"),
    (["worker", "--max-channels", "0"], "1 to 10000"),
    (["worker", "--name", "a/b"], "cannot be a name"),
    (["worker", "--lyrics", "song.lrc"], "belongs to one song"),
]


@pytest.mark.parametrize(
    ("args", "says"), [*MISTAKES_OF_CLUSTERS, (["worker", "--asr-device", "tpu"], "must be cpu or cuda, not 'tpu'")]
)
def test_a_mistake_is_reported_before_anything_is_connected_or_loaded(
    args: list[str], says: str, stream_mer: Command
) -> None:
    done = stream_mer(*args, "--config", "")
    assert (done.code, done.out) == (2, "")
    in_one_line(done, says)


# --- bad files


def video_without_sound(path: Path) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    return path


def bad_file(kind: str, folder: Path, song: Path) -> Path:
    # A long name: the error must still be one line, however narrow a terminal is.
    path = folder / f"{kind.replace(' ', '-')}-of-a-song-with-a-name-as-long-as-they-are-in-real-collections.mp4"
    if kind == "empty":
        path.touch()
    elif kind == "garbage":
        path.write_bytes(np.random.default_rng(0).bytes(20_000))
    elif kind == "header alone":
        path.write_bytes(song.read_bytes()[:44])
    elif kind == "no audio stream":
        video_without_sound(path)
    elif kind == "folder":
        path.mkdir()
    return path


BAD = ["missing", "empty", "garbage", "header alone", "no audio stream", "folder"]


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_cannot_be_tagged_exits_with_1_and_is_named(
    kind: str, tag: Command, tmp_path: Path, song: Path
) -> None:
    path = bad_file(kind, tmp_path, song)
    done = tag(path)
    assert (done.code, done.out) == (1, "")
    in_one_line(done, path.name)


@pytest.mark.parametrize("output_format", ["jsonl", "csv"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", ["missing", "header alone"])  # found before and after it was opened
def test_of_two_files_the_good_one_is_written_whole(
    kind: str, first: bool, output_format: str, tag: Command, song: Path
) -> None:
    bad = bad_file(kind, song.parent, song)
    files = [bad, song] if first else [song, bad]
    done = tag(*files, "--format", output_format)
    assert done.code == 1
    in_one_line(done, bad.name)
    alone = tag(song, "--format", output_format)
    assert alone.code == 0
    assert timeless(done, output_format) == timeless(alone, output_format)
    assert len(timeless(alone, output_format)) == 6


def timeless(done: Any, output_format: str) -> list[Any]:
    if output_format == "csv":
        return list(csv.reader(io.StringIO(done.out)))
    return [{key: value for key, value in message.items() if key != "latency_ms"} for message in done.messages]


def test_bad_files_alone_are_each_named(tag: Command, tmp_path: Path, song: Path) -> None:
    bad = [bad_file(kind, tmp_path, song) for kind in BAD]
    done = tag(*bad, "--out", tmp_path / "tags.jsonl")
    assert (done.code, done.out) == (1, "")
    lines = done.err.strip().splitlines()
    assert lines.pop() == f"0 tagged, {len(bad)} failed"
    assert len(lines) == len(bad)
    for path in bad:
        (line,) = (line for line in lines if str(path) in line)
        assert line.startswith("stream-mer: ")
        assert line.count(str(path)) == 1
    assert not (tmp_path / "tags.jsonl").exists()


# --- results that are there already


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "results.csv"
    path.write_text("of a week")
    return path


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_cannot_be_tagged_leaves_older_results(
    kind: str, tag: Command, tmp_path: Path, song: Path, results: Path
) -> None:
    bad = bad_file(kind, tmp_path, song)
    before = sorted(tmp_path.iterdir())
    assert tag(bad, "--format", "csv", "--out", results).code == 1
    assert results.read_text() == "of a week"
    assert sorted(tmp_path.iterdir()) == before


def test_a_missing_extra_is_reported_before_anything_is_computed_or_written(
    tag: Command, song: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    monkeypatch.setattr("stream_mer.cli.tag._load", lambda _: pytest.fail("it was loaded"))
    done = tag(song, "--out", results, "--plot", results.with_name("song.png"))
    assert done.code == 2
    in_one_line(done, "--plot needs matplotlib: pip install 'stream-mer[offline]'")
    assert results.read_text() == "of a week"


def test_missing_files_are_reported_before_anything_is_computed(
    tag: Command, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_mer.cli.tag._load", lambda _: (_ for _ in ()).throw(CheckpointError("no model")))
    done = tag(song, tmp_path / "typo.mp3")
    assert [line.partition(";")[0] for line in done.err.splitlines()] == [
        f"stream-mer: no such file: {tmp_path / 'typo.mp3'}",
        "stream-mer: no model",
    ]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_older_results(
    interruption: type[BaseException], tag: Command, song: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path = results.parent

    def interrupt(*_: object) -> None:
        raise interruption

    monkeypatch.setattr("stream_mer.emotion.smoothing.Smoother.feed", interrupt)
    for name in ("a.png", "a.srt", "a.lrc"):
        (tmp_path / name).write_text("old")
    outputs = ["--plot", tmp_path / "a.png", "--srt", tmp_path / "a.srt", "--lrc", tmp_path / "a.lrc"]
    if interruption is KeyboardInterrupt:
        assert tag(song, "--out", results, *outputs).code == 130
    else:
        with pytest.raises(RuntimeError):
            tag(song, "--out", results, *outputs)
    assert results.read_text() == "of a week"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.lrc", "a.png", "a.srt", "results.csv"]
    assert {(tmp_path / name).read_text() for name in ("a.png", "a.srt", "a.lrc")} == {"old"}


def test_results_are_never_written_over_what_is_read(tag: Command, song: Path, tmp_path: Path) -> None:
    mine = tmp_path / "song.wav"
    shutil.copy(song, mine)
    for option in ("--out", "--srt", "--lrc"):
        done = tag(mine, option, mine)
        assert done.code == 2
        in_one_line(done, "is read and would be overwritten")
    done = tag(song, "--out", tmp_path / "a.srt", "--srt", tmp_path / "a.srt")
    assert done.code == 2
    in_one_line(done, "would be written twice")
    assert mine.read_bytes() == song.read_bytes()


def test_what_can_be_tagged_takes_the_place_of_older_results(tag: Command, song: Path, results: Path) -> None:
    done = tag(song, results.with_name("typo.mp3"), "--format", "csv", "--out", results)
    assert done.code == 1
    in_one_line(done, "typo.mp3")
    assert len(results.read_text().splitlines()) == 6


# --- what tag writes


def test_jsonl_is_every_frame_then_the_summary(tag: Command, song: Path) -> None:
    done = tag(song)
    assert (done.code, done.err) == (0, "")
    *frames, summary = done.messages
    assert [frame["type"] for frame in frames] == ["emotion"] * 5
    assert [frame["t1"] for frame in frames] == [0.5, 1.0, 1.5, 2.0, 2.3]
    assert [frame["index"] for frame in frames] == [frame["seq"] for frame in frames] == [0, 1, 2, 3, 4]
    assert {message["stream"] for message in done.messages} == {"song.wav"}
    assert (summary["type"], summary["duration_s"], summary["lyrics"]) == ("summary", 2.3, "")
    assert summary["valence"] == pytest.approx(np.mean([frame["raw"]["valence"] for frame in frames]), abs=1e-4)
    assert sum(summary["category"]["probs"].values()) == pytest.approx(1, abs=1e-3)


def test_csv_is_a_header_and_a_row_a_frame(tag: Command, song: Path) -> None:
    done = tag(song, song, "--format", "csv")
    assert done.code == 0
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert len(rows) == 10
    assert [row["t1"] for row in rows[:5]] == ["0.5000", "1.0000", "1.5000", "2.0000", "2.3000"]
    assert rows[:5] == rows[5:]
    assert set(rows[0]) >= {"stream", "valence", "arousal", "category", "happy", "C5", "lyrics"}


def test_out_and_plot_write_files_and_nothing_else(tag: Command, song: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib comes with the extra 'offline'")
    done = tag(song, "--out", tmp_path / "tags.jsonl", "--plot", tmp_path / "song.png")
    assert done == (0, "", "")
    assert len((tmp_path / "tags.jsonl").read_text().splitlines()) == 6
    assert (tmp_path / "song.png").read_bytes().startswith(b"\x89PNG")


def test_files_of_one_name_have_different_streams(tag: Command, song: Path, tmp_path: Path) -> None:
    twin = tmp_path / song.name
    twin.write_bytes(song.read_bytes())
    done = tag(song, twin)
    assert done.code == 0
    assert {message["stream"] for message in done.messages} == {str(song), str(twin)}


# --- words alone


@pytest.fixture
def read(stream_mer: Command, tiny_model: Path, tmp_path: Path, plain_encoder: None) -> Command:  # noqa: ARG001 - replaces the encoder
    """Writes a lyrics file and tags it with the tiny model: ``read(name, its text or bytes, *options)``."""

    def run(name: str, words: str | bytes | None, *args: object) -> Any:
        path = tmp_path / name
        if words is not None:
            path.write_bytes(words.encode() if isinstance(words, str) else words)
        return stream_mer("tag", "--model", tiny_model, path, *args)

    return run


@pytest.fixture
def plain_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentence embeddings of any text at once: which ones does not matter to the command line."""

    class Encoder:
        def encode(self, text: str) -> NDArray[np.float32]:
            vector = np.random.default_rng(list(text.encode())).standard_normal(VECTOR_SIZE).astype(np.float32)
            return vector / np.linalg.norm(vector)

    monkeypatch.setattr(feeds, "SentenceEncoder", Encoder)


def test_an_lrc_file_is_tagged_by_its_words_as_their_times_come(read: Command) -> None:
    done = read("song.lrc", "[00:01.00]我愛你\n[00:02.20]你是我的寶貝\n[00:03.00]\n")
    assert (done.code, done.err) == (0, "")
    order = [m["text"] if m["type"] == "lyrics" else m.get("t1", m["type"]) for m in done.messages]
    assert order == [0.5, "我愛你", 1.0, 1.5, 2.0, "你是我的寶貝", 2.5, 3.0, "summary"]
    frames = [m for m in done.messages if m["type"] == "emotion"]
    assert [frame["modalities"] for frame in frames] == [["audio"]] + [["text"]] * 5
    assert [frame["text_age_s"] for frame in frames][-1] == 0
    *_, newest, summary = (m for m in done.messages if m["type"] != "lyrics")
    # The newest frame has read all the words, so it stands for the song.
    assert (summary["valence"], summary["arousal"]) == (newest["raw"]["valence"], newest["raw"]["arousal"])
    assert (summary["stream"], summary["duration_s"]) == ("song.lrc", 3.0)
    assert summary["lyrics"] == "我愛你\n你是我的寶貝"


def test_a_text_file_is_tagged_by_all_its_words_at_once(read: Command) -> None:
    done = read("poem.TXT", "¿Dónde estás, corazón?\n\nNo te vayas\n")
    assert (done.code, done.err) == (0, "")
    kinds = [m["type"] for m in done.messages]
    assert kinds == ["lyrics", "lyrics", "emotion", "emotion", "summary"]
    assert [m["modalities"] for m in done.messages if m["type"] == "emotion"] == [["text"]] * 2
    assert done.messages[-1]["lyrics"] == "¿Dónde estás, corazón?\nNo te vayas"


def test_the_words_decide_what_words_alone_feel_like(read: Command) -> None:
    one, again, other = (
        read("poem.txt", words).messages[-1] for words in ("Come with me\n", "Come with me\n", "Leave me be\n")
    )
    assert one == again
    assert one["valence"] != other["valence"]
    assert one["category"]["probs"] != other["category"]["probs"]


def test_words_alone_have_rows_in_a_table_too(read: Command) -> None:
    done = read("poem.txt", "Come with me\n", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [(row["t1"], row["modalities"]) for row in rows] == [("0.5000", "text"), ("1.0000", "text")]


@pytest.mark.parametrize("name", ["song.lrc", "song.txt"])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (b"", "holds no lyrics"),
        (b"\n  \n", "holds no lyrics"),
        (b"[ti:Only]\n[00:01.00]\n", "holds no lyrics"),
        (bytes(range(256)) * 40, "is not a text file"),
        (b"\xff\xfe\x00", "is not a text file"),
        (b"la " * 400_000, "is larger than 1 MB"),
        (None, "check the path"),
    ],
    ids=["empty", "blank", "no words", "garbage", "half a character", "huge", "missing"],
)
def test_a_file_without_lyrics_exits_with_1_and_is_named(
    words: bytes | None, says: str, name: str, read: Command
) -> None:
    done = read(name, words)
    assert (done.code, done.out) == (1, "")
    in_one_line(done, name, says)
    assert "--" not in done.err.replace("--lyrics-encoding", "")  # no other option is at fault


@pytest.mark.parametrize("option", [["--lyrics", "other.lrc"], ["--no-lyrics"]])
@pytest.mark.parametrize("name", ["song.lrc", "song.Txt"])
def test_lyrics_with_an_option_that_says_otherwise_exit_with_2(name: str, option: list[str], read: Command) -> None:
    done = read(name, "[00:01.00]Come with me\n", *option)
    assert (done.code, done.out) == (2, "")
    in_one_line(done, name, f"is a lyrics file, so {option[0]} contradicts it")


@pytest.mark.usefixtures("plain_encoder")
def test_audio_and_lyrics_may_be_tagged_together(
    stream_mer: Command, tiny_model: Path, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "OfflineLyrics", lambda *_, **__: feeds.NoLyrics())  # no recogniser in this test
    (tmp_path / "poem.txt").write_text("Come with me\n")
    done = stream_mer("tag", "--model", tiny_model, tmp_path / "poem.txt", song)
    assert (done.code, done.err) == (0, "2 tagged\n")
    found = {(m["stream"], *m["modalities"]) for m in done.messages if m["type"] == "emotion"}
    assert found == {("poem.txt", "text"), ("song.wav", "audio")}


# --- known words beside the sound


def test_known_lyrics_are_published_and_summed_up(
    stream_mer: Command, tiny_model: Path, song: Path, tmp_path: Path
) -> None:
    words = tmp_path / "song.lrc"
    words.write_text("[00:00.20]hello my darling\n[00:01.20]goodbye\n[00:09.00]never sung\n")
    done = stream_mer("tag", song, "--model", tiny_model, "--lyrics", words)
    assert (done.code, done.err) == (0, "")
    order = [m["text"] if m["type"] == "lyrics" else m["type"] for m in done.messages]
    assert order == [
        *["hello my darling", "emotion", "emotion", "goodbye", "emotion", "emotion", "emotion"],
        "summary",
    ]
    assert done.messages[-1]["lyrics"] == "hello my darling\ngoodbye"
    assert {tuple(m["modalities"]) for m in done.messages if m["type"] == "emotion"} <= {
        ("audio",),
        ("audio", "text"),
    }


DROPPED = """
import os, signal, sys, time
from stream_mer import cli

class Finaliser:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        while True:  # until the signal raises, which Python drops here
            time.sleep(0.001)

def command(**_):
    Finaliser()
    print("went on", flush=True)
    time.sleep(60)
    print("was not interrupted")

cli.cli.main = command
cli.main()
"""


def test_ctrl_c_that_python_drops_in_a_finaliser_is_delivered_again() -> None:
    done = subprocess.run([sys.executable, "-c", DROPPED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "went on\n", "")
