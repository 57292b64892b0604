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
"""Minimum length of a token, characters."""

HISTORY_MESSAGES = 256
"""Messages kept of each stream and kind: two minutes of emotion at two a second."""

_ORIGIN = re.compile(r"\*|https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
"""What ``frame-ancestors`` may hold."""

_RANGES = {
    "port": (0, 65_535, ""),
    "max_clients": (1, 100_000, ""),
    "max_message_bytes": (64, 65_536, " bytes"),
    "max_messages_per_s": (1, 10_000, " per second"),
    "max_audio_bytes": (1024, 1_048_576, " bytes"),
    "max_audio_messages_per_s": (1, 10_000, " per second"),
    "max_subscriptions": (1, 1000, ""),
    "history_messages": (1, 100_000, ""),
    "queued_messages": (1, 10_000, ""),
    "handshake_timeout_s": (0.05, 3600, " seconds"),
    "identify_timeout_s": (0.05, 3600, " seconds"),
    "stuck_after_s": (0.05, 3600, " seconds"),
    "pong_timeout_s": (0.05, 3600, " seconds"),
    "close_timeout_s": (0.05, 60, " seconds"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Address, tokens and limits of the server.

    Attributes:
        host: Address to bind; anything but a loopback address requires a token.
        port: 1..65535, or 0 for any free port.
        token: Secret that clients must show; None lets everyone in.
        operator_token: Secret that operators must show; None makes every client that is let in an operator.
        tls_certificate: File with the certificate chain (PEM); None serves without TLS.
        tls_key: File with the key (PEM); None where it is in the same file.
        allowed_origins: Origins of pages that may connect besides the server's own and those of this machine, such as
            ``https://example.org``; ``null`` stands for pages opened from a file, ``*`` for all.
        frame_origins: Origins of pages that may show ``/overlay`` in a frame, such as ``https://example.org``; ``*``
            for all. The page itself is never shown in one.
        proxies: IP addresses of reverse proxies whose ``X-Forwarded-For`` is trusted.
        max_clients: Websocket clients at once, 1..100,000.
        max_message_bytes: Size of one message from a client, 64..65,536.
        max_messages_per_s: Messages that a client may send in one second, 1..10,000.
        max_audio_bytes: Size of one binary message with audio, 1,024..1,048,576.
        max_audio_messages_per_s: Binary messages that a client may send in one second, 1..10,000.
        handshake_timeout_s: Time for a connection to become a websocket or to request a page, 0.05..3,600 seconds.
        identify_timeout_s: Time for a client to identify, 0.05..3,600 seconds; then it gets the default events, or is
            closed where a token is required.
        max_subscriptions: Rules kept of one client, 1..1,000.
        history_messages: Messages of each stream and kind that a client may resume over, 1..100,000.
        queued_messages: Ordered messages that may wait for one client, 1..10,000.
        stuck_after_s: A client that takes nothing for this long is closed, 0.05..3,600 seconds.
        pong_timeout_s: Interval of pings, and time to answer one, 0.05..3,600 seconds.
        close_timeout_s: Time for a client to close, 0.05..60 seconds.

    Raises:
        SettingError: A value is out of its range, or two contradict each other.
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
        for name, (low, high, unit) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingError(f"{name} must be {low:g} to {high:g}{unit}, not {value:g}")
        self._check_texts()
        if self.token is None and not self.is_private:
            host = self.host or "0.0.0.0"  # noqa: S104 - an empty host means every address; here it is named, not bound
            token = new_token()  # users copy the line, so it must be a good one
            raise SettingError(
                f"{host} can be reached from the network, so a token is required. "
                f"Type: stream-mer serve --host {host} --token {token} (or add --token to another command; "
                "without a value it makes one)"
            )

    def _check_texts(self) -> None:
        for option, token in (("--token", self.token), ("--operator-token", self.operator_token)):
            if token is not None:
                _check_token(option, token)
        for origin in self.frame_origins:
            if not _ORIGIN.fullmatch(origin):
                raise SettingError(
                    f"--allow-frame {origin!r} is not an origin: use one such as https://example.org, or *"
                )
        for proxy in self.proxies:
            if not is_address(proxy):
                raise SettingError(f"--proxy {proxy!r} is not an IP address: use that of the proxy, such as 127.0.0.1")
        if self.token is not None and self.token == self.operator_token:
            raise SettingError("both tokens are the same: give operators another one, or leave --operator-token out")
        if self.tls_key is not None and self.tls_certificate is None:
            raise SettingError("a TLS key needs its certificate: add --tls-certificate")

    @property
    def is_private(self) -> bool:
        """True if only this machine can connect."""
        return is_loopback(self.host)

    @property
    def is_guarded(self) -> bool:
        """True if at least operators have to show a token."""
        return self.token is not None or self.operator_token is not None

    @property
    def needs_token(self) -> bool:
        """True if every client has to show a token."""
        return self.token is not None

    def role_of(self, shown: str | None) -> Role | None:
        """Return the role of a client that shows this token, or None for no token; None if it may not connect.

        Tokens are compared in constant time.
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
    """Return a random token: 128 bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)


def _check_token(option: str, token: str) -> None:
    """Refuse a token that could be guessed, or that no header can hold.

    Raises:
        SettingError: It is too short, or has spaces at its ends.
    """
    if len(token) < SHORTEST_TOKEN:
        raise SettingError(
            f"{option} has {len(token)} characters: use at least {SHORTEST_TOKEN}, "
            f"or {option} without a value to make one"
        )
    if token != token.strip():
        raise SettingError(f"{option} begins or ends with a space, which no header can hold: remove it")


def _same(shown: str, token: str | None) -> bool:
    return hmac.compare_digest(shown.encode(errors="surrogatepass"), (token or "").encode()) and token is not None
