"""What was recorded comes again: the same events, at its own pace, over and over if wanted."""

from dataclasses import fields, replace

import pytest
from helpers import FakeClock

from stream_mer.errors import SettingError
from stream_mer.outputs.recording.format import open_recording
from stream_mer.outputs.recording.player import Player, Playing, Shift, shifted
from stream_mer.server.hub import Hub
from stream_mer.types import CategoryChange, ControlCommand, EmotionFrame, LyricLine, OverrideValues, StreamStatus
from tools.examples import CHANGE, FRAME, LEVELS, LINE, STATUS


class Watch:
    """Sees everything that a hub publishes, and when."""

    def __init__(self, hub, clock, *, levels=True, enough=None):
        self.seen = []
        self._clock = clock
        self._enough = enough
        self.stop = None
        hub.subscribe(self.on_event, levels=levels)

    def on_event(self, stream, event):
        self.seen.append((round(self._clock.now, 3), stream, event))
        if self._enough is not None and len(self.seen) == self._enough:
            self.stop()


class Waiting:
    """Stands in for the event that a player waits on: time passes at once."""

    def __init__(self, clock):
        self._clock = clock
        self._set = False

    def wait(self, seconds):
        if not self._set:
            self._clock.now += seconds
        return self._set

    def set(self):
        self._set = True


def play(recording, *, levels=True, enough=None, **playing):
    hub, clock = Hub(), FakeClock()
    player = Player(recording, hub, Playing(**playing), clock=clock)
    player._stopping = Waiting(clock)
    watch = Watch(hub, clock, levels=levels, enough=enough)
    watch.stop = player.stop
    player.run()
    return [(round(at - 1000.0, 3), event) for at, _, event in watch.seen]


def recorded(recording):
    return [one.event for one in recording.events()]


@pytest.mark.parametrize("speed", [1.0, 0.5, 4.0])
def test_the_same_events_come_again_at_their_times(write, happenings, speed):
    recording = write(happenings)
    played = play(recording, speed=speed)
    assert [event for _, event in played] == recorded(recording)
    assert [at for at, _ in played] == pytest.approx([at / speed for at, _, _ in happenings], abs=2e-3)


def test_levels_are_left_to_those_who_want_them(write, happenings):
    played = play(write(happenings), levels=False)
    assert "InputLevels" not in {type(event).__name__ for _, event in played}


def test_from_somewhere_the_state_before_comes_first(write, show):
    happenings = show(6)
    happenings[0] = (0.1, "hall", replace(STATUS, device="first"))
    happenings.insert(1, (0.2, "hall", replace(STATUS, device="second")))
    played = play(write(happenings), from_s=1.4)
    (at, status), (next_at, first), *_ = played
    assert (at, status.device) == (0.0, "second")
    assert next_at == pytest.approx(1.55 - 1.4, abs=2e-3)
    assert first.index == 2


def test_a_recording_that_was_cut_off_ends_all_the_same(write, show):
    happenings = [one for one in show(3) if getattr(one[2], "source", "") != "ended"]
    played = [event for _, event in play(write(happenings, ended=False))]
    assert isinstance(played[-1], StreamStatus)
    assert played[-1].source == "ended"


def test_what_is_stopped_ends(write, happenings):
    played = [event for _, event in play(write(happenings), enough=4)]
    assert [type(event).__name__ for event in played] == [
        "StreamStatus",
        "EmotionFrame",
        "InputLevels",
        "EmotionFrame",
        "StreamStatus",
    ]
    assert played[-1].source == "ended"


def test_a_loop_goes_on_counting(write, show):
    happenings = show(6)
    n = len(happenings) - 1  # without the end, which does not come
    played = play(write(happenings), loop=True, enough=3 * n)[: 3 * n]
    frames = [event for _, event in played if isinstance(event, EmotionFrame)]
    lines = [event for _, event in played if isinstance(event, LyricLine)]
    changes = [event for _, event in played if isinstance(event, CategoryChange)]
    assert [event.index for event in frames] == list(range(18))
    assert [event.segment for event in lines] == [0, 1, 2]
    assert [event.t0 for event in lines] == [1.0, 4.5, 8.0]
    assert [event.words[0].t0 for event in lines] == [1.0, 4.5, 8.0]
    assert [event.t for event in changes] == [1.5, 5.0, 8.5]
    times = [event.t1 for event in frames]
    assert times == sorted(set(times))
    assert {round(2 * t) - 2 * t for t in times} == {0.0}, "all frames lie on the grid of hops"
    assert [at for at, event in played if isinstance(event, LyricLine)] == pytest.approx([1.57, 5.07, 8.57])
    assert "ended" not in {event.source for _, event in played if isinstance(event, StreamStatus)}


def test_streams_keep_their_own_counts_in_a_loop(write, frame, line):
    happenings = [(0.1, "a", frame(0)), (0.2, "b", frame(40)), (0.3, "b", frame(41)), (0.4, "a", line(9, 0.0))]
    played = [event for _, event in play(write(happenings), loop=True, enough=8)]
    indices = [event.index for event in played if isinstance(event, EmotionFrame)]
    assert [index for index in indices if index < 40] == [0, 1]
    assert [index for index in indices if index >= 40][:4] == [40, 41, 42, 43]
    assert [event.segment for event in played if isinstance(event, LyricLine)] == [9, 10]


def test_what_an_operator_held_is_seen_again(write, frame):
    held = replace(frame(1), hold="override", category="angry", valence=-1.0, arousal=1.0)
    change = CategoryChange(t=1.0, before="happy", after="angry", dwell_s=0.5)
    recording = write([(0.5, "hall", frame(0)), (1.0, "hall", held), (1.0, "hall", change), (1.5, "hall", frame(2))])
    played = [event for _, event in play(recording)]
    assert [event for event in played if isinstance(event, EmotionFrame)] == [
        event for event in recorded(recording) if isinstance(event, EmotionFrame)
    ]
    assert [(event.before, event.after) for event in played if isinstance(event, CategoryChange)] == [
        ("happy", "angry"),
        ("angry", "happy"),
    ]


def test_an_operator_can_hold_what_is_played(write, happenings):
    recording = write(happenings)
    hub, clock = Hub(), FakeClock()
    player = Player(recording, hub, clock=clock)
    player._stopping = Waiting(clock)
    watch = Watch(hub, clock)
    hub.control(ControlCommand(action="override", override=OverrideValues(valence=-1.0, arousal=-1.0)))
    player.run()
    frames = [event for _, _, event in watch.seen if isinstance(event, EmotionFrame)]
    assert {(event.hold, event.category) for event in frames} == {("override", "sad")}


@pytest.mark.parametrize(
    ("playing", "says"),
    [
        ({"speed": 0.0}, "the speed must be 0.01 to 100, not 0"),
        ({"speed": float("nan")}, "the speed must be"),
        ({"from_s": -1.0}, "a recording begins at 0 seconds"),
        ({"from_s": float("inf")}, "a recording begins at 0 seconds"),
        ({"from_s": 60.0}, "there is nothing from 60 s on"),
    ],
)
def test_what_cannot_be_played_is_refused(write, happenings, playing, says):
    with pytest.raises(SettingError, match=says):
        play(write(happenings), **playing)


def test_an_empty_recording_is_refused(write, happenings):
    recording = write(happenings)
    path = recording.folder / "messages.jsonl"
    path.write_bytes(path.read_bytes().partition(b"\n")[0])
    with pytest.raises(SettingError, match="there is nothing from 0 s on"):
        play(open_recording(recording.folder))


def test_the_length_is_that_of_what_is_played(write, happenings):
    recording = write(happenings)
    assert Player(recording, Hub()).duration_s == pytest.approx(happenings[-1][0])
    assert Player(recording, Hub(), Playing(from_s=1.0)).duration_s == pytest.approx(happenings[-1][0] - 1)


@pytest.mark.parametrize("event", [FRAME, LINE, CHANGE, STATUS, LEVELS], ids=lambda event: type(event).__name__)
def test_a_shift_moves_times_and_counts_and_nothing_else(event):
    later = shifted(event, Shift(t_s=100.0, index=7, segment=3), laps=2)
    moved = {
        "t": 200.0,
        "t0": 200.0,
        "t1": 200.0,
        "index": 14,
        "segment": 6,
    }
    for field in fields(event):
        before, after = getattr(event, field.name), getattr(later, field.name)
        if field.name == "words":
            assert [(word.t0 - 200, word.text) for word in after] == [(pytest.approx(w.t0), w.text) for w in before]
        else:
            assert after == (before + moved[field.name] if field.name in moved else before)
