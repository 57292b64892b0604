"""Websocket frames of a client, written and parsed by hand: cheap enough for a thousand clients in one process."""

from __future__ import annotations

import base64
import os
import resource
import socket
from typing import NamedTuple

from stream_mer.errors import StreamMerError

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
"""Opcodes (RFC 6455, 5.2)."""

PATIENCE_S = 30.0
STUCK_BUFFER_BYTES = 4096
"""Receive buffer of a client that never reads, so that its server notices soon."""

_FIN, _MASKED, _TWO_BYTES, _EIGHT_BYTES = 0x80, 0x80, 126, 127
_ZERO_MASK = bytes(4)


class Frame(NamedTuple):
    """One unfragmented frame of a server: its opcode and its payload."""

    opcode: int
    payload: bytes


def handshake(port: int, path: str, *headers: str) -> bytes:
    """Return the request that opens a websocket on this machine."""
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        *headers,
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def open_websocket(port: int, path: str, *, is_stuck: bool = False) -> socket.socket:
    """Connect to a server on this machine and shake hands; return the socket, non-blocking.

    Args:
        port: Port of the server.
        path: Path of the websocket.
        is_stuck: Whether the client will never read; its buffers are small then.

    Raises:
        StreamMerError: The server hung up or refused.
    """
    connection = socket.socket()
    if is_stuck:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STUCK_BUFFER_BYTES)
    connection.settimeout(PATIENCE_S)
    connection.connect(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(handshake(port, path))
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(1)  # not a byte more: the first frame may follow
        if not piece:
            raise StreamMerError(f"the server on port {port} hung up in the handshake")
        head += piece
    if b" 101 " not in head.partition(b"\r\n")[0]:
        raise StreamMerError(f"the server on port {port} refused: {head.decode(errors='replace').splitlines()[0]}")
    connection.setblocking(False)  # noqa: FBT003 - the API of sockets
    return connection


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return a payload as the frame of a client, masked with zeros, which leaves the payload unchanged."""
    size = len(payload)
    if size < _TWO_BYTES:
        head = bytes((_FIN | opcode, _MASKED | size))
    elif size < 1 << 16:
        head = bytes((_FIN | opcode, _MASKED | _TWO_BYTES)) + size.to_bytes(2)
    else:
        head = bytes((_FIN | opcode, _MASKED | _EIGHT_BYTES)) + size.to_bytes(8)
    return head + _ZERO_MASK + payload


class FrameReader:
    """Parses the frames of a server from a stream of bytes."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Add bytes; return the frames that are complete."""
        data = self._rest + data if self._rest else data
        frames: list[Frame] = []
        at = 0
        while (bounds := _payload(data, at)) is not None:
            begin, end = bounds
            frames.append(Frame(data[at] & 0x0F, data[begin:end]))
            at = end
        self._rest = data[at:]
        return frames


def _payload(data: bytes, at: int) -> tuple[int, int] | None:
    """Return start and end of the payload of the frame at this position; None if it is incomplete."""
    if len(data) < at + 2:
        return None
    size, begin = data[at + 1], at + 2
    if size >= _TWO_BYTES:
        width = 2 if size == _TWO_BYTES else 8
        begin += width
        if len(data) < begin:
            return None
        size = int.from_bytes(data[at + 2 : begin])
    return (begin, begin + size) if len(data) >= begin + size else None


def raise_file_limit(files: int) -> None:
    """Let this process, and its children, open so many files.

    Raises:
        StreamMerError: The system does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        if hard != resource.RLIM_INFINITY and hard < files:
            raise StreamMerError(f"{files} files must be opened, but the limit is {hard}; type: ulimit -n {files}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
