"""Addresses of servers as people type them. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from stream_mer.errors import SettingError
from stream_mer.server.messages import STREAM_PATH
from stream_mer.utils.redaction import redact_address

DEFAULT_PORT = 8765

DEFAULT_URL = f"ws://127.0.0.1:{DEFAULT_PORT}{STREAM_PATH}"
"""Where ``stream-mer serve`` listens unless told otherwise."""

_SCHEMES = {"": "ws", "ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}


def complete_url(address: str) -> str:
    """Complete what people type: ``host``, ``host:port``, the page's address or that of the websocket itself.

    A path that ends with ``/`` is that of a page, which a reverse proxy may have put below a prefix.

    Raises:
        SettingError: It is no address.
    """
    typed, _, rest = address.strip().rpartition("://")
    scheme = _SCHEMES.get(typed.lower())
    netloc, _, path = rest.partition("/")
    if scheme == "ws" and ":" not in netloc.rpartition("]")[2]:
        netloc += f":{DEFAULT_PORT}"
    if scheme is None or not _is_netloc(netloc):
        raise no_address(address)
    path, is_page = path.strip("/"), path.endswith("/") or not path
    if is_page and not f"/{path}".endswith(STREAM_PATH):
        path = f"{path}{STREAM_PATH}".lstrip("/")
    return f"{scheme}://{netloc}/{path}"


def no_address(address: str) -> SettingError:
    """Return what to say of something that cannot be connected to."""
    return SettingError(f"{redact_address(address)!r} is no address of a server; one looks like {DEFAULT_URL}")


def _is_netloc(netloc: str) -> bool:
    """Tell whether this can stand between ``//`` and the path."""
    try:
        parts = urlsplit(f"//{netloc}")
        return bool(parts.hostname) and parts.port != 0 and not any(map(str.isspace, netloc))
    except ValueError:  # the port is no number up to 65,535, or a bracket is missing
        return False
