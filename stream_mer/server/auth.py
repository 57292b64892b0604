"""Who may connect, and in which role: address, origin, token, places. The clock is given."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from stream_mer.config import ServeSettings
from stream_mer.server import messages as wire
from stream_mer.server.connection import CloseConnection
from stream_mer.utils.hosts import is_address, is_loopback
from stream_mer.utils.log_limit import LimitedLog

logger = logging.getLogger(__name__)

FIRST_DELAY_S, MAX_DELAY_S = 0.25, 5.0
"""Pause after the first wrong token of an address, doubled with each further one up to the maximum."""

MAX_WAIT_S = 6.0
"""A token that would have to wait longer is not checked: a client that hears nothing for 7 s reconnects."""

FORGOTTEN_AFTER_S = 600.0
"""An address that has shown no wrong token for this long starts anew."""

MAX_ADDRESSES = 4096
"""Number of addresses that are remembered."""


def client_address(peer: str, forwarded: list[str], *, proxies: Collection[str]) -> str:
    """Return the address of a client; of IPv6 the network (/64), of which one machine has as many as it likes.

    Args:
        peer: Where the connection comes from.
        forwarded: The values of ``X-Forwarded-For``; each proxy appends the address that it sees.
        proxies: Addresses of trusted proxies.
    """
    address = _parse_address(peer)
    if address is None:
        return peer
    for claimed in reversed([one for value in forwarded for one in value.split(",")]):
        named = _parse_address(claimed.strip())
        if str(address) not in proxies or named is None:
            break
        address = named
    return str(address if address.version == 4 else ipaddress.ip_network((address, 64), strict=False))


def _parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an address with or without port, brackets and zone; IPv4 in IPv6 becomes IPv4. None if it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@dataclass(slots=True)
class _Guesses:
    """The wrong tokens of an address: their number, the time of the last one, and when the next one is checked."""

    wrong: int
    last_at: float
    next_at: float


class GuessLimit:
    """Slows down guessing of tokens: after each wrong one an address waits longer until the next one is checked.

    All clients behind one address (NAT) share its delay: they cannot be distinguished before a token is checked. A
    right token is checked after a few seconds at most, or its client gets the time to reconnect. It does not reset the
    delay: a viewer could guess the operators' token in between. Connected clients are not affected.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._addresses: OrderedDict[str, _Guesses] = OrderedDict()

    def book(self, address: str) -> tuple[float, bool]:
        """Book the next check of an address.

        Returns:
            Seconds until its token may be checked, and whether it may wait that long; if not, nothing is booked.
        """
        known, now = self._known(address), self._clock()
        if known is None:
            return 0.0, True
        at = max(now, known.next_at)
        if at - now > MAX_WAIT_S:
            return at - now, False
        if at > now:  # one check at a time
            known.next_at = at + _delay_s(known.wrong)
        return at - now, True

    def was_wrong(self, address: str) -> None:
        """Count a wrong token."""
        now = self._clock()
        known = self._known(address) or _Guesses(wrong=0, last_at=now, next_at=now)
        known.wrong, known.last_at = known.wrong + 1, now
        known.next_at = max(known.next_at, now + _delay_s(known.wrong))
        self._addresses[address] = known
        self._addresses.move_to_end(address)
        if len(self._addresses) > MAX_ADDRESSES:
            self._addresses.popitem(last=False)

    def _known(self, address: str) -> _Guesses | None:
        known = self._addresses.get(address)
        if known is not None and self._clock() - known.last_at > FORGOTTEN_AFTER_S:
            del self._addresses[address]
            return None
        return known


def _delay_s(wrong: int) -> float:
    return float(min(MAX_DELAY_S, FIRST_DELAY_S * 2 ** min(wrong - 1, 16)))


def role_of(shown: str | None, settings: ServeSettings) -> wire.Role | None:
    """Return the role of a client that shows this token, or None for no token; None if it may not connect.

    Tokens are compared in constant time.
    """
    if not settings.is_guarded:
        return "operator"
    if shown is None:
        return None if settings.needs_token else "viewer"
    is_operator, is_viewer = _same(shown, settings.operator_token), _same(shown, settings.token)
    if is_operator:
        return "operator"
    return ("operator" if settings.operator_token is None else "viewer") if is_viewer else None


def _same(shown: str, token: str | None) -> bool:
    return hmac.compare_digest(shown.encode(errors="surrogatepass"), (token or "").encode()) and token is not None


class Authenticator:
    """Checks tokens, one address after the other.

    Args:
        settings: The tokens.
        guesses: Slows down guessing.
        on_wrong_token: Called for each wrong token.
    """

    def __init__(self, settings: ServeSettings, guesses: GuessLimit, *, on_wrong_token: Callable[[], None]) -> None:
        self._settings = settings
        self._guesses = guesses
        self._on_wrong_token = on_wrong_token
        self._log = LimitedLog(logger)

    async def role_of(self, shown: str | None, address: str) -> wire.Role | None:
        """Return the role of a client that shows a token, or None for no token; wait if its address guessed before.

        Returns:
            The role; None if the token is wrong, or missing where one is required.

        Raises:
            CloseConnection: The check would have to wait too long.
        """
        if shown is None or not self._settings.is_guarded:
            return role_of(shown, self._settings)
        wait_s, may_wait = self._guesses.book(address)
        if not may_wait:
            self._log.log(logging.WARNING, "guesses", f"too many wrong tokens from {address}; the next have to wait")
            why = "wrong tokens came from this address, so the next one has to wait; try again later"
            raise CloseConnection(wire.CloseCode.TOO_MANY_MESSAGES, why, retry_after_s=round(wait_s, 1))
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        role = role_of(shown, self._settings)
        if role is None:
            self._guesses.was_wrong(address)
            self._on_wrong_token()
            self._log.log(logging.WARNING, "guesses", f"a wrong token came from {address}")
        return role


def check_request(headers: Mapping[str, str], *, clients: int, role: wire.Role | None, settings: ServeSettings) -> None:
    """Check whether a client may connect.

    Args:
        headers: Those of its request, by names in any case.
        clients: How many clients there are.
        role: Its role; None if it has to identify first: such a client takes no place yet.
        settings: Limits, token and allowed origins.

    Raises:
        CloseConnection: It may not.
    """
    if role is not None:
        check_places(clients, settings)
    origin = headers.get("Origin")
    if origin is not None and not may_connect(origin, host=headers.get("Host", ""), settings=settings):
        why = f"pages from {origin[:60]!r} may not connect; start the server with --allow-origin {origin[:60]}"
        raise CloseConnection(wire.CloseCode.FORBIDDEN, why)
    if role is None and "Authorization" in headers:
        why = 'the header must be "Authorization: Bearer" and the right token'
        raise CloseConnection(wire.CloseCode.BAD_TOKEN, why)


def check_places(clients: int, settings: ServeSettings) -> None:
    """Check whether there is a place for one more client.

    Raises:
        CloseConnection: There is none.
    """
    if clients >= settings.max_clients:
        why = f"all {settings.max_clients} places are taken; come back later"
        raise CloseConnection(wire.CloseCode.FULL, why, retry_after_s=10.0)


def may_connect(origin: str, *, host: str, settings: ServeSettings) -> bool:
    """Tell whether a web page may open the stream.

    The server's own page may, pages that this machine serves, on any port, and those that the settings allow. Without a
    token the own page must have been opened by address: a foreign name can be pointed at this machine (DNS rebinding),
    and its pages would count as the own page.

    Args:
        origin: The browser's ``Origin``.
        host: The browser's ``Host``.
        settings: The allowed origins, and whether there is a token.
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
    """Return the token in a request's headers; empty for a header of another scheme, None without the header."""
    header = headers.get("Authorization")
    if header is None:
        return None
    scheme, _, shown = header.partition(" ")
    return shown.strip() if scheme.lower() == "bearer" else ""
