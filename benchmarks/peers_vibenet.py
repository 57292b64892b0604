"""VibeNet 0.1.0 as a peer: an interpreter that has it, and a process that answers questions.

VibeNet is under the GPL-3. It is no dependency, and nothing here imports it: it stays in a process of its own, in a
virtual environment of its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers_cache import Features, cached_features
from benchmarks.peers_result import CLIP, FRAME, Found, Judged, PeerMissingError, Way
from benchmarks.peers_svm import judge_features
from benchmarks.peers_timing import CLIP_S, HEARD_S, HOP_S, passes
from stream_mer.errors import StreamMerError
from stream_mer.training.corpus import Clip
from stream_mer.training.crossvalidation import Predictions

VERSION = "0.1.0"
SYSTEM = f"VibeNet {VERSION}"
HIDDEN = 256  # units of its last hidden layer
WORKER = Path(__file__).with_name("peers_vibenet_worker.py")
NEEDED = (
    f"import importlib.metadata as m, onnx, vibenet; assert m.version('vibenet') == '{VERSION}', m.version('vibenet')"
)

_RECIPE = f"python -m venv DIR && DIR/bin/pip install vibenet=={VERSION} onnx, then --vibenet-python DIR/bin/python"
_WHOLE = f"{SYSTEM}, the whole clip at once ({CLIP_S:g} s)"
_LIVE = f"{SYSTEM}, live: every {HOP_S:g} s over the last {HEARD_S:g} s"


def find_vibenet(clips: Sequence[Clip], python: Path | None, cache: Path, stack: contextlib.ExitStack) -> Found:
    """Predict the clips by machines on its hidden layer and outputs, and by its own valence and energy.

    Args:
        clips: The clips.
        python: An interpreter that has VibeNet.
        cache: Keeps what it hears.
        stack: Ends its process, which stays to be timed.

    Raises:
        PeerMissingError: The interpreter has no VibeNet.
        StreamMerError: A clip cannot be heard.
    """
    vibenet = stack.enter_context(open_vibenet(find_python(python)))
    judged = []
    for heard, first_s, folder, how in ((CLIP, None, "whole", _WHOLE), (FRAME, HEARD_S, "10s", _LIVE)):
        hear = partial(vibenet.features, first_s=first_s)
        rows = np.stack(cached_features(clips, cache / f"vibenet-{VERSION}-{folder}", hear, f"{SYSTEM}, {heard}"))
        machines = judge_features(clips, rows, cache, f"{SYSTEM} + SVM, {heard}")
        judged += [
            raw(rows[:, HIDDEN:], vibenet.names, heard, how),
            Judged(system=f"{SYSTEM} + SVM", heard=heard, predictions=machines, how=how),
        ]
    return Found(
        judged=tuple(judged),
        ways=(
            Way(how=_WHOLE, cpu_s=_timer(vibenet, CLIP_S, every_s=CLIP_S)),
            Way(how=_LIVE, cpu_s=_timer(vibenet, HEARD_S, every_s=HOP_S)),
        ),
    )


def raw(outputs: Features, names: Sequence[str], heard: str, how: str) -> Judged:
    """Its own valence and energy, 0..1, as they come: only their correlation can be told."""
    emotion = outputs[:, [names.index("valence"), names.index("energy")]].astype(np.float64)
    n = len(emotion)
    return Judged(
        system=f"{SYSTEM}, its valence and energy",
        heard=heard,
        predictions=Predictions(emotion=emotion, category=np.zeros((n, 4)), cluster=np.zeros((n, 5))),
        how=how,
        told=frozenset({"valence_r", "arousal_r"}),
    )


def _timer(vibenet: Vibenet, heard_s: float, *, every_s: float) -> Callable[[], float]:
    return lambda: vibenet.cpu_s(heard_s, repeats=passes(heard_s)) / every_s


class Vibenet:
    """A running VibeNet. See ``open_vibenet``.

    Attributes:
        names: Of its outputs.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.names: tuple[str, ...] = tuple(self._read()["names"])

    def features(self, clip: Clip, *, first_s: float | None = None) -> Features:
        """Last hidden layer and outputs of a clip or of its first seconds, heard at once, [256 + 7]."""
        told = self._ask({"audio": str(clip.audio), "middle_s": clip.middle_s, "first_s": first_s})
        return np.array([*told["hidden"], *told["outputs"]], dtype=np.float32)

    def cpu_s(self, duration_s: float, *, repeats: int) -> float:
        """CPU seconds of one pass over so much audio, decoded already; one thread."""
        return float(self._ask({"time_s": duration_s, "repeats": repeats})["cpu_s"])

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise StreamMerError(f"VibeNet's process ended early: {error}") from error
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise StreamMerError("VibeNet's process ended early; what it said is above")
        told: dict[str, Any] = json.loads(line)
        if "error" in told:
            raise StreamMerError(f"VibeNet failed: {told['error']}")
        return told


@contextlib.contextmanager
def open_vibenet(python: Path) -> Iterator[Vibenet]:
    """Start VibeNet with an interpreter that has it; it ends with the block."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [str(python), str(WORKER)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | one_thread
    )
    try:
        yield Vibenet(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        # What a process that has ended never read cannot be flushed to it, and that is told already.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        process.wait()


def find_python(given: Path | None) -> Path:
    """The interpreter, if it has VibeNet; where none is given, the one that runs this.

    Raises:
        PeerMissingError: It lacks VibeNet.
    """
    if given is None and importlib.util.find_spec("vibenet") is not None:
        given = Path(sys.executable)
    if given is None:
        raise PeerMissingError(f"--vibenet-python PATH has to name an interpreter that has it ({_RECIPE})")
    problem = _problem(given)
    if problem:
        raise PeerMissingError(f"{given} cannot run it: {problem} ({_RECIPE})")
    return given


def _problem(python: Path) -> str | None:
    """Why an interpreter cannot run VibeNet, or None."""
    try:
        done = subprocess.run([str(python), "-c", NEEDED], capture_output=True, text=True, check=False, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return (done.stderr.strip().splitlines() or ["it failed"])[-1] if done.returncode else None
