"""Options of every command that uses NATS, and what they make together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from stream_mer.config import DEFAULT_LEASE_S, NatsSettings

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_URL = "nats://127.0.0.1:4222"

_IDENTITY = (
    click.option("--nats-creds", type=click.Path(path_type=Path), metavar="FILE", help="NATS: file with credentials."),
    click.option(
        "--nats-ca",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="NATS: certificates (PEM) that vouch for the server.  [default: those that this machine trusts]",
    ),
)
_MAKING = (
    click.option(
        "--lease",
        default=DEFAULT_LEASE_S,
        show_default=True,
        help="Seconds after which a worker that says nothing loses its channels; decided by who comes to NATS first.",
    ),
    click.option(
        "--replicas",
        default=1,
        show_default=True,
        help="Servers of a NATS cluster that keep the list of channels; decided likewise.",
    ),
)


def nats_identity_options(function: F) -> F:
    """Add the options that say who we are to NATS."""
    for option in reversed(_IDENTITY):
        function = option(function)
    return function


def nats_options(function: F) -> F:
    """Add the options of commands that may be the first to come to NATS; ``nats_settings`` reads them."""
    url = click.option(
        "--nats",
        "nats_url",
        default=DEFAULT_URL,
        show_default=True,
        metavar="URL",
        help="Where NATS is: nats://[USER:PASSWORD@]HOST:PORT or tls://..., several separated by commas.",
    )
    for option in reversed((url, *_IDENTITY, *_MAKING)):
        function = option(function)
    return function


def nats_settings(
    url: str,
    *,
    nats_creds: Path | None,
    nats_ca: Path | None,
    lease: float = DEFAULT_LEASE_S,
    replicas: int = 1,
) -> NatsSettings:
    """Make settings of the options.

    Raises:
        SettingError: A value is out of range, a file is missing, or the package is not installed.
    """
    return NatsSettings(url=url, credentials=nats_creds, authorities=nats_ca, lease_s=lease, replicas=replicas)
