"""Plain HTTP: the page and its files, and nothing beside them."""

import base64
import hashlib
import re
from importlib import resources

import pytest

from stream_mer.server import http
from stream_mer.server.http import SINGLE_HEADERS, Pages, malformed_header


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
    policy = headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
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


GOOD = [
    ("Host", "stage-pc:8765"),
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Protocol", "mer.v2.json"),
    ("Sec-WebSocket-Protocol", "mer.v1.json"),
    ("Authorization", "Bearer x"),
    ("Origin", "http://stage-pc:8765"),
    ("Cookie", "name=Bj\udcf6rk"),
    ("X-Forwarded-For", "10.0.0.1"),
    ("X-Forwarded-For", "10.0.0.2"),
]


def malformed(pairs: list[tuple[str, str]]) -> str | None:
    return malformed_header(lambda key: [value for name, value in pairs if name.lower() == key.lower()])


def test_an_ordinary_request_is_well_formed():
    assert malformed(GOOD) is None
    assert malformed([]) is None


@pytest.mark.parametrize("name", SINGLE_HEADERS)
def test_a_header_that_decides_comes_once(name):
    wrong = [(one, value) for one, value in GOOD if one != name] + [(name, "first"), (name.lower(), "")]
    assert malformed(wrong) == f"the header {name} came more than once"


@pytest.mark.parametrize("name", [*SINGLE_HEADERS, "Sec-WebSocket-Protocol", "Upgrade", "Connection"])
@pytest.mark.parametrize("value", ["caf\udcc3\udca9", "caf\xe9", "a\x1b[2Jb", "a\x00b", "a\u202eb"])
def test_a_header_that_is_read_holds_printable_ascii(name, value):
    wrong = [(one, said) for one, said in GOOD if one != name] + [(name, value)]
    assert f"the header {name} holds characters" in malformed(wrong)


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "build" / "site"
    monkeypatch.setattr(http, "DOCS_FOLDER", folder)
    return folder


@pytest.fixture
def built(site):
    (site / "assets").mkdir(parents=True)
    (site / "deploy").mkdir()
    (site / "index.html").write_text("<script>start()</script><script src='a.js'></script>")
    (site / "deploy" / "index.html").write_text("a service")
    (site / "deploy" / "Dockerfile").write_text("FROM python")
    (site / "assets" / "a.js").write_text("start")
    (site / "secret.pem").write_text("a key")
    (site.parent / "outside.html").write_text("not part of the site")
    (site / "link.html").symlink_to(site.parent / "outside.html")
    return site


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/docs/", "text/html; charset=utf-8"),
        ("/docs/index.html?q=window", "text/html; charset=utf-8"),
        ("/docs/deploy/", "text/html; charset=utf-8"),
        ("/docs/deploy/Dockerfile", "text/plain; charset=utf-8"),
        ("/docs/assets/a.js", "text/javascript; charset=utf-8"),
    ],
)
def test_files_of_the_site_come_with_their_type(pages, path, content_type):
    answer = pages.answer(path)
    assert answer.status == 200
    assert dict(answer.headers())["Content-Type"] == content_type


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    "name",
    [
        "../outside.html",
        "assets/../../outside.html",
        "/etc/hostname",
        "//etc/hostname",
        "link.html",
        "secret.pem",
        "assets",
        "assets/",
        "%2e%2e/outside.html",
        "..\\outside.html",
        "index.html\0.js",
        "nothing.html",
    ],
)
def test_nothing_outside_the_site_is_served(pages, name):
    answer = pages.answer(f"/docs/{name}")
    assert answer.status == 404
    assert b"not part" not in answer.body


@pytest.mark.usefixtures("built")
def test_scripts_of_the_page_are_allowed_by_their_hash_alone(pages):
    policy = dict(pages.answer("/docs/").headers())["Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(b"start()").digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in dict(pages.answer("/").headers())["Content-Security-Policy"]


@pytest.mark.usefixtures("built")
def test_the_folder_redirects_to_its_slash_below_any_prefix(pages):
    answer = pages.answer("/docs")
    assert (answer.status, dict(answer.headers())["Location"]) == (308, "docs/")


@pytest.mark.usefixtures("site")
def test_where_it_is_not_built_the_answer_says_how(pages):
    answer = pages.answer("/docs/")
    assert answer.status == 404
    assert b"make docs" in answer.body
