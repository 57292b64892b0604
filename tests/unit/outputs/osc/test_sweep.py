"""A desk learns one address after another."""

from itertools import groupby, pairwise
from operator import itemgetter

from stream_mer.outputs.osc.addresses import FIELDS, OscField, OscMapping
from stream_mer.outputs.osc.presets import PRESETS
from stream_mer.outputs.osc.sweep import STEP_S, Sweep


def moved(mapping, rate_hz=20.0):
    sweep = Sweep(mapping, stream="main")
    steps = [sweep.feed(i / rate_hz) for i in range(round(sweep.duration_s * rate_hz))]
    return [(step.message.address, step.message.argument) for step in steps if step.message is not None]


def test_one_address_moves_at_a_time_from_end_to_end_and_back():
    mapping = PRESETS["grandma3"].target.mapping
    turns = [(address, [value for _, value in group]) for address, group in groupby(moved(mapping), itemgetter(0))]
    assert [address for address, _ in turns] == [field.address_of("main") for field in mapping.sent]
    for _, values in turns:
        top = values.index(max(values))
        assert (values[0], values[-1]) == (0.0, 0.0)
        assert max(values) > 95
        assert values[: top + 1] == sorted(values[: top + 1])
        assert values[top:] == sorted(values[top:], reverse=True)
        assert all(abs(b - a) < 6 for a, b in pairwise(values)), "slowly"


def test_everything_that_can_be_sent_moves():
    sent = moved(OscMapping(fields=tuple(OscField(name=name) for name in FIELDS)))
    assert {address.rpartition("/")[2] for address, _ in sent} == set(FIELDS)
    assert [value for address, value in sent if address.endswith("/category")] == [0, 1, 2, 3, 4]
    assert [value for address, value in sent if address.endswith("/alive")] == [1.0, 0.0]


def test_it_goes_round_and_round():
    sweep = Sweep(OscMapping(fields=(OscField(name="valence"), OscField(name="arousal"))), stream="main")
    names = [sweep.feed(turn * STEP_S + 0.1).field.name for turn in range(5)]
    assert names == ["valence", "arousal", "valence", "arousal", "valence"]
