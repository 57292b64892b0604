"""The connection to NATS: what it says to whom, by a server made of a few lines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import tomllib
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from stream_mer.cluster import bus as bus_module
from stream_mer.cluster.bus import Bus
from stream_mer.cluster.settings import NatsSettings
from stream_mer.errors import ClusterError


class Eavesdropper:
    """A server of NATS that says what it is told to, and keeps what it hears."""

    def __init__(self, **info: Any) -> None:
        self._info = {"server_id": "x", "version": "2.11.0", "max_payload": 1 << 20, "headers": True, **info}
        self.heard: list[bytes] = []
        self._serving: set[asyncio.Task[Any]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)
            for _ in range(10):  # until the loop has closed what was aborted
                await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        writer.write(b"INFO " + json.dumps(self._info).encode() + b"\r\n")
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65_536):
                    self.heard.append(data)
        finally:
            writer.close()


@pytest.fixture
def authorities(tmp_path: Path) -> Path:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


@pytest.mark.parametrize(
    "info", [{}, {"tls_required": False}, {"tls_available": True}, {"auth_required": True}, {"tls_required": None}]
)
@pytest.mark.parametrize("by", ["scheme", "authorities"])
async def test_a_server_that_does_not_ask_for_tls_hears_nothing(
    info: dict[str, Any], by: str, authorities: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "FIRST_CONNECT_TIMEOUT_S", 0.5)
    server = Eavesdropper(**info)
    async with server.running() as port:
        place = f"me:secret@127.0.0.1:{port}"
        settings = (
            NatsSettings(url=f"tls://{place}")
            if by == "scheme"
            else NatsSettings(url=f"nats://{place}", authorities=authorities)
        )
        with pytest.raises(ClusterError, match="it does not speak TLS") as caught:
            async with Bus(settings, "test"):
                pass
    assert server.heard == []
    assert "secret" not in str(caught.value)


async def test_without_tls_asked_for_the_password_goes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: this server does hear whoever speaks to it."""
    monkeypatch.setattr(bus_module, "FIRST_CONNECT_TIMEOUT_S", 0.5)
    server = Eavesdropper()
    async with server.running() as port:
        with pytest.raises(ClusterError):
            async with Bus(NatsSettings(url=f"nats://me:secret@127.0.0.1:{port}"), "test"):
                pass
    assert b"secret" in b"".join(server.heard)


def test_only_the_release_is_asked_for_whose_private_method_is_overridden() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["optional-dependencies"]["nats"] == ["nats-py[nkeys]==2.16.*"]
    assert version("nats-py").startswith("2.16.")


async def test_a_message_that_its_handler_cannot_take_does_not_end_the_subscription(
    caplog: pytest.LogCaptureFixture,
) -> None:
    taken: list[str] = []

    def handler(subject: str, data: bytes) -> None:
        if data == b"bad":
            raise ZeroDivisionError("a bug")
        taken.append(subject)

    class OneSubject:
        async def subscribe(self, subject: str, *, cb: Any, **_: int) -> None:
            for data in (b"bad", b"bad", b"good"):
                await cb(SimpleNamespace(subject=subject, data=data))

    bus = Bus(NatsSettings(url="nats://127.0.0.1:4222"), "test")
    with caplog.at_level(logging.ERROR):
        await bus._listen(OneSubject(), "mer.v1.hall.emotion", handler)  # type: ignore[arg-type]
    assert taken == ["mer.v1.hall.emotion"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_a_bucket_is_followed_on_though_somebody_who_is_told_fails(caplog: pytest.LogCaptureFixture) -> None:
    told: list[int] = []

    class OneEntry:
        async def follow(self, *_: object, known: Any, **__: object) -> None:
            known({})
            raise ClusterError("gone")

    def known(_: object) -> None:
        told.append(len(told))
        if len(told) == 1:
            raise ZeroDivisionError("a bug")

    bus = Bus(NatsSettings(url="nats://127.0.0.1:4222"), "test")
    bus._client, bus._store = object(), OneEntry()  # type: ignore[assignment]
    following = asyncio.create_task(bus.follow("mer_channels", known=known, changed=lambda *_: None))
    async with asyncio.timeout(20):
        while len(told) < 2:  # noqa: ASYNC110 - it looks at what another task does
            await asyncio.sleep(0.01)
    following.cancel()
    assert "following mer_channels failed, and begins anew: a bug" in caplog.text
