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
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            folder,
            REPOSITORY,
        ],
        check=True,
        timeout=500,
    )
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize(
    "wanted",
    [
        f"stream_mer/models/{DEFAULT_MODEL}/weights.safetensors",
        f"stream_mer/models/{DEFAULT_MODEL}/config.json",
        f"stream_mer/models/{DEFAULT_MODEL}/CARD.md",
        f"stream_mer/models/{SHIPPED}/vocals.safetensors",
        f"stream_mer/models/{SHIPPED}/vocals.json",
        f"stream_mer/models/{SHIPPED}/CARD.md",
        "stream_mer/server/web/index.html",
        "stream_mer/demo/demo.ogg",
        "stream_mer/py.typed",
    ],
)
def test_the_wheel_carries(names: set[str], wanted: str) -> None:
    assert wanted in names


def test_the_wheel_carries_no_tests_and_no_training_data(names: set[str]) -> None:
    assert not [
        name for name in names if name.startswith(("tests/", "benchmarks/")) or name.endswith((".opus", ".npy"))
    ]
