"""``stream-mer osc``."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import click
from rich.table import Table

from stream_mer.cli.echo import echo
from stream_mer.errors import ServeError, SettingError
from stream_mer.outputs.osc.composer import OscMessage, Sweep
from stream_mer.outputs.osc.mapping import OscField
from stream_mer.outputs.osc.targets import OTHER_RECEIVERS, PRESETS, OscTarget, find_other, find_target
from stream_mer.utils.escaping_console import EscapingConsole
from stream_mer.utils.sanitise import escape


@click.command("osc")
@click.argument("where", required=False)
@click.option(
    "--test", is_flag=True, help="Move each address slowly, one after another, so that a desk can learn them."
)
@click.option("--once", is_flag=True, help="With --test: stop after one round.")
@click.option("--stream", default="demo", show_default=True, help="Name of the stream in the addresses.")
@click.option(
    "--monitor", type=click.IntRange(1, 65_535), metavar="PORT", help="Print the OSC that arrives at a UDP port."
)
def command(*, where: str | None, test: bool, once: bool, stream: str, monitor: int | None) -> None:
    """List the OSC presets, show the addresses that WHERE gets, or test a connection.

    \b
    Examples:
      stream-mer osc                                the presets
      stream-mer osc eos                            the addresses and values that a desk gets
      stream-mer osc my-show.toml                   the same for a mapping file, which checks it
      stream-mer osc resolume@192.168.1.5 --test    move each address, to see that it arrives
      stream-mer osc --monitor 7000                 what arrives at a port of this machine

    WHERE is what `stream-mer serve --osc WHERE` takes.
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    if monitor is not None:
        if where is not None or test:
            raise click.UsageError("--monitor listens: give it without WHERE and --test")
        _monitor(monitor)
    elif where is None:
        if test:
            raise click.UsageError("--test sends: say WHERE to")
        _list_presets()
    elif (other := find_other(where)) is not None:
        if test:
            raise SettingError(f"{where} speaks no OSC and has no addresses to learn: try it with serve --osc {where}")
        echo(f"{other.about}\n\n{other.setup}")
    elif test:
        _test(find_target(where), stream=stream, once=once)
    else:
        _show(find_target(where), stream=stream)


def _list_presets() -> None:
    for name, preset in PRESETS.items():
        echo(f"{name:<15}{preset.target.place}")
        echo(f"{'':<15}{preset.about}")
    for name, other in OTHER_RECEIVERS.items():
        echo(f"{name:<15}{other.speaks}")
        echo(f"{'':<15}{other.about}")
    echo("\nMore of one: stream-mer osc NAME. Send: stream-mer serve --osc NAME@HOST")


def _show(target: OscTarget, *, stream: str) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("address", "values", "what"):
        table.add_column(title, overflow="fold", no_wrap=title == "address")
    for field in target.mapping.sent:
        table.add_row(field.address_of(stream), field.values, field.source.about)
    echo(f"{target.name} at {target.place}, up to {target.rate_hz:g} times a second")
    console = EscapingConsole(highlight=False, markup=False)
    console.print(table, width=None if console.is_terminal else 200)
    if target.name in PRESETS:
        echo(f"\n{PRESETS[target.name].setup}")


def _test(target: OscTarget, *, stream: str, once: bool) -> None:
    from stream_mer.outputs.osc.transport import encode, open_link  # noqa: PLC0415 - as above

    try:
        with closing(open_link(target.transport, target.host, target.port)) as link:
            run_sweep(
                Sweep(target.mapping, stream=stream),
                place=target.place,
                rate_hz=target.rate_hz,
                once=once,
                send=lambda message: link.send(encode(message.address, message.argument)),
                title=lambda field: field.address_of(stream),
            )
    except OSError as error:
        raise ServeError(f"{target.place} cannot be sent to: {error.strerror or error}") from error


def run_sweep(
    sweep: Sweep,
    *,
    place: str,
    rate_hz: float,
    once: bool,
    send: Callable[[OscMessage], object],
    title: Callable[[OscField], str],
) -> None:
    """Move one address after another, and print which one moves.

    Args:
        sweep: What moves.
        place: Where it is sent, for people.
        rate_hz: Messages per second.
        once: Stop after one round.
        send: Sends a message.
        title: Returns the name of a field.

    Raises:
        OSError: By ``send``.
    """
    echo(f"Sending to {place}: {sweep.duration_s:g} s a round. Stop with Ctrl-C.")
    shown = None
    for t in _moments(rate_hz, until=sweep.duration_s if once else float("inf")):
        step = sweep.update(t)
        if step.field is not shown:
            shown = step.field
            echo(f"  {title(shown):<40} {shown.values}")
        if step.message is not None:
            send(step.message)


def _moments(rate_hz: float, *, until: float) -> Iterator[float]:
    """Seconds since the first one, at a steady rate."""
    start = time.monotonic()
    while (t := time.monotonic() - start) < until:
        yield t
        time.sleep(1 / rate_hz)


def _monitor(port: int) -> None:
    from stream_mer.outputs.osc.transport import BadPacketError, decode  # noqa: PLC0415 - python-osc may be missing

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        try:
            bound.bind(("", port))
        except OSError as error:
            raise ServeError(f"UDP port {port} cannot be listened to: {error.strerror}") from error
        echo(f"Listening on UDP port {port}. Stop with Ctrl-C.")
        while True:
            packet, sender = bound.recvfrom(65_535)
            try:
                for address, arguments in decode(packet):
                    line = f"{sender[0]}  {address}  {' '.join(map(_printed, arguments))}"
                    echo(escape(line))
            except BadPacketError as error:
                echo(escape(f"{sender[0]}  {error}"), err=True)


def _printed(argument: object) -> str:
    """Return an argument for people; numbers travel as 32 bits, which hold about 7 digits."""
    return f"{argument:.6g}" if isinstance(argument, float) else str(argument)
