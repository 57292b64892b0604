"""The server as its clients meet it: real websockets, real HTTP, clients that behave and clients that do not."""

import asyncio
import base64
import contextlib
import http.client
import io
import json
import logging
import os
import socket
import struct
import sys
import threading
from dataclasses import replace

import pytest
import websockets.asyncio.client
from helpers import until
from rich.console import Console
from websockets.exceptions import ConnectionClosed, InvalidStatus

from stream_mer.config import ServeSettings
from stream_mer.errors import ServeError, SettingError
from stream_mer.server import messages as wire
from stream_mer.server import server as server_module
from stream_mer.server.client import connect
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.server.session import ServerInfo
from stream_mer.server.terminal import listen
from tools.examples import CHANGE, FRAME, LINE, STATUS

PATIENCE_S = 60.0
"""How long a test waits for what must come; it says nothing of how fast it comes."""

TOKEN = "open sesame, open"  # noqa: S105 - of a test


@pytest.fixture
def hub():
    return Hub()


@contextlib.asynccontextmanager
async def raw_client(server, **options):
    async with websockets.asyncio.client.connect(server.stream_url, **options) as client:
        yield client


async def receive(client) -> dict:
    async with asyncio.timeout(PATIENCE_S):
        return json.loads(await client.recv())


async def receive_type(client, kind: str) -> dict:
    while True:
        message = await receive(client)
        if message["type"] == kind:
            return message


async def closed_with(client) -> tuple[list[dict], int]:
    """Read to the end: what came, and the close code."""
    messages = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            messages.append(await receive(client))
    return messages, client.close_code


async def identify(client, /, **fields) -> dict:
    await client.send(json.dumps({"type": "identify", **fields}))
    return await receive_type(client, "ready")


async def test_hello_comes_first_and_says_what_this_is(hub):
    hub.sink("main")
    settings, info = ServeSettings(port=0, max_clients=7), ServerInfo(window_s=12.0, hop_s=0.25)
    async with Server(hub, settings, info) as server, raw_client(server) as client:
        hello = await receive(client)
    assert hello["type"] == "hello"
    assert hello["protocol"] == "mer.v1"
    assert hello["server"].startswith("stream-mer/")
    assert hello["auth_required"] is False
    assert hello["session"] == hub.session
    assert hello["streams"] == ["main"]
    assert hello["categories"] == ["happy", "angry", "sad", "relaxed"]
    assert hello["clusters"] == ["C1", "C2", "C3", "C4", "C5"]
    assert hello["va_range"] == [-1, 1]
    assert (hello["window_s"], hello["hop_s"]) == (12.0, 0.25)
    assert hello["limits"]["max_clients"] == 7


async def test_a_client_that_never_identifies_gets_the_newest_and_then_every_event(hub, serving):
    sink = hub.sink("main")
    for event in (STATUS, CHANGE, FRAME, LINE):
        sink.publish(event)
    async with serving(hub, identify_timeout_s=0.05) as server, raw_client(server) as client:
        first = [(await receive(client))["type"] for _ in range(4)]
        assert first == ["hello", "status", "emotion", "lyrics"]
        for event in (replace(FRAME, index=85), CHANGE, LINE, STATUS):
            sink.publish(event)
        then = [await receive(client) for _ in range(4)]
    assert [(message["type"], message["seq"]) for message in then] == [
        ("emotion", 1),
        ("change", 1),
        ("lyrics", 1),
        ("status", 1),
    ]


async def test_identify_is_answered_with_ready_and_its_snapshot_and_then_events(hub, serving):
    sink = hub.sink("main")
    sink.publish(STATUS)
    sink.publish(FRAME)
    async with serving(hub) as server, raw_client(server) as client:
        await receive(client)
        ready = await identify(client, client={"name": "test", "kind": "test"})
        assert {entry["message"]["type"] for entry in ready["snapshot"]} == {"status", "emotion"}
        assert all(entry["age_s"] >= 0 for entry in ready["snapshot"])
        assert len(ready["client_id"]) == 8
        sink.publish(replace(FRAME, index=99))
        assert (await receive(client))["index"] == 99


async def test_a_subscription_keeps_the_rest_away(hub, serving):
    sink = hub.sink("main")
    async with serving(hub) as server, raw_client(server) as client:
        await receive(client)
        ready = await identify(client, subscribe=[{"streams": ["main"], "events": ["change", "dance"], "max_hz": 5}])
        assert ready["granted"] == [{"streams": ["main"], "events": ["change"], "max_hz": 5.0}]
        for event in (FRAME, LINE, STATUS, CHANGE):
            sink.publish(event)
        assert (await receive(client))["type"] == "change"


async def test_events_of_many_threads_arrive_in_the_order_of_their_seq(hub, serving):
    sink = hub.sink("main")
    async with serving(hub, queued_messages=2000) as server, raw_client(server) as client:
        await receive(client)
        await identify(client)
        threads = [
            threading.Thread(target=lambda: [sink.publish(replace(LINE, segment=i)) for i in range(100)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        seqs = [(await receive(client))["seq"] for _ in range(400)]
        for thread in threads:
            thread.join()
    assert seqs == list(range(400))


async def test_ping_is_answered_with_its_id_and_time(hub, serving):
    async with serving(hub) as server, raw_client(server) as client:
        await client.send('{"type":"ping","id":"x7","t":12.5}')
        assert await receive_type(client, "pong") == {"type": "pong", "id": "x7", "t": 12.5}


@pytest.mark.parametrize("number", ["7", "-1", "1234.5", "1e-3", "123456789012345678901234567890", '"x7"', "null"])
async def test_an_id_is_whatever_the_client_counts_with(hub, serving, number):
    async with serving(hub) as server, raw_client(server) as client:
        for kind, answer in (("ping", "pong"), ("subscribe", "result")):
            await client.send(f'{{"type":"{kind}","id":{number}}}')
            assert (await receive_type(client, answer))["id"] == json.loads(number)


async def test_unknown_fields_of_a_client_are_ignored(hub, serving):
    async with serving(hub) as server, raw_client(server) as client:
        await client.send('{"type":"ping","id":1,"colour":"blue"}')
        assert (await receive_type(client, "pong"))["id"] == 1


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("not json", "must be JSON"),
        ("[]", "JSON object"),
        ('{"type":"dance"}', '"dance" is not a message'),
        ('{"type":"identify","subscribe":4}', "malformed"),
        (b"\x00\x01", "binary"),
        ('{"type":"ping","id":"' + "x" * 5000 + '"}', "too large"),
        ('{"type":"ping","x":' + "[" * 1500 + "]" * 1500 + "}", "nested too deeply"),
    ],
    ids=["no json", "no object", "unknown type", "bad field", "binary", "oversize", "bottomless"],
)
async def test_a_bad_message_is_explained_and_ends_the_connection_with_4400(hub, serving, bad, words):
    async with serving(hub) as server, raw_client(server) as client:
        await client.send(bad)
        messages, code = await closed_with(client)
    assert code == 4400
    assert messages[-1]["type"] == "error"
    assert messages[-1]["fatal"] is True
    assert messages[-1]["code"] == 4400
    assert words in messages[-1]["message"]


async def test_a_huge_message_is_cut_off_unread(hub, serving):
    async with serving(hub) as server, raw_client(server) as client:
        with contextlib.suppress(ConnectionClosed):
            await client.send("x" * 200_000)
        assert (await closed_with(client))[1] == 1009


async def test_too_many_messages_end_with_4429(hub, serving):
    async with serving(hub, max_messages_per_s=1) as server, raw_client(server) as client:
        with contextlib.suppress(ConnectionClosed):
            for i in range(200):
                await client.send(json.dumps({"type": "ping", "id": i}))
        messages, code = await closed_with(client)
    assert code == 4429
    assert messages[-1]["retry_after_s"] > 0


async def test_one_bad_client_does_not_disturb_another(hub, serving):
    sink = hub.sink("main")
    async with serving(hub) as server, raw_client(server) as good, raw_client(server) as bad:
        await receive(good)
        await identify(good)
        await bad.send("garbage")
        await closed_with(bad)
        sink.publish(FRAME)
        assert (await receive(good))["type"] == "emotion"


async def test_stopping_tells_every_client_and_closes_with_1001(hub, serving):
    async with serving(hub) as server, raw_client(server) as one, raw_client(server) as two:
        await receive(one)
        await identify(one)
        await receive(two)
        stopping = asyncio.create_task(server.stop())
        for client in (one, two):
            messages, code = await closed_with(client)
            assert code == 1001
            assert messages[-1]["message"] == "the server is shutting down"
        async with asyncio.timeout(PATIENCE_S):
            await stopping
    assert hub.client_count == 0


async def test_a_restart_says_so(hub, serving):
    async with serving(hub) as server, raw_client(server) as client:
        await receive(client)
        stopping = asyncio.create_task(server.stop(1012))
        messages, code = await closed_with(client)
        await stopping
    assert code == 1012
    assert messages[-1]["retry_after_s"] == 1.0


def open_and_never_read(port: int) -> socket.socket:
    """Do the handshake of a websocket by hand on a socket with hardly any buffer."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    raw.connect(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    raw.sendall(
        f"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return raw


async def test_a_client_that_never_reads_is_cut_off_and_the_other_one_misses_nothing(hub, serving, caplog):
    caplog.set_level(logging.DEBUG, "stream_mer.server.session")
    sink = hub.sink("main")
    settings = {"identify_timeout_s": 0.05, "stuck_after_s": 0.5, "queued_messages": 8, "close_timeout_s": 30.0}
    async with serving(hub, **settings) as server, raw_client(server) as healthy:
        await receive(healthy)
        await identify(healthy)
        stuck = open_and_never_read(server.port)
        await until(lambda: hub.client_count == 2)
        got = 0
        while not any("closing with 4410" in record.getMessage() for record in caplog.records):
            sink.publish(replace(LINE, segment=got, text="la " * 300))
            sink.publish(replace(FRAME, index=got))
            assert (await receive_type(healthy, "lyrics"))["segment"] == got
            assert (await receive_type(healthy, "emotion"))["index"] == got
            got += 1
            assert got < 20_000, "the stuck client was never noticed"
        assert got > 8
        # It wakes up at last: the reason is the last thing that it finds.
        data = await asyncio.to_thread(read_to_end, stuck)
        assert b'"code":4410' in data
        assert struct.pack(">H", 4410) in data
        await until(lambda: hub.client_count == 1)
        sink.publish(STATUS)
        assert (await receive(healthy))["type"] == "status"


def read_to_end(raw: socket.socket, code: int = 4410) -> bytes:
    raw.settimeout(PATIENCE_S)
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := raw.recv(65_536):
            data += piece
            if struct.pack(">H", code) in data[-200:]:
                break
    raw.close()
    return data


async def test_a_slow_client_gets_the_newest_and_is_told_what_it_missed(hub, serving):
    sink = hub.sink("main")
    async with serving(hub, identify_timeout_s=0.05, stuck_after_s=3600.0, queued_messages=8) as server:
        slow = open_and_never_read(server.port)
        await until(lambda: hub.client_count == 1)
        published = 0
        while hub.statistics().outboxes.dropped < 100:
            sink.publish(replace(FRAME, index=published))
            sink.publish(replace(LINE, segment=published))
            published += 1
            await asyncio.sleep(0)
        slow.settimeout(PATIENCE_S)
        data = b""
        while f'"index":{published - 1},'.encode() not in data:  # it reads on at last
            data += await asyncio.to_thread(slow.recv, 65_536)
        slow.close()
    assert data.count(b'"type":"emotion"') < published, "the newest took the place of older ones"
    assert b"messages were dropped because this client reads too slowly" in data
    assert b'"code":4410' in data
    assert b'"fatal":false' in data


async def test_a_client_that_never_reads_does_not_hold_up_a_stop(hub, serving):
    sink = hub.sink("main")
    async with serving(hub, identify_timeout_s=0.05, close_timeout_s=0.2, queued_messages=50) as server:
        stuck = open_and_never_read(server.port)
        await until(lambda: hub.client_count == 1)
        for i in range(50):
            sink.publish(replace(LINE, segment=i, text="la " * 500))
        async with asyncio.timeout(PATIENCE_S):
            await server.stop()
        stuck.close()
    assert hub.client_count == 0


async def test_who_answers_no_ping_of_the_websocket_is_taken_for_gone(hub, serving):
    async with serving(hub, pong_timeout_s=0.1) as server:
        gone = open_and_never_read(server.port)
        data = await asyncio.to_thread(read_to_end, gone, 1011)
        assert struct.pack(">H", 1011) in data


async def test_who_answers_its_pings_stays(hub, serving, loop_time):
    pong_timeout_s = 3000.0
    async with serving(hub, pong_timeout_s=pong_timeout_s) as server, raw_client(server, ping_interval=None) as client:
        (connection,) = server._servers[0].connections
        sent: list[bytes] = []
        ping = connection.protocol.send_ping

        def send_ping(data: bytes) -> None:
            sent.append(data)
            ping(data)

        connection.protocol.send_ping = send_ping
        for count in range(1, 6):
            loop_time.pass_s(pong_timeout_s + 1)
            await until(lambda count=count: len(sent) == count and not connection.pending_pings)
            await client.send('{"type":"ping"}')
            assert (await receive_type(client, "pong"))["type"] == "pong"


async def test_with_a_token_nothing_is_told_before_it_is_shown(hub, serving):
    hub.sink("main").publish(FRAME)
    async with serving(hub, token=TOKEN, identify_timeout_s=0.2) as server, raw_client(server) as silent:
        messages, code = await closed_with(silent)
        assert [message["type"] for message in messages] == ["hello", "error"]
        assert messages[0]["auth_required"] is True
        assert code == 4408
    async with serving(hub, token=TOKEN, identify_timeout_s=PATIENCE_S) as server:
        for wrong in ("open", None):
            async with raw_client(server) as client:
                await client.send(json.dumps({"type": "identify", "token": wrong}))
                messages, code = await closed_with(client)
                assert [message["type"] for message in messages] == ["hello", "error"]
                assert code == 4401
        async with raw_client(server) as client:
            assert (await identify(client, token=TOKEN))["snapshot"]


async def test_a_token_may_come_in_the_header(hub, serving):
    hub.sink("main").publish(FRAME)
    async with serving(hub, token=TOKEN, identify_timeout_s=0.05) as server:
        async with raw_client(server, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            assert (await receive_type(client, "emotion"))["index"] == FRAME.index
        for header in ("Bearer wrong", f"Basic {TOKEN}"):
            async with raw_client(server, additional_headers={"Authorization": header}) as client:
                messages, code = await closed_with(client)
                assert [message["type"] for message in messages] == ["error"]
                assert code == 4401


async def test_no_log_holds_a_token_however_much_is_logged(hub, serving, caplog):
    caplog.set_level(logging.DEBUG)
    async with serving(hub, token=TOKEN) as server:
        async with raw_client(server, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            await receive(client)
        async with raw_client(server) as client:
            await identify(client, token=TOKEN)
        async with raw_client(server) as client:
            await client.send(json.dumps({"type": "identify", "token": TOKEN, "subscribe": 7}))
            await closed_with(client)
        async with connect(server.stream_url, token=TOKEN, reconnect=False) as client:
            async for message in client:
                if isinstance(message, wire.Ready):
                    break
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("stream_mer")]
    assert any("closing with 4400" in message for message in ours), "it was logged in detail"
    assert not any(TOKEN in message for message in ours)


async def test_a_failure_of_the_server_itself_is_told_and_logged(hub, serving, monkeypatch, caplog):
    def fail(*_, **__):
        raise ValueError("a bug")

    async with serving(hub) as server, raw_client(server) as client:
        monkeypatch.setattr(hub, "welcome", fail)
        await client.send('{"type":"identify"}')
        messages, code = await closed_with(client)
    assert (messages[-1]["code"], messages[-1]["fatal"], code) == (1011, True, 1011)
    assert "a conversation failed" in caplog.text


async def test_a_foreign_page_is_told_why_it_may_not(hub, serving):
    async with serving(hub) as server:
        async with raw_client(server, origin="https://evil.example") as client:
            messages, code = await closed_with(client)
        assert code == 4403
        assert "--allow-origin https://evil.example" in messages[0]["message"]
        async with raw_client(server, origin=f"http://127.0.0.1:{server.port}") as client:
            assert (await receive(client))["type"] == "hello"


async def test_one_client_too_many_is_asked_to_come_back(hub, serving):
    async with serving(hub, max_clients=1) as server, raw_client(server) as first:
        await receive(first)
        async with raw_client(server) as second:
            messages, code = await closed_with(second)
        assert code == 1013
        assert messages[0]["retry_after_s"] > 0
        await first.send('{"type":"ping"}')
        assert (await receive(first))["type"] == "pong"


async def test_many_who_find_no_place_are_told_so_and_hold_no_sockets(hub, monkeypatch, serving):
    monkeypatch.setattr(server_module, "REFUSAL_TIMEOUT_S", 3600.0)
    monkeypatch.setattr(server_module, "MAX_REFUSALS", 3)
    async with serving(hub, max_clients=1) as server, raw_client(server) as first:
        await receive(first)
        # They read and write nothing more; three of them may take their time, the others are hung up on.
        crowd = [open_and_never_read(server.port) for _ in range(8)]
        heard = [asyncio.create_task(asyncio.to_thread(hung_up_on, one)) for one in crowd]
        async with asyncio.timeout(PATIENCE_S):
            for _, ended in zip(range(5), asyncio.as_completed(heard), strict=False):
                assert b"all 1 places are taken" in await ended
        for one in crowd:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        assert all(b'"code":1013' in data for data in await asyncio.gather(*heard))
        for one in crowd:
            one.close()
        await first.send('{"type":"ping"}')
        assert (await receive(first))["type"] == "pong"


def hung_up_on(raw: socket.socket) -> bytes:
    raw.settimeout(PATIENCE_S)
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := raw.recv(65_536):
            data += piece
    return data


async def test_connections_that_never_say_a_word_keep_nobody_else_out(hub, serving, monkeypatch):
    monkeypatch.setattr(server_module, "SPARE_CONNECTIONS", 4)
    async with serving(hub, max_clients=2, handshake_timeout_s=3600.0) as server, raw_client(server) as client:
        await receive(client)
        mute = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        heard = [asyncio.create_task(asyncio.to_thread(hung_up_on, one)) for one in mute]
        async with asyncio.timeout(PATIENCE_S):
            for _, ended in zip(range(15), asyncio.as_completed(heard), strict=False):
                assert await ended == b""
        await until(lambda: len(server._servers[0].handler_tasks) == 6)  # the client and five that wait
        await client.send('{"type":"ping"}')
        assert (await receive(client))["type"] == "pong"
        for one in mute:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        await asyncio.gather(*heard)
        for one in mute:
            one.close()
        await until(lambda: len(server._servers[0].handler_tasks) == 1)
        async with raw_client(server) as other:
            assert (await receive(other))["type"] == "hello"


async def test_who_does_not_say_goodbye_is_hung_up_on(hub, monkeypatch, serving):
    monkeypatch.setattr(server_module, "REFUSAL_TIMEOUT_S", 0.05)
    async with serving(hub, max_clients=1, close_timeout_s=60.0) as server, raw_client(server) as first:
        await receive(first)
        with open_and_never_read(server.port) as second:
            assert b'"code":1013' in await asyncio.to_thread(hung_up_on, second)


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [(None, None), (["mer.v1.json"], "mer.v1.json"), (["mer.v2.json", "mer.v1.json"], "mer.v1.json"), (["x"], None)],
)
async def test_the_subprotocol_is_ours_where_it_is_offered(hub, serving, offered, agreed):
    async with serving(hub) as server:
        try:
            async with raw_client(server, subprotocols=offered) as client:
                assert client.subprotocol == agreed
                assert (await receive(client))["type"] == "hello"
        except websockets.exceptions.NegotiationError:
            pytest.fail("the server must serve clients that offer nothing it knows")


def get(port: int, path: str, method: str = "GET") -> tuple[int, dict, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


async def test_the_page_and_the_health_come_over_the_same_port(hub, serving):
    async with serving(hub) as server:
        status, headers, body = await asyncio.to_thread(get, server.port, "/")
        assert status == 200
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert b"<canvas" in body
        assert (await asyncio.to_thread(get, server.port, "/app.js"))[0] == 200
        assert (await asyncio.to_thread(get, server.port, "/healthz"))[0] == 200
        assert (await asyncio.to_thread(get, server.port, "/readyz"))[0] == 503
        hub.sink("main").publish(FRAME)
        assert (await asyncio.to_thread(get, server.port, "/readyz"))[0] == 200
        assert (await asyncio.to_thread(get, server.port, "/server.py"))[0] == 404
        assert (await asyncio.to_thread(get, server.port, "/v1/stream"))[0] == 426
        status, headers, body = await asyncio.to_thread(get, server.port, "/healthz", "HEAD")
        assert (status, headers["Content-Length"], body) == (200, "3", b"")
        for method in ("POST", "PUT", "DELETE"):
            status, headers, _ = await asyncio.to_thread(get, server.port, "/healthz", method)
            assert (status, headers["Allow"]) == (405, "GET, HEAD")


async def test_no_bytes_follow_the_headers_that_were_asked_for_alone(hub, serving):
    async with serving(hub) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"HEAD /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            assert (await reader.read()).endswith(b"\r\n\r\n")
        writer.close()


async def test_a_websocket_at_another_address_is_told_where_it_is(hub, serving):
    async with serving(hub) as server:
        for path in ("/", "/v1/stream/", "/ws"):
            with pytest.raises(InvalidStatus) as refused:
                await websockets.asyncio.client.connect(f"ws://127.0.0.1:{server.port}{path}")
            assert refused.value.response.status_code == 404
            assert b"the websocket is at /v1/stream" in refused.value.response.body


async def test_a_port_in_use_is_one_clear_line(hub, serving):
    async with serving(hub) as server:
        with pytest.raises(ServeError, match=rf"port {server.port} on 127.0.0.1 is in use.*--port {server.port + 1}"):
            await Server(Hub(), ServeSettings(port=server.port)).start()


async def test_an_address_of_another_machine_is_one_clear_line(hub):
    with pytest.raises(ServeError, match="not an address of this machine"):
        await Server(hub, ServeSettings(host="192.0.2.1", token=TOKEN, port=0)).start()


async def test_it_may_be_started_again_after_a_stop(hub):
    server = Server(hub, ServeSettings(port=0))
    for _ in range(2):
        async with server, raw_client(server) as client:
            assert (await receive(client))["type"] == "hello"
    await server.stop()
    with pytest.raises(ServeError):
        _ = server.port


async def test_the_client_yields_typed_messages_and_ends_in_peace(hub, serving):
    sink = hub.sink("main")
    sink.publish(FRAME)
    seen = []
    async with serving(hub) as server, connect(server.stream_url, reconnect=False) as client:
        async for message in client:
            seen.append(message)
            if isinstance(message, wire.Ready):
                assert client.connected
                await client.send(wire.Ping(id=5))
            elif isinstance(message, wire.Pong):
                sink.publish(LINE)
            elif isinstance(message, wire.Lyrics):
                stopping = asyncio.create_task(server.stop())
        assert not client.connected
        await stopping
    assert [type(message) for message in seen] == [wire.Hello, wire.Ready, wire.Pong, wire.Lyrics, wire.Error]
    assert seen[1].snapshot[0].message.valence == FRAME.valence


async def test_the_client_comes_back_after_a_restart(hub):
    server = Server(hub, ServeSettings(port=0, close_timeout_s=1.0))
    await server.start()
    port = server.port
    hellos = 0
    async with asyncio.timeout(PATIENCE_S):
        async with connect(server.stream_url) as client:
            async for message in client:
                if isinstance(message, wire.Hello):
                    hellos += 1
                    if hellos == 2:
                        break
                    await server.stop()
                    server = Server(hub, ServeSettings(port=port, close_timeout_s=1.0))
                    await server.start()
    await server.stop()
    assert hellos == 2


async def test_the_client_does_not_come_back_where_it_is_not_wanted(hub, serving):
    async with (
        serving(hub, token=TOKEN) as server,
        connect(server.stream_url, token="no") as client,  # noqa: S106
    ):
        with pytest.raises(ServeError, match="token is missing or wrong"):
            async for _ in client:
                pass


async def test_where_nothing_answers_the_client_says_so():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(ServeError, match="is stream-mer serve running there"):
        async with connect(f"127.0.0.1:{port}"):
            pass
    with pytest.raises(SettingError, match="not the address of a server"):
        connect("ws://:bad:/x")


async def test_listen_prints_plain_lines_where_there_is_no_terminal(hub, serving):
    sink = hub.sink("main")
    console = Console(file=io.StringIO(), force_terminal=False, width=200)
    async with serving(hub) as server:
        listening = asyncio.create_task(listen(server.stream_url, console=console, reconnect=False))
        await until(lambda: hub.client_count == 1)
        sink.publish(LINE)
        sink.publish(FRAME)
        await until(lambda: "happy 61%" in console.file.getvalue())
        await server.stop()
        async with asyncio.timeout(PATIENCE_S):
            await listening
    assert "and the morning comes again" in console.file.getvalue()


async def test_listen_draws_live_on_a_terminal(hub, serving):
    sink = hub.sink("main")
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=40)
    async with serving(hub) as server:
        listening = asyncio.create_task(listen(server.stream_url, console=console, reconnect=False))
        await until(lambda: hub.client_count == 1)
        sink.publish(STATUS)
        sink.publish(LINE)
        sink.publish(FRAME)
        await until(lambda: "and the morning comes again" in console.file.getvalue())
        await server.stop()
        async with asyncio.timeout(PATIENCE_S):
            await listening


@pytest.mark.parametrize("how", [[], ["--json"]], ids=["lines", "json"])
async def test_listen_into_a_pipe_that_is_closed_is_no_failure(hub, serving, how):
    sink = hub.sink("main")
    async with serving(hub) as server:
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "stream_mer", "listen", server.stream_url, *how]
        process = await asyncio.create_subprocess_exec(*command, stdout=writing, stderr=asyncio.subprocess.PIPE)
        os.close(writing)
        await until(lambda: hub.client_count == 1)
        sink.publish(FRAME)
        assert await asyncio.to_thread(os.read, reading, 100)
        os.close(reading)  # as `head -1` does
        async with asyncio.timeout(PATIENCE_S):
            while process.returncode is None:
                sink.publish(FRAME)
                await asyncio.sleep(0.05)
        assert (process.returncode, await process.stderr.read()) == (0, b"")


async def test_listen_writes_json_lines(hub, serving, capfdbinary):
    sink = hub.sink("main")
    written = b""

    def all_written() -> bool:
        nonlocal written
        written += capfdbinary.readouterr().out
        return b'"type":"lyrics"' in written

    async with serving(hub) as server:
        listening = asyncio.create_task(listen(server.stream_url, json_lines=True, stream="main", reconnect=False))
        await until(lambda: hub.client_count == 1)
        hub.sink("foyer").publish(FRAME)
        sink.publish(FRAME)
        sink.publish(LINE)
        await until(all_written)
        await server.stop()
        async with asyncio.timeout(PATIENCE_S):
            await listening
    lines = [json.loads(line) for line in (written + capfdbinary.readouterr().out).splitlines()]
    assert [line["type"] for line in lines] == ["hello", "ready", "emotion", "lyrics", "error"]
    assert lines[2]["stream"] == "main"
