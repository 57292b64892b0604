"""The page and its websocket below a prefix, behind the proxies that people use, set up as the manual says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from helpers import PATIENCE_S

from stream_mer import connect
from stream_mer.config import ServeSettings
from stream_mer.errors import ServeError
from stream_mer.server import messages as wire
from stream_mer.server.auth import GuessLimit
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from tools.examples import FRAME, STATUS

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
TOKEN = "open-sesame-open"  # noqa: S105 - of a test


def nginx(folder: Path, port: int, server_port: int) -> list[str]:
    recipe = (RECIPES / "nginx.conf").read_text().replace("127.0.0.1:8765", f"127.0.0.1:{server_port}")
    kept = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; worker_processes 1; events {{}}\n"
        f"http {{ {kept} access_log off; server {{ listen 127.0.0.1:{port};\n{recipe} }} }}\n"
    )
    user = ["-g", "user root;"] if os.geteuid() == 0 else []
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), *user]


def caddy(folder: Path, port: int, server_port: int) -> list[str]:
    recipe = (RECIPES / "Caddyfile").read_text().replace("127.0.0.1:8765", f"127.0.0.1:{server_port}")
    recipe = recipe.replace("show.example", f"http://127.0.0.1:{port}")
    (folder / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https off\n}\n" + recipe)
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


Behind = Callable[[int], contextlib.AbstractAsyncContextManager[str]]


@pytest.fixture(params=[nginx, caddy], ids=["nginx", "caddy"])
def behind(request: pytest.FixtureRequest, tmp_path: Path) -> Behind:
    """``async with behind(port) as prefix`` puts a proxy in front of a server."""
    name = request.param.__name__
    if shutil.which(name) is None:
        pytest.skip(f"wants {name}: apt-get install {name}")

    @contextlib.asynccontextmanager
    async def run(server_port: int) -> AsyncIterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        home = os.environ | {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        process = await asyncio.create_subprocess_exec(
            *request.param(tmp_path, port, server_port), env=home, stderr=subprocess.PIPE
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    assert process.returncode is None, await process.stderr.read()
                    try:
                        _, writer = await asyncio.open_connection("127.0.0.1", port)
                    except OSError:
                        await asyncio.sleep(0.05)
                    else:
                        writer.close()
                        break
            yield f"http://127.0.0.1:{port}/mer/"
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.communicate()

    return run


def fetched(url: str) -> tuple[str, str]:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:  # noqa: S310 - it is that of the test
        return response.url, response.read().decode()


async def let_in(url: str, token: str) -> None:
    async with connect(url, token=token, reconnect=False) as client:
        async for message in client:
            if isinstance(message, wire.Ready):
                return


async def test_page_and_clients_find_their_way_below_a_prefix(hub: Hub, behind: Behind) -> None:
    hub.sink("main").publish(FRAME)
    guesses = GuessLimit(lambda: 1000.0)
    settings = ServeSettings(port=0, token=TOKEN, proxies=("127.0.0.1",), close_timeout_s=1.0)
    async with Server(hub, settings, guesses=guesses) as server, behind(server.port) as prefix:
        async with asyncio.timeout(PATIENCE_S):
            landed, page = await asyncio.to_thread(fetched, prefix.rstrip("/"))
            assert landed == prefix, "without its slash the address leads there"
            assert "<title>stream_mer</title>" in page
            for path in ("overlay", "mer.js", "app.js", "style.css", "healthz"):
                await asyncio.to_thread(fetched, prefix + path)
            await let_in(prefix, TOKEN)
            with pytest.raises(ServeError, match="wrong token"):
                await let_in(prefix, "a wrong one")
        assert guesses._addresses.keys() == {"127.0.0.1"}


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_the_page_lives_below_a_prefix(hub: Hub, serving, behind: Behind, browser) -> None:
    async with serving(hub, token=TOKEN) as server, behind(server.port) as prefix:
        page = await browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        await page.goto(f"{prefix}#token={TOKEN}")
        hub.sink("main").publish(STATUS)
        hub.sink("main").publish(FRAME)
        shown = "category => document.getElementById('category').textContent === category"
        await page.wait_for_function(shown, arg=FRAME.category, timeout=1000 * PATIENCE_S)
        assert await page.evaluate("document.getElementById('overlay-link').href") == f"{prefix}overlay"
        await page.goto(f"{prefix}overlay?show=category#token={TOKEN}")
        hub.sink("main").publish(FRAME)
        await page.wait_for_function(shown, arg=FRAME.category, timeout=1000 * PATIENCE_S)
        assert complaints == []
