"""A population of websocket clients that behave as clients do over years, in minutes."""

from __future__ import annotations

import contextlib
import json
import random
import re
import selectors
import socket
import struct
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from benchmarks.frames import CLOSE, PING, PONG, TEXT, FrameReader, client_frame, open_websocket
from stream_mer.server import messages as wire

Deeds: TypeAlias = Counter[str]
"""How often each thing was done."""

DEED_EVERY_S = 0.01
STUCK_FOR_S = 6.0
"""A stuck client is forgotten then: the server has hung up on it long before."""

_EVENT = re.compile(rb'\{"type":"(\w+)","stream":"(\w+)","seq":(\d+)')
_SESSION = re.compile(rb'"session":"(\w+)"')

NONSENSE = (
    client_frame(b"rubbish"),
    client_frame(b'{"type":"dance"}'),
    client_frame(b'{"type":"control","action":"fly"}'),
    client_frame(b"[" * 4000),
    client_frame(b"x" * 5000),
    client_frame(b"\xff\xff"),
    client_frame(b"", 7),
    client_frame(b"sound", 2),
)
"""Each of these ends the connection."""


@dataclass(slots=True, eq=False)
class Member:
    """One client.

    Attributes:
        socket: Its connection.
        stuck_until_s: When one that never reads is forgotten; None for one that reads.
        reader: Finds frames.
        session: The server's, once it has said hello.
        last_seq: What was seen last, by stream and kind.
    """

    socket: socket.socket
    stuck_until_s: float | None = None
    reader: FrameReader = field(default_factory=FrameReader)
    session: str = ""
    last_seq: dict[str, dict[str, int]] = field(default_factory=dict)


class Population:
    """Clients of one server that come, go and change their minds.

    Args:
        port: Where it listens.
        clients: How many there are at once, about.
        seed: Decides on everything that they do.

    Attributes:
        deeds: What they did.
    """

    def __init__(self, port: int, *, clients: int, seed: int) -> None:
        self._port = port
        self._wanted = clients
        self._random = random.Random(seed)  # noqa: S311 - nothing is hidden with it
        self._selector = selectors.DefaultSelector()
        self._members: list[Member] = []
        self._broken: deque[tuple[str, dict[str, dict[str, int]]]] = deque(maxlen=100)
        self.deeds: Deeds = Counter()

    def live(self, until_s: float) -> None:
        """Do things, and read, until a time of the monotonic clock."""
        next_deed_s = time.monotonic()
        while (now_s := time.monotonic()) < until_s:
            if now_s >= next_deed_s:
                self._do_something()
                next_deed_s = now_s + DEED_EVERY_S
            for key, _ in self._selector.select(max(0.0, min(next_deed_s, until_s) - time.monotonic())):
                self._read(key.data)

    def leave(self) -> None:
        """Hang up, all of them."""
        for member in list(self._members):
            self._forget(member)
        self._selector.close()

    def _do_something(self) -> None:
        now_s = time.monotonic()
        for member in [one for one in self._members if one.stuck_until_s is not None and one.stuck_until_s < now_s]:
            self._forget(member)
        if len(self._members) < self._wanted:
            self._join()
            return
        deeds = {
            self._subscribe: 4.0,
            self._unsubscribe: 3.0,
            self._ping: 3.0,
            self._control: 1.0,
            self._vanish: 2.0,
            self._reset: 1.0,
            self._say_goodbye: 1.0,
            self._talk_nonsense: 1.0,
        }
        (deed,) = self._random.choices(list(deeds), list(deeds.values()))
        deed(self._random.choice(self._members))

    def _join(self) -> None:
        how = self._random.choice(("default", "identify", "levels", "resume", "resume", "stuck"))
        connection = open_websocket(self._port, wire.STREAM_PATH, is_stuck=how == "stuck")
        member = Member(connection)
        self._members.append(member)
        if how == "stuck":
            member.stuck_until_s = time.monotonic() + STUCK_FOR_S
        else:
            self._selector.register(connection, selectors.EVENT_READ, member)
        if how == "resume" and not self._broken:
            how = "identify"
        self.deeds[f"join: {how}"] += 1
        self._introduce(member, how)

    def _introduce(self, member: Member, how: str) -> None:
        identify: dict[str, Any] = {"type": "identify"}
        if how in {"levels", "stuck"}:
            max_hz = self._random.choice((None, 5, 50))
            identify["subscribe"] = [{"events": [*wire.EVENT_KINDS], "max_hz": None if how == "stuck" else max_hz}]
        elif how == "resume":
            session, last_seq = self._broken.popleft()
            identify["resume"] = {"session": session, "last_seq": last_seq}
        if how != "default":
            self._say(member, identify)

    def _subscribe(self, member: Member) -> None:
        self.deeds["subscribe"] += 1
        events = self._random.sample(wire.EVENT_KINDS, self._random.randint(0, 3))
        streams = self._random.choice(([], ["main"], ["foyer", "bar"], ["nowhere"]))
        max_hz = self._random.choice((None, 1, 10, 1e-300))
        self._say(member, {"type": "subscribe", "id": 1, "events": events, "streams": streams, "max_hz": max_hz})

    def _unsubscribe(self, member: Member) -> None:
        self.deeds["unsubscribe"] += 1
        events = self._random.sample(wire.EVENT_KINDS, self._random.randint(0, 2))
        self._say(member, {"type": "unsubscribe", "id": "u", "events": events})

    def _ping(self, member: Member) -> None:
        self.deeds["ping"] += 1
        self._say(member, {"type": "ping", "id": 7})
        self._send(member, client_frame(b"?", PING))

    def _control(self, member: Member) -> None:
        self.deeds["control"] += 1
        action = self._random.choice(("freeze", "resume", "blackout", "override"))
        override = {"valence": 0.1, "arousal": -0.4, "ttl_s": 0.5} if action == "override" else None
        self._say(member, {"type": "control", "id": 9, "action": action, "override": override})

    def _vanish(self, member: Member) -> None:
        self.deeds["leave: without a word"] += 1
        if member.session:
            self._broken.append((member.session, member.last_seq))
        self._forget(member)

    def _reset(self, member: Member) -> None:
        self.deeds["leave: reset"] += 1
        member.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._forget(member)

    def _say_goodbye(self, member: Member) -> None:
        self.deeds["leave: with a word"] += 1
        self._send(member, client_frame(b"\x03\xe8", CLOSE))

    def _talk_nonsense(self, member: Member) -> None:
        self.deeds["talk nonsense"] += 1
        self._send(member, self._random.choice(NONSENSE))

    def _say(self, member: Member, message: dict[str, Any]) -> None:
        self._send(member, client_frame(json.dumps(message).encode()))

    def _send(self, member: Member, data: bytes) -> None:
        with contextlib.suppress(OSError):  # it is gone, or reads no more than it is read from
            member.socket.send(data)

    def _read(self, member: Member) -> None:
        try:
            data = member.socket.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        frames = member.reader.feed(data)
        for frame in frames:
            if frame.opcode == TEXT:
                self._take(member, frame.payload)
            elif frame.opcode == PING:
                self._send(member, client_frame(frame.payload, PONG))
        if not data or any(frame.opcode == CLOSE for frame in frames):
            self.deeds["the server closed"] += 1
            self._forget(member)

    def _take(self, member: Member, payload: bytes) -> None:
        event = _EVENT.match(payload)
        if event is not None:
            kind, stream, seq = event.groups()
            member.last_seq.setdefault(stream.decode(), {})[kind.decode()] = int(seq)
        elif payload.startswith(b'{"type":"hello"'):
            session = _SESSION.search(payload)
            assert session is not None, "hello has a session"
            member.session = session[1].decode()

    def _forget(self, member: Member) -> None:
        self._members.remove(member)
        if member.stuck_until_s is None:
            self._selector.unregister(member.socket)
        member.socket.close()
