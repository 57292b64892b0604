"""When a capture is started again, and what is said meanwhile, on a clock of the test's own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from stream_mer.sources.capture import Action, Health, Patience, Supervisor
from stream_mer.types import SourceState

STEP_S = 0.05
PATIENCE = Patience()


@dataclass
class World:
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
            self.health = Health(heard_at=self.now)
        elif action is Action.STOP:
            self.health = None
        return action

    def run(self, duration_s: float, *, audio: bool = False, alive: bool = True) -> list[Action]:
        actions = []
        for _ in range(round(duration_s / STEP_S)):
            if self.health is not None and alive:
                heard_at = self.now + STEP_S
                opened_at = self.health.opened_at or (heard_at if audio else None)
                audio_at = heard_at if audio else self.health.audio_at
                self.health = replace(self.health, heard_at=heard_at, opened_at=opened_at, audio_at=audio_at)
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
def world() -> World:
    """One that has heard audio for 10 s."""
    world = World(Supervisor())
    world.run(10, audio=True)
    assert world.supervisor.ever_opened
    return world


def test_it_starts_at_once_and_leaves_alone_what_works() -> None:
    world = World(Supervisor())
    assert world.step() is Action.START
    assert set(world.run(60, audio=True)) == {Action.WAIT}
    assert (world.supervisor.state, world.supervisor.restarts) == ("live", 0)


def test_a_lost_device_is_opened_again_at_once_and_told_until_there_is_audio(world: World) -> None:
    world.fail("is gone")
    assert world.step() is Action.STOP
    assert world.supervisor.state == "reconnecting"
    assert world.supervisor.trouble == "is gone"
    assert world.until(Action.START) <= PATIENCE.first_retry_s + 2 * STEP_S
    world.run(0.5)
    assert world.supervisor.state == "reconnecting"  # open, but nothing comes yet
    world.run(0.1, audio=True)
    assert world.supervisor.state == "live"
    assert world.supervisor.last_outage_s == pytest.approx(0.8, abs=0.2)


def test_waiting_doubles_up_to_its_limit_and_never_ends(world: World) -> None:
    waits = []
    for _ in range(50):
        world.fail("is not there")
        assert world.step() is Action.STOP
        waits.append(world.until(Action.START))
    assert [round(wait, 1) for wait in waits[:6]] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0], abs=0.06)
    assert max(waits) <= PATIENCE.longest_retry_s + 2 * STEP_S
    assert world.supervisor.state == "reconnecting"


def test_audio_for_a_while_makes_the_next_retry_a_quick_one(world: World) -> None:
    for steady_s, slow in ((0.5, True), (PATIENCE.steady_s + 0.5, False)):
        for _ in range(8):
            world.fail("is not there")
            world.step()
            world.until(Action.START)
        world.run(steady_s, audio=True)
        world.fail("is gone")
        world.step()
        assert (world.until(Action.START) > 0.5) is slow


def test_a_short_stall_is_told_and_waited_out(world: World) -> None:
    states: list[SourceState] = []
    for audio, duration_s in ((False, 2.0), (True, 0.2)):
        assert Action.STOP not in world.run(duration_s, audio=audio)
        states.append(world.supervisor.state)
    assert states == ["stalled", "live"]
    assert (world.starts, world.supervisor.restarts) == (1, 0)
    assert world.supervisor.last_outage_s == pytest.approx(2.0, abs=0.1)


def test_a_hitch_is_not_even_told(world: World) -> None:
    world.run(PATIENCE.stalled_s - 2 * STEP_S)
    assert world.supervisor.state == "live"


def test_a_long_stall_is_a_reason_to_start_again(world: World) -> None:
    actions = world.run(PATIENCE.stall_s + 0.2)
    assert actions.count(Action.STOP) == 1
    assert world.supervisor.state == "reconnecting"
    assert "gave no audio for 3.0 s" in world.supervisor.trouble


def test_a_process_without_a_sign_of_life_is_a_reason_to_start_again() -> None:
    patient = World(Supervisor(Patience(stall_s=100, silent_s=2)))
    patient.run(10, audio=True)
    assert Action.STOP in patient.run(2.5, alive=False)
    assert "no sign of life" in patient.supervisor.trouble


def test_a_hang_while_opening_is_ended() -> None:
    world = World(Supervisor())
    assert world.until(Action.START) < 0.1
    assert world.until(Action.STOP) == pytest.approx(PATIENCE.opening_s, abs=0.2)
    assert "did not open" in world.supervisor.trouble
    assert not world.supervisor.ever_opened


def test_the_first_audio_of_an_idle_device_may_take_longer_than_a_stall() -> None:
    world = World(Supervisor())
    world.step()
    world.health = Health(heard_at=world.now, opened_at=world.now)
    assert Action.STOP not in world.run(PATIENCE.first_audio_s - 0.2)
    assert world.supervisor.state == "live"  # nothing was lost yet
    assert Action.STOP in world.run(0.5)


def test_a_device_that_flaps_is_one_outage_for_each_flap(world: World) -> None:
    for _ in range(5):
        world.fail("is gone")
        world.step()
        world.until(Action.START)
        world.run(1, audio=True)
        assert world.supervisor.state == "live"
        assert world.supervisor.last_outage_s < 4
    assert world.supervisor.restarts == 5


def test_a_stall_that_ends_in_a_restart_is_one_outage(world: World) -> None:
    world.run(PATIENCE.stall_s + 0.2)
    if world.health is None:
        world.until(Action.START)
    world.run(0.2, audio=True)
    assert world.supervisor.last_outage_s == pytest.approx(PATIENCE.stall_s + 0.3, abs=0.3)


def test_a_supervisor_that_was_held_up_itself_blames_nobody(world: World) -> None:
    world.now += 30  # the process was stopped, or the reader busy: nothing was read of what was there
    assert world.step() is Action.WAIT
    assert set(world.run(5, audio=True)) == {Action.WAIT}
