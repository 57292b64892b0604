"""When lamps are sent to, and how they are left."""

import itertools
from dataclasses import replace

import msgspec
from helpers import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.outputs.dmx.output import KEEP_ALIVE_S, LightOutput, Pacing
from stream_mer.outputs.dmx.render import LightShow
from stream_mer.outputs.dmx.rig import Safety, preset
from stream_mer.outputs.values import ShowValues

MUSIC = ShowValues(alive=True, valence=-1, arousal=1)


class ScriptedLink:
    def __init__(self, clock):
        self.clock = clock
        self.sent: list[tuple[float, bytes]] = []
        self.ended: list[float] = []
        self.synchronised: list[tuple[float, int]] = []

    def open(self): ...

    def close(self): ...

    def refresh(self, t):
        del t
        return 0

    def send(self, universe, channels):
        assert universe == 1
        self.sent.append((self.clock(), channels))
        return 1

    def synchronise(self):
        self.synchronised.append((self.clock(), len(self.sent)))
        return 1

    def terminate(self):
        self.ended.append(self.clock())


def output(safety: Safety | None = None) -> tuple[LightOutput, ScriptedLink, FakeClock]:
    clock = FakeClock(100.0)

    def sleep(seconds):
        clock.now += seconds

    rig = msgspec.structs.replace(preset("mood"), safety=safety or Safety())
    link = ScriptedLink(clock)
    made = LightOutput(rig, link, LightShow(rig), name="x", stream=None, claims=(), clock=clock, sleep=sleep)
    return made, link, clock


def test_receivers_are_synchronised_after_what_was_sent_and_only_then():
    made, link, clock = output()
    for _ in range(200):
        made.send(clock.now, MUSIC if clock.now < 102 else replace(MUSIC, hold="freeze"))
        clock.now += 1 / 40
    times = [t for t, _ in link.sent]
    assert [t for t, _ in link.synchronised] == times
    assert [count for _, count in link.synchronised] == list(range(1, len(times) + 1))
    assert len(times) < 150, "an unchanged universe is not sent each time"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.integers(1, 100)), min_size=1, max_size=10))
def test_a_change_is_sent_at_once_and_nothing_is_silent_for_a_second(changes):
    pacing, sent, before = Pacing(), [], None
    channels = [each for each, times in changes for _ in range(times)]
    for i, each in enumerate(channels):
        due = pacing.due(i / 40, each)
        assert due or each == before, "what is new does not wait"
        before = each
        sent += [i / 40] if due else []
    sent.append(len(channels) / 40)
    assert max((b - a for a, b in itertools.pairwise(sent)), default=0) < 1.0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 0.1), min_size=1, max_size=200))
def test_after_a_late_call_packets_do_not_come_in_pairs_and_the_newest_still_comes(waits):
    pacing, t, sent = Pacing(), 0.0, []
    for i, wait in enumerate([*waits, 0.025]):
        t += wait
        if pacing.due(t, str(i).encode()):
            sent.append((t, i))
    assert all(b - a >= 0.0125 - 1e-9 for (a, _), (b, _) in itertools.pairwise(sent))
    assert sent[-1][1] == len(waits), "a moment later nothing is left unsaid"


def test_what_is_new_is_said_three_times_more_and_then_seldom():
    pacing = Pacing()
    due = [i for i in range(400) if pacing.due(i / 40, b"still")]
    assert due[:4] == [0, 1, 2, 3]
    assert len(due) < 4 + 10 / KEEP_ALIVE_S + 1


def test_nothing_is_sent_before_there_are_values_and_nothing_is_said_of_an_end():
    lamps, link, clock = output()
    assert lamps.send(clock(), ShowValues()) == 0
    lamps.finish()
    assert link.sent == []
    assert link.ended == []


def test_held_light_ends_as_it_is():
    lamps, link, clock = output()
    for _ in range(200):
        lamps.send(clock(), MUSIC)
        clock.now += 1 / 40
    before = link.sent[-1][1]
    began = clock()
    lamps.finish()
    assert link.sent[-1][1] == before
    assert link.ended == [began], "at once"


def test_a_last_fade_is_sent_step_by_step_and_ends_in_time():
    lamps, link, clock = output(Safety(at_end="dark", end_fade_s=1.0))
    for _ in range(200):
        lamps.send(clock(), MUSIC)
        clock.now += 1 / 40
    began, so_far = clock(), len(link.sent)
    lamps.finish()
    fade = [max(channels) for _, channels in link.sent[so_far:]]
    assert fade == sorted(fade, reverse=True)
    assert len(set(fade)) > 20
    assert fade[-1] == 0
    assert 1.0 <= link.ended[0] - began < 1.2
