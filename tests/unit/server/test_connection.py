"""What the shell around a websocket does where the library and asyncio stumble."""

import asyncio

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.protocol import State

from stream_mer.server.connection import CloseConnection, Connection
from stream_mer.server.messages import CloseCode

BYE = CloseConnection(CloseCode.GOING_AWAY, "the server is shutting down")


class Transport:
    def __init__(self):
        self.written = []
        self.waiting = 0
        self.closing = False
        self.aborts = 0

    def write(self, data):
        self.written.append(data)

    def get_write_buffer_size(self):
        return self.waiting

    def is_closing(self):
        return self.closing

    def abort(self):
        self.aborts += 1
        raise AttributeError("'NoneType' object has no attribute 'call_soon'")


class Websocket:
    """One whose transport has flushed its last bytes and forgotten its loop."""

    def __init__(self, state):
        self.transport = Transport()
        self.protocol = self
        self.state = state
        self.close_exc = ConnectionClosedError(None, None)

    async def send(self, *_, **__):
        self.transport.abort()

    recv = send
    close = send


@pytest.mark.parametrize(
    "how", [lambda one: one.send(b"x"), lambda one: one.recv(), lambda one: one.close(BYE, timeout_s=1)]
)
def test_a_transport_that_forgot_its_loop_is_a_client_that_is_gone(how):
    with pytest.raises(ConnectionClosedError):
        asyncio.run(how(Connection(Websocket(State.CLOSED))))
    with pytest.raises(AttributeError):
        asyncio.run(how(Connection(Websocket(State.OPEN))))


def test_cutting_a_connection_that_is_gone_is_tried_and_changes_nothing():
    websocket = Websocket(State.CLOSED)
    connection = Connection(websocket)
    connection.abort()
    connection.abort()
    assert websocket.transport.aborts == 2
    assert websocket.transport.written == []
    assert websocket.state is State.CLOSED
    assert not connection.write([b"hello"])


def test_nothing_is_written_where_something_waits_or_the_connection_ends():
    websocket = Websocket(State.OPEN)
    connection = Connection(websocket)
    assert connection.write([b"hello"])
    assert websocket.transport.written == [b"\x81\x05hello"]
    assert connection.write([b"one", b"x" * 126, b"y" * 65_536])
    assert websocket.transport.written[1:] == [
        b"\x81\x03one" + b"\x81\x7e\x00\x7e" + b"x" * 126 + b"\x81\x7f" + (65_536).to_bytes(8, "big") + b"y" * 65_536
    ]
    websocket.transport.written[1:] = []
    for trouble in ("waiting", "closing"):
        setattr(websocket.transport, trouble, 1)
        assert not connection.write([b"hello"])
        setattr(websocket.transport, trouble, 0)
    websocket.state = State.CLOSING
    assert not connection.write([b"hello"])
    assert len(websocket.transport.written) == 1
