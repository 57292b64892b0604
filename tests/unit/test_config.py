"""Settings are checked once, where they are made."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from stream_mer import config
from stream_mer.config import (
    EngineSettings,
    LyricsSettings,
    NatsSettings,
    ServeSettings,
    SmoothingSettings,
    WindowSettings,
)
from stream_mer.errors import SettingError

PUBLIC = "0.0.0.0"  # noqa: S104 - refused, not bound


@pytest.mark.parametrize("hop_s", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("context_s", [3.0, 10.0, 60.0])
def test_the_ends_of_the_ranges_are_allowed_and_become_samples(hop_s: float, context_s: float) -> None:
    settings = WindowSettings(hop_s=hop_s, context_s=context_s)
    assert (settings.hop_samples, settings.context_samples) == (hop_s * 16_000, context_s * 16_000)


@pytest.mark.parametrize(
    ("settings", "values", "says"),
    [
        (WindowSettings, {"hop_s": 0.0999}, "hop must be 0.1 to 2 seconds, not 0.0999"),
        (WindowSettings, {"hop_s": 2.001}, "hop must be 0.1 to 2"),
        (WindowSettings, {"hop_s": float("nan")}, "hop must be 0.1 to 2"),
        (WindowSettings, {"context_s": 2.9}, "context must be 3 to 60"),
        (WindowSettings, {"context_s": float("inf")}, "context must be 3 to 60"),
        (SmoothingSettings, {"attack_s": -0.1}, "attack and release"),
        (SmoothingSettings, {"release_s": float("nan")}, "attack and release"),
        (SmoothingSettings, {"margin": 1.1}, "hysteresis must be 0 to 1, not 1.1"),
        (SmoothingSettings, {"dwell_s": -1.0}, "dwell must not be negative"),
        (SmoothingSettings, {"min_confidence": 1.2}, "minimum confidence must be 0 to 1"),
        (SmoothingSettings, {"min_confidence": -0.2}, "minimum confidence must be 0 to 1"),
        (EngineSettings, {"min_accuracy": -0.1}, "minimum accuracy must be 0 to 1"),
        (EngineSettings, {"min_accuracy": float("nan")}, "minimum accuracy must be 0 to 1"),
        (LyricsSettings, {"cpu_threads": 0}, "at least 1 thread"),
        (LyricsSettings, {"device": "tpu"}, "must be cpu or cuda, not 'tpu'"),
        (NatsSettings, {"lease_s": 0.5}, "lease must be"),
        (NatsSettings, {"lease_s": 61}, "lease must be"),
        (NatsSettings, {"replicas": 0}, "replicas must be"),
        (NatsSettings, {"replicas": 6}, "replicas must be"),
        (NatsSettings, {"credentials": Path("gone.creds")}, "there is no file"),
        *(
            (NatsSettings, {"url": url}, "not an address of NATS")
            for url in ("", "http://host", "nats://", "host:4222", "nats://host:port", "nats://a:1,ws://b:2")
        ),
        (ServeSettings, {"port": -1}, "port must be 0 to 65535, not -1"),
        (ServeSettings, {"port": 65_536}, "port"),
        (ServeSettings, {"max_message_bytes": 10}, "max_message_bytes must be 64 to 65536 bytes"),
        (ServeSettings, {"identify_timeout_s": 0.0}, "identify_timeout_s"),
        (ServeSettings, {"token": "fifteen letters"}, "--token has 15 characters"),
        (ServeSettings, {"token": " a token with a space"}, "space"),
        (ServeSettings, {"operator_token": "fifteen letters"}, "--operator-token has 15"),
        (ServeSettings, {"frame_origins": ("https://a.example; script-src *",)}, "not an origin"),
        (ServeSettings, {"frame_origins": ("a.example",)}, "not an origin"),
        (ServeSettings, {"proxies": ("nginx.example",)}, "not an IP address"),
        (ServeSettings, {"tls_key": Path("key.pem")}, "a TLS key needs its certificate"),
        (ServeSettings, dict.fromkeys(("token", "operator_token"), "a token to get in"), "both tokens are the same"),
        (ServeSettings, {"host": PUBLIC, "operator_token": "the desk's own token"}, "a token is required"),
    ],
)
def test_values_out_of_range_are_setting_errors(settings: type[Any], values: dict[str, Any], says: str) -> None:
    required = {"url": "nats://host"} if settings is NatsSettings else {}
    with pytest.raises(SettingError, match=re.escape(says)):
        settings(**required | values)


def test_settings_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        WindowSettings().hop_s = 9.0  # type: ignore[misc]


def test_passwords_and_tokens_are_never_shown() -> None:
    found = NatsSettings(url="nats://me:pa@ss@host:4222, tls://s3cret@other")
    assert found.servers == ["nats://me:pa@ss@host:4222", "tls://s3cret@other"]
    assert found.shown == "nats://***@host:4222, tls://***@other"
    for text in (found.shown, repr(found)):
        assert not any(secret in text for secret in ("me:", "pa@ss", "s3cret"))
    with pytest.raises(SettingError) as refused:
        NatsSettings(url="http://me:secret@host")
    assert "secret" not in str(refused.value)
    assert "hush" not in repr(ServeSettings(token="hush, hush, hush, hush"))  # noqa: S106 - a token of a test


def test_without_the_nats_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "find_spec", lambda name: None)  # noqa: ARG005 - as the real one
    with pytest.raises(SettingError, match=r"pip install 'stream-mer\[nats\]'"):
        NatsSettings(url="nats://host")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8", "[::1]", "LOCALHOST"])
def test_this_machine_needs_no_token(host: str) -> None:
    assert ServeSettings(host=host).is_private


@pytest.mark.parametrize("host", [PUBLIC, "::", "192.168.1.4", "stage-pc.local", ""])
def test_a_public_address_without_a_token_is_refused_with_the_line_to_type(host: str) -> None:
    suggested = set()
    for _ in range(2):
        with pytest.raises(SettingError, match=r"Type: stream-mer serve --host \S+ --token \S+") as refused:
            ServeSettings(host=host)
        found = re.search(r"--token (\w{16,}) ", str(refused.value))
        assert found is not None
        suggested.add(found[1])
    assert len(suggested) == 2, "a fixed token is not a secret"
    assert not ServeSettings(host=host, token="a secret of a test").is_private  # noqa: S106 - a token of a test
