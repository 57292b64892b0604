"""What computes on files alone: no server, sound card, browser or clock of its own, so others may compute beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
PATIENCE_S = 600
"""The recogniser computes for half a minute, and gives way to whatever else the machine does."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(PATIENCE_S))
