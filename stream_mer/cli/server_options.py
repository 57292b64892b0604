"""Options of every command that serves: where to listen, and who may come."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from stream_mer.cli.echo import echo
from stream_mer.errors import SettingError, did_you_mean
from stream_mer.outputs.runner import ShowOutput
from stream_mer.runner import Plugin
from stream_mer.server.messages import LimitsPart
from stream_mer.server.server import Server
from stream_mer.server.settings import SHORTEST_TOKEN, ServeSettings, new_token

F = TypeVar("F", bound=Callable[..., Any])

MAKE_ONE = "(made)"
"""What an option without its value is read as; it is too short to be anybody's token."""

_LIMITS: dict[str, int | float] = {name: getattr(ServeSettings(), name) for name in LimitsPart.__struct_fields__}

_OPTIONS = (
    click.option("--host", default=ServeSettings().host, show_default=True, help="Address to bind."),
    click.option("--port", default=ServeSettings().port, show_default=True, help="Port; 0 takes any free one."),
    click.option(
        "--token",
        is_flag=False,
        flag_value=MAKE_ONE,
        help=f"Secret that clients must know, of {SHORTEST_TOKEN} characters at least; needed for a public address. "
        "Without a value one is made and printed.",
    ),
    click.option(
        "--operator-token",
        is_flag=False,
        flag_value=MAKE_ONE,
        help="Secret of those who may also freeze, override and send audio; likewise.  "
        "[default: everyone who is let in may]",
    ),
    click.option(
        "--allow-origin",
        "origins",
        multiple=True,
        metavar="ORIGIN",
        help="Web page that may connect, such as https://example.org; null for pages opened from a file, * for all. "
        "The server's own page and those of this machine always may.",
    ),
    click.option(
        "--allow-frame",
        "frame_origins",
        multiple=True,
        metavar="ORIGIN",
        help="Web page that may show /overlay in a frame, such as https://example.org; * for all. "
        "The page itself is never shown in one.",
    ),
    click.option(
        "--proxy",
        "proxies",
        multiple=True,
        metavar="ADDRESS",
        help="IP address of a reverse proxy in front of this server: its X-Forwarded-For is believed (docs/PROXY.md).",
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
        token=_token(options.pop("token"), "clients"),
        operator_token=_token(options.pop("operator_token"), "operators"),
        allowed_origins=tuple(options.pop("origins")),
        frame_origins=tuple(options.pop("frame_origins")),
        proxies=tuple(options.pop("proxies")),
        tls_certificate=certificate,
        tls_key=key,
        **parse_limits(limits),
    )


def _token(given: str | None, whose: str) -> str | None:
    """Return the token that was given; one that is made is printed."""
    if given != MAKE_ONE:
        return given
    made = new_token()
    echo(f"Token made for {whose}: {made}")
    return made


def tell_addresses(server: Server, outputs: Sequence[ShowOutput], plugins: Sequence[Plugin], *, several: bool) -> None:
    """Say where the server listens and what else runs, to whoever started it.

    Args:
        server: Listens.
        outputs: What is sent to.
        plugins: What runs beside.
        several: Whether there are several streams, so that it must be said which one an output follows.
    """
    echo(f"  page       {server.page_url}\n  websocket  {server.stream_url}")
    for output in outputs:
        echo(f"  sent to    {output.name}" + (f" ({output.stream})" if several else ""))
    for plugin in plugins:
        echo(f"  {plugin.notice}")
    echo("Stop with Ctrl-C.")


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
