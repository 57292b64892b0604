"""Plain HTTP: the page and its files, and nothing beside them."""

import re
from importlib import resources

import pytest

from stream_mer.server.http import CONTENT_SECURITY_POLICY, Pages


@pytest.fixture
def pages():
    return Pages(is_ready=lambda: False, metrics=lambda: b"up 1\n")


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/?stream=main", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/healthz", "text/plain; charset=utf-8"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_files_come_with_their_type(pages, path, content_type):
    answer = pages.answer(path)
    assert answer.status == 200
    headers = dict(answer.headers())
    assert headers["Content-Type"] == content_type
    assert headers["Content-Length"] == str(len(answer.body))
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/../server.py", "/%2e%2e/server.py", "//etc/passwd", "", "/web/app.js", "/../../pyproject.toml"],
)
def test_nothing_else_is_served(pages, path):
    assert pages.answer(path).status == 404


def test_ready_follows_the_emotion():
    ready = False
    pages = Pages(is_ready=lambda: ready, metrics=lambda: b"")
    assert pages.answer("/readyz").status == 503
    ready = True
    assert pages.answer("/readyz").status == 200


@pytest.mark.parametrize("path", ["/", "/overlay"])
def test_a_page_wants_nothing_from_elsewhere_and_all_that_it_wants_is_there(pages, path):
    wanted = re.findall(r'(?:src|href)="([^"]+)"', pages.answer(path).body.decode())
    for name in wanted:
        assert not name.startswith("/"), "behind a proxy the page may lie below a prefix"
        assert pages.answer(f"/{name}").status == 200, name
        if name.endswith(".js"):
            wanted += re.findall(r'from "\./([^"]+)"', pages.answer(f"/{name}").body.decode())
    assert {"style.css", "mer.js", "plane.js", "timeline.js"} <= set(wanted)


WEB = resources.files("stream_mer.server") / "web"
SCRIPTS = sorted(entry.name for entry in WEB.iterdir() if entry.name.endswith(".js"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_page_never_makes_html_of_text(pages, name):
    code = pages.answer(f"/{name}").body.decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", code)


EVERY_PATH = ["/", "/index.html", "/overlay", "/overlay.html", "/mer.js", "/healthz", "/metrics", "/nothing"]


@pytest.mark.parametrize("path", EVERY_PATH)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_no_page_is_shown_in_a_frame(pages, path, method):
    headers = dict(pages.answer(path, method=method).headers())
    assert headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"].split("; ")


@pytest.mark.parametrize("path", EVERY_PATH)
def test_the_overlay_alone_is_framed_where_the_settings_say_so(path):
    framed_by = ("https://vj.example", "http://127.0.0.1:3000")
    pages = Pages(is_ready=lambda: False, metrics=lambda: b"", framed_by=framed_by)
    headers = dict(pages.answer(path).headers())
    policy = headers["Content-Security-Policy"].split("; ")
    if path.startswith("/overlay"):
        assert "frame-ancestors https://vj.example http://127.0.0.1:3000" in policy
        assert "X-Frame-Options" not in headers, "it would overrule the other one in old browsers"
    else:
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Frame-Options"] == "DENY"
    assert "script-src 'self'" in policy
