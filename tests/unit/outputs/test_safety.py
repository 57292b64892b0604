"""Light does no harm, whatever is asked of it."""

import itertools
from collections.abc import Callable

import pytest
from flashes import Rgb, Seen, assert_does_not_flash, brightness, is_general, is_red, is_reddish, redness, turns
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_mer.outputs.safety import FailSafe, FlashLimit, SlewLimit

WHITE, BLACK, RED = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)


def longest_chain(seen: Seen, measure: Callable[[Rgb], float], counts: Callable[[Rgb, Rgb], bool]) -> int:
    """The most changes, up and down in turn, that can be picked out of any second, by trying all of them."""
    longest = 0
    for begin, (start, _) in enumerate(seen):
        second = [rgb for t, rgb in seen[begin:] if t < start + 1.0]
        ending = [{"up": 0, "down": 0} for _ in second]
        for i, rgb in enumerate(second):
            for j, before in enumerate(second[:i]):
                if counts(before, rgb):
                    way, other = ("up", "down") if measure(rgb) > measure(before) else ("down", "up")
                    ending[i][way] = max(ending[i][way], ending[j][other] + 1)
            longest = max(longest, *ending[i].values())
    return longest


colours = st.tuples(*[st.floats(0, 1)] * 3)
dim = st.tuples(*[st.floats(0, 0.2)] * 3)
wishes_of = st.lists(st.one_of(st.sampled_from([WHITE, BLACK, RED]), colours, dim), min_size=2, max_size=200)
rates = st.floats(1, 50)


def limited(wishes: list[Rgb], rate_hz: float, lateness: list[float], dark_from: int | None = None) -> Seen:
    """What is sent of wishes, each up to a whole step late; from one moment on an operator wants it dark."""
    limit, seen = FlashLimit(), [(0.0, BLACK)]
    for i, (wish, late) in enumerate(zip(wishes, itertools.cycle(lateness), strict=False), 1):
        t, dark = (i + late) / rate_hz, dark_from is not None and i >= dark_from
        seen.append((t, limit.update(t, BLACK if dark else wish, urgent=dark)))
    return seen


@settings(max_examples=150, deadline=None)
@given(wishes_of, rates, st.lists(st.floats(0, 1), min_size=1, max_size=20))
@example([(1, 1, 1), (0.5, 1, 0), (1, 1, 1), (0, 0, 0), (1, 1, 1)], 10.0, [0.0])
@example([(0.3, 0, 0), (0, 0, 0), (0.3, 0, 0), (1, 0.3, 0)] * 9, 40.0, [0.0])
def test_no_sequence_of_wishes_flashes_too_often(wishes, rate_hz, lateness):
    seen = limited(wishes, rate_hz, lateness)
    assert_does_not_flash(seen)
    assert all(0 <= part <= 1 for _, rgb in seen for part in rgb)


@settings(max_examples=60, deadline=None)
@given(wishes_of.map(lambda wishes: wishes[:40]), st.floats(10, 50), st.integers(1, 40))
def test_whatever_is_picked_out_of_a_second_has_fewer_than_three_flashes(wishes, rate_hz, dark_from):
    seen = limited(wishes, rate_hz, [0.0])
    assert longest_chain(seen, brightness, is_general) <= 4
    assert longest_chain(seen, redness, is_red) <= 3
    seen = limited(wishes, rate_hz, [0.0], dark_from)
    assert longest_chain(seen, brightness, is_general) <= 5, "the operator's blackout is one more, in no third flash"
    assert longest_chain(seen, redness, is_red) <= 4


@settings(max_examples=100, deadline=None)
@given(wishes_of, rates, st.integers(1, 100))
def test_an_operators_blackout_is_never_late(wishes, rate_hz, dark_from):
    seen = limited(wishes, rate_hz, [0.0], dark_from)
    assert all(rgb == BLACK for _, rgb in seen[dark_from:])


def test_a_strobe_is_tamed_and_a_slow_pulse_is_left_alone():
    limit = FlashLimit()
    strobe = [limit.update(i / 40, WHITE if i % 2 else BLACK) for i in range(1, 81)]
    assert strobe != [WHITE if i % 2 else BLACK for i in range(1, 81)]
    assert all(rgb == WHITE for rgb in strobe[2:40]), "it stays as it is, and does not flicker faintly"
    limit = FlashLimit()
    pulse = [(i / 40, WHITE if (i // 20) % 2 else BLACK) for i in range(1, 400)]  # one flash a second
    assert [limit.update(t, rgb) for t, rgb in pulse] == [rgb for _, rgb in pulse]


def test_what_was_held_back_is_made_up_for():
    limit = FlashLimit()
    for i in range(1, 41):
        limit.update(i / 40, WHITE if i % 2 else BLACK)
    assert [limit.update(1.0 + i / 40, WHITE) for i in range(1, 60)][-1] == WHITE


def test_colours_of_one_brightness_may_change_freely():
    limit = FlashLimit()
    green, blue = (0.0, 0.2, 0.0), (0.1, 0.12, 0.45)
    for i in range(1, 100):
        wanted = green if i % 2 else blue
        assert limit.update(i / 40, wanted) == wanted


def test_saturated_red_may_flash_less_than_white():
    strobe = [(i / 40, i % 2 == 1) for i in range(1, 401)]
    whites, reds = FlashLimit(), FlashLimit()
    white = [(0.0, BLACK)] + [(t, whites.update(t, WHITE if on else BLACK)) for t, on in strobe]
    red = [(0.0, BLACK)] + [(t, reds.update(t, RED if on else BLACK)) for t, on in strobe]
    assert len(turns(red, redness, is_reddish)) < len(turns(white, brightness, is_general))


def test_light_that_is_very_bright_may_change_more():
    limit = FlashLimit()
    for i in range(1, 100):
        wanted = WHITE if i % 2 else (0.81, 0.81, 0.81)
        assert limit.update(i / 40, wanted) == wanted


def test_a_slew_limit_moves_no_faster_than_it_may():
    slew = SlewLimit(2.0)
    assert slew.update(0.0, 0.3) == 0.3
    assert slew.update(0.1, 1.0) == pytest.approx(0.5)
    assert slew.update(0.2, -1.0) == pytest.approx(0.3)
    assert slew.update(5.0, -1.0) == -1.0
    assert slew.update(5.0, 1.0) == -1.0, "no time, no way"


def test_on_loss_it_holds_then_fades_and_comes_back_slowly():
    safe = FailSafe(hold_s=10.0, fade_s=5.0, return_s=1.0)
    shares = {t: safe.update(t, alive=t < 5) for t in (i / 10 for i in range(400))}
    assert all(share == 0 for t, share in shares.items() if t <= 15.0)
    assert shares[17.5] == pytest.approx(0.5, abs=0.03)
    assert all(shares[i / 10] - shares[(i - 1) / 10] < 0.021 for i in range(1, 400)), "never a sudden step"
    assert shares[39.0] == 1.0
    assert safe.update(40.4, alive=True) == pytest.approx(0.5, abs=0.01)
    assert safe.update(41.0, alive=True) == 0.0


def test_a_short_loss_is_not_seen():
    safe = FailSafe(hold_s=2.0, fade_s=1.0)
    assert [safe.update(t, alive=t not in {1.0, 2.0}) for t in (0.0, 1.0, 2.0, 2.5, 9.0)] == [0, 0, 0, 0, 0]
