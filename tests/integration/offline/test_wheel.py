"""The wheel carries all that a user needs: the default checkpoint, the page and the demo song."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from stream_mer.config import DEFAULT_MODEL
from stream_mer.lyrics.vocals import SHIPPED

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder]
    subprocess.run([*command, REPOSITORY], check=True, timeout=500)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_carries_what_runs(names: set[str]) -> None:
    model, vocals = f"stream_mer/models/{DEFAULT_MODEL}", f"stream_mer/models/{SHIPPED}"
    wanted = {f"{model}/{name}" for name in ("weights.safetensors", "config.json", "CARD.md")}
    wanted |= {f"{vocals}/{name}" for name in ("vocals.safetensors", "vocals.json", "CARD.md")}
    wanted |= {f"stream_mer/{name}" for name in ("server/web/index.html", "demo/demo.ogg", "py.typed")}
    assert wanted <= names


def test_the_wheel_carries_no_tests_and_no_training_data(names: set[str]) -> None:
    assert not [
        name for name in names if name.startswith(("tests/", "benchmarks/")) or name.endswith((".opus", ".npy"))
    ]
