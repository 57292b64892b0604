"""The client in Python against a real server: what others find in the README of a library before they trust it."""

import asyncio
from dataclasses import replace

import pytest

from stream_mer import connect, messages
from stream_mer.errors import ServeError
from stream_mer.serve import client as client_module
from stream_mer.serve.examples import FRAME, LINE
from stream_mer.serve.hub import Hub

PATIENCE_S = 60.0
"""How long a test waits for what must come; it says nothing of how fast it comes."""


async def until(client, kind):
    async with asyncio.timeout(PATIENCE_S):
        async for message in client:
            if isinstance(message, kind):
                return message
    raise AssertionError(f"it ended and never yielded {kind.__name__}")


async def test_iterating_again_goes_on_where_it_stopped(hub, serving):
    async with serving(hub) as server, connect(server.stream_url) as client:
        await until(client, messages.Ready)
        for segment in range(5):
            hub.sink("main").publish(replace(LINE, segment=segment))
            assert (await until(client, messages.Lyrics)).segment == segment
            await asyncio.sleep(0)  # the loop puts away the iteration before; the connection must not suffer from it
            assert client.connected
    assert not client.connected


async def test_before_hello_and_after_the_end_nothing_can_be_sent(hub, serving):
    async with serving(hub) as server, connect(server.stream_url) as client:
        with pytest.raises(ServeError, match="wait for its hello"):
            await client.subscribe("levels")
        await until(client, messages.Ready)
        await client.subscribe("levels")
        assert (await until(client, messages.Result)).ok
    with pytest.raises(ServeError, match="no connection"):
        await client.control("blackout")


async def test_an_operator_in_python(hub, serving):
    hub.sink("main").publish(FRAME)
    async with serving(hub) as server, connect(server.stream_url) as client:
        await until(client, messages.Ready)
        request = await client.control("override", override=messages.OverridePart(valence=0.5, arousal=-0.5, ttl_s=60))
        assert (await until(client, messages.Result)).id == request
        held = await until(client, messages.Emotion)
        assert (held.valence, held.arousal, held.hold) == (0.5, -0.5, "override")


async def test_a_refused_wish_is_not_repeated(hub, serving):
    async with serving(hub) as server, connect(server.stream_url) as client:
        await until(client, messages.Ready)
        await client.subscribe("emotion", streams=["nowhere"])
        assert (await until(client, messages.Result)).error.code == messages.CloseCode.NO_STREAM
        client._socket.transport.abort()
        hub.sink("main").publish(replace(LINE, segment=4))
        assert (await until(client, messages.Ready)).resumed is True
        assert (await until(client, messages.Lyrics)).segment == 4


async def test_many_streams_do_not_make_coming_back_impossible(serving):
    hub = Hub()
    for number in range(200):
        hub.sink(f"stage {number}").publish(FRAME)
    async with serving(hub) as server, connect(server.stream_url) as client:
        await until(client, messages.Ready)
        client._socket.transport.abort()
        assert (await until(client, messages.Ready)).resumed is None, "the list is too long for one message"


async def test_a_pulled_cable_is_noticed(cable, hub, serving, monkeypatch):
    monkeypatch.setattr(client_module, "PING_EVERY_S", 0.2)
    monkeypatch.setattr(client_module, "ANSWER_WITHIN_S", 2.0)
    async with serving(hub) as server, connect(await cable.lay(server.port)) as client:
        await until(client, messages.Ready)
        cable.is_whole = False
        hub.sink("main").publish(replace(LINE, text="sung meanwhile"))
        mending = asyncio.create_task(until(client, messages.Lyrics))
        async with asyncio.timeout(PATIENCE_S):
            while client.connected:  # noqa: ASYNC110 - it is to be noticed without any help
                await asyncio.sleep(0.01)
        cable.is_whole = True
        assert (await mending).text == "sung meanwhile"
