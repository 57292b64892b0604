"""The newest values of a stream, as numbers."""

from dataclasses import replace

import pytest

from stream_mer.outputs.values import STALE_AFTER_S, ShowState, ShowValues
from stream_mer.server.examples import CHANGE, FRAME, LEVELS, LINE, STATUS


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def state(clock):
    return ShowState("main", clock=clock)


def test_before_anything_came_it_is_not_alive(state):
    assert state.values() == ShowValues()


def test_values_are_those_of_the_newest_events(state):
    for event in (FRAME, LINE, CHANGE, STATUS, LEVELS):
        state.on_event("main", event)
    values = state.values()
    assert (values.valence, values.arousal, values.category) == (0.4183, 0.2957, "happy")
    assert values.probs["happy"] == 0.6127
    assert values.clusters["C2"] == 0.42
    assert (values.line, values.changes, values.hold, values.alive) == ("and the morning comes again", 1, None, True)
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
