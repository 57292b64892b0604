"""The audio backbone: the weights of MSD-MusiCNN, and what it makes of music. ``streaming_backbone`` runs it.

The network is the music tagger of Pons & Serra, "musicnn: pre-trained convolutional neural networks for music audio
tagging" (2019), trained on the Million Song Dataset; its weights are under the ISC licence. Everything before its
pooling is a convolution over time, so a stream computes only its new steps. Three things differ from the original:

- It is causal. Each convolution delivers as soon as the steps it reads are there; before the middle layers the faster
  ones are delayed to meet the slowest, so that these see what they were trained on.
- The front evaluates every second mel position, which halves its cost; accuracy on the folds stays within its
  interval (`docs/decisions/0002-backbone.md`).
- It stops at the pooling: in place of the tagger's dense layers, the joint model reads the pooled channels.
- It may be slim: 523 of its 753 channels say nothing, because their filters never fire on music; ``emotion.slim``
  leaves them out.

A *token* is maximum and mean of every channel that says something over the last 186 steps (3 s), and mean, deviation
and rise of each log-mel band over the same steps. ``audio_branch`` says when one is made.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeAlias

import torch
from msgspec import Meta
from torch import Tensor, nn

from stream_mer.audio.features import MEL_BANDS

TIMBRAL_STEPS = 7  # length of the timbral filters, and of the middle layers
TIMBRAL_BANDS = (38, 67)  # height of the two timbral filter banks, mel bands
TEMPORAL_STEPS = (128, 64, 32)  # length of the three temporal filter banks
MIDDLE_CHANNELS = 64
MIDDLE_LAYERS = 3
MEL_STRIDE = 2  # every second mel position of the front

TOKEN_STEPS = 186  # a token pools 2.976 s; the original's windows have 187

HISTORY_STEPS = max(TEMPORAL_STEPS) - 1  # normalised log-mel that the longest filter still reads


Filters: TypeAlias = Annotated[int, Meta(ge=1, le=4096)]
"""How many filters a bank may have; the largest published one has 204."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneShape:
    """How much of the network there is; the default is all that was published.

    Attributes:
        filters: Filters of each bank of the front: two timbral ones, three temporal ones.
        pooled: Channels that a token tells of.
    """

    filters: Annotated[tuple[Filters, ...], Meta(min_length=5, max_length=5)] = (204, 204, 51, 51, 51)
    pooled: Annotated[int, Meta(ge=1, le=16_384)] = 753

    @property
    def front_channels(self) -> int:
        return sum(self.filters)

    @property
    def channels(self) -> int:
        return self.front_channels + MIDDLE_LAYERS * MIDDLE_CHANNELS

    @property
    def token_features(self) -> int:
        """Width of a token: 1794 of the published network."""
        return 2 * self.pooled + 3 * MEL_BANDS

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


TOKEN_FEATURES = BackboneShape().token_features
"""Width of a token of the network as published."""


class Backbone(nn.Module):
    """The network's weights, batch norms folded to a scale and an offset; ``StreamingBackbone`` runs them."""

    input_scale: Tensor
    input_offset: Tensor
    pooled: Tensor

    def __init__(self, shape: BackboneShape | None = None) -> None:
        super().__init__()
        self.shape = shape or BackboneShape()
        timbral, temporal = self.shape.filters[: len(TIMBRAL_BANDS)], self.shape.filters[len(TIMBRAL_BANDS) :]
        self.register_buffer("input_scale", torch.ones(1))
        self.register_buffer("input_offset", torch.zeros(1))
        self.register_buffer("pooled", torch.arange(self.shape.pooled))  # places of the channels that a token tells of
        self.front = nn.ModuleList(
            [Layer(TIMBRAL_STEPS * bands, n) for bands, n in zip(TIMBRAL_BANDS, timbral, strict=True)]
            + [Layer(steps, n) for steps, n in zip(TEMPORAL_STEPS, temporal, strict=True)]
        )
        self.middle = nn.ModuleList(
            Layer(TIMBRAL_STEPS * (self.shape.front_channels if i == 0 else MIDDLE_CHANNELS), MIDDLE_CHANNELS)
            for i in range(MIDDLE_LAYERS)
        )


class Layer(nn.Module):
    """A convolution as a matrix product over unfolded rows, then ReLU and batch norm."""

    scale: Tensor
    offset: Tensor

    def __init__(self, rows: int, filters: int) -> None:
        super().__init__()
        self.linear = nn.Linear(rows, filters)
        self.register_buffer("scale", torch.ones(filters))
        self.register_buffer("offset", torch.zeros(filters))

    def forward(self, x: Tensor) -> Tensor:
        """[n, rows] to [n, filters]."""
        out: Tensor = torch.relu(self.linear(x)) * self.scale + self.offset
        return out
