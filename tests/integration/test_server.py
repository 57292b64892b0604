"""The server as its clients meet it: websockets and HTTP, requests, limits, and clients that do not behave."""

import asyncio
import contextlib
import http.client
import io
import json
import logging
import os
import socket
import ssl
import struct
import sys
from dataclasses import replace

import pytest
import trustme
import websockets.asyncio.client
from helpers import PATIENCE_S, free_port, until
from rich.console import Console
from talking import Talk, talking
from websockets.exceptions import ConnectionClosed, InvalidStatus

from benchmarks.frames import handshake
from stream_mer import connect
from stream_mer.config import ServeSettings
from stream_mer.errors import ServeError
from stream_mer.server import messages as wire
from stream_mer.server import server as server_module
from stream_mer.server.client import client_tls_context
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.server.terminal import listen
from stream_mer.types import ControlCommand, EmotionFrame, OverrideValues
from tools.examples import CHANGE, FRAME, LEVELS, LINE, STATUS

TOKEN, DESK = "open sesame, open", "the light desk's own"


@pytest.fixture
def hub():
    hub = Hub()
    hub.sink("main")
    return hub


async def test_a_client_that_never_identifies_gets_the_newest_and_then_every_event(hub, serving):
    sink = hub.sink("main")
    for event in (STATUS, CHANGE, FRAME, LINE):
        sink.publish(event)
    async with serving(hub, identify_timeout_s=0.05) as server, talking(server) as client:
        first = [(await client.read())["type"] for _ in range(4)]
        assert first == ["hello", "status", "emotion", "lyrics"]
        for event in (replace(FRAME, index=85), CHANGE, LINE, STATUS):
            sink.publish(event)
        then = [await client.read() for _ in range(4)]
    assert [(message["type"], message["seq"]) for message in then] == [
        ("emotion", 1),
        ("change", 1),
        ("lyrics", 1),
        ("status", 1),
    ]


async def test_a_silent_client_does_not_wait_for_the_time_to_identify(hub, serving):
    hub.sink("main").publish(FRAME)
    async with serving(hub, identify_timeout_s=3600.0) as server, talking(server) as client:
        assert (await client.read())["type"] == "hello"
        assert (await client.read())["type"] == "emotion"
        hub.sink("main").publish(CHANGE)
        assert (await client.read())["type"] == "change"


async def test_identifying_later_changes_what_a_client_gets(hub, serving):
    sink = hub.sink("main")
    sink.publish(STATUS)
    async with serving(hub, identify_timeout_s=0.05) as server, talking(server) as client:
        await client.until("status")
        ready = await client.ask("identify", subscribe=[{"events": ["lyrics"]}])
        assert [granted["events"] for granted in ready["granted"]] == [["lyrics"]]
        for event in (FRAME, CHANGE, LINE, STATUS):
            sink.publish(event)
        assert [message["type"] for message in await client.all_so_far()] == ["lyrics"]


@pytest.mark.parametrize(
    ("asked", "gets"),
    [
        ({"kind": "subscribe", "events": ["change"]}, ["change"]),
        ({"kind": "unsubscribe", "events": ["emotion"]}, ["change", "lyrics", "status"]),
        ({"kind": "unsubscribe"}, []),
    ],
)
@pytest.mark.parametrize("waits", [False, True])
async def test_the_first_request_of_a_silent_client_means_the_same_early_and_late(hub, serving, asked, gets, waits):
    sink = hub.sink("main")
    sink.publish(STATUS)
    async with serving(hub, identify_timeout_s=0.05 if waits else 5.0) as server, talking(server) as client:
        if waits:
            await client.until("status")
        assert (await client.ask(**asked))["ok"]
        await client.all_so_far()
        for event in (FRAME, CHANGE, LINE, STATUS):
            sink.publish(event)
        assert [message["type"] for message in await client.all_so_far()] == gets


async def test_identify_is_answered_with_ready_and_its_snapshot_and_then_events(hub, serving):
    sink = hub.sink("main")
    sink.publish(STATUS)
    sink.publish(FRAME)
    async with serving(hub) as server, talking(server) as client:
        await client.read()
        ready = await client.ask("identify", client={"name": "test", "kind": "test"})
        assert {entry["message"]["type"] for entry in ready["snapshot"]} == {"status", "emotion"}
        assert all(entry["age_s"] >= 0 for entry in ready["snapshot"])
        assert len(ready["client_id"]) == 8
        sink.publish(replace(FRAME, index=99))
        assert (await client.read())["index"] == 99


@pytest.mark.parametrize("number", ["7", "-1", "1234.5", "1e-3", "123456789012345678901234567890", '"x7"', "null"])
async def test_an_id_is_whatever_the_client_counts_with(hub, serving, number):
    async with serving(hub) as server, talking(server) as client:
        await client.send(f'{{"type":"ping","id":{number},"t":12.5}}')
        assert await client.until("pong") == {"type": "pong", "id": json.loads(number), "t": 12.5}
        await client.send(f'{{"type":"subscribe","id":{number}}}')
        assert (await client.until("result"))["id"] == json.loads(number)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("not json", "must be JSON"),
        ("[]", "JSON object"),
        (b"\x00\x01", "binary"),
        ('{"type":"ping","id":"' + "x" * 5000 + '"}', "too large"),
        ('{"type":"ping","x":' + "[" * 1500 + "]" * 1500 + "}", "nested too deeply"),
    ],
    ids=["no json", "no object", "binary", "oversize", "bottomless"],
)
async def test_a_bad_message_is_explained_and_ends_its_connection_alone(hub, serving, bad, words):
    async with serving(hub) as server, talking(server) as client, talking(server) as good:
        await good.ask("identify")
        await client.send(bad)
        (*_, error), code = await client.closed_with()
        hub.sink("main").publish(FRAME)
        await good.until("emotion")
    assert (code, error["type"], error["code"], error["fatal"]) == (4400, "error", 4400, True)
    assert words in error["message"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ('{"type":"subscribe","id":7,"events":"dance"}', "events"),
        ('{"type":"subscribe","id":7,"max_hz":-1}', "max_hz"),
        ('{"type":"unsubscribe","id":7,"streams":[1]}', "streams"),
        ('{"type":"unsubscribe","id":7,"events":["dance"]}', "no event 'dance'"),
        ('{"type":"control","id":7,"action":"dance"}', "dance"),
        ('{"type":"control","id":7}', "action"),
        ('{"type":"control","id":7,"action":"override","override":{"valence":1.5,"arousal":0}}', "valence"),
        ('{"type":"control","id":7,"action":"override","override":{"valence":1e999,"arousal":0}}', "out of range"),
        ('{"type":"dance","id":7}', '"dance" is not a message'),
    ],
)
async def test_a_request_that_cannot_be_understood_is_answered_by_its_result(hub, serving, bad, words):
    async with serving(hub) as server, talking(server) as client:
        await client.ask("identify")
        await client.send(bad)
        result = await client.until("result")
        assert (result["id"], result["ok"], result["error"]["code"]) == (7, False, 4400)
        assert words in result["error"]["message"]
        assert await client.all_so_far() == []
        assert (await client.ask("control", id=8, action="resume"))["ok"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ('{"type":"dance"}', '"dance" is not a message'),
        ('{"type":"identify","subscribe":4}', "malformed"),
        ('{"type":"ping","t":"now"}', "malformed"),
        ('{"type":"audio.start","stream":"main","format":"mp3","rate_hz":1}', "malformed"),
    ],
)
async def test_what_has_no_result_is_answered_by_an_error_that_ends_nothing(hub, serving, bad, words):
    async with serving(hub) as server, talking(server) as client:
        await client.send(bad)
        error = await client.until("error")
        assert (error["code"], error["fatal"]) == (4400, False)
        assert words in error["message"]
        assert (await client.ask("identify"))["role"] == "operator"


@pytest.mark.parametrize(
    "odd",
    [
        '{"type":"ping","id":-' + "9" * 3900 + "}",
        '{"type":"ping","id":"\\u0000\\u202e"}',
        '{"type":"subscribe","max_hz":5e-324}',
        '{"type":"subscribe","max_hz":1e308}',
        '{"type":"control","action":"override","override":{"valence":1,"arousal":0,"ttl_s":5e-324}}',
        '{"type":"identify","resume":{"session":"x","last_seq":{"__proto__":{"emotion":-' + "9" * 999 + "}}}}",
        '{"type":"setup","action":"apply","changes":' + '{"a":' * 600 + "1" + "}" * 601,
        '{"type":"\\u001b[2J","id":"' + "x" * 3000 + '"}',
    ],
    ids=["huge id", "control signs", "rarely", "often", "short", "far behind", "deep", "unknown"],
)
async def test_what_is_odd_and_yet_a_message_disturbs_nobody(hub, serving, odd):
    hub.sink("main").publish(FRAME)
    async with serving(hub) as server, talking(server) as client, talking(server) as other:
        await other.ask("identify", subscribe=[{"events": ["lyrics"]}])
        await client.ask("identify", subscribe=[])
        await client.send(odd)
        assert (await client.read())["type"] in {"pong", "result", "ready"}
        hub.sink("main").publish(FRAME)
        hub.sink("main").publish(LINE)
        assert [message["type"] for message in await other.all_so_far()] == ["lyrics"]


async def test_who_has_shown_no_token_may_be_wrong_about_nothing_but_identify(hub, serving):
    async with serving(hub, token=TOKEN) as server:
        async with talking(server) as stranger:
            await stranger.send('{"type":"control","id":7,"action":"dance"}')
            assert (await stranger.closed_with())[1] == 4400
        async with talking(server) as clumsy:
            await clumsy.say("identify", token=TOKEN, client="me")
            assert (await clumsy.until("error"))["fatal"] is False
            assert (await clumsy.ask("identify", token=TOKEN))["role"] == "operator"


async def test_a_huge_message_is_cut_off_unread_and_too_many_end_with_4429(hub, serving):
    async with serving(hub, max_messages_per_s=1) as server:
        async with talking(server) as client:
            await client.send("x" * 200_000)
            assert (await client.closed_with())[1] == 1009
        async with talking(server) as client:
            for i in range(200):
                await client.say("ping", id=i)
            (*_, error), code = await client.closed_with()
    assert code == 4429
    assert error["retry_after_s"] > 0


@pytest.mark.parametrize(
    ("reason", "told", "retry_after_s"),
    [(1001, "the server is shutting down", None), (1012, "the server restarts", 1.0)],
)
async def test_stopping_tells_every_client_why(hub, serving, reason, told, retry_after_s):
    async with serving(hub) as server, talking(server) as one, talking(server) as two:
        await one.ask("identify")
        await two.read()
        stopping = asyncio.create_task(server.stop(reason))
        for client in (one, two):
            (*_, error), code = await client.closed_with()
            assert (code, error["message"], error["retry_after_s"]) == (reason, told, retry_after_s)
        async with asyncio.timeout(PATIENCE_S):
            await stopping
    assert hub.statistics().clients == 0


def open_and_never_read(port: int) -> socket.socket:
    """Do the handshake of a websocket by hand on a socket with hardly any buffer."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    raw.connect(("127.0.0.1", port))
    raw.sendall(handshake(port, wire.STREAM_PATH))
    return raw


async def test_a_client_that_never_reads_is_cut_off_and_the_other_one_misses_nothing(hub, serving, caplog):
    caplog.set_level(logging.DEBUG, "stream_mer.server.session")
    sink = hub.sink("main")
    settings = {"identify_timeout_s": 0.05, "stuck_after_s": 0.5, "queued_messages": 8, "close_timeout_s": 30.0}
    async with serving(hub, **settings) as server, talking(server) as healthy:
        await healthy.read()
        await healthy.ask("identify")
        stuck = open_and_never_read(server.port)
        await until(lambda: hub.statistics().clients == 2)
        got = 0
        while not any("closing with 4410" in record.getMessage() for record in caplog.records):
            sink.publish(replace(LINE, segment=got, text="la " * 300))
            sink.publish(replace(FRAME, index=got))
            assert (await healthy.until("lyrics"))["segment"] == got
            assert (await healthy.until("emotion"))["index"] == got
            got += 1
            assert got < 20_000, "the stuck client was never noticed"
        assert got > 8
        # It wakes up at last: the reason is the last thing that it finds.
        data = await asyncio.to_thread(hung_up_on, stuck, 4410)
        assert b'"code":4410' in data
        assert struct.pack(">H", 4410) in data
        await until(lambda: hub.statistics().clients == 1)
        sink.publish(STATUS)
        assert (await healthy.read())["type"] == "status"


async def test_a_slow_client_gets_the_newest_and_is_told_what_it_missed(hub, serving):
    sink = hub.sink("main")
    async with serving(hub, identify_timeout_s=0.05, stuck_after_s=3600.0, queued_messages=8) as server:
        slow = open_and_never_read(server.port)
        await until(lambda: hub.statistics().clients == 1)
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
        await until(lambda: hub.statistics().clients == 1)
        for i in range(50):
            sink.publish(replace(LINE, segment=i, text="la " * 500))
        async with asyncio.timeout(PATIENCE_S):
            await server.stop()
        stuck.close()
    assert hub.statistics().clients == 0


async def test_who_answers_no_ping_of_the_websocket_is_taken_for_gone(hub, serving):
    async with serving(hub, pong_timeout_s=0.1) as server:
        gone = open_and_never_read(server.port)
        data = await asyncio.to_thread(hung_up_on, gone, 1011)
        assert struct.pack(">H", 1011) in data


async def test_who_answers_its_pings_stays(hub, serving, loop_time):
    pong_timeout_s = 3000.0
    async with serving(hub, pong_timeout_s=pong_timeout_s) as server, talking(server, ping_interval=None) as client:
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
            assert (await client.until("pong"))["type"] == "pong"


async def test_with_a_token_nothing_is_told_before_it_is_shown(hub, serving):
    hub.sink("main").publish(FRAME)
    async with serving(hub, token=TOKEN, identify_timeout_s=0.2) as server, talking(server) as silent:
        messages, code = await silent.closed_with()
        assert [message["type"] for message in messages] == ["hello", "error"]
        assert messages[0]["auth_required"] is True
        assert code == 4408
    async with serving(hub, token=TOKEN, identify_timeout_s=PATIENCE_S) as server:
        for wrong in ("open", None):
            async with talking(server) as client:
                await client.send(json.dumps({"type": "identify", "token": wrong}))
                messages, code = await client.closed_with()
                assert [message["type"] for message in messages] == ["hello", "error"]
                assert code == 4401
        async with talking(server) as client:
            assert (await client.ask("identify", token=TOKEN))["snapshot"]


async def test_a_token_may_come_in_the_header(hub, serving):
    hub.sink("main").publish(FRAME)
    async with serving(hub, token=TOKEN, identify_timeout_s=0.05) as server:
        async with talking(server, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            assert (await client.until("emotion"))["index"] == FRAME.index
        for header in ("Bearer wrong", f"Basic {TOKEN}"):
            async with talking(server, additional_headers={"Authorization": header}) as client:
                messages, code = await client.closed_with()
                assert [message["type"] for message in messages] == ["error"]
                assert code == 4401


async def test_no_log_holds_a_token_however_much_is_logged(hub, serving, caplog):
    caplog.set_level(logging.DEBUG)
    async with serving(hub, token=TOKEN) as server:
        async with talking(server, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            await client.read()
        async with talking(server) as client:
            await client.ask("identify", token=TOKEN)
        async with talking(server) as client:
            await client.send(json.dumps({"type": "identify", "token": TOKEN, "subscribe": 7}))
            await client.until("error")
            await client.send(json.dumps({"type": "identify", "token": TOKEN})[:-1])
            await client.closed_with()
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

    async with serving(hub) as server, talking(server) as client:
        monkeypatch.setattr(hub, "welcome", fail)
        await client.send('{"type":"identify"}')
        messages, code = await client.closed_with()
    assert (messages[-1]["code"], messages[-1]["fatal"], code) == (1011, True, 1011)
    assert "a conversation failed" in caplog.text


async def test_a_foreign_page_is_told_why_it_may_not(hub, serving):
    async with serving(hub) as server:
        async with talking(server, origin="https://evil.example") as client:
            messages, code = await client.closed_with()
        assert code == 4403
        assert "--allow-origin https://evil.example" in messages[0]["message"]
        async with talking(server, origin=f"http://127.0.0.1:{server.port}") as client:
            assert (await client.read())["type"] == "hello"


async def test_many_who_find_no_place_are_told_so_and_hold_no_sockets(hub, monkeypatch, serving):
    monkeypatch.setattr(server_module, "REFUSAL_TIMEOUT_S", 3600.0)
    monkeypatch.setattr(server_module, "MAX_REFUSALS", 3)
    async with serving(hub, max_clients=1) as server, talking(server) as first:
        await first.read()
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
        assert (await first.read())["type"] == "pong"


def hung_up_on(raw: socket.socket, code: int | None = None) -> bytes:
    """What comes to the end of a connection, or to a close frame with this code."""
    raw.settimeout(PATIENCE_S)
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := raw.recv(65_536):
            data += piece
            if code is not None and struct.pack(">H", code) in data[-200:]:
                raw.close()
                break
    return data


async def test_connections_that_never_say_a_word_keep_nobody_else_out(hub, serving, monkeypatch):
    monkeypatch.setattr(server_module, "SPARE_CONNECTIONS", 4)
    async with serving(hub, max_clients=2, handshake_timeout_s=3600.0) as server, talking(server) as client:
        await client.read()
        mute = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        heard = [asyncio.create_task(asyncio.to_thread(hung_up_on, one)) for one in mute]
        async with asyncio.timeout(PATIENCE_S):
            for _, ended in zip(range(15), asyncio.as_completed(heard), strict=False):
                assert await ended == b""
        await until(lambda: len(server._servers[0].handler_tasks) == 6)  # the client and five that wait
        await client.send('{"type":"ping"}')
        assert (await client.read())["type"] == "pong"
        for one in mute:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        await asyncio.gather(*heard)
        for one in mute:
            one.close()
        await until(lambda: len(server._servers[0].handler_tasks) == 1)
        async with talking(server) as other:
            assert (await other.read())["type"] == "hello"


async def test_who_does_not_say_goodbye_is_hung_up_on(hub, monkeypatch, serving):
    monkeypatch.setattr(server_module, "REFUSAL_TIMEOUT_S", 0.05)
    async with serving(hub, max_clients=1, close_timeout_s=60.0) as server, talking(server) as first:
        await first.read()
        with open_and_never_read(server.port) as second:
            assert b'"code":1013' in await asyncio.to_thread(hung_up_on, second)


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [(None, None), (["mer.v1.json"], "mer.v1.json"), (["mer.v2.json", "mer.v1.json"], "mer.v1.json"), (["x"], None)],
)
async def test_the_subprotocol_is_ours_where_it_is_offered(hub, serving, offered, agreed):
    async with serving(hub) as server:
        try:
            async with talking(server, subprotocols=offered) as client:
                assert client.socket.subprotocol == agreed
                assert (await client.read())["type"] == "hello"
        except websockets.exceptions.NegotiationError:
            pytest.fail("the server must serve clients that offer nothing it knows")


def get(port: int, path: str, method: str = "GET", *, tls: ssl.SSLContext | None = None) -> tuple[int, dict, bytes]:
    if tls is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE_S, context=tls)
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
        assert (await asyncio.to_thread(get, server.port, "/readyz"))[0] == 503
        hub.sink("main").publish(FRAME)
        assert (await asyncio.to_thread(get, server.port, "/readyz"))[0] == 200
        assert (await asyncio.to_thread(get, server.port, "/v1/stream"))[0] == 426
        status, headers, body = await asyncio.to_thread(get, server.port, "/healthz", "HEAD")
        assert (status, headers["Content-Length"], body) == (200, "3", b"")
        for method in ("POST", "PUT", "DELETE"):
            status, headers, _ = await asyncio.to_thread(get, server.port, "/healthz", method)
            assert (status, headers["Allow"]) == (405, "GET, HEAD")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"HEAD /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            assert (await reader.read()).endswith(b"\r\n\r\n"), "no body follows the headers"
        writer.close()


async def test_a_websocket_at_another_address_is_told_where_it_is(hub, serving):
    async with serving(hub) as server:
        for path in ("/", "/v1/stream/", "/ws"):
            with pytest.raises(InvalidStatus) as refused:
                await websockets.asyncio.client.connect(f"ws://127.0.0.1:{server.port}{path}")
            assert refused.value.response.status_code == 404
            assert b"the websocket is at /v1/stream" in refused.value.response.body


async def test_an_address_of_another_machine_is_one_clear_line(hub):
    with pytest.raises(ServeError, match="not an address of this machine"):
        await Server(hub, ServeSettings(host="192.0.2.1", token=TOKEN, port=0)).start()


async def test_it_may_be_started_again_after_a_stop(hub):
    server = Server(hub, ServeSettings(port=0))
    for _ in range(2):
        async with server, talking(server) as client:
            assert (await client.read())["type"] == "hello"
    await server.stop()
    with pytest.raises(ServeError):
        _ = server.port


@pytest.mark.parametrize(("is_terminal", "wanted"), [(False, "happy 61%"), (True, "and the morning comes again")])
async def test_listen_prints_lines_or_draws_on_a_terminal(hub, serving, is_terminal, wanted):
    sink = hub.sink("main")
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=200, height=40)
    async with serving(hub) as server:
        listening = asyncio.create_task(listen(server.stream_url, console=console, reconnect=False))
        await until(lambda: hub.statistics().clients == 1)
        sink.publish(LINE)
        sink.publish(FRAME)
        await until(lambda: wanted in console.file.getvalue())
        await server.stop()
        async with asyncio.timeout(PATIENCE_S):
            await listening
    assert "and the morning comes again" in console.file.getvalue()


@pytest.mark.parametrize("how", [[], ["--json"]], ids=["lines", "json"])
async def test_listen_into_a_pipe_that_is_closed_is_no_failure(hub, serving, how):
    sink = hub.sink("main")
    async with serving(hub) as server:
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "stream_mer", "listen", server.stream_url, *how]
        process = await asyncio.create_subprocess_exec(*command, stdout=writing, stderr=asyncio.subprocess.PIPE)
        os.close(writing)
        await until(lambda: hub.statistics().clients == 1)
        sink.publish(FRAME)
        assert await asyncio.to_thread(os.read, reading, 100)
        os.close(reading)  # as `head -1` does
        async with asyncio.timeout(PATIENCE_S):
            while process.returncode is None:
                sink.publish(FRAME)
                await asyncio.sleep(0.05)
        assert (process.returncode, await process.stderr.read()) == (0, b"")


async def test_listen_waits_for_a_server_that_does_not_run_yet(hub, serving, capsys):
    port = free_port()
    console = Console(file=io.StringIO(), width=100)
    listening = asyncio.create_task(listen(f"127.0.0.1:{port}", console=console, reconnect=False, wait=True))
    said = ""

    def waits() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return "Waiting for it" in said

    await until(waits)
    async with serving(hub, port=port) as server:
        await until(lambda: hub.statistics().clients == 1)
        await server.stop()
        async with asyncio.timeout(PATIENCE_S):
            await listening
    assert said.count("Waiting") == 1


@pytest.mark.parametrize(("given", "says"), [(["--token", "a guess"], "wrong token, use --token"), ([], "requires")])
async def test_listen_says_what_is_wrong_with_the_token(hub, serving, given, says):
    async with serving(hub, token="open sesame, open") as server:  # noqa: S106
        command = [sys.executable, "-m", "stream_mer", "listen", server.stream_url, *given]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        _, complaint = await process.communicate()
    assert process.returncode == 1
    assert says in complaint.decode()
    assert "identify" not in complaint.decode()


async def test_listen_writes_json_lines(hub, serving, capfdbinary):
    sink = hub.sink("main")
    written = b""

    def all_written() -> bool:
        nonlocal written
        written += capfdbinary.readouterr().out
        return b'"type":"lyrics"' in written

    async with serving(hub) as server:
        listening = asyncio.create_task(listen(server.stream_url, json_lines=True, stream="main", reconnect=False))
        await until(lambda: hub.statistics().clients == 1)
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


async def test_subscribing_brings_what_is_known_and_then_every_event(hub, serving):
    sink = hub.sink("main")
    for event in (STATUS, FRAME, CHANGE):
        sink.publish(event)
    async with serving(hub) as server, talking(server) as client:
        assert await client.ask("subscribe", id="s1", events=["status", "change"]) == {
            "type": "result",
            "id": "s1",
            "ok": True,
            "error": None,
        }
        assert [message["type"] for message in await client.all_so_far()] == ["status"], "an old cue fires no more"
        for event in (FRAME, LINE, CHANGE, STATUS):
            sink.publish(event)
        assert [message["type"] for message in await client.all_so_far()] == ["change", "status"]


async def test_who_subscribes_without_a_word_before_gets_no_more_than_that(hub, serving, loop_time):
    silence_s = 3000.0
    async with serving(hub, identify_timeout_s=silence_s, pong_timeout_s=3600.0) as server, talking(server) as client:
        await client.ask("subscribe", events=["lyrics"])
        loop_time.pass_s(silence_s + 1)
        await client.all_so_far()
        hub.sink("main").publish(FRAME)
        hub.sink("main").publish(LINE)
        assert [message["type"] for message in await client.all_so_far()] == ["lyrics"]


@pytest.mark.parametrize(
    ("fields", "code", "told"),
    [
        ({"streams": ["foyer"]}, 4404, "there is no stream 'foyer'; there is main"),
        ({"events": ["dance"]}, 4400, "there is no event 'dance'; choose from emotion"),
    ],
)
async def test_what_cannot_be_granted_is_told_and_changes_nothing(hub, serving, fields, code, told):
    async with serving(hub) as server, talking(server) as client:
        result = await client.ask("subscribe", id=9, **fields)
        assert (result["id"], result["ok"], result["error"]["code"]) == (9, False, code)
        assert told in result["error"]["message"]
        await client.all_so_far()


async def test_identifying_for_a_stream_that_is_not_there_ends_with_4404(hub, serving):
    async with serving(hub) as server, talking(server) as client:
        await client.say("identify", subscribe=[{"streams": ["foyer"]}])
        (*_, error), code = await client.closed_with()
    assert (code, error["code"], error["fatal"]) == (4404, 4404, True)


async def test_subscriptions_are_limited(hub, serving):
    for i in range(5):
        hub.sink(f"s{i}")
    async with serving(hub, max_subscriptions=3) as server, talking(server) as client:
        hello = await client.read()
        assert hello["limits"]["max_subscriptions"] == 3
        oks = [(await client.ask("subscribe", streams=[f"s{i}"]))["ok"] for i in range(5)]
    assert oks == [True, True, True, False, False]


INTERVAL_S = 1000.0
"""Between two messages of a thinned stream: longer than any machine is busy; the clock of the loop is set forward."""


async def test_a_rate_thins_emotion_and_its_last_value_comes_without_another_one(hub, serving, loop_time):
    async with serving(hub, pong_timeout_s=3600.0) as server, talking(server) as client:
        await client.ask("identify", subscribe=[{"events": ["emotion"], "max_hz": 1 / INTERVAL_S}])
        hub.sink("main").publish(replace(FRAME, index=0))
        assert (await client.until("emotion"))["index"] == 0
        for last in (4, 8, 12):
            for index in range(last - 3, last + 1):
                hub.sink("main").publish(replace(FRAME, index=index))
            loop_time.pass_s(INTERVAL_S / 2)
            assert await client.all_so_far() == [], "its time has not come"
            loop_time.pass_s(INTERVAL_S / 2)
            assert (await client.until("emotion"))["index"] == last
            assert await client.all_so_far() == []


async def test_a_client_resumes_without_a_gap_after_its_connection_broke(hub, serving):
    sink = hub.sink("main")
    segments, resumed = [], []
    async with serving(hub) as server, asyncio.timeout(PATIENCE_S):
        sink.publish(replace(LINE, segment=0))
        async with connect(server.stream_url) as client:
            async for message in client:
                match message:
                    case wire.Ready():
                        resumed.append(message.resumed)
                        segments += [e.message.segment for e in message.snapshot if isinstance(e.message, wire.Lyrics)]
                        if len(resumed) == 1:
                            sink.publish(replace(LINE, segment=1))
                    case wire.Lyrics():
                        segments.append(message.segment)
                        if message.segment == 1:
                            client._socket.transport.abort()  # the cable is pulled
                            for i in (2, 3):
                                sink.publish(replace(LINE, segment=i))
                            sink.publish(CHANGE)
                    case wire.Change():
                        break
    assert segments == [0, 1, 2, 3]
    assert resumed == [None, True]


async def test_what_was_subscribed_to_later_stays_after_a_break(hub, serving):
    sink = hub.sink("main")
    hellos = 0
    async with (
        serving(hub) as server,
        asyncio.timeout(PATIENCE_S),
        connect(server.stream_url, subscribe=[]) as client,
    ):
        async for message in client:
            match message:
                case wire.Ready() if hellos == 0:
                    hellos = 1
                    await client.subscribe("levels", max_hz=50)
                case wire.Result():
                    client._socket.transport.abort()
                case wire.Ready():
                    assert message.granted == (wire.Subscription(events=("levels",), max_hz=50),)
                    sink.publish(FRAME)
                    sink.publish(LEVELS)
                case wire.Levels():
                    break
                case wire.Emotion():
                    pytest.fail("it never asked for emotion")


async def test_an_override_ends_though_nothing_comes_from_the_stream(hub, serving):
    holds, is_over = [], asyncio.Event()

    def on_event(_stream, event):
        if isinstance(event, EmotionFrame):
            holds.append((event.valence, event.hold))
            if holds[-2:] == [(-1.0, "override"), (FRAME.valence, None)]:
                is_over.set()

    hub.sink("main").publish(FRAME)
    hub.subscribe(on_event)
    async with serving(hub):
        override = OverrideValues(valence=-1.0, arousal=-1.0, ttl_s=0.1)
        hub.control(ControlCommand(action="override", override=override))
        await asyncio.wait_for(is_over.wait(), PATIENCE_S)
    assert len(holds) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "override"},
        {"action": "freeze", "override": {"valence": 0, "arousal": 0}},
    ],
)
async def test_a_command_that_makes_no_sense_is_told_how(hub, serving, fields):
    async with serving(hub) as server, talking(server) as client:
        result = await client.ask("control", id=1, **fields)
    assert result["error"]["code"] == 4400
    assert '"override":{"valence":0.5' in result["error"]["message"]


async def test_viewers_watch_and_operators_control(hub, serving):
    async with serving(hub, token=TOKEN, operator_token=DESK) as server:
        async with talking(server) as viewer:
            assert (await viewer.ask("identify", token=TOKEN))["role"] == "viewer"
            result = await viewer.ask("control", id=1, action="blackout")
            assert (result["ok"], result["error"]["code"]) == (False, 4403)
            await viewer.say("audio.start", stream="main", format="s16le", rate_hz=16000)
            error = await viewer.until("error")
            assert (error["code"], error["fatal"]) == (4403, False)
        async with talking(server) as operator:
            assert (await operator.ask("identify", token=DESK))["role"] == "operator"
            assert (await operator.ask("control", id=1, action="blackout"))["ok"]
        async with talking(server, additional_headers={"Authorization": f"Bearer {DESK}"}) as operator:
            assert (await operator.ask("control", id=1, action="resume"))["ok"]
        for first in ({"type": "control", "action": "freeze"}, {"type": "subscribe"}, {"type": "unsubscribe"}):
            async with talking(server) as stranger:
                await stranger.say(kind=first.pop("type"), **first)
                assert (await stranger.closed_with())[1] == 4401


async def test_who_asks_and_never_reads_piles_nothing_up(hub, serving):
    for i in range(50):
        hub.sink(f"stream {i}").publish(FRAME)
    limits = {"max_messages_per_s": 10_000, "stuck_after_s": 0.5, "max_clients": 2}
    async with serving(hub, **limits) as server, talking(server) as healthy:
        async with websockets.asyncio.client.connect(server.stream_url, max_queue=1, close_timeout=0.1) as greedy:
            with contextlib.suppress(ConnectionClosed):
                async with asyncio.timeout(PATIENCE_S):
                    for _ in range(1000):
                        await greedy.send('{"type":"identify"}')
            waiting = hub.statistics().outboxes.waiting
            await healthy.ask("identify")
        assert waiting <= 50, "one answer, and the newest emotion of each stream"


async def test_a_subscription_of_nothing_that_is_here_is_not_met_with_silence(hub, serving):
    async with serving(hub) as server, talking(server) as client:
        ready = await client.ask(
            "identify",
            subscribe=[{"events": [kinds]} for kinds in ("emotions", "mood")] + [{"events": ["emotion", "beats"]}],
        )
        assert [granted["events"] for granted in ready["granted"]] == [["emotion"]]
        (told,) = await client.all_so_far()
        assert (told["type"], told["code"], told["fatal"]) == ("error", 4400, False)
        choices = "emotion, lyrics, change, status, levels"
        assert told["message"] == f"there is no event 'emotions', 'mood', 'beats'; choose from {choices}"
        assert (await client.ask("subscribe", events=["levels", "beats"]))["ok"]
        (told,) = await client.all_so_far()
        assert told["message"] == f"there is no event 'beats'; choose from {choices}"


async def test_no_answer_is_ever_dropped_however_late_it_is_read(hub, serving):
    ids = [f"{i} {'x' * 3000}" for i in range(300)]  # more than all buffers hold

    async def ask(socket):
        for each in ids:
            await socket.send(json.dumps({"type": "ping", "id": each}))

    async with (
        serving(hub, max_messages_per_s=10_000, queued_messages=2) as server,
        websockets.asyncio.client.connect(server.stream_url, max_queue=1) as late,
    ):
        asking = asyncio.create_task(ask(late))
        talk = Talk(late)
        assert (await talk.read())["type"] == "hello"
        for _ in range(200):  # turns of the loop, in which the server answers as long as it can
            await asyncio.sleep(0.001)
        assert [(await talk.read()).get("id") for _ in ids] == ids
        await asking


async def test_who_sends_frames_without_end_is_read_from_later_and_loses_nothing(hub, serving):
    async with (
        serving(hub, max_messages_per_s=5, max_audio_messages_per_s=5) as server,
        websockets.asyncio.client.connect(server.stream_url) as eager,
        asyncio.timeout(PATIENCE_S),
    ):
        (socket,) = server._servers[0].connections
        answers = []
        while socket.transport.is_reading():
            answers.append(await eager.ping())
            await asyncio.sleep(0)  # the server is in this loop
        async with talking(server) as other:
            await other.ask("identify")
        for answer in answers:
            await answer
        await eager.send('{"type":"ping","id":"at last"}')
        assert (await Talk(eager).until("pong"))["id"] == "at last"


async def test_everything_comes_over_tls_too(hub, serving, tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    trusted = client_tls_context(tmp_path / "authority.pem")
    hub.sink("main").publish(FRAME)
    async with serving(hub, tls_certificate=tmp_path / "server.pem") as server, asyncio.timeout(PATIENCE_S):
        assert server.stream_url.startswith("wss://")
        async with connect(server.stream_url, tls=trusted) as client:
            async for message in client:
                if isinstance(message, wire.Ready):
                    assert message.snapshot[0].message.index == FRAME.index
                    break

        assert (await asyncio.to_thread(get, server.port, "/healthz", tls=trusted))[2] == b"ok\n"
        with pytest.raises(ServeError, match=r"is not trusted here: .*; name the authority .*--ca FILE"):
            await connect(server.stream_url).__aenter__()
        with pytest.raises(ServeError, match="if the server has a certificate, use wss://"):
            await connect(server.stream_url.replace("wss:", "ws:")).__aenter__()


async def test_metrics_tell_of_the_clients_and_how_they_went(hub, serving):
    async with serving(hub) as server:
        async with talking(server) as client:
            await client.ask("identify")
            hub.sink("main").publish(FRAME)
            await client.until("emotion")
        async with talking(server) as client:
            await client.send("no JSON")
            await client.closed_with()

        told = ""
        async with asyncio.timeout(PATIENCE_S):
            while 'stream_mer_closes_total{code="4400"} 1.0' not in told:
                told = (await asyncio.to_thread(get, server.port, "/metrics"))[2].decode()
    assert "stream_mer_connections_total 2.0" in told
    assert 'stream_mer_latency_seconds_count{stream="main"} 1.0' in told
    assert "stream_mer_delivery_seconds_count 1.0" in told
