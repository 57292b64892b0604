"""Audio from one client becomes emotion for another: real websockets, a real pipeline, a sender that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from stream_mer.config import EngineSettings, LyricsSettings, ServeSettings
from stream_mer.engine import Engine
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.sources.remote import RemoteSource

PATIENCE_S = 60.0
RATE_HZ = 48_000
START = {"type": "audio.start", "stream": "desk", "format": "s16le", "rate_hz": RATE_HZ, "channels": 2}
BLOCK_S = 0.05
TOKEN = "open sesame, open"  # noqa: S105 - of a test


@contextlib.asynccontextmanager
async def desk(model: Path, **settings: Any) -> AsyncIterator[Server]:
    """A server with one stream that wants its audio from a client."""
    source, hub = RemoteSource("desk"), Hub()
    engine = Engine(EngineSettings(model=str(model), lyrics=LyricsSettings(mode="off")))
    pipeline = engine.pipeline(source, hub.sink("desk"), in_real_time=True)
    running = threading.Thread(target=pipeline.run, daemon=True)
    async with Server(hub, ServeSettings(port=0, close_timeout_s=1.0, **settings), inlets={"desk": source}) as server:
        running.start()
        yield server
        pipeline.stop()
        await asyncio.to_thread(running.join, PATIENCE_S)
    assert not running.is_alive()


async def send(client: ClientConnection, duration_s: float) -> None:
    """Play noise to the server, in real time."""
    rng, loop = np.random.default_rng(0), asyncio.get_running_loop()
    began = loop.time()
    for i in range(round(duration_s / BLOCK_S)):
        block = rng.integers(-8000, 8000, (round(BLOCK_S * RATE_HZ), 2), dtype=np.int16)
        await client.send(block.tobytes())
        await asyncio.sleep(began + (i + 1) * BLOCK_S - loop.time())


async def receive(client: ClientConnection, kind: str, **fields: object) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            message: dict[str, Any] = json.loads(await client.recv())
            if message["type"] == kind and fields.items() <= message.items():
                return message


async def closed_with(client: ClientConnection) -> int | None:
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(PATIENCE_S):
            while True:
                await client.recv()
    return client.close_code


async def test_what_one_client_sends_another_one_feels_and_both_know_when_it_ends(tiny_model: Path) -> None:
    async with desk(tiny_model) as server, connect(server.stream_url) as sender, connect(server.stream_url) as viewer:
        await viewer.send('{"type": "identify"}')
        await sender.send(json.dumps(START))
        sending = asyncio.create_task(send(sender, 2.5))
        frame = await receive(viewer, "emotion")
        assert frame["stream"] == "desk"
        later = await receive(viewer, "emotion")
        while later["index"] < frame["index"] + 2:  # a viewer that was late gets the newest alone
            later = await receive(viewer, "emotion")
        assert later["t1"] == pytest.approx(frame["t1"] + 0.5 * (later["index"] - frame["index"]))
        await sending
        await sender.send('{"type": "audio.end"}')
        await receive(viewer, "status", source="reconnecting")
        await receive(viewer, "emotion")  # time goes on
        await sender.send(json.dumps(START))
        await send(sender, 0.7)
        await receive(viewer, "status", source="live")


async def test_a_second_sender_is_told_why_not_and_is_let_in_once_the_first_is_gone(tiny_model: Path) -> None:
    async with desk(tiny_model) as server, connect(server.stream_url) as second:
        async with connect(server.stream_url) as first:
            await first.send(json.dumps(START))
            await send(first, 0.2)
            await second.send(json.dumps(START))
            refusal = await receive(second, "error")
            assert (refusal["code"], refusal["fatal"]) == (4403, False)
            assert "another client" in refusal["message"]
        async with asyncio.timeout(PATIENCE_S):
            message: dict[str, Any] = {}
            while message.get("type") != "pong":  # the server needs a moment to see that the first one left
                await asyncio.sleep(0.1)
                await second.send(json.dumps(START) + " ")
                await second.send('{"type": "ping", "id": "after"}')
                message = json.loads(await second.recv())
                while message["type"] not in {"error", "pong"}:
                    message = json.loads(await second.recv())


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        ({"stream": "piano"}, 4404, "no stream 'piano' takes audio from clients (desk)"),
        ({"rate_hz": 7}, 4400, "4000 to 384000 Hz, not 7"),
        ({"channels": 0}, 4400, "1 to 64 channels, not 0"),
    ],
)
async def test_a_refusal_says_why_and_leaves_the_client_connected(
    tiny_model: Path, change: dict[str, object], code: int, told: str
) -> None:
    async with desk(tiny_model) as server, connect(server.stream_url) as client:
        await client.send(json.dumps(START | change))
        refusal = await receive(client, "error")
        assert (refusal["code"], refusal["fatal"]) == (code, False)
        assert told in refusal["message"]
        await client.send('{"type": "ping", "id": 1}')
        await receive(client, "pong", id=1)


async def test_audio_without_a_start_or_too_much_of_it_ends_the_connection(tiny_model: Path) -> None:
    async with desk(tiny_model, max_audio_bytes=4096, max_audio_messages_per_s=10) as server:
        async with connect(server.stream_url) as client:
            await client.send(b"\0" * 100)
            assert await closed_with(client) == 4400
        async with connect(server.stream_url) as client:
            await client.send(json.dumps(START))
            await client.send(b"\0" * 5000)
            assert await closed_with(client) == 4400
        async with connect(server.stream_url) as client:
            await client.send(json.dumps(START))
            with contextlib.suppress(ConnectionClosed):
                for _ in range(40):
                    await client.send(b"\0" * 8)
            assert await closed_with(client) == 4429


async def test_only_those_who_know_the_token_may_send(tiny_model: Path) -> None:
    async with desk(tiny_model, token=TOKEN) as server:
        async with connect(server.stream_url) as client:
            await client.send(json.dumps(START))
            assert await closed_with(client) == 4401
        async with connect(server.stream_url) as client:
            await client.send(json.dumps({"type": "identify", "token": TOKEN}))
            await client.send(json.dumps(START))
            await send(client, 0.3)
            await receive(client, "emotion")


async def test_with_the_token_a_sender_comes_back_at_once_though_its_network_died(tiny_model: Path) -> None:
    async with desk(tiny_model, token=TOKEN, pong_timeout_s=3600.0) as server, connect(server.stream_url) as dead:
        identify = json.dumps({"type": "identify", "token": TOKEN})
        await dead.send(identify)
        await dead.send(json.dumps(START))
        await dead.send(bytes(9600))
        await receive(dead, "emotion")
        async with connect(server.stream_url) as again:
            await again.send(identify)
            await again.send(json.dumps(START))
            told = await receive(dead, "error")
            assert (told["code"], told["fatal"]) == (4403, False)
            await dead.send(bytes(9600))  # what was on its way
            sending = asyncio.create_task(send(again, 0.7))
            await receive(again, "status", source="live")
            await sending
            await dead.send('{"type": "ping", "id": 1}')
            await receive(dead, "pong", id=1)
            assert again.close_code is None
