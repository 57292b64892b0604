"""Frames that no well-behaved client sends, and well-behaved ones cut and mixed as the specification allows.

The lawful ones are written by wsproto, the others by hand: a library refuses to write most of them.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import REPEATABLE
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as WebsocketPing

from benchmarks.frames import BINARY, CLOSE, PING, TEXT, client_frame

BATCH = 20
"""Cases of one example, each on a connection of its own, all at once."""

CUT_OFF_BYTES = 65_536
"""Where the server stops to read a message: 16 times the limit that it tells of."""

MOST_SENT_BYTES = 40_000_000
"""More than all buffers of the kernel can hold."""


@dataclass(frozen=True)
class Case:
    """Bytes for an open websocket, and what must come of them.

    Attributes:
        what: For people.
        data: The bytes.
        codes: With which code the server may close; None for not at all.
        pongs: How many pings it must have answered.
        says_why: Whether an ``error`` of the protocol comes before the close.
    """

    what: str
    data: bytes
    codes: frozenset[int | None]
    pongs: int = 0
    says_why: bool = False

    def __repr__(self) -> str:
        shown = repr(self.data) if len(self.data) <= 200 else f"{self.data[:40]!r}... ({len(self.data)} bytes)"
        return f"<{self.what}: {shown}>"

    def _repr_pretty_(self, printer: object, _: object) -> None:
        """As hypothesis shows it; left alone, it would show every byte."""
        printer.text(repr(self))


def frame(
    payload: bytes,
    *,
    opcode: int = TEXT,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    length: int | None = None,
) -> bytes:
    """A frame with any mistake that one likes."""
    size = len(payload) if length is None else length
    mask = b"\x37\xfa\x21\x3d"
    flags = (0x80 if fin else 0) | reserved << 4 | opcode
    bit = 0x80 if masked else 0
    if size < 126:
        head = bytes((flags, bit | size))
    elif size < 1 << 16:
        head = bytes((flags, bit | 126)) + struct.pack(">H", size)
    else:
        head = bytes((flags, bit | 127)) + struct.pack(">Q", size)
    if not masked:
        return head + payload
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


small = st.binary(max_size=60)
control = st.sampled_from((CLOSE, PING, 10))
not_utf8 = st.sampled_from((b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"abc\x80", b"\xc3"))
PING_MESSAGE = b'{"type":"ping","id":"inside"}'


def broken(what: str, make: Callable[..., bytes], *codes: int) -> Callable[..., Case]:
    """Cases of one kind: ``make`` turns what a strategy draws into bytes."""
    return lambda *drawn: Case(what, make(*drawn), frozenset(codes))


def told(what: str, make: Callable[..., bytes]) -> Callable[..., Case]:
    """The same, for mistakes that the server explains."""
    return lambda *drawn: Case(what, make(*drawn), frozenset({4400}), says_why=True)


def lawful(pieces: list[bytes], pings: list[bytes]) -> bytes:
    """One message in pieces, with pings between them, as wsproto writes it."""
    connection = Connection(ConnectionType.CLIENT)
    data = b""
    for i, piece in enumerate(pieces):
        last = i == len(pieces) - 1
        data += connection.send(TextMessage(piece.decode(), message_finished=last))
        if i < len(pings):
            data += connection.send(WebsocketPing(pings[i]))
    return data


@st.composite
def fragmented(draw: st.DrawFn) -> Case:
    cuts = sorted(draw(st.lists(st.integers(0, len(PING_MESSAGE)), max_size=6)))
    pieces = [PING_MESSAGE[a:b] for a, b in zip([0, *cuts], [*cuts, len(PING_MESSAGE)], strict=True)]
    # None behind the last piece: the message may be answered before such a ping is.
    pings = draw(st.lists(small, max_size=len(pieces) - 1))
    return Case("a message in fragments with pings between", lawful(pieces, pings), frozenset({None}), pongs=len(pings))


@st.composite
def garbage(draw: st.DrawFn) -> Case:
    """Bytes of no meaning; what they happen to mean decides."""
    data = draw(st.binary(min_size=1, max_size=80))
    return Case("garbage", data, frozenset({None, 1000, 1002, 1005, 1007, 1009, 4400, *range(3000, 5000)}))


START = frame(b"half", fin=False)
reserved_opcode = st.sampled_from((3, 4, 5, 6, 7, 11, 12, 13, 14, 15))
no_close_code = st.sampled_from((0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535))


def goodbye(code: int) -> Case:
    return Case("goodbye", Connection(ConnectionType.CLIENT).send(CloseConnection(code, "bye")), frozenset({code}))


def binary_by_wsproto(data: bytes) -> bytes:
    return Connection(ConnectionType.CLIENT).send(BytesMessage(data))


MISTAKES = (
    (broken("unmasked", lambda it: frame(it, masked=False), 1002), small),
    (broken("reserved bits", lambda it, bits: frame(it, reserved=bits), 1002), small, st.integers(1, 7)),
    (broken("reserved opcode", lambda it, code: frame(it, opcode=code), 1002), small, reserved_opcode),
    (broken("control in pieces", lambda code: frame(b"", opcode=code, fin=False), 1002), control),
    (broken("control too long", lambda code, n: frame(b"x" * n, opcode=code), 1002), control, st.integers(126, 400)),
    (broken("continues nothing", lambda it: frame(it, opcode=0), 1002), small),
    (broken("two messages at once", lambda it: START + frame(it), 1002), small),
    (broken("not UTF-8", frame, 1007), not_utf8),
    (broken("not UTF-8, cut", lambda it: frame(it[:1], fin=False) + frame(it[1:], opcode=0), 1007), not_utf8),
    (broken("far too long", lambda n: frame(b"x", length=n), 1009), st.integers(CUT_OFF_BYTES + 1, 1 << 40)),
    (
        broken("far too long in pieces", lambda n: frame(b"", fin=False) + frame(b"x" * n, opcode=0), 1009),
        st.integers(CUT_OFF_BYTES + 1, 70_000),
    ),
    (broken("absurdly long", lambda n: frame(b"", length=n), 1002, 1009), st.integers(1 << 63, (1 << 64) - 1)),
    (broken("half a close code", lambda it: frame(it, opcode=CLOSE), 1002), st.just(b"\x03")),
    (broken("no close code", lambda code: frame(struct.pack(">H", code), opcode=CLOSE), 1002), no_close_code),
    (broken("a reason that is not UTF-8", lambda it: frame(b"\x03\xe8" + it, opcode=CLOSE), 1007), not_utf8),
    (told("too long", lambda n: frame(b"x" * n)), st.integers(4097, 20_000)),
    (told("too long in pieces", lambda n: START + frame(b"x" * n, opcode=0)), st.integers(4097, 9000)),
    (told("binary", lambda it: frame(it, opcode=BINARY)), small),
    (told("binary by wsproto", binary_by_wsproto), small),
    (goodbye, st.sampled_from((1000, 1001, 3000, 4999))),
)
"""What makes a case, and the strategies for what it is made of."""

cases = st.one_of(fragmented(), garbage(), *(st.builds(make, *drawn) for make, *drawn in MISTAKES))
cut_cases = st.tuples(cases, st.floats(0, 1))
"""Cases, and where they are cut into two writes."""


@settings(max_examples=150, **REPEATABLE)
@given(batch=st.lists(cut_cases, min_size=BATCH, max_size=BATCH))
def test_every_frame_is_answered_or_ends_its_connection_as_specified(victim, batch):
    with victim.clients(None for _ in batch) as clients:
        for client, (case, cut) in zip(clients, batch, strict=True):
            middle = round(cut * len(case.data))
            client.send(case.data[:middle])
            client.send(case.data[middle:])
        for client, (case, _) in zip(clients, batch, strict=True):
            judge(client, case)
    victim.check(len(batch))


def judge(client, case: Case) -> None:
    """Hold a conversation's end to what must come of a case."""
    if case.what == "garbage":
        client.half_close()
        ending = client.to_the_end()
    elif case.codes == {None}:
        ending = client.until("inside")
        assert len(ending.pongs) == case.pongs, case
    else:
        ending = client.to_the_end()
    assert ending.code in case.codes, f"closed with {ending.code} {ending.error}: {case}"
    if case.says_why:
        assert (ending.error["code"], ending.error["fatal"]) == (4400, True), case
    assert [one["type"] for one in ending.messages] in (["hello"], ["hello", "error"]), case


VANISHING = ("close", "reset", "half", "middle")


@settings(max_examples=50, **REPEATABLE)
@given(batch=st.lists(st.tuples(st.sampled_from(VANISHING), small), min_size=BATCH, max_size=BATCH))
def test_whoever_vanishes_in_the_middle_leaves_nothing_behind(victim, batch):
    for how, payload in batch:
        with victim.client() as client:
            client.say(b'{"type":"identify"}')
            if how == "middle":
                client.send(frame(payload, fin=False) + frame(payload, length=1000)[:-1])
            elif how == "reset":
                client.reset()
            elif how == "half":
                client.half_close()
                assert client.to_the_end().code in {None, 1000, 1005, 1006}
    victim.check(len(batch))


def test_pings_without_end_whose_answers_nobody_reads_fill_no_memory(victim):
    block = client_frame(b"x" * 125, PING) * 500
    sent = 0
    with victim.client() as client:
        client.socket.settimeout(1.0)
        with contextlib.suppress(TimeoutError):  # the server reads no more, as it should
            while sent < MOST_SENT_BYTES:
                sent += client.socket.send(block)
        waiting = victim.ask(lambda server: max(one.transport.get_write_buffer_size() for one in connections(server)))
        assert waiting < 1_000_000
        assert sent < MOST_SENT_BYTES
        victim.check_witness()
    victim.check(1)


def connections(server):
    return server._servers[0].connections


def test_fragments_without_end_are_cut_off(victim):
    ends_s = time.monotonic() + 60
    with victim.client() as client:
        client.send(frame(b"", fin=False))
        while victim.ask(lambda server: len(server._sessions)) > 1:
            client.send(frame(b"", fin=False, opcode=0) * 1000)
            assert time.monotonic() < ends_s, "it takes fragments for ever"
    victim.check(1)
