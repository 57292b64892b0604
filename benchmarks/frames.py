"""Websocket frames by hand, as a client writes and reads them: cheap enough for a thousand clients in one process."""

from __future__ import annotations

import base64
import os
from typing import NamedTuple

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
"""Opcodes (RFC 6455, 5.2)."""

_FIN, _MASKED, _TWO_BYTES, _EIGHT_BYTES = 0x80, 0x80, 126, 127
_ZERO_MASK = bytes(4)


class Frame(NamedTuple):
    """One frame of a server; what these servers send is never fragmented.

    Attributes:
        opcode: What it is.
        payload: What it holds.
    """

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


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return the frame in which a client sends this; masked with zeros, which leaves the payload as it is."""
    size = len(payload)
    if size < _TWO_BYTES:
        head = bytes((_FIN | opcode, _MASKED | size))
    elif size < 1 << 16:
        head = bytes((_FIN | opcode, _MASKED | _TWO_BYTES)) + size.to_bytes(2)
    else:
        head = bytes((_FIN | opcode, _MASKED | _EIGHT_BYTES)) + size.to_bytes(8)
    return head + _ZERO_MASK + payload


class FrameReader:
    """Finds the frames of a server in bytes that are cut anywhere."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes; return the frames that are whole now."""
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
    """Return where the payload of the frame at this place begins and ends; None if it is not whole."""
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
