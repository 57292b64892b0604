"""A crowd of websocket clients in one process, light enough not to be what is measured.

One epoll loop, one blocking handshake after the other, frames found by hand. The time at which the music was captured
is in each message (``t1``, on the machine's monotonic clock), so its age on arrival is a subtraction.
"""

from __future__ import annotations

import resource
import selectors
import socket
import time
from array import array
from dataclasses import dataclass, field

from benchmarks.frames import CLOSE, PING, PONG, TEXT, FrameReader, client_frame, open_websocket
from stream_mer.errors import StreamMerError
from stream_mer.server import messages as wire

_READ_BYTES = 65_536
_CAPTURED = b'"t1":'
_IDENTIFY = client_frame(b'{"type":"identify","subscribe":[{"events":["emotion"]}]}')


@dataclass(slots=True, kw_only=True)
class Arrivals:
    """The messages that came to all clients that read.

    Attributes:
        captured_s: When the music of each was captured.
        ages_s: From then until it was read.
        closed: Clients whose connection ended.
    """

    captured_s: array[float] = field(default_factory=lambda: array("d"))
    ages_s: array[float] = field(default_factory=lambda: array("d"))
    closed: int = 0


class Crowd:
    """Clients of one server on this machine.

    Args:
        port: Where the server listens.
        clients: How many.
        stuck: How many of them connect and then never read.
        identifies: Whether they say what they want, as ``mer.v1`` has it.

    Attributes:
        arrivals: What came so far.
        readers: How many of them read.
    """

    def __init__(self, port: int, *, clients: int, stuck: int = 0, identifies: bool) -> None:
        raise_file_limit(clients + 100)
        self._selector = selectors.DefaultSelector()
        self.arrivals = Arrivals()
        self.readers = clients - stuck
        self._sockets: list[socket.socket] = []
        for i in range(clients):
            connection = open_websocket(port, wire.STREAM_PATH, is_stuck=i < stuck)
            if identifies:
                connection.send(_IDENTIFY)
            self._sockets.append(connection)
            if i >= stuck:
                self._selector.register(connection, selectors.EVENT_READ, FrameReader())

    def read(self, until_s: float) -> None:
        """Read until a time of the monotonic clock."""
        while (left_s := until_s - time.monotonic()) > 0:
            for key, _ in self._selector.select(left_s):
                connection, frames = key.fileobj, key.data
                assert isinstance(connection, socket.socket)
                if not self._read_one(connection, frames):
                    self.arrivals.closed += 1
                    self._selector.unregister(connection)

    def close(self) -> None:
        """Hang up, all of them, without a word."""
        self._selector.close()
        for connection in self._sockets:
            connection.close()

    def _read_one(self, connection: socket.socket, reader: FrameReader) -> bool:
        """Take what has come to one client; False at the end of its connection."""
        try:
            data = connection.recv(_READ_BYTES)
        except OSError:
            return False
        now = time.monotonic()
        for frame in reader.feed(data):
            if frame.opcode == TEXT:
                captured_s = captured_at_s(frame.payload)
                if captured_s is not None:
                    self.arrivals.captured_s.append(captured_s)
                    self.arrivals.ages_s.append(now - captured_s)
            elif frame.opcode == PING:
                connection.send(client_frame(frame.payload, PONG))
            elif frame.opcode == CLOSE:
                return False
        return bool(data)


def captured_at_s(payload: bytes) -> float | None:
    """Return when the music of an ``emotion`` was captured; None for other messages."""
    begin = payload.find(_CAPTURED)
    if begin < 0:
        return None
    begin += len(_CAPTURED)
    return float(payload[begin : payload.index(b",", begin)])


def raise_file_limit(files: int) -> None:
    """Let this process, and those that it starts, open so many files.

    Raises:
        StreamMerError: The system does not let it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        if hard != resource.RLIM_INFINITY and hard < files:
            raise StreamMerError(f"{files} files must be opened and only {hard} may be; type: ulimit -n {files}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
