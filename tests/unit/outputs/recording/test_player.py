"""What was recorded comes again: the same messages, at its own pace, over and over if wanted."""

from dataclasses import replace

import pytest

from stream_mer.errors import SettingError
from stream_mer.outputs.recording.format import open_recording
from stream_mer.outputs.recording.player import Player, Playing
from stream_mer.server import messages as wire
from stream_mer.server.codec import encode
from stream_mer.server.examples import STATUS
from stream_mer.server.hub import Hub
from stream_mer.types import CategoryChange, ControlCommand, OverrideValues


class Watch:
    """Sees everything that a hub publishes, and when."""

    def __init__(self, hub, clock, *, levels=True, enough=None):
        self.seen = []
        self._clock = clock
        self._enough = enough
        self.stop = None
        hub.watch(self, levels=levels)

    def see(self, message):
        self.seen.append((round(self._clock.now, 3), message))
        if self._enough is not None and len(self.seen) == self._enough:
            self.stop()


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


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
    hub, clock = Hub(), Clock()
    player = Player(recording, hub, Playing(**playing), clock=clock)
    player._stopping = Waiting(clock)
    watch = Watch(hub, clock, levels=levels, enough=enough)
    watch.stop = player.stop
    player.run()
    return [(round(at - 1000.0, 3), message) for at, message in watch.seen]


def recorded(recording):
    return [entry.message for entry in recording.entries() if entry.message is not None]


def test_the_same_messages_come_again_at_their_times(write, happenings):
    recording = write(happenings)
    played = play(recording)
    assert [encode(message) for _, message in played] == [encode(message) for message in recorded(recording)]
    assert [at for at, _ in played] == pytest.approx([at for at, _, _ in happenings], abs=2e-3)


@pytest.mark.parametrize("speed", [0.5, 4.0])
def test_speed_stretches_time_and_changes_no_message(write, happenings, speed):
    recording = write(happenings)
    played = play(recording, speed=speed)
    assert [message for _, message in played] == recorded(recording)
    assert [at for at, _ in played] == pytest.approx([at / speed for at, _, _ in happenings], abs=2e-3)


def test_levels_are_left_to_those_who_want_them(write, happenings):
    played = play(write(happenings), levels=False)
    assert "Levels" not in {type(message).__name__ for _, message in played}


def test_from_somewhere_the_state_before_is_told_first_and_counting_begins_anew(write, show):
    happenings = show(6)
    happenings[0] = (0.1, "hall", replace(STATUS, device="first"))
    happenings.insert(1, (0.2, "hall", replace(STATUS, device="second")))
    played = play(write(happenings), from_s=1.4)
    (at, status), (next_at, first), *_ = played
    assert (at, status.device, status.seq) == (0.0, "second", 0)
    assert next_at == pytest.approx(1.55 - 1.4, abs=2e-3)
    assert (first.index, first.seq) == (2, 0)


def test_a_recording_that_was_cut_off_ends_all_the_same(write, show):
    happenings = [one for one in show(3) if getattr(one[2], "source", "") != "ended"]
    played = [message for _, message in play(write(happenings, ended=False))]
    assert isinstance(played[-1], wire.Status)
    assert played[-1].source == "ended"


def test_what_is_stopped_ends(write, happenings):
    played = [message for _, message in play(write(happenings), enough=4)]
    assert [type(message).__name__ for message in played] == ["Status", "Emotion", "Levels", "Emotion", "Status"]
    assert played[-1].source == "ended"


def test_a_loop_goes_on_counting(write, show):
    happenings = show(6)
    n = len(happenings) - 1  # without the end, which does not come
    played = play(write(happenings), loop=True, enough=3 * n)[: 3 * n]
    frames = [message for _, message in played if isinstance(message, wire.Emotion)]
    lines = [message for _, message in played if isinstance(message, wire.Lyrics)]
    changes = [message for _, message in played if isinstance(message, wire.Change)]
    assert [message.index for message in frames] == list(range(18))
    assert [message.seq for message in frames] == list(range(18))
    assert [message.segment for message in lines] == [0, 1, 2]
    assert [message.t0 for message in lines] == [1.0, 4.5, 8.0]
    assert [message.words[0].t0 for message in lines] == [1.0, 4.5, 8.0]
    assert [message.t for message in changes] == [1.5, 5.0, 8.5]
    times = [message.t1 for message in frames]
    assert times == sorted(set(times))
    assert {round(2 * t) - 2 * t for t in times} == {0.0}, "all frames lie on the grid of hops"
    assert [at for at, message in played if isinstance(message, wire.Lyrics)] == pytest.approx([1.57, 5.07, 8.57])
    assert "ended" not in {message.source for _, message in played if isinstance(message, wire.Status)}


def test_streams_keep_their_own_counts_in_a_loop(write, frame, line):
    happenings = [(0.1, "a", frame(0)), (0.2, "b", frame(40)), (0.3, "b", frame(41)), (0.4, "a", line(9, 0.0))]
    played = [message for _, message in play(write(happenings), loop=True, enough=8)]
    assert [message.index for message in played if message.stream == "a" and hasattr(message, "index")] == [0, 1]
    assert [message.index for message in played if message.stream == "b"][:4] == [40, 41, 42, 43]
    assert [message.segment for message in played if hasattr(message, "segment")] == [9, 10]


def test_what_an_operator_held_is_seen_again(write, frame):
    held = replace(frame(1), hold="override", category="angry", valence=-1.0, arousal=1.0)
    change = CategoryChange(t=1.0, before="happy", after="angry", dwell_s=0.5)
    recording = write([(0.5, "hall", frame(0)), (1.0, "hall", held), (1.0, "hall", change), (1.5, "hall", frame(2))])
    played = [message for _, message in play(recording)]
    assert [message for message in played if isinstance(message, wire.Emotion)] == [
        message for message in recorded(recording) if isinstance(message, wire.Emotion)
    ]
    assert [(message.from_, message.to) for message in played if isinstance(message, wire.Change)] == [
        ("happy", "angry"),
        ("angry", "happy"),
    ]


def test_an_operator_can_hold_what_is_played(write, happenings):
    recording = write(happenings)
    hub, clock = Hub(), Clock()
    player = Player(recording, hub, clock=clock)
    player._stopping = Waiting(clock)
    watch = Watch(hub, clock)
    hub.control(ControlCommand(action="override", override=OverrideValues(valence=-1.0, arousal=-1.0)))
    player.run()
    frames = [message for _, message in watch.seen if isinstance(message, wire.Emotion)]
    assert {(message.hold, message.category.top) for message in frames} == {("override", "sad")}


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
