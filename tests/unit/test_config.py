"""Settings are checked once, where they are made."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from stream_mer import config
from stream_mer.config import EngineSettings, LyricsSettings, NatsSettings, SmoothingSettings, WindowSettings
from stream_mer.errors import SettingError
from stream_mer.utils.sanitise import redact_address


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
        ({"margin": 1.1}, "hysteresis must be 0 to 1, not 1.1"),
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


@pytest.mark.parametrize("url", ["", "http://host", "nats://", "host:4222", "nats://host:port", "nats://a:1,ws://b:2"])
def test_an_invalid_address_of_nats_is_rejected(url: str) -> None:
    with pytest.raises(SettingError, match="not an address of NATS"):
        NatsSettings(url=url)


def test_passwords_and_tokens_of_nats_are_never_shown() -> None:
    found = NatsSettings(url="nats://me:pa@ss@host:4222, tls://s3cret@other")
    assert found.servers == ["nats://me:pa@ss@host:4222", "tls://s3cret@other"]
    assert found.shown == "nats://***@host:4222, tls://***@other"
    for text in (found.shown, repr(found), redact_address("me:pa@ss@host")):
        assert not any(secret in text for secret in ("me:", "pa@ss", "s3cret"))
    with pytest.raises(SettingError) as refused:
        NatsSettings(url="http://me:secret@host")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("values", [{"lease_s": 0.5}, {"lease_s": 61}, {"replicas": 0}, {"replicas": 6}])
def test_settings_of_nats_out_of_range_are_rejected(values: dict[str, int]) -> None:
    with pytest.raises(SettingError, match="must be"):
        NatsSettings(url="nats://host", **values)


def test_files_with_credentials_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="there is no file"):
        NatsSettings(url="nats://host", credentials=tmp_path / "me.creds")


def test_without_the_nats_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "find_spec", lambda name: None)  # noqa: ARG005 - as the real one
    with pytest.raises(SettingError, match=r"pip install 'stream-mer\[nats\]'"):
        NatsSettings(url="nats://host")


@pytest.mark.parametrize("accuracy", [-0.1, 1.1, float("nan")])
def test_an_accuracy_out_of_range_is_a_setting_error(accuracy: float) -> None:
    with pytest.raises(SettingError, match="minimum accuracy must be 0 to 1"):
        EngineSettings(min_accuracy=accuracy)


@pytest.mark.parametrize(("values", "says"), [({"cpu_threads": 0}, "at least 1 thread"), ({"device": "tpu"}, "'tpu'")])
def test_a_recogniser_that_cannot_be_is_a_setting_error(values: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        LyricsSettings(**values)
