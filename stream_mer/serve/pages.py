"""What the port answers to plain HTTP: the page, its files, and the two questions of a supervisor. No sockets here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from importlib import resources
from pathlib import PurePosixPath

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

CONTENT_SECURITY_POLICY = "; ".join(
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

_COMMON_HEADERS = (
    # The files come out of memory on the same machine or network, and must never be older than the server.
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP response without its transport."""

    status: HTTPStatus
    content_type: str
    body: bytes

    def headers(self) -> list[tuple[str, str]]:
        """Return all headers."""
        return [
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            ("Connection", "close"),
            *_COMMON_HEADERS,
        ]


class Pages:
    """The files of the page, read once, and the health of the process.

    Args:
        is_ready: Tells whether emotion is flowing, for ``/readyz``.
    """

    def __init__(self, *, is_ready: Callable[[], bool]) -> None:
        self._is_ready = is_ready
        self._files = _read_files()

    def answer(self, target: str) -> Answer:
        """Answer a GET.

        Args:
            target: Path of the request, with or without a query.
        """
        path = target.partition("?")[0]
        if path == "/healthz":
            return _text(HTTPStatus.OK, "ok\n")
        if path == "/readyz":
            if self._is_ready():
                return _text(HTTPStatus.OK, "ready\n")
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, "no emotion has been computed yet\n")
        return self._files.get(path) or _text(HTTPStatus.NOT_FOUND, "there is nothing here; the page is at /\n")


def _read_files() -> dict[str, Answer]:
    files = {}
    for entry in (resources.files("stream_mer.serve") / "web").iterdir():
        content_type = CONTENT_TYPES.get(PurePosixPath(entry.name).suffix)
        if content_type is not None:
            files[f"/{entry.name}"] = Answer(status=HTTPStatus.OK, content_type=content_type, body=entry.read_bytes())
    files["/"] = files["/index.html"]
    return files


def _text(status: HTTPStatus, text: str) -> Answer:
    return Answer(status=status, content_type="text/plain; charset=utf-8", body=text.encode())
