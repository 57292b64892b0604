"""What ``hello`` says of the server, and which client sends audio to a stream."""

from dataclasses import fields, replace

import pytest
from helpers import FakeClock

from stream_mer.config import ServeSettings
from stream_mer.server import messages as wire
from stream_mer.server.hub import Hub
from stream_mer.server.messages import LimitsPart
from stream_mer.server.session import SILENT_S, Ingest, Senders, ServerInfo, hello, silence_s
from stream_mer.sources.remote import RemoteSource

NO_LIMITS = {"port", "close_timeout_s"}
"""Numbers among the settings that do not limit a client: where to listen, and how long a goodbye may take."""


def test_hello_says_what_this_is():
    hub = Hub()
    hub.sink("main")
    first = hello(hub, ServeSettings(token="a secret of a test"), ServerInfo(window_s=12.0, hop_s=0.25))  # noqa: S106
    assert (first.protocol, first.session, first.streams) == ("mer.v1", hub.session, ("main",))
    assert (first.auth_required, first.va_range, first.window_s, first.hop_s) == (True, (-1, 1), 12.0, 0.25)
    assert first.server.startswith("stream-mer/")
    assert first.categories == ("happy", "angry", "sad", "relaxed")
    assert first.clusters == ("C1", "C2", "C3", "C4", "C5")


def test_every_limit_is_a_setting_whose_value_is_told():
    limits = {field.name for field in fields(ServeSettings) if field.type in {"int", "float"}} - NO_LIMITS
    assert set(LimitsPart.__struct_fields__) == limits
    for name in limits:
        settings = replace(ServeSettings(), **{name: 2048 if name == "max_audio_bytes" else 64})
        told = hello(Hub(), settings, ServerInfo()).limits
        assert getattr(told, name) == getattr(settings, name)
        others = limits - {name}
        assert all(getattr(told, other) == getattr(ServeSettings(), other) for other in others)


def test_the_first_frame_of_a_silent_client_comes_within_a_hop():
    settings = ServeSettings(identify_timeout_s=30.0)
    for hop_s in (0.1, 0.5, 2.0):
        assert silence_s(settings, hop_s=hop_s, must_identify=False) <= min(hop_s / 2, 0.25)
    assert silence_s(settings, hop_s=0.1, must_identify=True) == 30.0
    assert silence_s(replace(settings, identify_timeout_s=0.05), hop_s=2.0, must_identify=False) == 0.05


START = wire.AudioStart(stream="desk", format="s16le", rate_hz=16_000, channels=1)
BLOCK = bytes(640)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def source(clock):
    source = RemoteSource("desk", clock=clock)
    yield source
    source.close()


class Client:
    def __init__(self, senders):
        self.told = []
        self.ingest = Ingest(senders, report=self.told.append)


def pair(source, clock, *, guarded):
    senders = Senders({"desk": source}, guarded=guarded, clock=clock)
    return Client(senders), Client(senders)


def test_with_a_token_a_second_sender_takes_over_at_once_and_the_first_is_told(source, clock):
    first, second = pair(source, clock, guarded=True)
    assert not first.ingest.start(START)
    assert not first.ingest.feed(BLOCK)
    assert not second.ingest.start(START)
    (told,) = first.told
    assert (told.code, told.fatal) == (4403, False)
    assert told.message == "another client sends to desk now; audio.start takes it back"
    # What the first one had sent already, and that it ends or breaks, changes nothing.
    assert first.ingest.is_open
    waiting = source._blocks.statistics().waiting
    assert not first.ingest.feed(BLOCK)
    first.ingest.end()
    assert not first.ingest.is_open
    assert source._blocks.statistics().waiting == waiting
    assert source.owned
    assert not second.ingest.feed(BLOCK)
    assert source._blocks.statistics().waiting == waiting + 1
    assert not first.ingest.start(START), "it takes the stream back"
    assert len(second.told) == 1


def test_without_a_token_a_sender_that_goes_on_keeps_its_stream(source, clock):
    first, second = pair(source, clock, guarded=False)
    first.ingest.start(START)
    for _ in range(30):
        clock.now += SILENT_S / 2
        first.ingest.feed(BLOCK)
        assert second.ingest.start(START)
        refusal = second.told.pop()
        assert (refusal.code, refusal.fatal) == (4403, False)
        assert "gets its audio from another client" in refusal.message
    assert first.told == []
    clock.now += SILENT_S
    assert not second.ingest.start(START), "the network of the first one is dead"
    assert len(first.told) == 1


def test_audio_that_cannot_be_takes_nothing_over(source, clock):
    first, second = pair(source, clock, guarded=True)
    first.ingest.start(START)
    assert second.ingest.start(wire.AudioStart(stream="desk", format="s16le", rate_hz=7, channels=1))
    assert second.told.pop().code == 4400
    assert first.told == []
    assert not first.ingest.feed(BLOCK)
    assert source.owned


def test_a_second_start_of_the_same_client_is_no_takeover(source, clock):
    first, _ = pair(source, clock, guarded=False)
    assert not first.ingest.start(START)
    assert not first.ingest.start(START)
    assert first.told == []
