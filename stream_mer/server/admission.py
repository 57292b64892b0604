"""Whether a client may come in at all: its request, its place, its page, its token. Pure; the clock is given."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from stream_mer.server import messages as wire
from stream_mer.server.farewell import Goodbye
from stream_mer.server.settings import ServeSettings
from stream_mer.utils.hosts import is_address, is_loopback

ONCE_AT_MOST = ("Authorization", "Host", "Origin", "Sec-WebSocket-Key", "Sec-WebSocket-Version")
"""Headers that decide something and may come once: of two, one would pass what the other one forbids."""

PLAIN_HEADERS = (*ONCE_AT_MOST, "Connection", "Upgrade", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol")
"""Headers that are read here; what is no printable ASCII in them is no header of these."""

FIRST_DELAY_S, LONGEST_DELAY_S = 0.25, 5.0
"""Pause after the first wrong token of an address, doubled with each further one up to the longest."""

LONGEST_WAIT_S = 6.0
"""A token that would have to wait for longer is not looked at; a client that hears nothing for 7 s believes the
connection lost."""

FORGOTTEN_AFTER_S = 600.0
"""An address that has shown no wrong token for so long begins anew."""

MOST_ADDRESSES = 4096
"""Addresses that are remembered."""


class HeaderFields(Protocol):
    """The headers of a request, by names in any case."""

    def get_all(self, key: str) -> list[str]: ...


def why_malformed(headers: HeaderFields) -> str | None:
    """Return why a request cannot be read as one, for its sender; None if it can."""
    for name in ONCE_AT_MOST:
        if len(headers.get_all(name)) > 1:
            return f"the header {name} came more than once"
    for name in PLAIN_HEADERS:
        for value in headers.get_all(name):
            if not (value.isascii() and all(letter.isprintable() or letter == "\t" for letter in value)):
                return f"the header {name} holds characters that no such header may"
    return None


def client_address(peer: str, forwarded: list[str], *, proxies: Collection[str]) -> str:
    """Return the address of a client: of IPv6 the network (/64), of which one machine has as many as it likes.

    Args:
        peer: Where the connection comes from.
        forwarded: The values of ``X-Forwarded-For``, of which each proxy adds what it sees at the end.
        proxies: Addresses of proxies that are believed.
    """
    seen = _without_port(peer)
    for said in reversed([one for value in forwarded for one in value.split(",")]):
        if seen not in proxies:
            break
        named = _without_port(said.strip())
        if not is_address(named):
            break
        seen = named
    if not is_address(seen):
        return seen
    address = ipaddress.ip_address(seen)
    return seen if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


def _without_port(text: str) -> str:
    """Return an address as it is compared: no port, brackets or zone, and IPv4 as IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    text = text.partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    return str(getattr(address, "ipv4_mapped", None) or address)


@dataclass(slots=True)
class _Guesses:
    """What an address has tried: its wrong tokens, when the last one came, and when the next one is looked at."""

    wrong: int
    last_at: float
    next_at: float


class GuessLimit:
    """Makes guessing tokens slow: after each wrong one an address waits longer until the next one is looked at.

    All clients behind one address (NAT) share its delay, for nothing tells them apart before a token is looked at. A
    right token is looked at in its turn, after a few seconds at most, or its client is told when to come back; and it
    makes no wrong ones forgotten: whoever knows the viewers' token could guess the operators' in between. Clients that
    are connected notice nothing.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._addresses: OrderedDict[str, _Guesses] = OrderedDict()

    def book(self, address: str) -> tuple[float, bool]:
        """Book the next turn of an address.

        Returns:
            Seconds until its token may be looked at, and whether it may wait for so long; if not, nothing is booked.
        """
        known, now = self._known(address), self._clock()
        if known is None:
            return 0.0, True
        at = max(now, known.next_at)
        if at - now > LONGEST_WAIT_S:
            return at - now, False
        if at > now:  # a turn of its own: those that wait do not all come at once
            known.next_at = at + _delay_s(known.wrong)
        return at - now, True

    def was_wrong(self, address: str) -> None:
        """Take note of a wrong token."""
        now = self._clock()
        known = self._known(address) or _Guesses(wrong=0, last_at=now, next_at=now)
        known.wrong, known.last_at = known.wrong + 1, now
        known.next_at = max(known.next_at, now + _delay_s(known.wrong))
        self._addresses[address] = known
        self._addresses.move_to_end(address)
        if len(self._addresses) > MOST_ADDRESSES:
            self._addresses.popitem(last=False)

    def _known(self, address: str) -> _Guesses | None:
        known = self._addresses.get(address)
        if known is not None and self._clock() - known.last_at > FORGOTTEN_AFTER_S:
            del self._addresses[address]
            return None
        return known


def _delay_s(wrong: int) -> float:
    return float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(wrong - 1, 16)))


def why_refused(
    headers: Mapping[str, str], *, clients: int, role: wire.Role | None, settings: ServeSettings
) -> Goodbye | None:
    """Return why a client may not even say hello; None if it may.

    Args:
        headers: Those of its request, by names in any case.
        clients: How many were let in already.
        role: What it may do by what its headers show; None where they show no good token and one is needed: such a
            client takes no place before it has shown one.
        settings: Limits, token, and the pages that may connect.
    """
    full = None if role is None else why_full(clients, settings)
    if full is not None:
        return full
    origin = headers.get("Origin")
    if origin is not None and not may_connect(origin, host=headers.get("Host", ""), settings=settings):
        return Goodbye(
            wire.CloseCode.FORBIDDEN,
            f"pages from {origin[:60]!r} may not connect; start the server with --allow-origin {origin[:60]}",
        )
    if role is None and "Authorization" in headers:
        return Goodbye(wire.CloseCode.BAD_TOKEN, 'the header must be "Authorization: Bearer" and the right token')
    return None


def why_full(clients: int, settings: ServeSettings) -> Goodbye | None:
    """Return why there is no place for one more client; None where there is one."""
    if clients < settings.max_clients:
        return None
    full = f"all {settings.max_clients} places are taken; come back later"
    return Goodbye(wire.CloseCode.FULL, full, retry_after_s=10.0)


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
