"""Settings of the server, checked once, before anything is bound."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from stream_mer.errors import SettingError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Where the server listens and what it bears.

    Attributes:
        host: Address to bind; anything but this machine itself wants a token.
        port: 1..65535, or 0 for any free port.
        token: What clients must know; None lets everyone in.
        allowed_origins: Web pages that may connect besides the server's own and those of this machine, as
            ``https://example.org``; ``null`` stands for pages opened from a file, ``*`` for all.
        max_clients: Websocket clients at once, 1..100,000.
        max_message_bytes: Size of one message from a client, 64..65,536.
        max_messages_per_s: Messages that a client may send in one second, at least 1.
        max_audio_bytes: Size of one binary message with audio, 1,024..1,048,576.
        max_audio_messages_per_s: Binary messages that a client may send in one second, at least 1.
        identify_timeout_s: How long a client may take to identify; after it, it gets the default events, or is closed
            where a token is set.
        queued_messages: Ordered messages that may wait for one client, 1..10,000.
        stuck_after_s: A client that takes nothing for so long is disconnected.
        close_timeout_s: How long a client gets to say goodbye.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = field(default=None, repr=False)
    allowed_origins: tuple[str, ...] = ()
    max_clients: int = 1000
    max_message_bytes: int = 4096
    max_messages_per_s: int = 50
    max_audio_bytes: int = 65_536
    max_audio_messages_per_s: int = 200
    identify_timeout_s: float = 5.0
    queued_messages: int = 64
    stuck_after_s: float = 10.0
    close_timeout_s: float = 2.0

    def __post_init__(self) -> None:
        _within("port", self.port, 0, 65_535)
        _within("the number of clients", self.max_clients, 1, 100_000)
        _within("the size of a message", self.max_message_bytes, 64, 65_536, " bytes")
        _within("the messages a client may send", self.max_messages_per_s, 1, 10_000, " per second")
        _within("the size of a message with audio", self.max_audio_bytes, 1024, 1_048_576, " bytes")
        _within("the audio messages a client may send", self.max_audio_messages_per_s, 1, 10_000, " per second")
        _within("the messages that wait for a client", self.queued_messages, 1, 10_000)
        _within("the time to identify", self.identify_timeout_s, 0.05, 3600, " seconds")
        _within("the time until a client counts as stuck", self.stuck_after_s, 0.05, 3600, " seconds")
        _within("the time to close", self.close_timeout_s, 0.05, 60, " seconds")
        if self.token is not None and not self.token.strip():
            raise SettingError("the token is empty: give it at least one character, or leave it out")
        if self.token is None and not self.is_private:
            host = self.host or "0.0.0.0"  # noqa: S104 - an empty host means every address; here it is named, not bound
            raise SettingError(
                f"{host} can be reached from the network, and without a token anybody there could listen in. "
                f"Type: stream-mer serve --host {host} --token CHOOSE-A-SECRET"
            )

    @property
    def is_private(self) -> bool:
        """True if only this machine can connect."""
        return is_loopback(self.host)


def is_address(host: str) -> bool:
    """Tell whether a host is given as an IP address and not by a name."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address means this machine and no other."""
    name = host.strip("[]").lower()
    return name == "localhost" or (is_address(name) and ipaddress.ip_address(name).is_loopback)


def _within(what: str, value: float, low: float, high: float, unit: str = "") -> None:
    if not low <= value <= high:
        raise SettingError(f"{what} must be {low:g} to {high:g}{unit}, not {value:g}")
