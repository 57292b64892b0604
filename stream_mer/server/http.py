"""HTTP on the server's port: the page and its files, the documentation, health and metrics. No sockets here."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from importlib import resources
from pathlib import Path, PurePosixPath

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

DOCS_TYPES = CONTENT_TYPES | {
    "": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".service": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".xml": "application/xml",
}
"""Media types of the documentation's files; others are not served."""

DOCS_FOLDER = Path(__file__).parents[2] / "build" / "site"
"""Where `make docs` builds the documentation. An installed package has none."""

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""

METHODS = ("GET", "HEAD")

SHARED_SCRIPT = "mer.js"
"""The JavaScript client, which pages of any origin may import; whether they may connect is another question."""

FRAMED = ("/overlay", "/overlay.html")
"""Pages that may be shown in a frame by the origins in the settings: there is nothing to click on."""

SINGLE_HEADERS = ("Authorization", "Host", "Origin", "Sec-WebSocket-Key", "Sec-WebSocket-Version")
"""Headers that may come once: of two, one could pass what the other one forbids."""

ASCII_HEADERS = (*SINGLE_HEADERS, "Connection", "Upgrade", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol")
"""Headers that must hold printable ASCII."""

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
"""The page runs its own files only, whatever a lyric or a device name contains."""

_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)

_COMMON_HEADERS = (
    # The files come from memory on the same machine or network, and must never be older than the server.
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)


def malformed_header(get_all: Callable[[str], list[str]]) -> str | None:
    """Return what is wrong with the headers of a request, for its sender; None if nothing is.

    Args:
        get_all: Returns all values of a header, by its name in any case.
    """
    for name in SINGLE_HEADERS:
        if len(get_all(name)) > 1:
            return f"the header {name} came more than once"
    for name in ASCII_HEADERS:
        for value in get_all(name):
            if not (value.isascii() and all(letter.isprintable() or letter == "\t" for letter in value)):
                return f"the header {name} holds characters that are not allowed in it"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP response without its transport.

    Attributes:
        status: HTTP status.
        content_type: Media type.
        body: Content.
        shared: True if pages of any origin may read it.
        framed_by: Origins that may show it in a frame; ``*`` for all.
        policy: Content security policy, without the part on frames.
        location: Where a redirect leads.
    """

    status: HTTPStatus
    content_type: str
    body: bytes
    shared: bool = False
    framed_by: tuple[str, ...] = ()
    policy: str = _POLICY
    location: str = ""

    def headers(self) -> list[tuple[str, str]]:
        """Return all headers."""
        headers = [
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            ("Connection", "close"),
            *_COMMON_HEADERS,
        ]
        # No other page shows it in a frame: a click meant for that page could black out the show.
        ancestors = " ".join(self.framed_by) or "'none'"
        headers.append(("Content-Security-Policy", f"{self.policy}; frame-ancestors {ancestors}"))
        if not self.framed_by:
            headers.append(("X-Frame-Options", "DENY"))
        if self.shared:
            headers.append(("Access-Control-Allow-Origin", "*"))
        if self.location:
            headers.append(("Location", self.location))
        if self.status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", ", ".join(METHODS)))
        return headers


class Pages:
    """The files of the page, read once, and the health of the process.

    Args:
        is_ready: Tells whether frames are being published, for ``/readyz``.
        metrics: Returns the content of ``/metrics``.
        framed_by: Origins that may show the overlay in a frame; ``*`` for all.
    """

    def __init__(
        self, *, is_ready: Callable[[], bool], metrics: Callable[[], bytes], framed_by: tuple[str, ...] = ()
    ) -> None:
        self._is_ready = is_ready
        self._metrics = metrics
        self._files = _read_files()
        for path in FRAMED:
            self._files[path] = replace(self._files[path], framed_by=framed_by)

    def answer(self, target: str, *, method: str = "GET") -> Answer:
        """Answer a request.

        Args:
            target: Its path, with or without a query.
            method: ``GET`` and ``HEAD`` are allowed, and get the same answer.
        """
        if method not in METHODS:
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are allowed\n")
        path = target.partition("?")[0]
        if path == "/healthz":
            return _text(HTTPStatus.OK, "ok\n")
        if path == "/readyz":
            status = HTTPStatus.OK if self._is_ready() else HTTPStatus.SERVICE_UNAVAILABLE
            return _text(status, "ready\n" if status is HTTPStatus.OK else "no emotion has been computed yet\n")
        if path == "/metrics":
            return Answer(status=HTTPStatus.OK, content_type=METRICS_TYPE, body=self._metrics())
        if path == "/docs" or path.startswith("/docs/"):
            return _docs_page(DOCS_FOLDER, path.removeprefix("/docs"))
        return self._files.get(path) or _text(HTTPStatus.NOT_FOUND, "not found; the page is at /\n")


def _read_files() -> dict[str, Answer]:
    files = {}
    for entry in (resources.files("stream_mer.server") / "web").iterdir():
        content_type = CONTENT_TYPES.get(PurePosixPath(entry.name).suffix)
        if content_type is not None:
            shared = entry.name == SHARED_SCRIPT
            files[f"/{entry.name}"] = Answer(
                status=HTTPStatus.OK, content_type=content_type, body=entry.read_bytes(), shared=shared
            )
    files["/"] = files["/index.html"]
    files["/overlay"] = files["/overlay.html"]
    return files


def _docs_page(folder: Path, path: str) -> Answer:
    """Answer a request for the documentation.

    Args:
        folder: The site that MkDocs built.
        path: Path below ``/docs``; with a slash at its end the ``index.html`` there.
    """
    if not (folder / "index.html").is_file():
        return _text(HTTPStatus.NOT_FOUND, "the documentation is not built; type `make docs` in a clone\n")
    if not path:  # relative, so that it works below a prefix, too
        return replace(_text(HTTPStatus.PERMANENT_REDIRECT, "see docs/\n"), location="docs/")
    name = path[1:] + ("index.html" if path.endswith("/") else "")
    missing = _text(HTTPStatus.NOT_FOUND, "not found; the documentation is at /docs/\n")
    content_type = DOCS_TYPES.get(PurePosixPath(name).suffix)
    if content_type is None or "\0" in name:
        return missing
    file = (folder / name).resolve()
    if not file.is_relative_to(folder.resolve()) or not file.is_file():
        return missing
    body = file.read_bytes()
    return Answer(status=HTTPStatus.OK, content_type=content_type, body=body, policy=_docs_policy(body))


def _docs_policy(body: bytes) -> str:
    """Allow the inline scripts of this very page by their hashes, and inline styles, which the theme needs."""
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _INLINE_SCRIPT.findall(body)]
    scripts = " ".join(("script-src 'self'", *(f"'sha256-{value}'" for value in dict.fromkeys(hashes))))
    return _POLICY.replace("script-src 'self'", scripts).replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")


def _text(status: HTTPStatus, text: str) -> Answer:
    return Answer(status=status, content_type="text/plain; charset=utf-8", body=text.encode())
