"""The newest values of a stream, as numbers."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.outputs.osc.composer import OscComposer
from stream_mer.outputs.osc.mapping import FIELDS, OscField, OscMapping
from stream_mer.outputs.values import STALE_AFTER_S, ShowState, ShowValues, pattern_values, spread_point
from stream_mer.types import Spread
from tools.examples import CHANGE, FRAME, LEVELS, LINE, STATUS


@pytest.fixture
def clock():
    return FakeClock(100.0)


@pytest.fixture
def state(clock):
    return ShowState("main", clock=clock)


def test_before_anything_came_it_is_not_alive(state):
    assert state.values() == ShowValues()


@pytest.mark.parametrize("live", ["happy", "sad", "unknown"])
def test_a_test_pattern_fires_no_trigger_neither_while_it_runs_nor_after_it(live):
    mapping = OscMapping(fields=tuple(OscField(name=name) for name, field in FIELDS.items() if field.kind == "trigger"))
    composer = OscComposer(mapping, stream="main")
    values = ShowValues(category=live, alive=True)
    pattern = [pattern_values(0.1 * step, values) for step in range(20)]
    sent = [composer.update(step / 10, now) for step, now in enumerate([values, *pattern, values])]
    assert sent == [[]] * 22
    assert {one.category for one in pattern} == {"happy", "angry", "sad", "relaxed"}


def test_values_are_those_of_the_newest_events(state):
    for event in (FRAME, LINE, CHANGE, STATUS, LEVELS):
        state.on_event("main", event)
    values = state.values()
    assert (values.valence, values.arousal, values.category) == (0.4183, 0.2957, "happy")
    assert values.probs["happy"] == 0.6127
    assert values.clusters["C2"] == 0.42
    assert (values.line, values.changes, values.hold, values.alive) == ("and the morning comes again", 1, None, True)
    assert values.change == CHANGE
    assert (values.rms_db, values.peak_db, values.onset) == (-17.31, -5.02, 0.83)


def test_peaks_last_until_they_are_taken(state):
    state.on_event("main", LEVELS)
    state.on_event("main", replace(LEVELS, peak_db=-40.0, rms_db=-45.0, onset=0.1))
    assert (state.values().peak_db, state.values().onset) == (-5.02, 0.0)
    assert state.values().peak_db == -45.0


def test_other_streams_change_nothing(state):
    state.on_event("foyer", FRAME)
    assert not state.values().alive


def test_without_a_name_it_follows_the_first_stream_heard(clock):
    state = ShowState(None, clock=clock)
    state.on_event("foyer", FRAME)
    state.on_event("main", replace(FRAME, valence=-1.0))
    assert state.values().valence == 0.4183


def test_old_values_and_those_of_a_lost_input_are_not_alive(state, clock):
    state.on_event("main", FRAME)
    clock.now += STALE_AFTER_S
    assert state.values().alive
    clock.now += 0.1
    assert not state.values().alive
    state.on_event("main", FRAME)
    state.on_event("main", replace(STATUS, source="reconnecting"))
    assert not state.values().alive


SPREAD = Spread(
    valence=((-1.0, -1.0), (-0.42, -0.6), (0.0, 0.05), (0.46, 0.575), (1.0, 1.0)),
    arousal=((-1.0, -1.0), (-0.6154, -0.725), (0.5537, 0.65), (1.0, 1.0)),
)


def test_valence_and_arousal_are_mapped_once_the_model_is_known_and_stay_so(state):
    state.on_event("main", replace(STATUS, spread=SPREAD))
    state.on_event("main", replace(FRAME, valence=0.46, arousal=-0.6154))
    assert (state.values().valence, state.values().arousal) == pytest.approx((0.575, -0.725))
    state.on_event("main", replace(STATUS, source="stalled"))  # by somebody who does not know the model
    state.on_event("main", replace(FRAME, valence=-0.21, arousal=-1.0))
    assert (state.values().valence, state.values().arousal) == pytest.approx((-0.275, -1.0))
    state.on_event("main", replace(STATUS, spread=Spread()))
    state.on_event("main", replace(FRAME, valence=0.46, arousal=-0.6154))
    assert (state.values().valence, state.values().arousal) == (0.46, -0.6154)


def test_without_spread_the_published_values_are_used(clock):
    state = ShowState("main", clock=clock, spread=False)
    state.on_event("main", replace(STATUS, spread=SPREAD))
    state.on_event("main", replace(FRAME, valence=0.46, arousal=-0.6154))
    assert (state.values().valence, state.values().arousal) == (0.46, -0.6154)


@pytest.mark.parametrize(("hold", "valence"), [("override", 0.46), ("freeze", 0.575), ("blackout", 0.575)])
def test_what_an_operator_sets_is_shown_as_it_is(hold, valence):
    assert spread_point(replace(FRAME, valence=0.46, hold=hold), SPREAD)[0] == pytest.approx(valence)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_the_map_keeps_the_order_and_the_range(low, high):
    low, high = sorted((low, high))
    one, other = (spread_point(replace(FRAME, valence=value, arousal=value), SPREAD) for value in (low, high))
    assert -1 <= one[0] <= other[0] + 1e-12 <= 1 + 1e-12
    assert -1 <= one[1] <= other[1] + 1e-12 <= 1 + 1e-12


@pytest.mark.parametrize("value", [-1.0, -0.9, -0.21, 0.0, 0.46, 0.7, 0.8, 1.0])
def test_the_map_is_linear_between_its_knots(value):
    knots = ((-0.8, -1.0), (-0.2, -0.3), (0.1, 0.2), (0.7, 0.9))
    mapped, _ = spread_point(replace(FRAME, valence=value), Spread(valence=knots))
    assert mapped == pytest.approx(np.interp(value, *zip(*knots, strict=True)), abs=1e-12)


def test_maps_that_no_model_has_do_no_harm():
    for knots in (((0.0, 7.0),), ((1.0, -1.0), (-1.0, 1.0)), ((0.0, 1e308), (0.1, -1e308))):
        assert all(-1 <= value <= 1 for value in spread_point(FRAME, Spread(valence=knots, arousal=knots)))
