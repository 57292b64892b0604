"""The documentation at /docs, where it is built."""

import base64
import hashlib

import pytest

from stream_mer.server import http
from stream_mer.server.http import Pages


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


@pytest.fixture
def pages():
    return Pages(is_ready=lambda: True, metrics=lambda: b"")


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
