"""Neighbours in the network who mean harm: floods, malformed requests, guesses; and who is served all the while."""

import asyncio
import base64
import contextlib
import os
import socket
import subprocess
import sys

import pytest
import trustme
import websockets.asyncio.client
from helpers import PATIENCE_S, FakeClock, until
from talking import Message, talking

from stream_mer import connect
from stream_mer.config import ServeSettings
from stream_mer.server import messages as wire
from stream_mer.server import server as server_module
from stream_mer.server.auth import FORGOTTEN_AFTER_S, GuessLimit
from stream_mer.server.client import client_tls_context
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from tools.examples import FRAME, STATUS

TOKEN, DESK = "open sesame, open", "the light desk's own"


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.sink("main")
    return hub


def request(*headers: str, path: str = "/v1/stream") -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: x",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
    ]
    return "\r\n".join([*lines, f"Sec-WebSocket-Key: {key}", *headers, "", ""]).encode("latin-1")


async def answer(port: int, data: bytes) -> bytes:
    """What the server says to these bytes, to the end of its head."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            writer.write(data)
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
    return b""


async def identified(url: str, token: str) -> Message:
    """What identifying with a token is answered with: ready, or the error before the close."""
    async with talking(url) as client:
        await client.read()
        await client.say("identify", token=token)
        return await client.read()


BAD_HEADERS = {
    "two tokens": ("Authorization: Bearer x", "Authorization: Bearer y"),
    "two hosts": ("Host: evil.example", "Origin: http://evil.example"),
    "two origins": ("Origin: http://127.0.0.1", "Origin: https://evil.example"),
    "two keys": ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",),
    "two versions": ("Sec-WebSocket-Version: 13",),
    "a token that is not ASCII": ("Authorization: Bearer caf\xe9",),
    "an origin that is not ASCII": ("Origin: http://caf\xe9.example",),
    "a protocol that is not ASCII": ("Sec-WebSocket-Protocol: caf\xe9",),
    "an extension that is not ASCII": ("Sec-WebSocket-Extensions: caf\xe9",),
}


@pytest.mark.parametrize("path", ["/v1/stream", "/healthz"])
async def test_a_malformed_request_gets_400_and_all_of_them_one_line(hub, serving, caplog, path):
    async with serving(hub, token=TOKEN) as server:
        for headers in BAD_HEADERS.values():
            head = await answer(server.port, request(*headers, path=path))
            assert head.startswith(b"HTTP/1.1 400 "), (headers, head)
        good = await answer(server.port, request("Authorization: Bearer x", path=path))
        assert good.startswith((b"HTTP/1.1 101 ", b"HTTP/1.1 404 "))
        assert f"stream_mer_bad_requests_total {len(BAD_HEADERS)}.0" in server._metrics.text().decode()
    told = [record for record in caplog.records if "was refused" in record.getMessage()]
    assert len(told) == 1
    assert "Traceback" not in caplog.text


async def test_silent_connections_over_tls_are_bounded_and_keep_nobody_out(hub, serving, tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_WAITING_TLS", 20)
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    trusted = client_tls_context(tmp_path / "authority.pem")
    async with serving(hub, tls_certificate=tmp_path / "server.pem", handshake_timeout_s=3600.0) as server:
        crowd = []
        for _ in range(10):
            crowd += [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
            await asyncio.sleep(0)
            assert server._limit.open <= 20
        async with asyncio.timeout(PATIENCE_S), connect(server.stream_url, tls=trusted) as client:
            assert server._limit.waiting < server._limit.open <= 20
            # More of them than there are places: they hang up on each other, and not on a client.
            crowd += [socket.create_connection(("127.0.0.1", server.port)) for _ in range(60)]
            await until(lambda: server._limit.open == 21)
            hub.sink("main").publish(STATUS)
            async for message in client:
                if isinstance(message, wire.Status):
                    break
        for one in crowd:
            one.close()
        await until(lambda: server._limit.open == 0)


FLOODED = """
import asyncio, logging, resource, socket, sys
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.config import ServeSettings

async def serve():
    async with Server(Hub(), ServeSettings(port=0)) as server:
        taken = len(socket.os.listdir("/dev/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 10, taken + 10))
        print(server.port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

logging.basicConfig(level=logging.INFO)
asyncio.run(serve())
"""


async def test_without_descriptors_newcomers_are_turned_away_quietly_and_it_comes_back():
    process = subprocess.Popen(  # noqa: ASYNC220 - it starts at once
        [sys.executable, "-c", FLOODED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        port = int(await asyncio.to_thread(process.stdout.readline))
        for _ in range(3):
            crowd = [
                socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) for _ in range(60)
            ]  # fewer than the kernel queues
            # Whoever finds no descriptor is hung up on, and the oldest make room: all but the last few hear the end.
            for one in crowd[:30]:
                with contextlib.suppress(ConnectionResetError):
                    assert await asyncio.to_thread(one.recv, 1) == b""
            head = await answer(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            for one in crowd:
                one.close()
        while not head.startswith(b"HTTP/1.1 200"):
            head = await answer(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    finally:
        _, told = await asyncio.to_thread(process.communicate, "\n", PATIENCE_S)
    assert process.returncode == 0
    assert "no file descriptor left" in told
    ours = [line for line in told.splitlines() if "websockets:" not in line]
    assert len(ours) <= 2, told
    assert "Traceback" not in told


async def test_guesses_wait_for_the_turn_of_their_address_and_are_told_in_one_line(hub, caplog):
    clock = FakeClock()
    guesses = GuessLimit(clock)
    settings = ServeSettings(port=0, token=TOKEN, operator_token=DESK, close_timeout_s=1.0)
    async with Server(hub, settings, guesses=guesses) as server:
        url = server.stream_url
        async with talking(url) as inside:
            await inside.ask("identify", token=TOKEN)
            assert (await identified(url, "a wrong one"))["code"] == 4401
            while guesses.book("127.0.0.1")[1]:  # as many more as may wait for their turns
                pass
            refused = await identified(url, "another wrong one")
            assert (refused["code"], refused["fatal"]) == (4429, True)
            assert 6.0 < refused["retry_after_s"] <= 7.0
            assert (await identified(url, TOKEN))["code"] == 4429, "nobody knows whether it is right"
            async with talking(url, additional_headers={"Authorization": "Bearer x"}) as shown:
                assert (await shown.closed_with())[1] == 4429
            async with connect(url, reconnect=False) as silent:  # who shows no token guesses none
                assert silent.connected
            # Whoever is inside notices nothing.
            await inside.all_so_far()
            clock.now += refused["retry_after_s"]
            assert (await identified(url, TOKEN))["role"] == "viewer", "in its turn it is let in"
            clock.now += FORGOTTEN_AFTER_S
            assert (await identified(url, DESK))["role"] == "operator"
    told = [record.getMessage() for record in caplog.records if "wrong token" in record.getMessage()]
    assert told == ["a wrong token came from 127.0.0.1"]
    assert "stream_mer_wrong_tokens_total 1.0" in server._metrics.text().decode()


async def test_behind_a_proxy_that_is_believed_one_guesser_does_not_slow_down_the_others(hub):
    guesses = GuessLimit(FakeClock())
    settings = ServeSettings(port=0, token=TOKEN, proxies=("127.0.0.1",), close_timeout_s=1.0)
    async with Server(hub, settings, guesses=guesses) as server:

        async def shown(token: str, address: str) -> int | None:
            headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": f"6.6.6.6, {address}"}
            async with talking(server, additional_headers=headers) as client:
                return (await client.read()).get("code")

        assert await shown("wrong", "10.0.0.7") == 4401
        assert guesses.book("10.0.0.7")[0] > 0
        assert guesses.book("127.0.0.1") == guesses.book("6.6.6.6") == (0.0, True)
        assert await shown(TOKEN, "10.0.0.8") is None


async def test_who_has_shown_no_token_takes_no_place(hub, serving):
    async with serving(hub, token=TOKEN, max_clients=1, identify_timeout_s=PATIENCE_S) as server:
        silent = [await websockets.asyncio.client.connect(server.stream_url) for _ in range(5)]
        async with connect(server.stream_url, token=TOKEN) as client:
            async for message in client:
                if isinstance(message, wire.Ready):
                    break
            full = await identified(server.stream_url, TOKEN)
            assert full["code"] == 1013
            assert full["retry_after_s"] > 0
        for one in silent:
            await one.close()
        await until(lambda: not server._sessions)
        assert (await identified(server.stream_url, TOKEN))["type"] == "ready"


@pytest.mark.parametrize("host", ["::", "::1", "0.0.0.0", "0", "127.0.0.1", "localhost", ""])  # noqa: S104 - of a test
async def test_the_printed_address_answers(hub, serving, host):
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            if ":" in host:
                pytest.skip("this machine has no IPv6")
    hub.sink("main").publish(FRAME)
    async with serving(hub, host=host, token=TOKEN) as server, asyncio.timeout(PATIENCE_S):
        command = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1] + 'healthz', timeout=60).read())"
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", command, server.page_url], capture_output=True, text=True, check=True
        )
        assert done.stdout == "b'ok\\n'\n"
        assert (await identified(server.stream_url, TOKEN))["type"] == "ready"
        if host in {"::", ""}:  # both families, one port
            assert (await identified(f"ws://127.0.0.1:{server.port}/v1/stream", TOKEN))["type"] == "ready"


async def test_nothing_is_left_open_where_a_port_is_taken(hub):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - names are enough
        for _ in range(5):
            with pytest.raises(server_module.ServeError, match="is in use"):
                await Server(hub, ServeSettings(port=taken.getsockname()[1])).start()
        assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208 - names are enough
