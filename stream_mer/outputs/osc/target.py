"""Who gets OSC: where, how, and what. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from stream_mer.errors import SettingError, brief, did_you_mean
from stream_mer.outputs.osc.addresses import OscMapping
from stream_mer.outputs.output import MAX_RATE_HZ
from stream_mer.utils.hosts import check_host

Transport: TypeAlias = Literal["udp", "tcp", "slip"]
"""``tcp`` is that of OSC 1.0 with the length before each packet, ``slip`` that of OSC 1.1."""

TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp", "slip")

_PLACE = re.compile(
    r"(?:(?P<transport>\w+)://)?(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]@]+)?(?::(?P<port>\d+))?(?P<prefix>/.*)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OscTarget:
    """One receiver.

    Attributes:
        name: What it is called in logs.
        host: Name or address.
        port: 1..65535.
        transport: How packets travel.
        rate_hz: How often it is looked for what changed, above 0 and at most ``MAX_RATE_HZ``.
        mapping: What it gets.
    """

    name: str
    host: str = "127.0.0.1"
    port: int
    transport: Transport = "udp"
    rate_hz: float = 30.0
    mapping: OscMapping

    def __post_init__(self) -> None:
        if not self.host:
            raise SettingError(f"{self.name}: the host is empty: give a name or an address")
        check_host(self.host, f"{self.name}: host", ipv6=True)
        if not 1 <= self.port <= 65_535:
            raise SettingError(f"{self.name}: a port is 1 to 65535, not {self.port}")
        if self.transport not in TRANSPORTS:
            raise SettingError(
                f"{self.name}: no transport is called {self.transport!r}{did_you_mean(self.transport, TRANSPORTS)}"
            )
        if not 0 < self.rate_hz <= MAX_RATE_HZ:
            raise SettingError(f"{self.name}: rate_hz is above 0 and at most {MAX_RATE_HZ:g}, not {self.rate_hz:g}")

    @property
    def place(self) -> str:
        """Where it is, such as ``udp://127.0.0.1:7000``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}://{host}:{self.port}"

    def at(self, place: str) -> OscTarget:
        """Return the same receiver at another place: ``[TRANSPORT://]HOST[:PORT][/PREFIX]``.

        Raises:
            SettingError: It is none.
        """
        found = _PLACE.fullmatch(place)
        if found is None or not place:
            raise SettingError(
                f"{brief(repr(place))} is no place: write HOST, HOST:PORT, HOST:PORT/PREFIX or tcp://HOST:PORT"
            )
        transport = found["transport"] or self.transport
        if transport not in TRANSPORTS:
            raise SettingError(f"{place}: no transport is called {transport!r}{did_you_mean(transport, TRANSPORTS)}")
        return replace(
            self,
            host=(found["host"] or self.host).strip("[]"),
            port=int((found["port"] or str(self.port))[:6]),
            transport=transport,
            mapping=self.mapping.under((found["prefix"] or "").rstrip("/")),
        )
