"""Settings are checked once, where they are made."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from stream_mer.config import SmoothingSettings, WindowSettings
from stream_mer.errors import SettingError


@pytest.mark.parametrize("hop_s", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("context_s", [3.0, 10.0, 60.0])
def test_the_ends_of_the_ranges_are_allowed_and_become_samples(hop_s: float, context_s: float) -> None:
    settings = WindowSettings(hop_s=hop_s, context_s=context_s)
    assert (settings.hop_samples, settings.context_samples) == (hop_s * 16_000, context_s * 16_000)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"hop_s": 0.0999}, "hop must be 0.1 to 2 seconds, not 0.0999"),
        ({"hop_s": 2.001}, "hop must be 0.1 to 2"),
        ({"hop_s": -1.0}, "hop must be 0.1 to 2"),
        ({"hop_s": float("nan")}, "hop must be 0.1 to 2"),
        ({"context_s": 2.9}, "context must be 3 to 60"),
        ({"context_s": 61.0}, "context must be 3 to 60"),
        ({"context_s": float("inf")}, "context must be 3 to 60"),
    ],
)
def test_a_window_that_cannot_be_is_a_setting_error(values: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        WindowSettings(**values)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"attack_s": -0.1}, "attack and release"),
        ({"release_s": -0.1}, "attack and release"),
        ({"release_s": float("nan")}, "attack and release"),
        ({"margin": 1.1}, "margin must be 0 to 1, not 1.1"),
        ({"dwell_s": -1.0}, "dwell must not be negative"),
        ({"min_confidence": 1.2}, "minimum confidence must be 0 to 1"),
        ({"min_confidence": -0.2}, "minimum confidence must be 0 to 1"),
    ],
)
def test_smoothing_that_cannot_be_is_a_setting_error(values: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        SmoothingSettings(**values)


def test_settings_cannot_be_changed_behind_their_checks() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        WindowSettings().hop_s = 9.0  # type: ignore[misc]
