"""A supervised capture, with a scripted device and a clock of the test's own: chunks go on, whatever happens."""

from __future__ import annotations

import io
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stream_mer
from stream_mer.errors import DeviceError
from stream_mer.sources import capture
from stream_mer.sources.capture import (
    Action,
    CaptureTimeouts,
    Health,
    PortAudioBackend,
    ProcessCapture,
    Supervisor,
    capture_chunks,
    channels_to_open,
)
from stream_mer.sources.capture_child import Kind, Packet, encode, read_packet
from stream_mer.sources.devices import InputDevice
from stream_mer.sources.timeline import CapturedBlock
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk
from stream_mer.utils.mailbox import MailboxClosed

DEVICE = InputDevice(name="scripted", host_api="none", channels=4, rate_hz=16_000)
BLOCK = 320
OPENING_S = 0.1


class World(threading.Event):
    """Time, and what happens to the device in it. It is the iteration's stop event too, so that waiting is time.

    Channel k (from 1) of the device sounds k / 10 as long as it works.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 500.0
        self.gone: list[tuple[float, float]] = []
        self.stalled: list[tuple[float, float]] = []
        self.starved: list[tuple[float, float]] = []
        self.captures: list[ScriptedCapture] = []
        self.opened: list[tuple[str, int]] = []

    def clock(self) -> float:
        self.now += 1e-6
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return self.is_set()

    def within(self, spans: list[tuple[float, float]], t: float | None = None) -> bool:
        return any(begin <= (self.now if t is None else t) < end for begin, end in spans)

    def devices(self) -> tuple[InputDevice, ...]:
        return (DEVICE,)

    def open(self, device: InputDevice, channels: int) -> ScriptedCapture:
        self.opened.append((device.name, channels))
        if self.within(self.starved):
            raise DeviceError("no more processes")
        self.captures.append(ScriptedCapture(self, channels))
        return self.captures[-1]

    def listen(self, duration_s: float, *, channels: tuple[int, ...] = (1, 2), gain: float = 1.0) -> list[AudioChunk]:
        """Iterate for this long of the world's time."""
        end, chunks = self.now + duration_s, []
        for chunk in capture_chunks(self, DEVICE, channels=channels, gain=gain, stop=self, clock=self.clock):
            chunks.append(chunk)
            if self.now > end:
                self.set()
        return chunks


class ScriptedCapture:
    """Gives a block each 20 ms of the world's time, and is its own mailbox."""

    def __init__(self, world: World, channels: int) -> None:
        self.rate_hz = 16_000
        self.blocks = self
        self.closed = False
        self._world = world
        self._opened_at = world.now + OPENING_S
        self._channels = channels
        self._next_at = self._opened_at + BLOCK / 16_000
        self._count = 0
        self._audio_at: float | None = None
        self._left: deque[CapturedBlock] = deque()
        self._died = world.within(world.gone)

    def health(self) -> Health:
        world = self._world
        self._died = self._died or world.within(world.gone)
        self._produce()
        opened = world.now >= self._opened_at and not (self._died and self._audio_at is None)
        return Health(
            alive_at=world.now,
            opened_at=self._opened_at if opened else None,
            audio_at=self._audio_at,
            trouble="is gone" if self._died else None,
        )

    def _produce(self) -> None:
        while not self._died and self._next_at <= self._world.now:
            if not self._world.within(self._world.stalled, self._next_at):
                samples = np.tile(np.arange(1, self._channels + 1, dtype=np.float32) / 10, (BLOCK, 1))
                self._left.append(CapturedBlock(start=self._count, samples=samples, captured_at=self._next_at))
                self._count += BLOCK
                self._audio_at = self._next_at
            self._next_at += BLOCK / 16_000

    def get(self, timeout_s: float) -> CapturedBlock:
        self._produce()
        if self.closed and not self._left:
            raise MailboxClosed
        if not self._left:
            self._world.now += min(timeout_s, max(0.0, self._next_at - self._world.now) + 1e-4)
            self._produce()
        if not self._left:
            raise TimeoutError
        return self._left.popleft()

    def __iter__(self) -> Iterator[CapturedBlock]:
        while self._left:
            yield self._left.popleft()

    def close(self) -> None:
        self.closed = True


def told(chunks: list[AudioChunk]) -> list[str]:
    return [state for state, _ in itertools.groupby(chunk.source for chunk in chunks)]


def hold(chunks: list[AudioChunk]) -> None:
    """What must be so whatever happened."""
    for before, after in itertools.pairwise(chunks):
        assert after.start_sample >= before.end_sample
        assert after.captured_at >= before.captured_at
        # Never silent for longer than it takes to know that audio is missing.
        assert after.end_sample - before.end_sample < 1.0 * SAMPLE_RATE_HZ
        assert after.captured_at - before.captured_at < 0.8
    for chunk in chunks:
        assert chunk.samples.any() == (not chunk.lost and len(chunk.samples) > 0)


def epoch(chunk: AudioChunk) -> float:
    return chunk.captured_at - chunk.end_sample / SAMPLE_RATE_HZ


def audio(chunks: list[AudioChunk]) -> list[AudioChunk]:
    return [chunk for chunk in chunks if not chunk.lost and len(chunk.samples)]


def test_what_works_is_given_as_it_is() -> None:
    world = World()
    chunks = world.listen(20)
    hold(chunks)
    assert told(chunks) == ["live"]
    assert [c.start_sample for c in chunks] == list(range(0, len(chunks) * BLOCK, BLOCK))
    assert world.opened == [("scripted", 2)]
    assert world.captures[0].closed


@pytest.mark.parametrize(("channels", "n_channels", "opened"), [((1,), 1, 1), ((1,), 4, 2), ((2,), 2, 2), ((3,), 4, 3)])
def test_one_of_several_channels_is_never_opened_alone(channels: tuple[int, ...], n_channels: int, opened: int) -> None:
    device = InputDevice(name="any", host_api="none", channels=n_channels, rate_hz=16_000)
    assert channels_to_open(device, channels) == opened


def test_the_channels_that_were_chosen_are_mixed_and_amplified() -> None:
    world = World()
    chunks = world.listen(1, channels=(4, 3), gain=2.0)
    np.testing.assert_allclose(chunks[0].samples, 2 * (0.3 + 0.4) / 2, rtol=1e-6)
    assert world.opened == [("scripted", 4)]


@pytest.mark.parametrize("outage_s", [0.05, 0.5, 3.0, 60.0, 900.0])
def test_a_lost_device_is_waited_for_and_the_clock_goes_on(outage_s: float) -> None:
    world = World()
    world.gone = [(512.0, 512.0 + outage_s)]
    chunks = world.listen(12 + outage_s + 10)
    hold(chunks)
    assert told(chunks) == ["live", "reconnecting", "live"]
    assert epoch(audio(chunks)[-1]) == pytest.approx(epoch(audio(chunks)[0]), abs=0.001)
    silent_s = sum(len(chunk.samples) for chunk in chunks if chunk.lost) / SAMPLE_RATE_HZ
    assert outage_s - 0.7 < silent_s < outage_s + 2.5
    assert {name for name, _ in world.opened} == {"scripted"}
    assert all(capture.closed for capture in world.captures)


@pytest.mark.parametrize(
    ("stall_s", "states", "starts"),
    [
        (0.4, ["live"], 1),
        (2.0, ["live", "stalled", "live"], 1),
        (6.0, ["live", "stalled", "reconnecting", "live"], 2),
    ],
)
def test_a_stall_is_waited_out_for_a_while(stall_s: float, states: list[str], starts: int) -> None:
    world = World()
    world.stalled = [(512.0, 512.0 + stall_s)]
    chunks = world.listen(12 + stall_s + 12)
    hold(chunks)
    assert told(chunks) == states
    assert len(world.opened) == starts
    assert epoch(audio(chunks)[-1]) == pytest.approx(epoch(audio(chunks)[0]), abs=0.001)


def test_a_machine_that_can_start_nothing_for_a_while_ends_no_stream() -> None:
    world = World()
    world.gone, world.starved = [(512.0, 513.0)], [(512.0, 530.0)]
    chunks = world.listen(40)
    hold(chunks)
    assert told(chunks) == ["live", "reconnecting", "live"]
    world = World()
    world.starved = [(0.0, 1e9)]
    with pytest.raises(DeviceError, match="no more processes"):
        world.listen(10)


def test_blow_after_blow() -> None:
    world = World()
    world.gone = [(510.0 + 20 * k, 512.5 + 20 * k) for k in range(10)]
    world.stalled = [(520.0 + 20 * k, 522.0 + 20 * k) for k in range(10)]
    chunks = world.listen(220)
    hold(chunks)
    assert told(chunks) == ["live"] + ["reconnecting", "live", "stalled", "live"] * 10
    assert epoch(audio(chunks)[-1]) == pytest.approx(epoch(audio(chunks)[0]), abs=0.005)


def test_a_device_that_cannot_be_opened_to_begin_with_is_the_users_to_mend() -> None:
    world = World()
    world.gone = [(0.0, 1e9)]
    with pytest.raises(DeviceError, match="'scripted' is gone; check its connection"):
        world.listen(10)
    assert world.captures[0].closed


def test_stop_while_nothing_is_there_ends_the_iteration() -> None:
    world = World()
    world.gone = [(512.0, 1e9)]
    hold(world.listen(30))
    assert all(capture.closed for capture in world.captures)


STEP_S = 0.05
TIMEOUTS = CaptureTimeouts()


@dataclass
class Watched:
    """A supervisor asked every 50 ms, and the capture that it sees."""

    supervisor: Supervisor
    now: float = 1_000.0
    health: Health | None = None
    starts: int = 0

    def step(self) -> Action:
        self.now += STEP_S
        action = self.supervisor.step(self.now, self.health)
        if action is Action.START:
            self.starts += 1
            self.health = Health(alive_at=self.now)
        elif action is Action.STOP:
            self.health = None
        return action

    def run(self, duration_s: float, *, audio: bool = False, alive: bool = True) -> list[Action]:
        actions = []
        for _ in range(round(duration_s / STEP_S)):
            if self.health is not None and alive:
                alive_at = self.now + STEP_S
                opened_at = self.health.opened_at or (alive_at if audio else None)
                audio_at = alive_at if audio else self.health.audio_at
                self.health = replace(self.health, alive_at=alive_at, opened_at=opened_at, audio_at=audio_at)
            actions.append(self.step())
        return actions

    def fail(self, trouble: str) -> None:
        assert self.health is not None
        self.health = replace(self.health, trouble=trouble)

    def until(self, action: Action) -> float:
        """How long until that is wanted."""
        since = self.now
        while self.step() is not action:
            assert self.now < since + 60
        return self.now - since


@pytest.fixture
def world() -> Watched:
    """One that has heard audio for 10 s."""
    world = Watched(Supervisor())
    world.run(10, audio=True)
    assert world.supervisor.ever_opened
    return world


def test_a_lost_device_is_opened_again_at_once_and_told_until_there_is_audio(world: Watched) -> None:
    world.fail("is gone")
    assert world.step() is Action.STOP
    assert world.supervisor.state == "reconnecting"
    assert world.supervisor.trouble == "is gone"
    assert world.until(Action.START) <= TIMEOUTS.first_retry_s + 2 * STEP_S
    world.run(0.5)
    assert world.supervisor.state == "reconnecting"  # open, but nothing comes yet
    world.run(0.1, audio=True)
    assert world.supervisor.state == "live"
    assert world.supervisor.last_outage_s == pytest.approx(0.8, abs=0.2)


def test_waiting_doubles_up_to_its_limit_and_never_ends(world: Watched) -> None:
    waits = []
    for _ in range(50):
        world.fail("is not there")
        assert world.step() is Action.STOP
        waits.append(world.until(Action.START))
    assert [round(wait, 1) for wait in waits[:6]] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0], abs=0.06)
    assert max(waits) <= TIMEOUTS.longest_retry_s + 2 * STEP_S
    assert world.supervisor.state == "reconnecting"


def test_audio_for_a_while_makes_the_next_retry_a_quick_one(world: Watched) -> None:
    for steady_s, slow in ((0.5, True), (TIMEOUTS.steady_s + 0.5, False)):
        for _ in range(8):
            world.fail("is not there")
            world.step()
            world.until(Action.START)
        world.run(steady_s, audio=True)
        world.fail("is gone")
        world.step()
        assert (world.until(Action.START) > 0.5) is slow


def test_a_process_without_a_sign_of_life_is_a_reason_to_start_again() -> None:
    patient = Watched(Supervisor(CaptureTimeouts(stall_s=100, silent_s=2)))
    patient.run(10, audio=True)
    assert Action.STOP in patient.run(2.5, alive=False)
    assert "no sign of life" in patient.supervisor.trouble


def test_a_hang_while_opening_is_ended() -> None:
    world = Watched(Supervisor())
    assert world.until(Action.START) < 0.1
    assert world.until(Action.STOP) == pytest.approx(TIMEOUTS.opening_s, abs=0.2)
    assert "did not open" in world.supervisor.trouble
    assert not world.supervisor.ever_opened


def test_the_first_audio_of_an_idle_device_may_take_longer_than_a_stall() -> None:
    world = Watched(Supervisor())
    world.step()
    world.health = Health(alive_at=world.now, opened_at=world.now)
    assert Action.STOP not in world.run(TIMEOUTS.first_audio_s - 0.2)
    assert world.supervisor.state == "live"  # nothing was lost yet
    assert Action.STOP in world.run(0.5)


def test_a_stall_that_ends_in_a_restart_is_one_outage(world: Watched) -> None:
    world.run(TIMEOUTS.stall_s + 0.2)
    if world.health is None:
        world.until(Action.START)
    world.run(0.2, audio=True)
    assert world.supervisor.last_outage_s == pytest.approx(TIMEOUTS.stall_s + 0.3, abs=0.3)


def test_a_supervisor_that_was_held_up_itself_blames_nobody(world: Watched) -> None:
    world.now += 30  # the process was stopped, or the reader busy: nothing was read of what was there
    assert world.step() is Action.WAIT
    assert set(world.run(5, audio=True)) == {Action.WAIT}


PATIENCE_S = 60.0

PYAUDIO = """
    import os, threading, time
    from array import array
    paFloat32, paContinue, paComplete = 1, 0, 1
    os.write(1, b"JACK server is not running\\n")
    os.write(2, b"ALSA lib pcm.c:2664: Unknown PCM\\n")

    class Stream:
        active = True
        def is_active(self):
            return self.active

    class PyAudio:
        def get_default_input_device_info(self):
            return self.get_device_info_by_index(1)
        def get_device_count(self):
            return 3
        def get_device_info_by_index(self, index):
            name, channels = [("Speakers", 0), ("Desk Mic", 1), ("Café Monitor".encode(), 2)][index]
            return {"index": index, "name": name, "hostApi": 0, "maxInputChannels": channels,
                    "defaultSampleRate": 48000.0}
        def get_host_api_info_by_index(self, index):
            return {"name": "Fake"}
        def open(self, *, rate, channels, frames_per_buffer, stream_callback, **_):
            stream = Stream()
            def play():
                for k in range(BLOCKS):
                    stream_callback(array("f", [k / 1000] * frames_per_buffer * channels).tobytes(),
                                    frames_per_buffer, {}, 0)
                    time.sleep(0.02)
                THEN
            OPEN
            threading.Thread(target=play, daemon=True).start()
            return stream
"""


@pytest.fixture
def pyaudio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write the PyAudio that capture processes will find."""
    if os.name != "posix":
        pytest.skip("the signals of these tests are POSIX's")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(*, blocks: int = 10**9, then: str = "stream.active = False", opening: str = "pass") -> None:
        code = textwrap.dedent(PYAUDIO).replace("BLOCKS", str(blocks)).replace("THEN", then).replace("OPEN", opening)
        (tmp_path / "pyaudio.py").write_text(code, encoding="utf-8")

    write()
    return write


DESK = InputDevice(name="Desk Mic", host_api="Fake", channels=1, rate_hz=48_000)


def wait_for(capture: ProcessCapture, what: Callable[[Health], object]) -> Health:
    end = time.monotonic() + PATIENCE_S
    while not what(health := capture.health()):
        assert time.monotonic() < end, health
        time.sleep(0.005)
    return health


@pytest.mark.usefixtures("pyaudio")
def test_the_devices_are_listed_without_a_word_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    desk, monitor = PortAudioBackend().devices()
    assert (desk.name, desk.host_api, desk.channels, desk.rate_hz) == ("Desk Mic", "Fake", 1, 48_000)
    assert (desk.is_default, desk.is_monitor) == (True, False)
    assert (monitor.name, monitor.is_default, monitor.is_monitor) == ("Café Monitor", False, True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("pyaudio")
def test_blocks_come_in_order_with_their_times() -> None:
    before = time.monotonic()
    capture = PortAudioBackend().open(DESK, 1)
    try:
        blocks = [capture.blocks.get(PATIENCE_S) for _ in range(5)]
    finally:
        capture.close()
    assert capture.rate_hz == 48_000
    assert [block.start for block in blocks] == [0, 960, 1_920, 2_880, 3_840]
    np.testing.assert_array_equal(
        [block.samples[0, 0] for block in blocks], np.float32([0, 0.001, 0.002, 0.003, 0.004])
    )
    assert blocks[0].samples.shape == (960, 1)
    assert before < blocks[0].captured_at < blocks[4].captured_at < time.monotonic()


@pytest.mark.parametrize(
    ("behaviour", "trouble"),
    [
        ({"blocks": 3}, "is gone (unplugged, or its sound server ended)"),
        ({"blocks": 3, "then": "os.abort()"}, "lost its capture process, which was ended by signal 6"),
        ({"blocks": 3, "then": "os._exit(7)"}, "lost its capture process, which ended with exit code 7"),
        ({"opening": "raise OSError('Device unavailable', -9985)"}, "cannot be opened (Device unavailable)"),
        ({"opening": "raise RuntimeError('a defect')"}, "failed (RuntimeError: a defect)"),
        ({"opening": "os.kill(os.getpid(), 11)"}, "lost its capture process, which was ended by signal 11"),
    ],
)
def test_every_way_to_fail_is_told(pyaudio: Callable[..., None], behaviour: dict[str, str], trouble: str) -> None:
    pyaudio(**behaviour)
    capture = PortAudioBackend().open(DESK, 1)
    health = wait_for(capture, lambda health: health.trouble)
    capture.close()
    assert health.trouble == trouble
    assert len(list(capture.blocks)) == behaviour.get("blocks", 0)
    assert (health.opened_at is None) == ("opening" in behaviour)


@pytest.mark.usefixtures("pyaudio")
def test_a_device_that_is_not_there_is_no_other_device() -> None:
    capture = PortAudioBackend().open(InputDevice(name="Desk", host_api="Fake", channels=1, rate_hz=48_000), 1)
    health = wait_for(capture, lambda health: health.trouble)
    capture.close()
    assert (health.trouble, health.opened_at) == ("is not there", None)


def test_a_hang_while_opening_can_be_closed(pyaudio: Callable[..., None]) -> None:
    pyaudio(opening="time.sleep(1e6)")
    capture = PortAudioBackend().open(DESK, 1)
    capture.close()
    assert capture.health().opened_at is None
    with pytest.raises(ProcessLookupError):
        os.kill(capture.pid, 0)


@pytest.mark.usefixtures("pyaudio")
def test_a_process_that_is_killed_says_so_and_ctrl_c_does_not_reach_it() -> None:
    capture = PortAudioBackend().open(DESK, 1)
    wait_for(capture, lambda health: health.audio_at)
    os.kill(capture.pid, signal.SIGINT)
    capture.blocks.get(PATIENCE_S)
    os.kill(capture.pid, signal.SIGKILL)
    health = wait_for(capture, lambda health: health.trouble)
    capture.close()
    capture.close()
    assert health.trouble == "lost its capture process, which was ended by signal 9"


def test_it_lives_while_nothing_is_heard_and_says_so(pyaudio: Callable[..., None]) -> None:
    pyaudio(blocks=1, then="pass")
    capture = PortAudioBackend().open(DESK, 1)
    first = wait_for(capture, lambda health: health.audio_at)
    later = wait_for(capture, lambda health: health.alive_at > first.alive_at + 0.5)
    capture.close()
    assert later.trouble is None
    assert later.audio_at == first.audio_at


@pytest.mark.usefixtures("pyaudio")
def test_it_dies_with_its_parent() -> None:
    code = """
        import os, signal
        from stream_mer.sources.capture import PortAudioBackend
        from stream_mer.sources.devices import InputDevice
        capture = PortAudioBackend().open(InputDevice(name="Desk Mic", host_api="Fake", channels=1, rate_hz=48000), 1)
        capture.blocks.get(60)
        print(capture.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    path = os.pathsep.join([os.environ["PYTHONPATH"], str(Path(stream_mer.__file__).parents[1])])
    env = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    # Nobody is left to wait for it: an orphan that is over may stay listed as a zombie.
    stat = Path(f"/proc/{done.stdout.strip()}/stat")
    end = time.monotonic() + PATIENCE_S
    while stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z":
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.usefixtures("pyaudio")
def test_listing_that_hangs_or_crashes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "_LIST_S", 0.2)
    for code, why in (("import time; time.sleep(1e6)", "signal 9"), ("import os; os.abort()", "signal 6")):
        if "abort" in code:
            monkeypatch.setattr(capture, "_LIST_S", PATIENCE_S)
        (tmp_path / "pyaudio.py").write_text(code)
        with pytest.raises(DeviceError, match=f"cannot be listed: .*{why}; check or restart the sound server"):
            PortAudioBackend().devices()


@pytest.mark.usefixtures("pyaudio")
def test_without_pyaudio_the_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "pyaudio.py").write_text("raise ImportError('no PortAudio')")
    with pytest.raises(DeviceError, match=r"pip install 'stream-mer\[mic\]'.*portaudio19-dev"):
        PortAudioBackend().devices()


PACKETS = st.builds(
    Packet,
    kind=st.sampled_from(Kind),
    time=st.floats(0, 1e9),
    start=st.integers(0, 2**63),
    channels=st.integers(0, 255),
    payload=st.binary(max_size=64),
)


@given(st.lists(PACKETS, max_size=5))
def test_every_field_survives(packets: list[Packet]) -> None:
    pipe = io.BytesIO(b"".join(encode(packet) for packet in packets))
    read = []
    while (packet := read_packet(pipe)) is not None:
        read.append(packet)
    assert read == packets


@pytest.mark.parametrize("cut", [0, 1, 23, 24, 30])
def test_a_message_that_breaks_off_is_the_end(cut: int) -> None:
    assert read_packet(io.BytesIO(encode(Packet(kind=Kind.BLOCK, payload=b"12345678"))[:cut])) is None


@pytest.mark.parametrize("noise", [b"ALSA lib pcm.c:2664: Unknown PCM", b"mC\xff" + bytes(21)])
def test_what_is_no_message_is_an_error(noise: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a message|not a valid"):
        read_packet(io.BytesIO(noise))


def test_the_capture_process_starts_light() -> None:
    code = (
        "import sys, stream_mer.sources.capture_child;"
        "print([n for n in ('numpy', 'soxr', 'torch', 'av', 'msgspec', 'click', 'pyaudio') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
