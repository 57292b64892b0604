"""``stream_mer.tag`` and ``stream_mer.Tagger`` on the demo song give the frames of ``stream-mer tag``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable

import numpy as np
import pytest
from tolerance import NETWORK

import stream_mer
from stream_mer.sources.decoding import decode_file
from stream_mer.sources.file import demo_song
from stream_mer.types import EmotionFrame

ROUNDING = 1e-4
"""Messages hold four decimals."""


def values(frames: Iterable[EmotionFrame]) -> list[tuple[float, ...]]:
    return [(frame.t1, frame.valence, frame.arousal, frame.raw.valence, *frame.probs.values()) for frame in frames]


def test_frames_equal_those_of_the_command_on_the_demo_song() -> None:
    command = [sys.executable, "-m", "stream_mer", "tag", str(demo_song()), "--no-lyrics"]
    lines = subprocess.run(command, capture_output=True, check=True).stdout.splitlines()
    *messages, summary = [message for message in map(json.loads, lines) if message["type"] in {"emotion", "summary"}]
    expected = [
        (m["t1"], m["valence"], m["arousal"], m["raw"]["valence"], *m["category"]["probs"].values()) for m in messages
    ]
    result = stream_mer.tag(demo_song(), lyrics=False)
    np.testing.assert_allclose(values(result.frames), expected, atol=NETWORK + ROUNDING)
    assert [frame.category for frame in result.frames] == [m["category"]["top"] for m in messages]
    assert result.summary.category == summary["category"]["top"]
    assert result.summary.valence == pytest.approx(summary["valence"], abs=NETWORK + ROUNDING)
    with stream_mer.Tagger(lyrics=False) as tagger:
        frames = []
        for decoded in decode_file(demo_song()):
            for block in np.array_split(decoded.samples, 3):
                frames += tagger.feed(block, rate_hz=decoded.rate_hz)
        frames += tagger.flush()
    np.testing.assert_allclose(values(frames), values(result.frames), atol=NETWORK)
