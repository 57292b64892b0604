"""Whether a client may come in at all: its place, its page, its header. Pure; ``Requests`` asks for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from stream_mer.serve import messages as wire
from stream_mer.serve.farewell import Goodbye
from stream_mer.serve.parts import Role
from stream_mer.serve.settings import ServeSettings, is_address, is_loopback


def why_refused(
    headers: Mapping[str, str], *, clients: int, role: Role | None, settings: ServeSettings
) -> Goodbye | None:
    """Return why a client may not even say hello; None if it may.

    Args:
        headers: Those of its request, by names in any case.
        clients: How many are here already.
        role: What it may do by what its headers show; None where they show no good token and one is needed.
        settings: Limits, token, and the pages that may connect.
    """
    if clients >= settings.max_clients:
        full = f"all {settings.max_clients} places are taken; come back later"
        return Goodbye(wire.CloseCode.FULL, full, retry_after_s=10.0)
    origin = headers.get("Origin")
    if origin is not None and not may_connect(origin, host=headers.get("Host", ""), settings=settings):
        return Goodbye(
            wire.CloseCode.FORBIDDEN,
            f"pages from {origin[:60]!r} may not connect; start the server with --allow-origin {origin[:60]}",
        )
    if role is None and "Authorization" in headers:
        return Goodbye(wire.CloseCode.BAD_TOKEN, 'the header must be "Authorization: Bearer" and the right token')
    return None


def may_connect(origin: str, *, host: str, settings: ServeSettings) -> bool:
    """Tell whether a web page may open the stream.

    The server's own page may, pages that this very machine serves, on any port, and those that the settings allow.
    Without a token the own page must have been opened by address: a foreign name can be pointed at this machine (DNS
    rebinding), and its pages would pass for ours.

    Args:
        origin: The browser's ``Origin``.
        host: The browser's ``Host``.
        settings: The origins allowed in any case, and whether there is a token.
    """
    if "*" in settings.allowed_origins or origin in settings.allowed_origins:
        return True
    try:
        page = urlsplit(origin)
    except ValueError:  # brackets that hold no address
        return False
    if page.hostname is None:
        return False
    if is_loopback(page.hostname):
        return True
    return page.netloc == host and (settings.token is not None or is_address(page.hostname))


def shown_token(headers: Mapping[str, str]) -> str | None:
    """Return the token that a client shows in its headers: empty for a header that is none, None for no header."""
    header = headers.get("Authorization")
    if header is None:
        return None
    scheme, _, shown = header.partition(" ")
    return shown.strip() if scheme.lower() == "bearer" else ""
