"""A sweep moves one channel of one lamp at a time, and leaves dark what could hurt or mislead."""

from __future__ import annotations

import pytest

from stream_mer.outputs.dmx.rig import Fixture, Rig, lamps_of
from stream_mer.outputs.dmx.sweep import STEP_S, ChannelSweep

HEAD = Fixture(
    name="head",
    address=11,
    channels=("dimmer", "dimmer fine", "red", "green", "blue", "strobe", 255),
    count=2,
    strobe=200,
)
PAR = Fixture(name="par", universe=2, channels=("red", "green", "blue"), pixels=2)
RIG = Rig(fixtures=(HEAD, PAR))


def moments(sweep: ChannelSweep):
    return [sweep.update(i / 25) for i in range(round(25 * sweep.duration_s))]


def test_every_channel_of_every_lamp_gets_its_turn_and_reaches_the_top() -> None:
    sweep = ChannelSweep(RIG)
    steps = list(dict.fromkeys((step.lamp.fixture.name, step.number, step.channel) for step in moments(sweep)))
    head = ["dimmer", "red", "green", "blue"]
    wanted = [("head", number, name) for number in (1, 2) for name in head]
    assert steps == [*wanted, *(("par", 1, name) for name in ("red", "green", "blue"))]
    assert sweep.duration_s == STEP_S * len(steps)
    for step in {(step.lamp, step.channel): step for step in moments(sweep)}.values():
        slot = step.lamp.slots[0]
        place = slot.start + step.lamp.fixture.channels.index(step.channel)
        values = [one.universes[slot.universe][place] for one in moments(sweep) if one.lamp is step.lamp]
        assert max(values) > 230


def test_all_other_lamps_are_dark_and_a_strobe_stays_off() -> None:
    sweep = ChannelSweep(RIG)
    first, second, par = lamps_of(RIG.fixtures)
    for step in moments(sweep):
        for lamp in (first, second, par):
            for slot in lamp.slots:
                data = step.universes[slot.universe][slot.start : slot.start + len(lamp.fixture.channels)]
                if lamp.fixture is HEAD:
                    assert (data[5], data[6]) == (0, 255), "no strobe; a number is sent as it is"
                if lamp != step.lamp:
                    assert not any(data[:5])


def test_a_colour_moves_at_full_intensity_and_the_intensity_in_white() -> None:
    sweep = ChannelSweep(RIG)
    start = HEAD.address - 1
    for step in moments(sweep):
        dimmer, fine, *colours = step.universes[1][start : start + 5]
        if step.lamp.fixture is HEAD and step.number == 1:
            if step.channel == "dimmer":
                assert colours == [255, 255, 255]
            else:
                assert (dimmer, fine) == (255, 255)
                moving = HEAD.channels.index(step.channel) - 2
                assert not any(value for i, value in enumerate(colours) if i != moving)


def test_all_pixels_of_a_lamp_move_together_and_dark_is_dark() -> None:
    sweep = ChannelSweep(Rig(fixtures=(PAR,)))
    assert all(step.universes[2][:3] == step.universes[2][3:6] for step in moments(sweep))
    assert not any(any(channels) for channels in ChannelSweep(Rig(fixtures=(PAR,))).dark().values())


def test_heads_turn_a_little_from_the_middle_and_light_is_white_but_for_one_filter() -> None:
    spot = Fixture(channels=("pan", "tilt", "tilt fine", "dimmer", "cyan", "magenta", "yellow"))
    sweep = ChannelSweep(Rig(fixtures=(spot,)))
    assert sweep.dark()[1][:7] == bytes([128, 128, 0, 0, 0, 0, 0])
    for step in moments(sweep):
        pan, tilt, _, dimmer, *filters = step.universes[1][:7]
        assert 128 <= pan <= (154 if step.channel == "pan" else 128)
        assert 128 <= tilt <= (154 if step.channel == "tilt" else 128)
        assert dimmer == 255 or step.channel == "dimmer"
        assert sum(map(bool, filters)) <= (step.channel in {"cyan", "magenta", "yellow"})


@pytest.mark.parametrize("channels", [(255, 0), ("strobe",)])
def test_a_lamp_with_nothing_to_move_makes_no_round(channels) -> None:
    assert ChannelSweep(Rig(fixtures=(Fixture(channels=channels),))).duration_s == 0
