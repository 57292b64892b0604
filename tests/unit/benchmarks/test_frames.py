"""Frames by hand are those of the specification, however the bytes are cut."""

import pytest
from websockets.frames import Frame as LibraryFrame
from websockets.frames import Opcode
from websockets.server import ServerProtocol

from benchmarks.frames import CLOSE, PING, TEXT, Frame, FrameReader, client_frame, handshake

SIZES = (0, 1, 125, 126, 65_535, 65_536)


def test_a_servers_frames_are_found_in_pieces_of_any_size():
    frames = [Frame(TEXT, b"x" * size) for size in SIZES] + [Frame(PING, b"?"), Frame(CLOSE, b"\x03\xe8")]
    data = b"".join(LibraryFrame(Opcode(one.opcode), one.payload).serialize(mask=False) for one in frames)
    for piece in (1, 2, 7, 1000, len(data)):
        reader = FrameReader()
        found = [frame for at in range(0, len(data), piece) for frame in reader.feed(data[at : at + piece])]
        assert found == frames


@pytest.mark.parametrize("size", SIZES)
def test_a_library_understands_what_is_written_by_hand(size):
    server = ServerProtocol()
    server.receive_data(handshake(8765, "/v1/stream", "X-Of: a test"))
    (request,) = server.events_received()
    assert (request.path, request.headers["X-Of"]) == ("/v1/stream", "a test")
    server.send_response(server.accept(request))
    server.receive_data(client_frame(b"x" * size))
    (frame,) = server.events_received()
    assert (frame.opcode, len(frame.data)) == (Opcode.TEXT, size)
