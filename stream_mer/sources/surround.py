"""Surround sound to stereo, as loud as the same music in stereo. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_HALF_POWER = math.sqrt(0.5)

_GAINS: dict[str, tuple[float, float]] = {
    "FL": (1.0, 0.0),
    "FR": (0.0, 1.0),
    "FC": (_HALF_POWER, _HALF_POWER),
    "LFE": (0.0, 0.0),
    "LFE2": (0.0, 0.0),
    "FLC": (1.0, 0.0),
    "FRC": (0.0, 1.0),
    "BL": (_HALF_POWER, 0.0),
    "BR": (0.0, _HALF_POWER),
    "SL": (_HALF_POWER, 0.0),
    "SR": (0.0, _HALF_POWER),
    "BC": (0.5, 0.5),
    "WL": (_HALF_POWER, 0.0),
    "WR": (0.0, _HALF_POWER),
    "TC": (0.5, 0.5),
    "TFL": (_HALF_POWER, 0.0),
    "TFR": (0.0, _HALF_POWER),
    "TFC": (0.5, 0.5),
    "TBL": (0.5, 0.0),
    "TBR": (0.0, 0.5),
    "TBC": (0.35, 0.35),
    "TSL": (_HALF_POWER, 0.0),
    "TSR": (0.0, _HALF_POWER),
    "DL": (1.0, 0.0),
    "DR": (0.0, 1.0),
}
"""What a channel adds to left and right (ITU-R BS.775): the front is as loud as it is in stereo, centre and sides by
3 dB quieter, and the bass effects are left out. Names as in FFmpeg."""


def to_stereo(samples: NDArray[np.float32], channel_names: Sequence[str]) -> NDArray[np.float32]:
    """Mix surround channels to left and right.

    Args:
        samples: Shape ``[n, channels]``.
        channel_names: Of each channel, as FFmpeg calls it.

    Returns:
        Shape ``[n, 2]``; ``samples`` itself where there are fewer than three channels, or one with an unknown place,
        as in a recording of many microphones.
    """
    if samples.shape[1] < 3 or len(channel_names) != samples.shape[1] or not _GAINS.keys() >= set(channel_names):
        return samples
    stereo = np.zeros((len(samples), 2), np.float32)
    # Channel by channel, so that the result is the same to the bit however the audio is cut.
    for channel, name in enumerate(channel_names):
        for side, gain in enumerate(_GAINS[name]):
            if gain:
                # What is not finite is silence, so that one broken channel leaves the others alone.
                finite = np.where(np.isfinite(samples[:, channel]), samples[:, channel], np.float32(0.0))
                stereo[:, side] += np.float32(gain) * finite
    return stereo
