"""Events on their way: every field comes back, whatever is broken is said."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from stream_mer.cluster.envelope import KINDS, kind_of, seal, unseal
from stream_mer.errors import ClusterError
from stream_mer.serve.codec import MessageEncoder
from stream_mer.serve.codec import kind_of as kind_of_message
from stream_mer.serve.examples import CHANGE, FRAME, LINE, STATUS
from stream_mer.types import InputLevels, StreamEvent

LEVELS = InputLevels(t=1.5, rms_db=-21.25, peak_db=-6.5, onset=0.375)
EVENTS = (FRAME, LINE, CHANGE, STATUS, LEVELS)


@pytest.mark.parametrize("event", EVENTS, ids=kind_of)
def test_every_event_comes_back_as_it_was(event: StreamEvent) -> None:
    envelope = unseal(kind_of(event), seal(event, epoch=7, number=3))
    assert (envelope.epoch, envelope.number, envelope.event) == (7, 3, event)


@pytest.mark.parametrize("event", EVENTS, ids=kind_of)
def test_kinds_are_those_of_the_wire(event: StreamEvent) -> None:
    assert kind_of(event) == kind_of_message(MessageEncoder("main").message(event))


def test_all_events_are_tried() -> None:
    assert {kind_of(event) for event in EVENTS} == set(KINDS)


def test_a_newer_worker_may_say_more() -> None:
    told = msgspec.json.decode(seal(CHANGE, epoch=1, number=0)) | {"mood": "blue"}
    told["event"]["why"] = "because"
    assert unseal("change", msgspec.json.encode(told)).event == CHANGE


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"epoch":1,"number":0}', b'{"epoch":"x","number":0,"event":{}}'])
def test_what_is_no_event_is_said(data: bytes) -> None:
    with pytest.raises(ClusterError, match="no event of the kind 'emotion'"):
        unseal("emotion", data)


def test_an_event_of_another_kind_is_none() -> None:
    with pytest.raises(ClusterError):
        unseal("emotion", seal(replace(STATUS), epoch=1, number=0))
    with pytest.raises(ClusterError, match="'weather'"):
        unseal("weather", seal(STATUS, epoch=1, number=0))
