"""Surround sound becomes stereo of the same loudness."""

from __future__ import annotations

import numpy as np
import pytest

from stream_mer.sources.resampling import to_stereo

FIVE_ONE = ("FL", "FR", "FC", "LFE", "BL", "BR")
RATIO = 0.5**0.5


def one(channel: int, channels: int = 6) -> np.ndarray:
    samples = np.zeros((4, channels), np.float32)
    samples[:, channel] = 0.5
    return samples


@pytest.mark.parametrize(
    ("channel", "left", "right"),
    [(0, 1, 0), (1, 0, 1), (2, RATIO, RATIO), (3, 0, 0), (4, RATIO, 0), (5, 0, RATIO)],
)
def test_each_channel_goes_where_the_standard_puts_it(channel: int, left: float, right: float) -> None:
    stereo = to_stereo(one(channel), FIVE_ONE)
    assert stereo.shape == (4, 2)
    np.testing.assert_allclose(stereo, np.tile([0.5 * left, 0.5 * right], (4, 1)), rtol=1e-6)


@pytest.mark.parametrize("names", [("FC",), ("FL", "FR"), ("NONE", "NONE", "NONE"), ("FL", "FR", "AMBI0")])
def test_mono_stereo_and_channels_without_a_place_stay_as_they_are(names: tuple[str, ...]) -> None:
    samples = np.ones((4, len(names)), np.float32)
    assert to_stereo(samples, names) is samples


def test_one_broken_channel_leaves_the_others_alone() -> None:
    samples = one(0)
    samples[:, 4] = [np.nan, np.inf, -np.inf, 0.0]
    np.testing.assert_array_equal(to_stereo(samples, FIVE_ONE), to_stereo(one(0), FIVE_ONE))
