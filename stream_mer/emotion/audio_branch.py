"""The audio branch: MSD-MusiCNN and YAMNet beside each other, as one token every half second.

A token is made at each multiple of ``TOKEN_HOP`` samples on the sample clock. It holds MusiCNN's pooled channels over
the last 3 s (``musicnn``) beside the mean activations of YAMNet's last blocks over 0.975 s (``audio.yamnet``): of the
newest second of the sample clock that is complete, so that every second is computed once. Two tokens share it. Only
what is new is computed, so that a token costs the same whatever the context and the hop.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from stream_mer.audio.audio_state import AudioStateDecider
from stream_mer.audio.features import LogMelStream, log_mel
from stream_mer.audio.yamnet import EMBEDDING_SIZE, PATCH_HOP, Yamnet, YamnetPatches
from stream_mer.emotion.musicnn import Backbone, BackboneStream, StreamingBackbone
from stream_mer.types import Floats, Samples

TOKEN_HOP = 8_000
"""Samples from one token to the next: 0.5 s."""

YAMNET = Yamnet()
"""The network that all branches share; its weights are read at first use."""


class AudioBranch:
    """Both networks, ready for any number of streams.

    Args:
        backbone: MusiCNN's weights.
        yamnet: The other network.
        patch_hop: Samples from one of YAMNet's patches to the next, a multiple of ``TOKEN_HOP``.

    Attributes:
        token_features: Width of a token.
    """

    def __init__(self, backbone: Backbone, yamnet: Yamnet = YAMNET, *, patch_hop: int = PATCH_HOP) -> None:
        self.backbone = StreamingBackbone(backbone)
        self.yamnet = yamnet
        self.patch_hop = patch_hop
        self.token_features = token_features(backbone)

    def open(self, *, at_sample: int = 0) -> AudioStream:
        """Start a stream at a position of the sample clock; audio before it counts as silence."""
        return AudioStream(self, at_sample=at_sample)

    def feed(self, fed: Sequence[tuple[AudioStream, Samples]]) -> None:
        """Feed streams their next samples, each [n] (n may be 0); completed tokens are added to ``fresh``.

        All that a token needs is computed when its last sample is there: in larger products, and never in vain.
        """
        for stream, samples in fed:
            stream.add(samples)
        while ready := [(stream, stream.pop_token_samples()) for stream, _ in fed if stream.has_token_samples]:
            self._compute(ready)

    def _compute(self, fed: Sequence[tuple[AudioStream, Samples]]) -> None:
        """Feed samples that end with a token."""
        cuts = [stream.spectrogram.cut(samples) for stream, samples in fed]
        steps = log_mel(cuts[0] if len(cuts) == 1 else np.concatenate(cuts))
        ends = itertools.accumulate(len(cut) for cut in cuts)
        log_mels = [steps[end - len(cut) : end] for cut, end in zip(cuts, ends, strict=True)]
        self.backbone.feed([stream.backbone for stream, _ in fed], log_mels)
        patches = [stream.patches.feed(samples) for stream, samples in fed]
        ended = [(stream, patch) for (stream, _), patch in zip(fed, patches, strict=True) if stream.backbone.steps]
        if not ended:
            return
        self._run_yamnet([(stream, patch) for stream, patch in ended if stream.needs_patch])
        pooled = self.backbone.tokens([stream.backbone for stream, _ in ended])
        for (stream, _), of_stream in zip(ended, pooled, strict=True):
            stream.fresh.append(np.concatenate([of_stream, stream.embedding]))

    def _run_yamnet(self, patches: Sequence[tuple[AudioStream, Floats]]) -> None:
        """Run a patch of each of some streams."""
        if not patches:
            return
        output = self.yamnet.run(np.concatenate([patch for _, patch in patches]))
        for i, (stream, _) in enumerate(patches):
            stream.embedding = output.embedding[i].copy()  # a view would hold on to those of all streams
            stream.decider.feed(output.scores[i : i + 1])


class AudioStream:
    """The state of one stream, which ``AudioBranch`` feeds.

    Attributes:
        end_sample: Index of the next sample on the sample clock.
        embedding: Of YAMNet's newest patch, [2048]; empty before the first token.
        decider: Decides between music, speech and noise by YAMNet's scores.
        fresh: Tokens [token_features] not taken yet, oldest first.
    """

    def __init__(self, branch: AudioBranch, *, at_sample: int) -> None:
        self.spectrogram = LogMelStream()
        self.backbone = BackboneStream(branch.backbone)
        self.patches = YamnetPatches(at_sample=at_sample, hop_samples=TOKEN_HOP)
        self.embedding: Floats = np.zeros(0, np.float32)
        self.decider = AudioStateDecider()
        self.end_sample = at_sample
        self.fresh: list[Floats] = []
        self._patch_hop = branch.patch_hop
        self._pending: Samples = np.zeros(0, np.float32)  # no token has ended with them yet

    def add(self, samples: Samples) -> None:
        """Take the next samples, [n]; n may be 0."""
        self._pending = np.concatenate([self._pending, samples], dtype=np.float32)
        self.end_sample += len(samples)

    @property
    def has_token_samples(self) -> bool:
        """Whether a token ends within the samples that are not computed yet."""
        return len(self._pending) >= self._until_token()

    def pop_token_samples(self) -> Samples:
        """Return the samples until the end of the next token; they are computed then."""
        n = self._until_token()
        popped, self._pending = self._pending[:n], self._pending[n:]
        return popped

    @property
    def needs_patch(self) -> bool:
        """Whether YAMNet judges the patch that ends with the newest computed sample: the first, or one of its grid."""
        return not len(self.embedding) or self._computed_until() % self._patch_hop == 0

    def _until_token(self) -> int:
        return TOKEN_HOP - self._computed_until() % TOKEN_HOP

    def _computed_until(self) -> int:
        """Return the index of the first sample that is not computed yet."""
        return self.end_sample - len(self._pending)

    def take(self) -> list[Floats]:
        """Return the fresh tokens and clear them."""
        taken, self.fresh = self.fresh, []
        return taken


def token_features(backbone: Backbone) -> int:
    """Return the width of a token."""
    return backbone.shape.token_features + EMBEDDING_SIZE
