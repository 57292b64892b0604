"""Operators' commands, carried out alike at all nodes."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import msgspec

from stream_mer.cluster.bus import Bus, run_together
from stream_mer.cluster.records import OVERRIDES, Entry, Override, decode_override, encode, name_of, token_of
from stream_mer.errors import ClusterError
from stream_mer.server.hub import Hub
from stream_mer.server.messages import OverridePart, override_values
from stream_mer.types import ControlCommand, EmotionFrame
from stream_mer.utils.log_limit import LimitedLog

log = logging.getLogger(__name__)

RETRY_S = 0.25


class SharedHub(Hub):
    """A hub whose operators' commands take effect here at once, and are shared with all other nodes.

    Args:
        history_messages: As in ``Hub``.
    """

    def __init__(self, *, history_messages: int) -> None:
        super().__init__(history_messages=history_messages)
        self.overrides: Overrides | None = None

    def control(self, command: ControlCommand, *, shown: EmotionFrame | None = None) -> None:
        """As in ``Hub``."""
        super().control(command, shown=shown)
        if self.overrides is not None:
            for stream in command.streams or self.streams:
                self.overrides.share(stream, command)

    def apply(self, command: ControlCommand, *, shown: EmotionFrame | None) -> None:
        """Carry out a command that an operator gave at another node."""
        super().control(command, shown=shown)


class Overrides:
    """Shares the commands given at this node, and applies those given at others.

    All nodes end up with the command that NATS received last. While NATS cannot be reached, those of this node count
    here: a blackout must be dark at once.

    Args:
        bus: The connection.
        hub: Carries the commands out.
    """

    def __init__(self, bus: Bus, hub: SharedHub) -> None:
        self._bus = bus
        self._hub = hub
        self._unshared: dict[str, Override] = {}
        self._queued = asyncio.Event()
        self._in_force: dict[str, bytes] = {}
        self._kept: dict[str, Entry] = {}
        self._limited = LimitedLog(log)
        self._loop = asyncio.get_running_loop()
        hub.overrides = self

    def share(self, stream: str, command: ControlCommand) -> None:
        """Send a command to the other nodes soon; from any thread."""
        frozen = command.action in {"freeze", "blackout"}
        values = msgspec.convert(command.override, OverridePart | None, from_attributes=True)
        override = Override(action=command.action, override=values, shown=self._hub.shown(stream) if frozen else None)
        with contextlib.suppress(RuntimeError):  # the loop has ended, and this node with it
            self._loop.call_soon_threadsafe(self._queue, stream, override)

    def _queue(self, stream: str, override: Override) -> None:
        token = token_of(stream)
        self._unshared[token] = override
        if override.action == "resume":
            self._in_force.pop(token, None)
        else:
            self._in_force[token] = encode(override)
        self._queued.set()

    async def run(self) -> None:
        """Share and apply commands, forever."""
        await run_together(
            self._bus.follow(OVERRIDES, on_snapshot=self._on_snapshot, on_change=self._on_change),
            self._share_loop(),
        )

    def begin(self, stream: str) -> None:
        """Apply what is in force for a new stream."""
        token = token_of(stream)
        if token in self._kept:
            self._on_change(token, self._kept[token])

    async def _share_loop(self) -> None:
        while True:
            await self._queued.wait()
            self._queued.clear()
            for token, override in list(self._unshared.items()):
                try:
                    await self._store(token, override)
                except ClusterError as exc:
                    message = f"{override.action} of {token} is not shared with other nodes yet: {exc}"
                    self._limited.log(logging.WARNING, f"{token} unshared", message)
                    continue
                if self._unshared.get(token) is override:
                    del self._unshared[token]
            if self._unshared:
                await asyncio.sleep(RETRY_S)
                self._queued.set()

    async def _store(self, token: str, override: Override) -> None:
        if override.action == "resume":
            await self._bus.remove(OVERRIDES, token)
            return
        ttl_s = override.override.ttl_s if override.override is not None else None
        await self._bus.put(OVERRIDES, token, encode(override), ttl_s=ttl_s)

    def _on_snapshot(self, entries: dict[str, Entry]) -> None:
        self._kept = {}
        for token in [token for token in self._in_force if token not in entries]:
            self._on_change(token, None)
        for token, entry in entries.items():
            self._on_change(token, entry)

    def _on_change(self, token: str, entry: Entry | None) -> None:
        if entry is None:
            self._kept.pop(token, None)
        else:
            self._kept[token] = entry
        stream = name_of(token)
        if token in self._unshared or stream is None or stream not in self._hub.streams:
            return  # our own command is newer, or the stream is not served here
        if entry is None:
            if self._in_force.pop(token, None) is not None:
                self._hub.apply(ControlCommand(action="resume", streams=(stream,)), shown=None)
            return
        if self._in_force.get(token) == entry.value:
            return
        self._in_force[token] = entry.value
        try:
            override = decode_override(entry.value)
            values = override_values(override.override)
            command = ControlCommand(action=override.action, streams=(stream,), override=values)
            self._hub.apply(command, shown=override.shown)
        except ClusterError as error:
            self._limited.log(logging.ERROR, stream, f"{stream}: {error}; ignoring it")
        except Exception as error:  # must not affect the other channels
            message = f"{stream}: a command of an operator at another node failed: {error}"
            self._limited.log(logging.ERROR, stream, message, error=error)
