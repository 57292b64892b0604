"""Options of every command that serves: where to listen, and who may come."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from stream_mer.errors import SettingError, did_you_mean
from stream_mer.hosting import Companion
from stream_mer.serve.parts import LimitsPart
from stream_mer.serve.server import Server
from stream_mer.serve.settings import ServeSettings
from stream_mer.show.output import ShowOutput

F = TypeVar("F", bound=Callable[..., Any])

_LIMITS: dict[str, int | float] = {name: getattr(ServeSettings(), name) for name in LimitsPart.__struct_fields__}

_OPTIONS = (
    click.option("--host", default=ServeSettings().host, show_default=True, help="Address to bind."),
    click.option("--port", default=ServeSettings().port, show_default=True, help="Port; 0 takes any free one."),
    click.option("--token", help="Secret that clients must know; needed for a public address."),
    click.option(
        "--operator-token",
        help="Secret of those who may also freeze, override and send audio.  [default: everyone who is let in may]",
    ),
    click.option(
        "--allow-origin",
        "origins",
        multiple=True,
        metavar="ORIGIN",
        help="Web page that may connect, such as https://example.org; null for pages opened from a file, * for all. "
        "The server's own page and those of this machine always may.",
    ),
    click.option("--tls-certificate", type=click.Path(path_type=Path), help="Serve https and wss: certificate (PEM)."),
    click.option("--tls-key", type=click.Path(path_type=Path), help="Its key (PEM), where that is in another file."),
    click.option(
        "--limit",
        "limits",
        multiple=True,
        metavar="NAME=VALUE",
        help="Change a limit: " + ", ".join(f"{name} ({value})" for name, value in _LIMITS.items()) + ".",
    ),
)


def server_options(function: F) -> F:
    """Add the options of the server; ``server_settings`` reads them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def server_settings(options: MutableMapping[str, Any]) -> ServeSettings:
    """Make settings of the parameters of a command; those of the server are taken out.

    Raises:
        SettingError: A value is out of range, or two contradict each other.
    """
    limits: Sequence[str] = options.pop("limits")
    certificate, key = options.pop("tls_certificate"), options.pop("tls_key")
    return ServeSettings(
        host=options.pop("host"),
        port=options.pop("port"),
        token=options.pop("token"),
        operator_token=options.pop("operator_token"),
        allowed_origins=tuple(options.pop("origins")),
        tls_certificate=certificate,
        tls_key=key,
        **parse_limits(limits),
    )


def tell_addresses(
    server: Server, outputs: Sequence[ShowOutput], companions: Sequence[Companion], *, several: bool
) -> None:
    """Say where the server listens and what else runs, to whoever started it.

    Args:
        server: Listens.
        outputs: What is sent to.
        companions: What runs beside.
        several: Whether there are several streams, so that it must be said which one an output follows.
    """
    click.echo(f"  page       {server.page_url}\n  websocket  {server.stream_url}")
    for output in outputs:
        click.echo(f"  sent to    {output.name}" + (f" ({output.stream})" if several else ""))
    for companion in companions:
        click.echo(f"  {companion.notice}")
    click.echo("Stop with Ctrl-C.")


def parse_limits(limits: Sequence[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE``, of which the names are those in ``hello.limits``.

    Raises:
        SettingError: There is no such limit, or the value is no number.
    """
    parsed: dict[str, Any] = {}
    for limit in limits:
        name, _, value = limit.partition("=")
        if name not in _LIMITS:
            raise SettingError(f"there is no limit {name!r}{did_you_mean(name, _LIMITS)}")
        try:
            parsed[name] = type(_LIMITS[name])(value)
        except ValueError:
            raise SettingError(f"the limit {name} is a number, such as {name}={_LIMITS[name]}; not {value!r}") from None
    return parsed
