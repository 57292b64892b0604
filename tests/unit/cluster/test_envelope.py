"""Events on their way: every field comes back, whatever is broken is said."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest

from stream_mer.cluster.continuation import FrameEnd
from stream_mer.cluster.envelope import KINDS, frame_end, kind_of, seal, unseal
from stream_mer.errors import ClusterError
from stream_mer.server.codec import MessageEncoder
from stream_mer.server.codec import kind_of as kind_of_message
from stream_mer.server.examples import CHANGE, FRAME, LINE, STATUS
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


def changed(event: StreamEvent, **changes: object) -> bytes:
    """An event with other values; ``raw__modalities`` changes one within ``raw``."""
    told = msgspec.json.decode(seal(event, epoch=1, number=0))
    for path, value in changes.items():
        *outer, last = path.split("__")
        place = told["event"]
        for key in outer:
            place = place[key]
        place[last] = value
    return msgspec.json.encode(told)


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        (FRAME, {"valence": 7.0}),
        (FRAME, {"arousal": -1.01}),
        (FRAME, {"confidence": 2.0}),
        (FRAME, {"index": -1}),
        (FRAME, {"index": 2**53}),
        (FRAME, {"t1": 1e300}),
        (FRAME, {"t0": -1e10}),
        (FRAME, {"raw__valence": 3.0}),
        (FRAME, {"raw__interval__level": 1.5}),
        (FRAME, {"raw__clusters": {}}),
        (FRAME, {"probs": {"happy": 1.0}}),
        (FRAME, {"probs": {"happy": 9.0, "angry": 0.0, "sad": 0.0, "relaxed": 0.0}}),
        (FRAME, {"raw__modalities": "audio"}),
        (FRAME, {"raw": []}),
        (FRAME, {"hold_left_s": -3.0}),
        (LINE, {"segment": -1}),
        (LINE, {"t0": 1e12}),
        (LINE, {"words": [{"t0": 0.0, "t1": -1e30, "text": "la"}]}),
        (CHANGE, {"dwell_s": -0.5}),
        (CHANGE, {"dwell_s": 1e300}),
        (STATUS, {"lost_samples": -1}),
        (STATUS, {"source": 3}),
        (LEVELS, {"onset": 1.5}),
        (LEVELS, {"rms_db": 1e9}),
    ],
    ids=str,
)
def test_what_no_client_could_read_is_none(event: StreamEvent, changes: dict[str, object]) -> None:
    with pytest.raises(ClusterError, match="no event of the kind"):
        unseal(kind_of(event), changed(event, **changes))


@pytest.mark.parametrize(
    ("event", "changes", "becomes", "told"),
    [
        (FRAME, {"raw__modalities": ["video"]}, {"modalities": ()}, ["raw.modalities: 'video'"]),
        (FRAME, {"raw__modalities": ["audio", "video"]}, {"modalities": ("audio",)}, ["raw.modalities: 'video'"]),
        (FRAME, {"category": "nostalgic"}, {"category": "unknown"}, ["category: 'nostalgic'"]),
        (FRAME, {"hold": "rewind"}, {"hold": None}, ["hold: 'rewind'"]),
        (STATUS, {"source": "paused"}, {"source": "live"}, ["source: 'paused'"]),
        (STATUS, {"lyrics": "translating"}, {"lyrics": "ok"}, ["lyrics: 'translating'"]),
    ],
    ids=str,
)
def test_a_value_of_a_newer_worker_is_replaced_and_the_rest_counts(
    event: StreamEvent, changes: dict[str, object], becomes: dict[str, object], told: list[str]
) -> None:
    unknown: list[str] = []
    read = unseal(kind_of(event), changed(event, **changes), on_unknown=unknown.append).event
    assert unknown == told
    within = replace(read.raw) if "modalities" in becomes else read
    assert {name: getattr(within, name) for name in becomes} == becomes
    assert msgspec.json.decode(seal(read, epoch=1, number=0))["event"].keys() == (
        msgspec.json.decode(seal(event, epoch=1, number=0))["event"].keys()
    )


def test_categories_and_clusters_of_a_newer_worker_are_left_out() -> None:
    more = {"probs": {**FRAME.probs, "calm": 0.1}, "raw__clusters": {**FRAME.raw.clusters, "C6": 0.2}}
    unknown: list[str] = []
    assert unseal("emotion", changed(FRAME, **more), on_unknown=unknown.append).event == FRAME
    assert unknown == ["probs: 'calm'", "raw.clusters: 'C6'"]


@pytest.mark.parametrize("head", [b'{"epoch":1,"number":0,"event":', b'{"epoch":1,"number":0,"x":', b""])
@pytest.mark.parametrize("deep", [b"[", b'{"a":', b'{"raw":'])
def test_what_is_nested_without_end_is_no_event(head: bytes, deep: bytes) -> None:
    with pytest.raises(ClusterError):
        unseal("emotion", head + deep * 100_000)


@pytest.mark.parametrize("number", [-1, 2**63, 10**30])
def test_an_epoch_that_nats_cannot_give_is_none(number: int) -> None:
    told = msgspec.json.decode(seal(FRAME, epoch=1, number=0))
    for field in ("epoch", "number"):
        with pytest.raises(ClusterError):
            unseal("emotion", json.dumps(told | {field: number}).encode())


def test_where_a_frame_ended_is_read_though_the_rest_is_not() -> None:
    assert frame_end(changed(FRAME, valence="blue", t1=7.5, dropped=3)) == FrameEnd(t1=7.5, dropped=3)
    assert frame_end(changed(FRAME, t1="late")) is None
    assert frame_end(b"[" * 100_000) is None
