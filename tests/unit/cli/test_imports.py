"""What each command loads: every package costs time at its start, and memory for as long as it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.startup import REPORT_LOADED, loaded_packages, write_wav
from stream_mer.cli.options import SERVER_URL
from stream_mer.server.client import DEFAULT_URL

DRAWN = {"rich"}
TALKED = {"msgspec", "websockets"}
SERVED = {*TALKED, "asyncio", "prometheus_client", "tomllib"}


def loaded_by(*arguments: str) -> set[str]:
    """Run a command and return which of ``PACKAGES`` it loaded."""
    command = [sys.executable, "-c", REPORT_LOADED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    return loaded_packages(done.stderr)


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ("--help", set()),
        ("--version", set()),
        ("listen --help", set()),
        ("send --help", set()),
        ("channels --help", {"asyncio"}),
        ("worker --help", {"asyncio"}),
        ("serve --help", SERVED),
        ("replay --help", SERVED),
        ("protocol", {"msgspec"}),
        ("lights", {"msgspec"} | DRAWN),
        ("osc", {"msgspec"} | DRAWN),
        ("tag --help", {"msgspec", "numpy", "soxr"}),
    ],
)
def test_a_command_loads_what_it_needs_alone(arguments: str, needed: set[str]) -> None:
    assert loaded_by(*arguments.split()) <= needed


def test_a_settings_file_loads_no_other_command(tmp_path: Path) -> None:
    file = tmp_path / "show.toml"
    file.write_text("port = 8765\nhop = 1\n[serve]\nhop = 2\n[listen]\njson = true\n", encoding="utf-8")
    assert "faster_whisper" not in loaded_by("protocol", "--schema", "--config", str(file))


def test_tagging_without_lyrics_loads_neither_a_recogniser_nor_a_server(tiny_model: Path, tmp_path: Path) -> None:
    write_wav(tmp_path / "two-seconds.wav")
    loaded = loaded_by("tag", "--no-lyrics", "--model", str(tiny_model), str(tmp_path / "two-seconds.wav"))
    assert loaded <= {"av", "msgspec", "numpy", "onnxruntime", "safetensors", "soxr"}


def test_the_default_server_is_that_of_the_client() -> None:
    assert SERVER_URL == DEFAULT_URL
