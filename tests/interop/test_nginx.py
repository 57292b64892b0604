"""nginx with the configuration of the manual: the page, its files and clients below a path prefix."""

from __future__ import annotations

import os
import signal
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import free_port, wait_for
from interop.programs import Program, Serve, need

RECIPE = Path(__file__).parents[2] / "docs" / "recipes" / "nginx.conf"
TOKEN = "a-token-of-the-viewers"  # noqa: S105 - of a test
OPERATOR = "a-token-of-the-operators"


@pytest.fixture
def proxied(start: Callable[..., Program], home: Path) -> Callable[[str], str]:
    """Puts nginx before a server; returns the address below the prefix."""
    need("nginx", "nginx")

    def run(server_url: str) -> str:
        port = free_port()
        folder = home / "nginx"
        folder.mkdir()
        recipe = RECIPE.read_text().replace("127.0.0.1:8765", server_url.split("/")[2])
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi"))
        temporary += f"uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;"
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            f"{user} daemon off; pid {folder}/pid; error_log stderr; events {{}}\n"
            f"http {{ {temporary} access_log off; server {{ listen 127.0.0.1:{port};\n{recipe} }} }}\n"
        )
        start("nginx", ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")])
        url = f"http://127.0.0.1:{port}/mer/"
        wait_for(lambda: reachable(url + "healthz"), "nginx")
        return url

    return run


def fetch(url: str) -> tuple[str, str]:
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - of the test
        return answer.url, answer.read().decode()


def reachable(url: str) -> bool:
    try:
        fetch(url)
    except OSError:
        return False
    return True


def test_page_and_client_work_below_a_prefix(
    proxied: Any, serve: Callable[..., Serve], start: Callable[..., Program]
) -> None:
    server = serve("--token", TOKEN, "--operator-token", OPERATOR, "--proxy", "127.0.0.1")
    url = proxied(server.url)
    landed, page = fetch(url.rstrip("/"))
    assert landed == url
    assert "<title>stream_mer</title>" in page
    for path in ("overlay", "mer.js", "app.js", "style.css", "metrics"):
        assert fetch(url + path)[1]

    command = [sys.executable, "-m", "stream_mer", "listen", url, "--json", "--token"]
    client = start("listen", [*command, TOKEN])
    client.find(r'"type":\s*"emotion"')
    refused = start("refused", [*command, "not-the-token-at-all"])
    assert refused.process.wait(60) != 0
    assert "token" in refused.text()
    client.stop(signal.SIGINT)
