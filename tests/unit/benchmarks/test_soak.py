"""The soak in small: a population that misbehaves for seconds leaves nothing behind."""

import pytest

from benchmarks.soak import slope, soak
from stream_mer.errors import StreamMerError

MOST_GROWTH_MIB = 40.0


def test_a_slope_comes_with_its_interval():
    assert slope([0, 1, 2, 3], [5, 7, 9, 11]) == pytest.approx((2.0, 2.0, 2.0))
    noisy = slope([0, 1, 2, 3, 4, 5], [1, 3, 1, 3, 1, 3])
    assert noisy.low < 0 < noisy.high
    with pytest.raises(StreamMerError, match="too few samples"):
        slope([1, 1, 1], [1, 2, 3])


def test_after_a_population_has_come_and_gone_the_server_is_as_before():
    samples, deeds, rest = soak(duration_s=6.0, clients=15, events_per_s=200, seed=7)
    assert samples[-1].published > samples[0].published
    assert samples[-1].sent > samples[0].sent
    assert {"subscribe", "join: stuck", "leave: without a word"} <= set(deeds)
    assert (rest.clients, rest.tasks) == (0, samples[0].tasks)
    assert rest.files <= samples[0].files
    assert rest.memory_mib < samples[0].memory_mib + MOST_GROWTH_MIB
