"""What the port answers to plain HTTP: the page and its files, health and metrics. No sockets here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from importlib import resources
from pathlib import PurePosixPath

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""

METHODS = ("GET", "HEAD")
"""Everything here is only looked at."""

SHARED_SCRIPT = "mer.js"
"""The client in JavaScript, which any page may import; whether it may connect is another question."""

FRAMED = ("/overlay", "/overlay.html")
"""Pages that others may show in a frame, where the settings name them: there is nothing to click on."""

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
"""The page runs its own files and nothing else, whatever a lyric or a device name may contain."""

CONTENT_SECURITY_POLICY = f"{_POLICY}; frame-ancestors 'none'"
"""And no page shows it in a frame: a click meant for that page could black out the show."""

_COMMON_HEADERS = (
    # The files come out of memory on the same machine or network, and must never be older than the server.
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP response without its transport.

    Attributes:
        status: How it went.
        content_type: What it is.
        body: Its bytes.
        for_everyone: True if pages from elsewhere may read it too.
        framed_by: Origins of the pages that may show it in a frame; ``*`` for all.
    """

    status: HTTPStatus
    content_type: str
    body: bytes
    for_everyone: bool = False
    framed_by: tuple[str, ...] = ()

    def headers(self) -> list[tuple[str, str]]:
        """Return all headers."""
        return [
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            ("Connection", "close"),
            *_COMMON_HEADERS,
            *self._frame_headers(),
            *([("Access-Control-Allow-Origin", "*")] if self.for_everyone else []),
            *([("Allow", ", ".join(METHODS))] if self.status is HTTPStatus.METHOD_NOT_ALLOWED else []),
        ]

    def _frame_headers(self) -> list[tuple[str, str]]:
        if not self.framed_by:
            return [("Content-Security-Policy", CONTENT_SECURITY_POLICY), ("X-Frame-Options", "DENY")]
        return [("Content-Security-Policy", f"{_POLICY}; frame-ancestors {' '.join(self.framed_by)}")]


class Pages:
    """The files of the page, read once, and the health of the process.

    Args:
        is_ready: Tells whether emotion is flowing, for ``/readyz``.
        metrics: Returns what ``/metrics`` tells.
        framed_by: Origins of the pages that may show the overlay in a frame; ``*`` for all.
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
            method: ``HEAD`` gets the headers of ``GET`` without the body.
        """
        if method not in METHODS:
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD make sense here\n")
        path = target.partition("?")[0]
        if path == "/healthz":
            return _text(HTTPStatus.OK, "ok\n")
        if path == "/readyz":
            if self._is_ready():
                return _text(HTTPStatus.OK, "ready\n")
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, "no emotion has been computed yet\n")
        if path == "/metrics":
            return Answer(status=HTTPStatus.OK, content_type=METRICS_TYPE, body=self._metrics())
        return self._files.get(path) or _text(HTTPStatus.NOT_FOUND, "there is nothing here; the page is at /\n")


def _read_files() -> dict[str, Answer]:
    files = {}
    for entry in (resources.files("stream_mer.server") / "web").iterdir():
        content_type = CONTENT_TYPES.get(PurePosixPath(entry.name).suffix)
        if content_type is not None:
            files[f"/{entry.name}"] = Answer(
                status=HTTPStatus.OK,
                content_type=content_type,
                body=entry.read_bytes(),
                for_everyone=entry.name == SHARED_SCRIPT,
            )
    files["/"] = files["/index.html"]
    files["/overlay"] = files["/overlay.html"]
    return files


def _text(status: HTTPStatus, text: str) -> Answer:
    return Answer(status=status, content_type="text/plain; charset=utf-8", body=text.encode())
