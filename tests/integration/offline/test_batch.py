"""Several processes tag as one does, and one that dies takes only its file with it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import PATIENCE_S, wait_for
from numpy.typing import NDArray

from stream_mer.batch import Task, TaskSettings, Wanted, WorkerPool
from stream_mer.cli.diagnose import demo_song
from stream_mer.config import EngineSettings, LyricsSettings
from stream_mer.errors import CheckpointError
from stream_mer.outputs.summary_table import read_table
from stream_mer.types import SAMPLE_RATE_HZ

WriteWav = Callable[[Path, NDArray[np.float32]], Path]


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory, write_wav: WriteWav) -> Path:
    """Songs of 9, 3, 6 and 4 s, and a file that is none."""
    folder = tmp_path_factory.mktemp("music")
    for i, length_s in enumerate((9, 3, 6, 4)):
        write_wav(folder / f"{i}.wav", demo_song()[i * SAMPLE_RATE_HZ : (i + length_s) * SAMPLE_RATE_HZ])
    (folder / "2b.mp3").write_bytes(b"no music at all " * 1000)
    return folder


def lines(output: bytes) -> list[dict[str, object]]:
    return [
        {key: value for key, value in json.loads(line).items() if key != "latency_ms"} for line in output.splitlines()
    ]


def test_results_do_not_depend_on_the_number_of_processes(music: Path, tiny_model: Path, tmp_path: Path) -> None:
    outputs = []
    for jobs in (1, 3):
        command = [sys.executable, "-m", "stream_mer", "tag", str(music), "--no-lyrics", "--model", str(tiny_model)]
        command += ["--jobs", str(jobs), "--summary", str(tmp_path / f"{jobs}.csv")]
        done = subprocess.run(command, capture_output=True, check=False, timeout=500)
        assert done.returncode == 1
        error, end = done.stderr.decode().splitlines()
        assert "2b.mp3" in error
        assert end == "4 tagged, 1 failed"
        outputs.append(lines(done.stdout))
    assert outputs[0] == outputs[1]
    assert [line["stream"] for line in outputs[1] if line["type"] == "summary"] == ["0.wav", "1.wav", "2.wav", "3.wav"]
    assert read_table(tmp_path / "1.csv") == read_table(tmp_path / "3.csv")


def settings(model: Path | str) -> TaskSettings:
    return TaskSettings(engine=EngineSettings(model=str(model), lyrics=LyricsSettings(mode="off")))


def test_a_process_that_dies_takes_only_its_file_with_it(music: Path, tiny_model: Path) -> None:
    tasks = [
        Task(file=str(music / f"{i}.wav"), stream=str(i), outputs=Wanted(output_format="jsonl")) for i in (0, 1, 2)
    ]
    out, killed = io.BytesIO(), False
    with WorkerPool(settings(tiny_model), 1) as pool:

        def kill(index: int, _done_s: float, _duration_s: float | None) -> None:
            nonlocal killed
            if index == 0 and not killed:
                killed = True
                pid = pool._workers[0].process.pid
                assert pid is not None
                os.kill(pid, signal.SIGKILL)

        results = dict(pool.run(tasks, out, kill))
    assert "SIGKILL" in (results[0].row.error or "")
    assert [results[i].row.error for i in (1, 2)] == [None, None]
    assert {line["stream"] for line in lines(out.getvalue())} == {"1", "2"}


def test_a_model_that_cannot_be_loaded_is_reported_as_in_one_process() -> None:
    with pytest.raises(CheckpointError, match="no model 'no-such-model'"):
        WorkerPool(settings("no-such-model"), 2)


def running(group: int) -> list[str]:
    """The processes of a group that have not ended."""
    stats = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            stats.append(path.read_text().rpartition(")")[2].split())
    return [state for state, _, of, *_ in stats if of == str(group) and state not in "ZX"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="it looks into /proc")
def test_ctrl_c_keeps_what_is_finished_and_ends_all_processes(music: Path, tmp_path: Path, write_wav: WriteWav) -> None:
    songs = shutil.copytree(music, tmp_path / "songs")
    # One is so long that it is never finished.
    write_wav(songs / "endless.wav", np.tile(demo_song()[: 60 * SAMPLE_RATE_HZ], 20))
    command = [sys.executable, "-m", "stream_mer", "tag", str(songs), "--no-lyrics"]
    command += ["--jobs", "2", "--summary", str(tmp_path / "t.csv"), "--out", f"{tmp_path}/tags/"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stderr is not None
        while process.poll() is None and len(list(tmp_path.glob("tags/*.jsonl"))) < 3:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        error = process.stderr.read().decode()
        assert process.wait(PATIENCE_S) == 130, error
    assert "Traceback" not in error, error
    assert not list(tmp_path.rglob("*.part"))
    assert read_table(tmp_path / "t.csv")
    wait_for(lambda: not running(process.pid), "the processes to end")


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are of Unix")
def test_text_on_a_terminal_is_not_wiped_by_the_bars(music: Path, tiny_model: Path) -> None:
    import pty  # noqa: PLC0415 - of Unix

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "stream_mer", "tag", str(music / "0.wav"), str(music / "1.wav"), "--no-lyrics"]
    command += ["--model", str(tiny_model)]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal says that all is said
            while block := os.read(ours, 65536):
                shown += block
        assert process.wait(PATIENCE_S) == 0
    os.close(ours)
    last_lines = rb"0\.wav  0:09\r\n.*1\.wav  0:03\r\n.*\x1b\[2K2 tagged\r\n$"
    assert re.search(last_lines, shown, re.DOTALL)
    assert all(re.search(rb"\x1b\[2K[^\x1b\r\n]*" + name, shown) for name in (rb"/0\.wav  0:09", rb"/1\.wav  0:03"))
    assert b"2 of 2 files" in shown
