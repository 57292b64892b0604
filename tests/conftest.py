"""What several rooms' tests share: sound to listen to, and a checkpoint too small to know anything."""

from __future__ import annotations

import os
import tempfile

# The tests' models are tiny, so threads only fight over the cores. Set before torch is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The settings of whoever runs the tests are not theirs: no file is read where no test names one.
os.environ["STREAM_MER_CONFIG"] = ""
# Nor is what programs remember of them, such as an identity.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="stream-mer-tests-state-")

import asyncio
import atexit
import shutil
import signal
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

RATE_HZ = 16_000

# Background jobs of a shell ignore Ctrl-C, and so would the processes that the tests start and stop.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

# How long examples take says how busy the machine is, and nothing of what is tested.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def _music(duration_s: float, *, seed: int = 0) -> NDArray[np.float32]:
    """A chord with a beat and some noise, mono at 16 kHz."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    pitches = 220 * 2 ** (rng.integers(0, 24, size=3) / 12)
    chord = np.sin(2 * np.pi * pitches[:, None] * t).sum(0) / 6
    beat = np.exp(-8 * (t * (1.5 + rng.random()) % 1))
    return (chord * (0.3 + beat) + 0.02 * rng.standard_normal(len(t))).astype(np.float32)


def _write_wav(path: Path, samples: NDArray[np.float32]) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="session")
def music() -> Callable[..., NDArray[np.float32]]:
    return _music


@pytest.fixture(scope="session")
def write_wav() -> Callable[[Path, NDArray[np.float32]], Path]:
    return _write_wav


class LoopTime:
    """The clock of the running loop, which a test sets forward: timers fire then, and nothing has to be waited for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._read = loop.time
        self._ahead_s = 0.0

    def __call__(self) -> float:
        return self._read() + self._ahead_s

    def pass_s(self, seconds: float) -> None:
        self._ahead_s += seconds


@pytest_asyncio.fixture
async def loop_time(monkeypatch: pytest.MonkeyPatch) -> LoopTime:
    """Time of the loop as the test says: real time, and what it lets pass."""
    loop = asyncio.get_running_loop()
    made = LoopTime(loop)
    monkeypatch.setattr(loop, "time", made)
    return made


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint's folder: random weights, an ensemble of two, a slim backbone, a narrow joint model."""
    from weights import random_backbone, random_joint  # noqa: PLC0415 - most rooms' tests do without

    from stream_mer.emotion.audio_branch import token_features  # noqa: PLC0415 - as above
    from stream_mer.emotion.checkpoint import (  # noqa: PLC0415 - as above
        Calibration,
        Checkpoint,
        PredictionError,
        save_checkpoint,
    )
    from stream_mer.emotion.joint import JointModelConfig  # noqa: PLC0415 - as above
    from stream_mer.emotion.musicnn import BackboneShape  # noqa: PLC0415 - as above
    from stream_mer.lyrics.text_features import LINE_FEATURES  # noqa: PLC0415 - as above

    backbone = random_backbone(BackboneShape(filters=(20, 16, 8, 6, 4), pooled=200), seed=7)
    config = JointModelConfig(
        audio_features=token_features(backbone),
        text_features=LINE_FEATURES,
        audio_components=24,
        members=2,
        width=16,
        heads=2,
    )
    joint = random_joint(config, seed=7)
    checkpoint = Checkpoint(
        name="tiny",
        backbone=backbone,
        joint=joint,
        calibration=Calibration(errors=(PredictionError(heard_s=0.0, valence=0.4, arousal=0.3),)),
        training={"note": "random weights"},
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(checkpoint, folder)
    return folder
