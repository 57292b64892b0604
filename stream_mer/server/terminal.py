"""The display of ``stream-mer listen``: pure functions that draw a view, and a thin loop around them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
import time
from dataclasses import dataclass, replace

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stream_mer.errors import UnreachableError
from stream_mer.event_json import encode
from stream_mer.server import messages as wire
from stream_mer.server.client import Client, connect
from stream_mer.types import CATEGORIES, SAMPLE_RATE_HZ, UNKNOWN, clock
from stream_mer.utils.escaping_console import EscapingConsole
from stream_mer.utils.sanitise import escape

COLOURS = {"happy": "yellow", "angry": "red", "sad": "blue", "relaxed": "green", UNKNOWN: "bright_black"}
"""Colour of each category, as on the page."""

HOLDS = {"freeze": "frozen", "blackout": "blacked out", "override": "overridden"}

PLANE_COLUMNS, PLANE_ROWS = 33, 15
BAR_COLUMNS = 26
TRAIL_POINTS = 16
LINES_KEPT = 5
MAX_TEXT = 500
"""Longer names and lines are cut, characters."""

MAX_STREAMS = 1024
"""Number of names of streams that are kept."""

RETRY_S = 1.0
"""Time between two attempts to reach a server that does not run yet."""

STALE_AFTER_S = 3.0
"""Without a frame for this long, the values are shown as stale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything known of the stream that is shown.

    Attributes:
        stream: Its name; None until one is known.
        streams: Names of all streams.
        session: The server's session; None before its ``hello``.
        emotion: The newest frame.
        received_at: Monotonic clock when it was published, seconds.
        trail: The newest points in the plane, oldest first.
        lines: The newest committed lines, oldest first.
        provisional: The line that may still change; None where there is none.
        status: State of the source and of the recogniser.
        error: The newest error of the server.
    """

    stream: str | None = None
    streams: tuple[str, ...] = ()
    session: str | None = None
    emotion: wire.Emotion | None = None
    received_at: float = 0.0
    trail: tuple[tuple[float, float], ...] = ()
    lines: tuple[wire.Lyrics, ...] = ()
    provisional: wire.Lyrics | None = None
    status: wire.Status | None = None
    error: wire.Error | None = None


def on_message(view: View, message: wire.ServerMessage, *, now: float) -> View:
    """Return the view after a message; messages of other streams are ignored."""
    match message:
        case wire.Hello():
            stream = view.stream or next(iter(message.streams), None)
            if message.session != view.session:
                # Another session counts its segments anew: older lines would pass for newer ones.
                view = View(session=message.session)
            return replace(view, stream=stream, streams=message.streams[:MAX_STREAMS], error=None)
        case wire.Ready():
            for entry in message.snapshot:
                view = on_message(view, entry.message, now=now - entry.age_s)
            return view
        case wire.Error():
            return replace(view, error=message)
        case wire.Emotion() | wire.Lyrics() | wire.Change() | wire.Status():
            if view.stream not in {None, message.stream}:
                return view
            return _on_event(replace(view, stream=message.stream), message, now=now)
    return view


def _on_event(view: View, message: wire.EventMessage, *, now: float) -> View:
    match message:
        case wire.Emotion():
            point = (message.valence, message.arousal)
            return replace(view, emotion=message, received_at=now, trail=(*view.trail, point)[-TRAIL_POINTS:])
        case wire.Lyrics(committed=True):
            others = tuple(line for line in view.lines if line.segment != message.segment)
            kept = tuple(sorted((*others, message), key=lambda line: line.segment))[-LINES_KEPT:]
            still = view.provisional if view.provisional and view.provisional.segment > message.segment else None
            return replace(view, lines=kept, provisional=still)
        case wire.Lyrics():
            return replace(view, provisional=message if message.text else None)
        case wire.Status():
            return replace(view, status=message)
    return view


def render(view: View, *, now: float, connected: bool) -> RenderableType:
    """Draw the view for a terminal of any width."""
    head = _head(view, now=now, connected=connected)
    if view.emotion is None:
        return Panel(Group(head, Text("waiting for the first frame", style="dim")), title="stream_mer")
    stale = not connected or now - view.received_at > STALE_AFTER_S
    plane = _plane(view, dim=stale)
    return Panel(
        Group(head, Text(), Columns([plane, _bars(view.emotion)], padding=(0, 3)), Text(), _words(view)),
        title=Text(f"stream_mer · {printable(view.stream or '')}"),
        border_style="bright_black" if stale else COLOURS.get(view.emotion.category.top, "white"),
    )


def plain_line(view: View) -> str:
    """Return the view as one line, for output that is no terminal."""
    frame = view.emotion
    if frame is None:
        return "waiting for the first frame"
    parts = [
        printable(frame.stream),
        f"{clock(frame.t1)}",
        f"valence {frame.valence:+.2f}",
        f"arousal {frame.arousal:+.2f}",
        f"{printable(frame.category.top)} {frame.confidence:.0%}",
        printable("+".join(frame.modalities)),
    ]
    if frame.degraded:
        parts.append("degraded: " + printable(", ".join(frame.degraded)))
    if view.status is not None:
        parts.extend(input_problems(view.status))
    line = view.provisional or (view.lines[-1] if view.lines else None)
    if line is not None:
        parts.append(f'"{printable(line.text)}"')
    return "  ".join(parts)


def input_problems(status: wire.Status) -> list[str]:
    """Return the problems of the input's level or samples, in words."""
    problems = ["too loud: it clips"] if status.clipping else []
    if status.lost_samples:
        problems.append(f"{status.lost_samples / SAMPLE_RATE_HZ:.1f} s lost so far")
    return problems


def settled_length(line: wire.Lyrics) -> int:
    """Return how many characters of a line will not change any more."""
    end = 0
    for word in (line.words or ())[: line.settled_words]:
        at = line.text.find(word.text, end)
        if at < 0:
            break
        end = at + len(word.text)
    return end


def printable(text: str) -> str:
    """Return text of others as it is shown: without control characters, and cut to ``MAX_TEXT``."""
    shown = escape(text[:MAX_TEXT])
    return shown if len(text) <= MAX_TEXT else f"{shown}…"


def _head(view: View, *, now: float, connected: bool) -> Text:
    head = Text()
    if not connected:
        head.append("● not connected, trying again", style="bold red")
        if view.error is not None:
            head.append(f"  {printable(view.error.message)}", style="dim")
        return head
    status = view.status
    if status is not None:
        good = status.source in {"live", "ended"}
        head.append(f"● {status.source}", style="green" if good else "yellow")
        head.append(f"  {printable(status.device)}  ", style="dim")
        if song := " – ".join(filter(None, (status.artist, status.title))):
            head.append(f"♪ {printable(song)}  ")
        head.append(f"lyrics {status.lyrics}", style="dim" if status.lyrics in {"ok", "off"} else "yellow")
        for problem in input_problems(status):
            head.append(f"  {problem}", style="yellow")
    frame = view.emotion
    if frame is not None:
        age_s = max(0.0, now - view.received_at)
        head.append(f"  {clock(frame.t1)}  {frame.latency_ms.total:.0f} ms", style="dim")
        if age_s > STALE_AFTER_S:
            head.append(f"  stale: {age_s:.0f} s without a frame", style="bold yellow")
        if frame.degraded:
            head.append(f"  degraded: {printable(', '.join(frame.degraded))}", style="yellow")
        if frame.held:
            head.append(f"  {HOLDS.get(frame.hold or 'freeze', 'held')} by an operator", style="bold magenta")
    return head


def _plane(view: View, *, dim: bool) -> Text:
    grid = [[" "] * PLANE_COLUMNS for _ in range(PLANE_ROWS)]
    middle_row, middle_column = PLANE_ROWS // 2, PLANE_COLUMNS // 2
    for row in range(PLANE_ROWS):
        grid[row][middle_column] = "│"
    grid[middle_row] = ["─"] * PLANE_COLUMNS
    grid[middle_row][middle_column] = "┼"
    for name, row, column in (
        ("happy", 0, PLANE_COLUMNS - 5),
        ("angry", 0, 0),
        ("sad", PLANE_ROWS - 1, 0),
        ("relaxed", PLANE_ROWS - 1, PLANE_COLUMNS - 7),
    ):
        grid[row][column : column + len(name)] = name
    for valence, arousal in view.trail[:-1]:
        row, column = _cell(valence, arousal)
        grid[row][column] = "•"
    text = Text("\n".join("".join(row) for row in grid), style="dim", no_wrap=True)
    if view.emotion is not None:
        row, column = _cell(view.emotion.valence, view.emotion.arousal)
        at = row * (PLANE_COLUMNS + 1) + column
        colour = "bright_black" if dim else COLOURS.get(view.emotion.category.top, "white")
        text = Text.assemble(text[:at], ("●", f"bold {colour} not dim"), text[at + 1 :])
    return text


def _cell(valence: float, arousal: float) -> tuple[int, int]:
    column = round((valence + 1) / 2 * (PLANE_COLUMNS - 1))
    row = round((1 - arousal) / 2 * (PLANE_ROWS - 1))
    return min(max(row, 0), PLANE_ROWS - 1), min(max(column, 0), PLANE_COLUMNS - 1)


def _bars(frame: wire.Emotion) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=8)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", min_width=6)
    interval = frame.interval
    for name, value, (low, high) in (
        ("valence", frame.valence, interval.valence),
        ("arousal", frame.arousal, interval.arousal),
    ):
        table.add_row(name, signed_bar(value, low=low, high=high), f"{value:+.2f}")
    table.add_row("", Text(f"shaded: {interval.level:.0%} interval", style="dim"), "")
    for name in CATEGORIES:
        prob = getattr(frame.category.probs, name)
        top = name == frame.category.top
        style = f"bold {COLOURS[name]}" if top else "dim"
        table.add_row(Text(name, style=style), Text("█" * round(prob * BAR_COLUMNS), style=style), f"{prob:.0%}")
    if frame.category.top == UNKNOWN:
        table.add_row(Text(UNKNOWN, style="bold"), Text("below the confidence threshold", style="dim"), "")
    return table


def signed_bar(value: float, *, low: float, high: float) -> Text:
    """Draw -1..1 as a bar of ``BAR_COLUMNS``: the interval shaded, the value marked, zero in the middle."""
    cells = ["·"] * BAR_COLUMNS
    cells[BAR_COLUMNS // 2] = "│"
    first, last = _bar_cell(low), _bar_cell(high)
    cells[first : last + 1] = "░" * (last + 1 - first)
    at = _bar_cell(value)
    return Text.assemble(("".join(cells[:at]), "dim"), ("█", "bold"), ("".join(cells[at + 1 :]), "dim"))


def _bar_cell(value: float) -> int:
    return min(max(round((value + 1) / 2 * (BAR_COLUMNS - 1)), 0), BAR_COLUMNS - 1)


def _words(view: View) -> Text:
    text = Text()
    for line in view.lines:
        text.append(f"{clock(line.t0):>7}  ", style="dim")
        text.append(f"{printable(line.text)}\n")
    if view.provisional is not None:
        text.append(f"{clock(view.provisional.t0):>7}  ", style="dim")
        settled = settled_length(view.provisional)
        text.append(printable(view.provisional.text[:settled]))
        text.append(f"{printable(view.provisional.text[settled:])} …\n", style="italic dim")
    if not text.plain:
        off = view.status is not None and view.status.lyrics == "off"
        text.append("lyrics are off" if off else "no words yet", style="dim")
    return text


async def listen(
    url: str,
    *,
    console: Console | None = None,
    json_lines: bool = False,
    stream: str | None = None,
    token: str | None = None,
    reconnect: bool = True,
    wait: bool = False,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Show a server's stream until interrupted: drawn live on a terminal, else one line per second.

    Args:
        url: Address of the server.
        console: Where to draw; None for stdout.
        json_lines: Write every message as a line of JSON instead.
        stream: The stream to show; None for the first, and for all with ``json_lines``.
        token: The server's token, if it has one.
        reconnect: Reconnect when the connection is lost, instead of ending.
        wait: If nothing answers at first, say so on stderr and try again until something does.
        tls: How to check the certificate of a ``wss`` address; None for the authorities that this machine trusts.

    Raises:
        SettingError: The address is invalid.
        ServeError: Nothing answers, or the server refused.
    """
    console = console or _PipeConsole()
    subscribe = (wire.Subscription(streams=(stream,)),) if stream is not None else None
    joined = connect(
        url, token=token, subscribe=subscribe, name="stream-mer listen", kind="terminal", reconnect=reconnect, tls=tls
    )
    async with contextlib.AsyncExitStack() as stack:
        client = await _enter(stack, joined, wait=wait)
        if json_lines:
            async for message in client:
                # In JSON the escaped characters stand for the same ones.
                sys.stdout.buffer.write(escape(encode(message).decode(), keep_lines=True).encode() + b"\n")
                sys.stdout.buffer.flush()
        elif console.is_terminal:
            await _draw(client, console, View(stream=stream))
        else:
            await _print(client, console, View(stream=stream))


async def _enter(stack: contextlib.AsyncExitStack, client: Client, *, wait: bool) -> Client:
    reported = False
    while True:
        try:
            return await stack.enter_async_context(client)
        except UnreachableError as error:
            if not wait:
                raise
            if not reported:
                EscapingConsole(stderr=True).print(Text(f"{error} Waiting for it; stop with Ctrl-C."), soft_wrap=True)
            reported = True
            await asyncio.sleep(RETRY_S)


class _PipeConsole(EscapingConsole):
    """A console whose reader may end first, as with ``| head``."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


async def _print(client: Client, console: Console, view: View) -> None:
    printed_at = -1.0
    async for message in client:
        now = time.monotonic()
        view = on_message(view, message, now=now)
        if isinstance(message, wire.Emotion) and now - printed_at >= 1.0:
            printed_at = now
            console.print(Text(plain_line(view)), soft_wrap=True)


async def _draw(client: Client, console: Console, view: View) -> None:
    async def refresh() -> None:
        while True:
            live.update(render(view, now=time.monotonic(), connected=client.connected), refresh=True)
            await asyncio.sleep(0.1)

    with Live(console=console, auto_refresh=False) as live:
        refreshing = asyncio.create_task(refresh())
        try:
            async for message in client:
                view = on_message(view, message, now=time.monotonic())
        finally:
            refreshing.cancel()
