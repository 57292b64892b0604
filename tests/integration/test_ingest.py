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
from helpers import PATIENCE_S
from talking import Talk, talking

from stream_mer.config import EngineSettings, LyricsSettings, ServeSettings
from stream_mer.engine import Engine
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.sources.remote import RemoteSource

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


async def send(client: Talk, duration_s: float) -> None:
    """Play noise to the server, in real time."""
    rng, loop = np.random.default_rng(0), asyncio.get_running_loop()
    began = loop.time()
    for i in range(round(duration_s / BLOCK_S)):
        block = rng.integers(-8000, 8000, (round(BLOCK_S * RATE_HZ), 2), dtype=np.int16)
        await client.send(block.tobytes())
        await asyncio.sleep(began + (i + 1) * BLOCK_S - loop.time())


async def test_what_one_client_sends_another_one_feels_and_both_know_when_it_ends(tiny_model: Path) -> None:
    async with desk(tiny_model) as server, talking(server) as sender, talking(server) as viewer:
        await viewer.send('{"type": "identify"}')
        await sender.send(json.dumps(START))
        sending = asyncio.create_task(send(sender, 2.5))
        frame = await viewer.until("emotion")
        assert frame["stream"] == "desk"
        later = await viewer.until("emotion")
        while later["index"] < frame["index"] + 2:  # a viewer that was late gets the newest alone
            later = await viewer.until("emotion")
        assert later["t1"] == pytest.approx(frame["t1"] + 0.5 * (later["index"] - frame["index"]))
        await sending
        await sender.send('{"type": "audio.end"}')
        await viewer.until("status", source="reconnecting")
        await viewer.until("emotion")  # time goes on
        await sender.send(json.dumps(START))
        await send(sender, 0.7)
        await viewer.until("status", source="live")


async def test_a_second_sender_is_told_why_not_and_is_let_in_once_the_first_is_gone(tiny_model: Path) -> None:
    async with desk(tiny_model) as server, talking(server) as second:
        async with talking(server) as first:
            await first.send(json.dumps(START))
            await send(first, 0.2)
            await second.send(json.dumps(START))
            refusal = await second.until("error")
            assert (refusal["code"], refusal["fatal"]) == (4403, False)
            assert "another client" in refusal["message"]
        async with asyncio.timeout(PATIENCE_S):
            while True:  # the server needs a moment to see that the first one left
                await second.send(json.dumps(START))
                if not [message for message in await second.all_so_far() if message["type"] == "error"]:
                    break
                await asyncio.sleep(0.1)


async def test_a_refusal_says_why_and_leaves_the_client_connected(tiny_model: Path) -> None:
    async with desk(tiny_model) as server, talking(server) as client:
        for change, code, told in (
            ({"stream": "piano"}, 4404, "no stream 'piano' takes audio from clients (desk)"),
            ({"rate_hz": 7}, 4400, "4000 to 384000 Hz, not 7"),
            ({"channels": 0}, 4400, "1 to 64 channels, not 0"),
        ):
            await client.send(json.dumps(START | change))
            refusal = await client.until("error")
            assert (refusal["code"], refusal["fatal"]) == (code, False)
            assert told in refusal["message"]
        await client.all_so_far()


async def test_audio_without_a_start_or_too_much_of_it_ends_the_connection(tiny_model: Path) -> None:
    async with desk(tiny_model, max_audio_bytes=4096, max_audio_messages_per_s=10) as server:
        async with talking(server) as client:
            await client.send(b"\0" * 100)
            assert (await client.closed_with())[1] == 4400
        async with talking(server) as client:
            await client.send(json.dumps(START))
            await client.send(b"\0" * 5000)
            assert (await client.closed_with())[1] == 4400
        async with talking(server) as client:
            await client.send(json.dumps(START))
            for _ in range(1000):
                await client.send(b"\0" * 8)
            assert (await client.closed_with())[1] == 4429


async def test_only_those_who_know_the_token_may_send(tiny_model: Path) -> None:
    async with desk(tiny_model, token=TOKEN) as server:
        async with talking(server) as client:
            await client.send(json.dumps(START))
            assert (await client.closed_with())[1] == 4401
        async with talking(server) as client:
            await client.send(json.dumps({"type": "identify", "token": TOKEN}))
            await client.send(json.dumps(START))
            await send(client, 0.3)
            await client.until("emotion")
