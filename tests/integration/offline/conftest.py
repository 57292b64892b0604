"""What computes on files alone: no server, sound card, browser or clock of its own, so others may compute beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_mer.lyrics import whisper

HERE = Path(__file__).parent
PATIENCE_S = 600
"""The recogniser computes for half a minute, and gives way to whatever else the machine does."""


@pytest.fixture(scope="session")
def whisper_package() -> whisper.SplitPackage:
    """The packages with Whisper's base weights; skips where they are not installed."""
    package = whisper._base_package()
    if package is None:
        pytest.skip("the packages with Whisper's base weights are not installed")
    return package


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(PATIENCE_S))
