"""How to reach NATS. What is secret in it is never shown: in no log, no error and no representation."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from stream_mer.errors import SettingError
from stream_mer.utils.redaction import redact_address

DEFAULT_LEASE_S = 1.2
"""NATS looks every quarter of a second for what has run out: so 1.45 s at most until others may take over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsSettings:
    """Where NATS is and who we are there.

    Attributes:
        url: ``nats://host:4222`` or ``tls://...``, with ``user:password@`` or ``token@`` in front of the host where
            that is wanted; several, separated by commas, for a cluster.
        credentials: File with a user's JWT and key (``.creds``).
        authorities: File with the certificates (PEM) that vouch for the server; None for those that the machine trusts.
        lease_s: For how long a worker is believed to live that says nothing, 1..60 s. Counts where the buckets are not
            there yet; else theirs is in force.
        replicas: On how many servers of a cluster the buckets are kept, 1..5; counts likewise.
    """

    url: str = field(repr=False)
    credentials: Path | None = None
    authorities: Path | None = None
    lease_s: float = DEFAULT_LEASE_S
    replicas: int = 1

    def __post_init__(self) -> None:
        if find_spec("nats") is None:
            raise SettingError("NATS needs a package that is not installed: pip install 'stream-mer[nats]'")
        for server in self.servers:
            try:
                parts = urlsplit(server)
                good = parts.scheme in {"nats", "tls"} and bool(parts.hostname) and (parts.port or 1) > 0
            except ValueError:
                good = False
            if not good:
                raise SettingError(
                    f"{redact_address(server)!r} is no address of NATS: give one such as nats://127.0.0.1:4222"
                )
        if not 1 <= self.lease_s <= 60:
            raise SettingError(f"the lease must be 1 to 60 seconds, not {self.lease_s:g}")
        if not 1 <= self.replicas <= 5:
            raise SettingError(f"the replicas must be 1 to 5, not {self.replicas}")
        for file in (self.credentials, self.authorities):
            if file is not None and not file.is_file():
                raise SettingError(f"there is no file {file}: give the one that NATS' people gave you")

    @property
    def servers(self) -> list[str]:
        """The addresses, with what is secret in them."""
        return [server.strip() for server in self.url.split(",") if server.strip()] or [""]

    @property
    def shown(self) -> str:
        """The addresses, to be shown."""
        return ", ".join(map(redact_address, self.servers))
