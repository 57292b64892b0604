"""Where NATS is: what cannot be is refused, and what is secret is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_mer.cluster import settings
from stream_mer.cluster.settings import NatsSettings
from stream_mer.errors import SettingError
from stream_mer.utils.redaction import redact_address


@pytest.mark.parametrize("url", ["", "http://host", "nats://", "host:4222", "nats://host:port", "nats://a:1,ws://b:2"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SettingError, match="no address of NATS"):
        NatsSettings(url=url)


def test_passwords_and_tokens_are_never_shown() -> None:
    found = NatsSettings(url="nats://me:pa@ss@host:4222, tls://s3cret@other")
    assert found.servers == ["nats://me:pa@ss@host:4222", "tls://s3cret@other"]
    assert found.shown == "nats://***@host:4222, tls://***@other"
    for text in (found.shown, repr(found), redact_address("me:pa@ss@host")):
        assert not any(secret in text for secret in ("me:", "pa@ss", "s3cret"))
    with pytest.raises(SettingError) as refused:
        NatsSettings(url="http://me:secret@host")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("values", [{"lease_s": 0.5}, {"lease_s": 61}, {"replicas": 0}, {"replicas": 6}])
def test_values_out_of_range_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(SettingError, match="must be"):
        NatsSettings(url="nats://host", **values)


def test_files_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="there is no file"):
        NatsSettings(url="nats://host", credentials=tmp_path / "me.creds")


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "find_spec", lambda name: None)  # noqa: ARG005 - as the real one
    with pytest.raises(SettingError, match=r"pip install 'stream-mer\[nats\]'"):
        NatsSettings(url="nats://host")
