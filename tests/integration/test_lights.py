"""``stream-mer serve --sacn`` and ``--artnet`` on the demo song: what a receiver on the network gets."""

import json
import socket
import threading
import time

import pytest
from helpers import free_port, wait_for
from sacn.messages.data_packet import DataPacket
from sacn.receiver import sACNreceiver
from websockets.sync.client import connect

RIG = """\
name = "test rig"
preset = "mood"
[sacn]
to = ["127.0.0.1", "127.0.0.2"]
priority = 123
port = {sacn}
[artnet]
port = {artnet}
first_universe = 5
[safety]
intensity_per_s = 5.0
colour_per_s = 5.0
at_end = "look"
end_fade_s = 0.5
[[fixtures]]
name = "pars"
channels = ["dimmer", "red", "green", "blue", "white", "strobe"]
count = 4
offset_step = 0.25
[[fixtures]]
name = "far"
universe = 2
channels = ["red", "green", "blue"]
"""


LATE_S = 5.0
"""By so much the first packet may have been heard late, after which the next ones seem to come faster."""


class Ear(threading.Thread):
    """Takes down every datagram with its time, until it is told to stop."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(daemon=True)
        self.heard: list[tuple[float, bytes]] = []
        self.ending = threading.Event()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((host, port))
        self.socket.settimeout(0.1)
        self.start()

    def run(self):
        while not self.ending.is_set():
            try:
                self.heard.append((time.monotonic(), self.socket.recv(2048)))
            except TimeoutError:
                continue

    def close(self):
        self.ending.set()
        self.join(10)
        self.socket.close()


@pytest.fixture
def show(tmp_path, started):
    """A server with lamps, the receivers of both protocols, and a bare one of each."""
    ports = {"sacn": free_port(socket.SOCK_DGRAM), "artnet": free_port(socket.SOCK_DGRAM)}
    rig = tmp_path / "rig.toml"
    rig.write_text(RIG.format(**ports))
    ears = {"sacn": Ear("127.0.0.2", ports["sacn"]), "artnet": Ear("127.0.0.1", ports["artnet"])}
    lamps = ["--sacn", str(rig), "--artnet", f"{rig}@127.0.0.1"]
    server = started("-m", "stream_mer", "serve", "--port", 0, "--no-lyrics", *lamps)
    receiver = sACNreceiver(bind_port=ports["sacn"])
    receiver.start()
    try:
        yield server, receiver, ears
    finally:
        receiver.stop()
        for ear in ears.values():
            ear.close()


@pytest.mark.timeout(300)
def test_lamps_follow_the_demo_song_and_an_operator_to_the_very_end(show):
    server, receiver, ears = show
    lit, gone = threading.Event(), threading.Event()
    receiver.register_listener("universe", lambda packet: packet.dmxData[0] > 20 and lit.set(), universe=1)
    receiver.register_listener("availability", lambda changed, **_: changed == "timeout" and gone.set())
    wait_for(lit.is_set, "light")
    begun = len(ears["sacn"].heard)
    wait_for(lambda: len(ears["sacn"].heard) - begun > 300, "stream of packets")

    with connect(server.word_after("websocket")) as desk:
        desk.send(json.dumps({"type": "control", "id": 1, "action": "blackout"}))

        def dark() -> bool:
            packets = [DataPacket.make_data_packet(tuple(data)) for _, data in ears["sacn"].heard[-4:]]
            return all(packet.dmxData[0] == 0 for packet in packets if packet.universe == 1)

        wait_for(dark, "blackout")
        still = len(ears["sacn"].heard)
        wait_for(lambda: len(ears["sacn"].heard) > still + 4, "sign of life while it is dark")
        desk.send(json.dumps({"type": "control", "id": 2, "action": "resume"}))
        lit.clear()
        wait_for(lit.is_set, "light again")

    assert server.end()[0] == 0
    wait_for(gone.is_set, "end of the stream")
    check_sacn([(t, DataPacket.make_data_packet(tuple(data))) for t, data in ears["sacn"].heard])
    check_artnet(ears["artnet"].heard)


def check_sacn(heard) -> None:
    assert {packet.universe for _, packet in heard} == {1, 2}
    assert {packet.priority for _, packet in heard} == {123}
    assert {packet.sourceName.rstrip("\0") for _, packet in heard} == {"test rig"}
    for universe in (1, 2):
        packets = [(t, packet) for t, packet in heard if packet.universe == universe]
        numbers = [packet.sequence for _, packet in packets]
        assert numbers == [i % 256 for i in range(len(numbers))], "each packet, in order"
        ends = [packet.option_StreamTerminated for _, packet in packets]
        assert ends == [False] * (len(ends) - 3) + [True] * 3
        lasted_s = packets[-4][0] - packets[0][0]
        assert len(packets) - 3 <= 40 * (lasted_s + LATE_S), "40 a second"
        assert len(packets) - 3 >= lasted_s, "one a second"
    strobes = {packet.dmxData[5] for _, packet in heard if packet.universe == 1}
    assert strobes == {0}, "nobody asked for a strobe"
    last = [packet.dmxData[:5] for _, packet in heard if packet.universe == 1][-1]
    assert last[0] > 0, "it ends with the look that was chosen"
    assert last[1] + last[4] > last[2] + last[4] > last[3] + last[4], "amber"


def check_artnet(heard) -> None:
    packets = [data for _, data in heard]
    assert all(data.startswith(b"Art-Net\0\0P\0\x0e") and len(data) == 18 + 512 for data in packets)
    assert {data[14:16] for data in packets} == {bytes([5, 0]), bytes([6, 0])}
    numbers = [data[12] for data in packets if data[14] == 5]
    assert numbers == [i % 255 + 1 for i in range(len(numbers))]
    assert any(data[18] > 20 for data in packets if data[14] == 5)
