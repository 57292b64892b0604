"""Light does no harm, whatever is asked of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.show.safety import FailSafe, FlashLimit, SlewLimit, luminance

WHITE, BLACK, RED = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)


def changes(values: list[tuple[float, float]], *, step: float) -> list[float]:
    """Times of opposing changes by ``step`` or more, found by looking at the whole afterwards."""
    times, (_, low) = [], values[0]
    high = low
    rising = None
    for t, value in values:
        if rising is not True and value - low >= step:
            times.append(t)
            rising, high, low = True, value, value
        elif rising is not False and high - value >= step:
            times.append(t)
            rising, high, low = False, value, value
        high, low = max(high, value), min(low, value)
    return times


def most_in_a_second(times: list[float]) -> int:
    return max((sum(start <= t < start + 1.0 for t in times) for start in times), default=0)


def red_of(rgb) -> float:
    total = sum(rgb)
    return max(0.0, rgb[0] - rgb[1] - rgb[2]) if total > 0 and rgb[0] / total >= 0.8 else 0.0


colours = st.tuples(*[st.floats(0, 1)] * 3)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.sampled_from([WHITE, BLACK, RED]), colours), min_size=2, max_size=200), st.floats(10, 50))
def test_no_sequence_of_wishes_flashes_three_times_a_second(wishes, rate_hz):
    limit = FlashLimit()
    sent = [(0.0, BLACK)] + [(i / rate_hz, limit.feed(i / rate_hz, rgb)) for i, rgb in enumerate(wishes, 1)]
    assert most_in_a_second(changes([(t, luminance(rgb)) for t, rgb in sent], step=0.1)) <= 4, "two flashes"
    assert most_in_a_second(changes([(t, red_of(rgb)) for t, rgb in sent], step=20 / 320)) <= 2, "one red flash"
    assert all(0 <= part <= 1 for _, rgb in sent for part in rgb)


def test_a_strobe_is_tamed_and_a_slow_pulse_is_left_alone():
    limit = FlashLimit()
    strobe = [limit.feed(i / 40, WHITE if i % 2 else BLACK) for i in range(1, 81)]
    assert strobe != [WHITE if i % 2 else BLACK for i in range(1, 81)]
    limit = FlashLimit()
    pulse = [(i / 40, WHITE if (i // 20) % 2 else BLACK) for i in range(1, 400)]  # one flash a second
    assert [limit.feed(t, rgb) for t, rgb in pulse] == [rgb for _, rgb in pulse]


def test_what_was_held_back_is_made_up_for():
    limit = FlashLimit()
    for i in range(1, 41):
        limit.feed(i / 40, WHITE if i % 2 else BLACK)
    assert [limit.feed(1.0 + i / 40, WHITE) for i in range(1, 60)][-1] == WHITE


def test_colours_of_one_brightness_may_change_freely():
    limit = FlashLimit()
    green, blue = (0.0, 0.2, 0.0), (0.1, 0.12, 0.45)
    for i in range(1, 100):
        wanted = green if i % 2 else blue
        assert limit.feed(i / 40, wanted) == wanted


def test_saturated_red_may_flash_less_than_white():
    white, red = FlashLimit(), FlashLimit()
    whites = [(i / 40, luminance(white.feed(i / 40, WHITE if i % 2 else BLACK))) for i in range(1, 41)]
    reds = [(i / 40, red_of(red.feed(i / 40, RED if i % 2 else BLACK))) for i in range(1, 41)]
    assert len(changes([(0.0, 0.0), *reds], step=0.0625)) < len(changes([(0.0, 0.0), *whites], step=0.1))


def test_a_slew_limit_moves_no_faster_than_it_may():
    slew = SlewLimit(2.0)
    assert slew.feed(0.0, 0.3) == 0.3
    assert slew.feed(0.1, 1.0) == pytest.approx(0.5)
    assert slew.feed(0.2, -1.0) == pytest.approx(0.3)
    assert slew.feed(5.0, -1.0) == -1.0
    assert slew.feed(5.0, 1.0) == -1.0, "no time, no way"
    with pytest.raises(ValueError, match="above 0"):
        SlewLimit(0.0)


def test_on_loss_it_holds_then_fades_and_comes_back_slowly():
    safe = FailSafe(hold_s=10.0, fade_s=5.0, return_s=1.0)
    shares = {t: safe.feed(t, alive=t < 5) for t in (i / 10 for i in range(400))}
    assert all(share == 0 for t, share in shares.items() if t <= 15.0)
    assert shares[17.5] == pytest.approx(0.5, abs=0.03)
    assert all(shares[i / 10] - shares[(i - 1) / 10] < 0.021 for i in range(1, 400)), "never a sudden step"
    assert shares[39.0] == 1.0
    assert safe.feed(40.4, alive=True) == pytest.approx(0.5, abs=0.01)
    assert safe.feed(41.0, alive=True) == 0.0


def test_a_short_loss_is_not_seen():
    safe = FailSafe(hold_s=2.0, fade_s=1.0)
    assert [safe.feed(t, alive=t not in {1.0, 2.0}) for t in (0.0, 1.0, 2.0, 2.5, 9.0)] == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("times", [{"hold_s": -1}, {"fade_s": 0}, {"return_s": 0}])
def test_times_that_cannot_be_are_refused(times):
    with pytest.raises(ValueError, match="above 0"):
        FailSafe(**times)
