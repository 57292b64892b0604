from pathlib import Path

import numpy as np
import pytest

from stream_mer.demo import espeak


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def packaged_song():
    return Path(espeak.__file__).with_name("demo.ogg")


@pytest.fixture
def with_espeak():
    if not espeak.available():
        pytest.skip("espeak-ng is not on this system")
