"""Operators' hands on the channels, alike on all serving nodes."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import msgspec

from stream_mer.cluster.bus import Bus
from stream_mer.cluster.names import name_of, token_of
from stream_mer.cluster.records import HOLDS, HoldRecord, decode_hold, encode
from stream_mer.cluster.store import Entry
from stream_mer.cluster.tasks import run_together
from stream_mer.errors import ClusterError
from stream_mer.server.codec import override_values
from stream_mer.server.hub import Hub
from stream_mer.server.messages import OverridePart
from stream_mer.types import ControlCommand, EmotionFrame
from stream_mer.utils.log_limit import LimitedLog

log = logging.getLogger(__name__)

RETRY_S = 0.25


class SharedHub(Hub):
    """A hub whose operators' commands are carried out here at once, and told to all other serving nodes.

    Args:
        history_messages: As in ``Hub``.
    """

    def __init__(self, *, history_messages: int) -> None:
        super().__init__(history_messages=history_messages)
        self.holds: Holds | None = None

    def control(self, command: ControlCommand, *, shown: EmotionFrame | None = None) -> None:
        """As in ``Hub``."""
        super().control(command, shown=shown)
        if self.holds is not None:
            for stream in command.streams or self.streams:
                self.holds.tell(stream, command)

    def obey(self, command: ControlCommand, *, shown: EmotionFrame | None) -> None:
        """Carry out what an operator said at another node."""
        super().control(command, shown=shown)


class Holds:
    """Tells the commands of this node, and has those of others carried out.

    All nodes end up with the command that NATS got last. Where NATS cannot be reached, the node's own count until it
    can: whoever wants darkness gets it.

    Args:
        bus: Where they are told.
        hub: Carries them out.
    """

    def __init__(self, bus: Bus, hub: SharedHub) -> None:
        self._bus = bus
        self._hub = hub
        self._untold: dict[str, HoldRecord] = {}
        self._news = asyncio.Event()
        self._in_force: dict[str, bytes] = {}
        self._kept: dict[str, Entry] = {}
        self._limited = LimitedLog(log)
        self._loop = asyncio.get_running_loop()
        hub.holds = self

    def tell(self, stream: str, command: ControlCommand) -> None:
        """Tell the others soon; from any thread."""
        held = command.action in {"freeze", "blackout"}
        override = msgspec.convert(command.override, OverridePart | None, from_attributes=True)
        record = HoldRecord(action=command.action, override=override, shown=self._hub.shown(stream) if held else None)
        with contextlib.suppress(RuntimeError):  # the loop has ended, and this node with it
            self._loop.call_soon_threadsafe(self._note, stream, record)

    def _note(self, stream: str, record: HoldRecord) -> None:
        token = token_of(stream)
        self._untold[token] = record
        if record.action == "resume":
            self._in_force.pop(token, None)
        else:
            self._in_force[token] = encode(record)
        self._news.set()

    async def run(self) -> None:
        """Tell and obey, for ever."""
        await run_together(
            self._bus.follow(HOLDS, known=self._know, changed=self._change),
            self._tell_always(),
        )

    def begin(self, stream: str) -> None:
        """A stream has come: carry out what is in force for it."""
        token = token_of(stream)
        if token in self._kept:
            self._change(token, self._kept[token])

    async def _tell_always(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            for token, record in list(self._untold.items()):
                try:
                    await self._tell_one(token, record)
                except ClusterError as exc:
                    message = f"{record.action} of {token} is not told to other serving nodes yet: {exc}"
                    self._limited.log(logging.WARNING, f"{token} untold", message)
                    continue
                if self._untold.get(token) is record:
                    del self._untold[token]
            if self._untold:
                await asyncio.sleep(RETRY_S)
                self._news.set()

    async def _tell_one(self, token: str, record: HoldRecord) -> None:
        if record.action == "resume":
            await self._bus.store.remove(HOLDS, token)
            return
        ttl_s = record.override.ttl_s if record.override is not None else None
        await self._bus.store.put(HOLDS, token, encode(record), ttl_s=ttl_s)

    def _know(self, entries: dict[str, Entry]) -> None:
        self._kept = {}
        for token in [token for token in self._in_force if token not in entries]:
            self._change(token, None)
        for token, entry in entries.items():
            self._change(token, entry)

    def _change(self, token: str, entry: Entry | None) -> None:
        if entry is None:
            self._kept.pop(token, None)
        else:
            self._kept[token] = entry
        stream = name_of(token)
        if token in self._untold or stream is None or stream not in self._hub.streams:
            return  # our own is newer, or nobody shows it
        if entry is None:
            if self._in_force.pop(token, None) is not None:
                self._hub.obey(ControlCommand(action="resume", streams=(stream,)), shown=None)
            return
        if self._in_force.get(token) == entry.value:
            return
        self._in_force[token] = entry.value
        try:
            record = decode_hold(entry.value)
            control = ControlCommand(action=record.action, streams=(stream,), override=override_values(record.override))
            self._hub.obey(control, shown=record.shown)
        except ClusterError as error:
            self._limited.log(logging.ERROR, stream, f"{stream}: {error}; it is not carried out")
        except Exception as error:  # what goes wrong with one channel must not keep the others from being held
            message = f"{stream}: what an operator said at another node failed: {error}"
            self._limited.log(logging.ERROR, stream, message, error=error)
