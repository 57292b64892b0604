"""Names, records and events: everything is restored, and whatever is invalid is rejected."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.cluster.records import (
    EVENT_TYPES,
    MAX_NAME_LENGTH,
    Channel,
    Claim,
    FrameEnd,
    Override,
    Worker,
    check_name,
    decode,
    decode_override,
    encode,
    event_subject,
    kind_of,
    name_of,
    seal,
    split_subject,
    token_of,
    unseal,
    unseal_frame_end,
    wanted_subject,
)
from stream_mer.errors import ClusterError, SettingError
from stream_mer.event_json import MessageEncoder
from stream_mer.event_json import kind_of as kind_of_message
from stream_mer.types import InputLevels, Spread, StreamEvent
from tools.examples import CHANGE, FRAME, LINE, STATUS

KEY = re.compile(r"[-=_a-zA-Z0-9]+")
"""What NATS takes as a key, and as one token of a subject."""


@settings(deadline=None)  # other work may run beside it
@given(st.text(min_size=1, max_size=MAX_NAME_LENGTH))
def test_every_name_is_one_token_and_is_restored(name: str) -> None:
    try:
        token = token_of(name)
    except UnicodeEncodeError:  # half a surrogate pair, which no name has
        return
    assert KEY.fullmatch(token)
    assert name_of(token) == name


@settings(deadline=None)  # other work may run beside it
@given(st.text(alphabet="=0123456789ABCDEFabcdef.-_ é", max_size=12))
def test_tokens_that_encode_no_name_are_rejected(token: str) -> None:
    name = name_of(token)
    assert name is None or token_of(name) == token


def test_subjects_contain_channel_and_kind() -> None:
    assert event_subject("Zürich 1", "emotion") == "mer.v1.Z=C3=BCrich=201.emotion"
    assert split_subject("mer.v1.Z=C3=BCrich=201.emotion") == ("Zürich 1", "emotion")
    assert split_subject(wanted_subject("a.b", "levels")) == ("a.b", "levels")


@pytest.mark.parametrize("subject", ["", "mer.v1.emotion", "mer.v2.a.emotion", "mer.v1.a.b.emotion", "mer.v1.=ZZ.x"])
def test_other_subjects_are_ignored(subject: str) -> None:
    assert split_subject(subject) is None


@pytest.mark.parametrize("name", ["", " a", ".a", "a>b", "a*", "a\nb", "a/b", "x" * (MAX_NAME_LENGTH + 1)])
def test_invalid_names_are_rejected(name: str) -> None:
    with pytest.raises(SettingError, match="cannot be a name"):
        check_name(name)


@pytest.mark.parametrize("name", ["Radio 1", "a.b-c_d", "电台 5", "0"])
def test_common_names_are_valid(name: str) -> None:
    assert check_name(name) == name


CLAIM = Claim(session="s", worker="w", state="running", channel=3)
WORKER = Worker(name="w", host="h", pid=7, capacity=9, hop_s=0.5, context_s=10.0)


def test_every_record_is_restored() -> None:
    for record in (CLAIM, WORKER, Channel(id="x", source="demo"), Override(action="freeze", shown=FRAME)):
        assert decode(encode(record), type(record)) == record


@pytest.mark.parametrize("state", [3, None, ["running"]])
def test_a_state_must_be_a_string(state: object) -> None:
    with pytest.raises(ClusterError):
        decode(msgspec.json.encode(msgspec.to_builtins(CLAIM) | {"state": state}), Claim)


@pytest.mark.parametrize("hop_s", [-1, 1e300, "x"])
def test_a_worker_with_an_invalid_hop_is_rejected(hop_s: object) -> None:
    with pytest.raises(ClusterError, match="invalid worker record"):
        decode(msgspec.json.encode(msgspec.to_builtins(WORKER) | {"hop_s": hop_s}), Worker)


@pytest.mark.parametrize("kind", [Channel, Claim, Worker, Override])
def test_records_with_endless_nesting_are_rejected(kind: type[msgspec.Struct]) -> None:
    for deep in (b"[", b'{"a":'):
        with pytest.raises(ClusterError):
            decode(deep * 100_000, kind)


def test_a_blackout_counts_though_its_frame_is_invalid() -> None:
    raw = msgspec.to_builtins(Override(action="blackout", shown=FRAME))
    raw["shown"]["valence"] = 5.0
    assert decode_override(msgspec.json.encode(raw)) == Override(action="blackout")
    raw["shown"] = {"of": "a newer version"}
    assert decode_override(msgspec.json.encode(raw)) == Override(action="blackout")


@pytest.mark.parametrize(
    "raw",
    [
        {"action": "rewind"},
        {"action": "override"},
        {"action": "override", "override": {"valence": 3, "arousal": 0}},
        {"action": "override", "override": {"valence": 0, "arousal": 0, "ttl_s": 1e300}},
    ],
)
def test_invalid_overrides_are_rejected(raw: dict[str, object]) -> None:
    with pytest.raises(ClusterError):
        decode_override(msgspec.json.encode(raw))


LEVELS = InputLevels(t=1.5, rms_db=-21.25, peak_db=-6.5, onset=0.375)
SPREAD = Spread(valence=((-1.0, -1.0), (0.5, 0.75)))
EVENTS = (FRAME, LINE, CHANGE, STATUS, replace(STATUS, spread=SPREAD), LEVELS)


@pytest.mark.parametrize("event", EVENTS, ids=kind_of)
def test_every_event_is_restored(event: StreamEvent) -> None:
    envelope = unseal(kind_of(event), seal(event, epoch=7, number=3))
    assert (envelope.epoch, envelope.number, envelope.event) == (7, 3, event)


@pytest.mark.parametrize("event", EVENTS, ids=kind_of)
def test_kinds_are_those_of_the_wire(event: StreamEvent) -> None:
    assert kind_of(event) == kind_of_message(MessageEncoder("main").message(event))


def test_all_kinds_of_events_are_tested() -> None:
    assert {kind_of(event) for event in EVENTS} == set(EVENT_TYPES)


def test_unknown_fields_are_ignored() -> None:
    raw = msgspec.json.decode(seal(CHANGE, epoch=1, number=0)) | {"mood": "blue"}
    raw["event"]["why"] = "because"
    assert unseal("change", msgspec.json.encode(raw)).event == CHANGE


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"epoch":1,"number":0}', b'{"epoch":"x","number":0,"event":{}}'])
def test_data_that_is_no_event_is_rejected(data: bytes) -> None:
    with pytest.raises(ClusterError, match="invalid event of the kind 'emotion'"):
        unseal("emotion", data)


def test_an_event_of_another_kind_is_rejected() -> None:
    with pytest.raises(ClusterError):
        unseal("emotion", seal(replace(STATUS), epoch=1, number=0))
    with pytest.raises(ClusterError, match="'weather'"):
        unseal("weather", seal(STATUS, epoch=1, number=0))


def changed(event: StreamEvent, **changes: object) -> bytes:
    """An event with other values; ``raw__modalities`` changes one within ``raw``."""
    raw = msgspec.json.decode(seal(event, epoch=1, number=0))
    for path, value in changes.items():
        *outer, last = path.split("__")
        place = raw["event"]
        for key in outer:
            place = place[key]
        place[last] = value
    return msgspec.json.encode(raw)


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
def test_events_that_no_client_could_read_are_rejected(event: StreamEvent, changes: dict[str, object]) -> None:
    with pytest.raises(ClusterError, match="invalid event of the kind"):
        unseal(kind_of(event), changed(event, **changes))


@pytest.mark.parametrize(
    ("event", "changes", "becomes", "replaced"),
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
def test_an_unknown_value_is_replaced_and_the_rest_kept(
    event: StreamEvent, changes: dict[str, object], becomes: dict[str, object], replaced: list[str]
) -> None:
    unknown: list[str] = []
    read = unseal(kind_of(event), changed(event, **changes), on_unknown=unknown.append).event
    assert unknown == replaced
    within = replace(read.raw) if "modalities" in becomes else read
    assert {name: getattr(within, name) for name in becomes} == becomes
    assert msgspec.json.decode(seal(read, epoch=1, number=0))["event"].keys() == (
        msgspec.json.decode(seal(event, epoch=1, number=0))["event"].keys()
    )


def test_unknown_categories_and_clusters_are_removed() -> None:
    more = {"probs": {**FRAME.probs, "calm": 0.1}, "raw__clusters": {**FRAME.raw.clusters, "C6": 0.2}}
    unknown: list[str] = []
    assert unseal("emotion", changed(FRAME, **more), on_unknown=unknown.append).event == FRAME
    assert unknown == ["probs: 'calm'", "raw.clusters: 'C6'"]


@pytest.mark.parametrize("head", [b'{"epoch":1,"number":0,"event":', b'{"epoch":1,"number":0,"x":', b""])
@pytest.mark.parametrize("deep", [b"[", b'{"a":', b'{"raw":'])
def test_events_with_endless_nesting_are_rejected(head: bytes, deep: bytes) -> None:
    with pytest.raises(ClusterError):
        unseal("emotion", head + deep * 100_000)


@pytest.mark.parametrize("number", [-1, 2**63, 10**30])
def test_an_impossible_epoch_is_rejected(number: int) -> None:
    raw = msgspec.json.decode(seal(FRAME, epoch=1, number=0))
    for field in ("epoch", "number"):
        with pytest.raises(ClusterError):
            unseal("emotion", json.dumps(raw | {field: number}).encode())


def test_the_end_of_a_frame_is_read_though_the_rest_is_invalid() -> None:
    assert unseal_frame_end(changed(FRAME, valence="blue", t1=7.5, dropped=3)) == FrameEnd(t1=7.5, dropped=3)
    assert unseal_frame_end(changed(FRAME, t1="late")) is None
    assert unseal_frame_end(b"[" * 100_000) is None
