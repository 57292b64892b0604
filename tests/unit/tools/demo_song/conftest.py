import numpy as np
import pytest

from stream_mer.sources.file import demo_song
from tools.demo_song import voice


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def packaged_song():
    return demo_song()


@pytest.fixture
def with_espeak():
    if not voice.available():
        pytest.skip("espeak-ng is not on this system")
