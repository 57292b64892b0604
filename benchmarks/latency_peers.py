"""What ``latency`` compares with: the least that hearing costs, and what else there is, all on one core."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.peers_musicnn import WINDOW_S, MusicnnTagger
from benchmarks.peers_result import PeerMissingError
from benchmarks.peers_timing import noisy_chord
from benchmarks.peers_vibenet import SYSTEM as VIBENET
from benchmarks.peers_vibenet import find_python, open_vibenet
from stream_mer.audio.features import LogMelStream
from stream_mer.emotion.backbone import Backbone
from stream_mer.emotion.streaming_backbone import BackboneStream, StreamingBackbone
from stream_mer.errors import CheckpointError
from stream_mer.types import SAMPLE_RATE_HZ

PEER_WINDOW_S = 3.0
"""What the peers hear at every hop."""

FLOOR, NAIVE, MUSICNN = "floor", "naive", "MSD-MusiCNN"
TITLES = {
    FLOOR: "floor: the log-mel of a hop of {hop_s:g} s alone",
    NAIVE: f"naive: our spectrogram and backbone over the last {PEER_WINDOW_S:g} s",
    MUSICNN: f"MSD-MusiCNN over {WINDOW_S:.0f} s",
    VIBENET: f"{VIBENET} over {PEER_WINDOW_S:g} s",
}

_PASSES = 3  # of one of the two networks in a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """What to compare with, each a way to time itself.

    Attributes:
        ways: By name, CPU milliseconds of one pass each.
        missing: Why those that are not there are not, for the report.
    """

    ways: dict[str, Callable[[], float]]
    missing: tuple[str, ...] = ()
    costs: dict[str, list[float]] = field(default_factory=dict)

    def time_all(self) -> dict[str, float]:
        """One run: CPU milliseconds of each."""
        costs = {name: way() for name, way in self.ways.items()}
        for name, cost in costs.items():
            self.costs.setdefault(name, []).append(cost)
        return costs


def floor_name(hop_s: float) -> str:
    return f"{FLOOR} {hop_s:g}"


def open_peers(
    stack: contextlib.ExitStack,
    *,
    backbone: Backbone,
    hops_s: Sequence[float],
    musicnn: Path | None,
    vibenet_python: Path | None,
) -> Peers:
    """Find what there is.

    Args:
        stack: Ends VibeNet's process.
        backbone: Ours.
        hops_s: Hops of which the log-mel is timed.
        musicnn: MSD-MusiCNN's published tensors, an .npz.
        vibenet_python: An interpreter that has VibeNet.
    """
    ways = {floor_name(hop_s): _floor(hop_s) for hop_s in hops_s}
    ways[NAIVE] = _naive(backbone)
    missing = []
    try:
        ways[MUSICNN] = _musicnn(musicnn)
    except PeerMissingError as error:
        missing.append(f"{MUSICNN} was left out: {error}")
    try:
        vibenet = stack.enter_context(open_vibenet(find_python(vibenet_python)))
        ways[VIBENET] = lambda: 1e3 * vibenet.cpu_s(PEER_WINDOW_S, repeats=_PASSES)
    except PeerMissingError as error:
        missing.append(f"{VIBENET} was left out: {error}")
    return Peers(ways=ways, missing=tuple(missing))


def cpu_ms(run: Callable[[], object]) -> float:
    """CPU time of this thread: that of one core, since nothing here uses more, whatever else the machine does."""
    started = time.thread_time()
    run()
    return 1e3 * (time.thread_time() - started)


def _floor(hop_s: float) -> Callable[[], float]:
    hop = noisy_chord(hop_s)
    streaming = LogMelStream()
    return lambda: median(cpu_ms(lambda: streaming.feed(hop)) for _ in range(20))


def _naive(backbone: Backbone) -> Callable[[], float]:
    """One token from scratch. Building filter bank and matrices is not part of it."""
    net, samples = StreamingBackbone(backbone), noisy_chord(PEER_WINDOW_S)

    def run() -> float:
        log_mel, stream = LogMelStream(), BackboneStream(net)

        def compute() -> None:
            net.feed([stream], [log_mel.feed(samples)])
            net.tokens([stream])

        return cpu_ms(compute)

    return lambda: median(run() for _ in range(10))


def _musicnn(tensors: Path | None) -> Callable[[], float]:
    if tensors is None:
        raise PeerMissingError("--musicnn PATH has to name its published tensors, an .npz")
    try:
        tagger = MusicnnTagger.load(tensors)
    except (CheckpointError, OSError) as error:
        raise PeerMissingError(str(error)) from error
    samples = noisy_chord(WINDOW_S + 512 / SAMPLE_RATE_HZ)  # a little more than a whole window
    return lambda: median(cpu_ms(lambda: tagger.features(samples)) for _ in range(_PASSES))
