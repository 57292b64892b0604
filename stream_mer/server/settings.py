"""Settings of the server, checked once, before anything is bound."""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from stream_mer.errors import SettingError
from stream_mer.server.messages import Role
from stream_mer.utils.hosts import is_address, is_loopback

SHORTEST_TOKEN = 16
"""Characters that a token has at least."""

_ORIGIN = re.compile(r"\*|https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
"""What may stand in ``frame-ancestors``."""

HISTORY_MESSAGES = 256
"""Messages kept of each stream and kind: two minutes of emotion at two a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Where the server listens and what it bears.

    Attributes:
        host: Address to bind; anything but this machine itself wants a token.
        port: 1..65535, or 0 for any free port.
        token: What clients must know; None lets everyone in.
        operator_token: What operators must know; None makes everyone who is let in an operator.
        tls_certificate: File with the server's certificate (PEM) and those that vouch for it; None serves without TLS.
        tls_key: File with its key; None where that is in the same file.
        allowed_origins: Web pages that may connect besides the server's own and those of this machine, as
            ``https://example.org``; ``null`` stands for pages opened from a file, ``*`` for all.
        frame_origins: Web pages that may show ``/overlay`` in a frame, as ``https://example.org``; ``*`` for all. The
            page itself is never shown in one.
        proxies: IP addresses of reverse proxies whose ``X-Forwarded-For`` is believed.
        max_clients: Websocket clients at once, 1..100,000.
        max_message_bytes: Size of one message from a client, 64..65,536.
        max_messages_per_s: Messages that a client may send in one second, at least 1.
        max_audio_bytes: Size of one binary message with audio, 1,024..1,048,576.
        max_audio_messages_per_s: Binary messages that a client may send in one second, at least 1.
        handshake_timeout_s: How long a connection may take until it is a websocket, or has asked for a page.
        identify_timeout_s: How long a client may take to identify; after it, it gets the default events, or is closed
            where a token is set.
        max_subscriptions: Choices that are remembered of one client, 1..1,000.
        history_messages: Messages of each stream and kind that a client may resume over, 1..100,000.
        queued_messages: Ordered messages that may wait for one client, 1..10,000.
        stuck_after_s: A client that takes nothing for so long is disconnected.
        pong_timeout_s: Pings go out so often, and a client that answers none for so long is taken for gone.
        close_timeout_s: How long a client gets to say goodbye.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = field(default=None, repr=False)
    operator_token: str | None = field(default=None, repr=False)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    allowed_origins: tuple[str, ...] = ()
    frame_origins: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    max_clients: int = 1000
    max_message_bytes: int = 4096
    max_messages_per_s: int = 50
    max_audio_bytes: int = 65_536
    max_audio_messages_per_s: int = 200
    handshake_timeout_s: float = 5.0
    identify_timeout_s: float = 5.0
    max_subscriptions: int = 64
    history_messages: int = HISTORY_MESSAGES
    queued_messages: int = 64
    stuck_after_s: float = 10.0
    pong_timeout_s: float = 20.0
    close_timeout_s: float = 2.0

    def __post_init__(self) -> None:
        _within("port", self.port, 0, 65_535)
        _within("the number of clients", self.max_clients, 1, 100_000)
        _within("the size of a message", self.max_message_bytes, 64, 65_536, " bytes")
        _within("the messages a client may send", self.max_messages_per_s, 1, 10_000, " per second")
        _within("the size of a message with audio", self.max_audio_bytes, 1024, 1_048_576, " bytes")
        _within("the audio messages a client may send", self.max_audio_messages_per_s, 1, 10_000, " per second")
        _within("the subscriptions of a client", self.max_subscriptions, 1, 1000)
        _within("the messages that are remembered", self.history_messages, 1, 100_000)
        _within("the messages that wait for a client", self.queued_messages, 1, 10_000)
        _within("the time for a handshake", self.handshake_timeout_s, 0.05, 3600, " seconds")
        _within("the time to identify", self.identify_timeout_s, 0.05, 3600, " seconds")
        _within("the time until a client counts as stuck", self.stuck_after_s, 0.05, 3600, " seconds")
        _within("the time to answer a ping", self.pong_timeout_s, 0.05, 3600, " seconds")
        _within("the time to close", self.close_timeout_s, 0.05, 60, " seconds")
        for option, token in (("--token", self.token), ("--operator-token", self.operator_token)):
            if token is not None:
                _check_token(option, token)
        for origin in self.frame_origins:
            if not _ORIGIN.fullmatch(origin):
                raise SettingError(
                    f"--allow-frame {origin!r} is no origin of a page: give one such as https://example.org, or *"
                )
        for proxy in self.proxies:
            if not is_address(proxy):
                raise SettingError(f"--proxy {proxy!r} is no IP address: give that of the proxy, such as 127.0.0.1")
        if self.token is not None and self.token == self.operator_token:
            raise SettingError("both tokens are the same: give operators another one, or leave --operator-token out")
        if self.tls_key is not None and self.tls_certificate is None:
            raise SettingError("a TLS key needs its certificate: give --tls-certificate too")
        if self.token is None and not self.is_private:
            host = self.host or "0.0.0.0"  # noqa: S104 - an empty host means every address; here it is named, not bound
            token = new_token()  # whatever stands here gets typed, so it has to be good
            raise SettingError(
                f"{host} can be reached from the network, and without a token anybody there could listen in. "
                f"Type: stream-mer serve --host {host} --token {token} (or put that --token behind another line; "
                "without a value it makes one)"
            )

    @property
    def is_private(self) -> bool:
        """True if only this machine can connect."""
        return is_loopback(self.host)

    @property
    def is_guarded(self) -> bool:
        """True if operators, at least, have to show a token."""
        return self.token is not None or self.operator_token is not None

    @property
    def needs_token(self) -> bool:
        """True if nobody is let in without a token."""
        return self.token is not None

    def role_of(self, shown: str | None) -> Role | None:
        """Return what a client may do that shows this token, or none; None if it is not let in.

        Compared in constant time.
        """
        if not self.is_guarded:
            return "operator"
        if shown is None:
            return None if self.needs_token else "viewer"
        is_operator, is_viewer = _same(shown, self.operator_token), _same(shown, self.token)
        if is_operator:
            return "operator"
        return ("operator" if self.operator_token is None else "viewer") if is_viewer else None


def new_token() -> str:
    """Return a token that nobody guesses: 128 random bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)


def _check_token(option: str, token: str) -> None:
    """Refuse a token that could be guessed, or that no client could send.

    Raises:
        SettingError: It is too short, or not of printable ASCII without spaces at its ends.
    """
    if len(token) < SHORTEST_TOKEN:
        raise SettingError(
            f"{option} has {len(token)} characters: give at least {SHORTEST_TOKEN}, "
            f"or {option} without a value, and one is made"
        )
    if token != token.strip():
        raise SettingError(f"{option} begins or ends with a space: leave it out, for no header can carry it")


def _same(shown: str, token: str | None) -> bool:
    return hmac.compare_digest(shown.encode(errors="surrogatepass"), (token or "").encode()) and token is not None


def _within(what: str, value: float, low: float, high: float, unit: str = "") -> None:
    if not low <= value <= high:
        raise SettingError(f"{what} must be {low:g} to {high:g}{unit}, not {value:g}")
