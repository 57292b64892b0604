"""The client in Python against a real server: what others find in the README of a library before they trust it."""

import asyncio
import contextlib
from dataclasses import replace

import pytest
import websockets.asyncio.server
from helpers import PATIENCE_S, free_port
from helpers import until as wait_until

from stream_mer import connect, messages
from stream_mer.errors import ServeError, TokenError
from stream_mer.server import client as client_module
from stream_mer.server.hub import Hub
from tools.examples import FRAME, LEVELS, LINE, STATUS


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


async def test_once_entered_anything_can_be_sent_and_nothing_after_the_end(hub, serving):
    async with serving(hub) as server, connect(server.stream_url) as client:
        assert client.hello.streams == ("main",)
        await client.subscribe("levels")
        assert isinstance(await until(client, messages.Hello), messages.Hello), "it is yielded all the same"
        assert (await until(client, messages.Result)).ok
    with pytest.raises(ServeError, match="no connection"):
        await client.control("blackout")


async def test_a_client_is_iterated_only_while_it_is_entered(hub, serving):
    async with serving(hub) as server:
        client = connect(server.stream_url)
        with pytest.raises(ServeError, match="async with connect"):
            await anext(aiter(client))
        async with client:
            reading = asyncio.create_task(until(client, messages.Levels))
            await asyncio.sleep(0)
        with pytest.raises(AssertionError, match="it ended"):  # and has not come back behind everybody's back
            await reading
        with pytest.raises(ServeError, match="async with connect"):
            await anext(aiter(client))


async def test_who_is_left_while_it_comes_back_does_not_stay(hub, serving):
    async with serving(hub) as server:
        port = server.port
        client = connect(server.stream_url)
        async with client:
            await until(client, messages.Ready)
            reading = asyncio.create_task(until(client, messages.Levels))
            await server.stop()
            begin, begun = client._send_identify, asyncio.Event()

            async def begin_slowly(*given):
                begun.set()
                await leaving
                await begin(*given)

            client._send_identify = begin_slowly
            leaving = asyncio.get_running_loop().create_future()
            async with serving(hub, port=port) as again:
                await begun.wait()
                await client.__aexit__(None, None, None)
                leaving.set_result(None)
                with pytest.raises(AssertionError, match="it ended"):
                    await reading
                assert not client.connected
                await wait_until(lambda: not again._sessions)


async def test_a_full_server_is_an_error_at_once_and_a_reason_to_wait_later(hub, serving):
    async with serving(hub, max_clients=1) as server, connect(server.stream_url):
        with pytest.raises(ServeError, match="all 1 places are taken"):
            await connect(server.stream_url).__aenter__()


@contextlib.asynccontextmanager
async def stranger(talk):
    """A websocket server of something else."""
    async with websockets.asyncio.server.serve(talk, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_server_that_says_no_hello_is_none(monkeypatch):
    monkeypatch.setattr(client_module, "OPEN_TIMEOUT_S", 0.5)

    async def is_silent(socket):
        await socket.wait_closed()

    async def is_chatty(socket):
        await socket.send('{"type": "welcome"}')

    async def is_another_sort(socket):
        await socket.send("SSH-2.0")

    for talk, why in (
        (is_silent, "sends no hello"),
        (is_chatty, "its first message is no hello"),
        (is_another_sort, "not mer.v1"),
    ):
        async with stranger(talk) as url:
            with pytest.raises(ServeError, match=why):
                await connect(url).__aenter__()


async def test_a_secure_address_of_a_server_without_tls_says_what_failed(hub, serving):
    async with serving(hub) as server:
        with pytest.raises(ServeError, match=r"nothing answers at wss://.* \(.+\); is stream-mer"):
            await connect(server.stream_url.replace("ws:", "wss:")).__aenter__()


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
    monkeypatch.setattr(client_module, "PING_INTERVAL_S", 0.2)
    monkeypatch.setattr(client_module, "PING_TIMEOUT_S", 2.0)
    async with serving(hub) as server, connect(await cable.lay(server.port)) as client:
        await until(client, messages.Ready)
        cable.is_whole = False
        hub.sink("main").publish(replace(LINE, text="sung meanwhile"))
        mending = asyncio.create_task(until(client, messages.Lyrics))
        await wait_until(lambda: not client.connected)
        cable.is_whole = True
        assert (await mending).text == "sung meanwhile"


async def test_the_client_yields_typed_messages_and_ends_in_peace(hub, serving):
    sink = hub.sink("main")
    sink.publish(FRAME)
    seen = []
    async with serving(hub) as server, connect(server.stream_url, reconnect=False) as client:
        async for message in client:
            seen.append(message)
            if isinstance(message, messages.Ready):
                assert client.connected
                await client.send(messages.Ping(id=5))
            elif isinstance(message, messages.Pong):
                sink.publish(LINE)
            elif isinstance(message, messages.Lyrics):
                stopping = asyncio.create_task(server.stop())
        assert not client.connected
        await stopping
    kinds = [messages.Hello, messages.Ready, messages.Pong, messages.Lyrics, messages.Error]
    assert [type(message) for message in seen] == kinds
    assert seen[1].snapshot[-1].message.valence == FRAME.valence


async def test_the_client_comes_back_after_a_restart(hub, serving):
    async with serving(hub) as server, connect(server.stream_url) as client:
        await until(client, messages.Ready)
        port = server.port
        await server.stop()
        async with serving(hub, port=port):
            await until(client, messages.Hello)


async def test_the_client_does_not_come_back_where_it_is_not_wanted(hub, serving):
    async with (
        serving(hub, token="open sesame, open") as server,  # noqa: S106
        connect(server.stream_url, token="no") as client,  # noqa: S106
    ):
        with pytest.raises(TokenError, match="wrong token"):
            async for _ in client:
                pass


async def test_where_nothing_answers_the_client_says_so():
    with pytest.raises(ServeError, match="is stream-mer serve running there"):
        await connect(f"127.0.0.1:{free_port()}").__aenter__()


async def test_a_client_gets_nothing_that_it_did_not_ask_for_however_slow_the_way(hub, serving, monkeypatch):
    """Its ``identify`` comes so late that the server takes it for a silent client."""
    sink = hub.sink("main")
    sink.publish(STATUS)
    send = client_module.Client._send_identify

    async def send_late(self, socket, hello):
        await wait_until(lambda: hub.statistics().clients == 1)
        sink.publish(FRAME)
        await send(self, socket, hello)

    monkeypatch.setattr(client_module.Client, "_send_identify", send_late)
    levels = messages.Subscription(events=("levels",))
    async with serving(hub) as server, connect(server.stream_url, subscribe=[levels]) as client:
        got = []
        async with asyncio.timeout(PATIENCE_S):
            async for message in client:
                got.append(type(message))
                if isinstance(message, messages.Ready):
                    sink.publish(LEVELS)
                if isinstance(message, messages.Levels):
                    break
    assert got == [messages.Hello, messages.Ready, messages.Levels]


async def test_what_the_server_refuses_of_identify_is_an_error(hub, serving):
    subscription = messages.Subscription(streams=(7,))  # no type checker would let it pass
    async with serving(hub) as server, connect(server.stream_url, subscribe=[subscription]) as client:
        with pytest.raises(ServeError, match=r"refused what this client asks for: .*streams"):
            await until(client, messages.Ready)
