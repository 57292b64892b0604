"""`stream-mer diagnose` as a user runs it."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from helpers import free_port

from stream_mer.config import DEFAULT_MODEL
from stream_mer.emotion.checkpoint import find_model

CHECKS = [
    "versions",
    "decoding",
    "emotion",
    "recogniser",
    "vocal gate",
    "lyric lines",
    "sound inputs",
    "loopback",
    "port",
]


def diagnose(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stream_mer", "diagnose", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)


def found(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {one["check"]: one for one in json.loads(done.stdout)["checks"]}


def test_it_checks_everything_and_says_that_it_works() -> None:
    done = diagnose("--json", "--port", str(free_port()))
    levels = {check: one["level"] for check, one in found(done).items()}
    assert list(levels)[: len(CHECKS)] == CHECKS
    assert "fail" not in levels.values(), done.stdout
    assert {levels["decoding"], levels["port"]} == {"ok"}
    assert done.returncode == 0
    assert all(one["advice"] for one in found(done).values() if one["level"] != "ok")


def test_a_broken_checkpoint_and_a_taken_port_fail_with_what_to_do(tmp_path: Path) -> None:
    for file in find_model(DEFAULT_MODEL).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "weights.safetensors").write_bytes(b"broken")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = diagnose("--model", str(tmp_path), "--asr-model", str(tmp_path), "--port", port)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    words = " ".join(done.stdout.split())
    assert "fail emotion cannot read the model" in words
    assert "fail port" in words
    assert "warn recogniser" in words
    assert "name a folder with a Whisper model" in words
    assert "will not work here" in words
