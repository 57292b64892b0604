"""VibeNet 0.1.0 as a peer, in a process of its own.

VibeNet is under the GPL-3. It is no dependency, and nothing here imports it: it runs in a virtual environment of its
own, given by ``--vibenet-python``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Child, PeerMissingError, last_line, open_child
from stream_mer.errors import StreamMerError
from stream_mer.training.corpus import Clip

VERSION = "0.1.0"
SYSTEM = f"VibeNet {VERSION}"
HIDDEN = 256  # units of its last hidden layer
WORKER = Path(__file__).with_name("vibenet_worker.py")
NEEDED = (
    f"import importlib.metadata as m, onnx, vibenet; assert m.version('vibenet') == '{VERSION}', m.version('vibenet')"
)
_RECIPE = f"python -m venv DIR && DIR/bin/pip install vibenet=={VERSION} onnx, then --vibenet-python DIR/bin/python"


class Vibenet:
    """A running VibeNet. See ``open_vibenet``.

    Attributes:
        names: Names of its outputs.
    """

    def __init__(self, child: Child) -> None:
        self._child = child
        self.names: tuple[str, ...] = tuple(child.receive()["names"])

    def features(self, clip: Clip, *, first_s: float | None = None) -> NDArray[np.float32]:
        """Return the last hidden layer and the outputs for a clip or its first seconds, [256 + 7]."""
        found = self._ask(audio=str(clip.audio), middle_s=clip.middle_s, first_s=first_s)
        return np.array([*found["hidden"], *found["outputs"]], dtype=np.float32)

    def cpu_s(self, duration_s: float, *, repeats: int) -> float:
        """Return the CPU seconds of one pass over decoded audio of this length; one thread."""
        return float(self._ask(time_s=duration_s, repeats=repeats)["cpu_s"])

    def _ask(self, **question: Any) -> dict[str, Any]:
        found = self._child.ask(json.dumps(question))
        if "error" in found:
            raise StreamMerError(f"VibeNet failed: {found['error']}")
        return found


@contextlib.contextmanager
def open_vibenet(python: Path | None) -> Iterator[Vibenet]:
    """Start VibeNet with an interpreter that has it, else with this one.

    Raises:
        PeerMissingError: The interpreter lacks VibeNet.
    """
    if python is None and importlib.util.find_spec("vibenet") is not None:
        python = Path(sys.executable)
    if python is None:
        raise PeerMissingError(f"give an interpreter that has it with --vibenet-python PATH ({_RECIPE})")
    try:
        done = subprocess.run([str(python), "-c", NEEDED], capture_output=True, text=True, check=False, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        raise PeerMissingError(f"{python} cannot run it: {error} ({_RECIPE})") from error
    if done.returncode:
        raise PeerMissingError(f"{python} cannot run it: {last_line(done.stderr)} ({_RECIPE})")
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with open_child(str(WORKER), python=python, environment=one_thread) as child:
        yield Vibenet(child)
