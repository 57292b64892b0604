"""MSD-MusiCNN, the audio backbone: its weights as published, and without the filters that never fire.

The network is the music tagger of Pons & Serra, "musicnn: pre-trained convolutional neural networks for music audio
tagging" (2019), trained on the Million Song Dataset; its weights are under the ISC licence. Everything before its
pooling is a convolution over time, so a stream computes only its new steps (``musicnn_stream``). It differs from the
original in four points:

- It is causal. Each convolution delivers as soon as the steps it reads are there. Before the middle layers the faster
  convolutions are delayed to meet the slowest, so that the middle layers see what they were trained on.
- The front evaluates every second mel position, which halves its cost. Accuracy on the folds stays within its
  interval (`docs/decisions/0002-backbone.md`).
- It stops at the pooling: in place of the tagger's dense layers, the joint model reads the pooled channels.
- It may be slim: 523 of its 753 channels are constant, because their filters never fire on music. ``slim`` leaves
  them out and adds each constant to the bias of the layer that reads it.

A *token* is maximum and mean of every remaining channel over the last 186 steps (3 s), and mean, deviation and rise of
each log-mel band over the same steps. ``audio_branch`` says when one is made.
"""

from __future__ import annotations

import textwrap
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor, nn

from stream_mer.audio.features import MEL_BANDS
from stream_mer.errors import CheckpointError
from stream_mer.utils.model_files import MAX_WEIGHTS_BYTES, check_state

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


_EPSILON = 1e-3  # of every batch norm in the original


def load_musicnn(path: Path) -> Backbone:
    """Build the backbone from an ``.npz`` of the original's tensors, names kept (``conv2d_3/kernel``, ...).

    Raises:
        CheckpointError: The file is missing or is not of this network.
    """
    try:
        # Opened here, because numpy leaves a damaged archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            _check_size(archive.zip)
            tensors = {name: torch.from_numpy(archive[name]) for name in archive.files}
    # Beyond the usual two: an empty file, a damaged archive, and an .npy file or one of other things than numbers.
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, TypeError) as error:
        raise CheckpointError(f"cannot read the MSD-MusiCNN weights {path}: {error}") from error
    backbone = Backbone()
    try:
        state = {"pooled": backbone.pooled, **{name: one.float() for name, one in _state(tensors).items()}}
        check_state(backbone, state)
        backbone.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError) as error:
        reason = textwrap.shorten(str(error), 300)
        raise CheckpointError(f"{path} does not hold the tensors of MSD-MusiCNN: {reason}") from error
    return backbone.eval().requires_grad_(requires_grad=False)


def _check_size(archive: zipfile.ZipFile) -> None:
    """Refuse what would not fit into memory once unpacked, however small the file is."""
    if sum(member.file_size for member in archive.infolist()) > MAX_WEIGHTS_BYTES:
        raise ValueError("its arrays take more than 2 GiB")


def _state(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    def norm(index: int) -> tuple[torch.Tensor, torch.Tensor]:
        name = f"batch_normalization_{index}" if index else "batch_normalization"
        scale = tensors[f"{name}/gamma"] / torch.sqrt(tensors[f"{name}/moving_variance"] + _EPSILON)
        return scale, tensors[f"{name}/beta"] - tensors[f"{name}/moving_mean"] * scale

    state: dict[str, torch.Tensor] = {}
    state["input_scale"], state["input_offset"] = norm(0)
    layers = ["front.0", "front.1", "front.2", "front.3", "front.4", "middle.0", "middle.1", "middle.2"]
    for i, layer in enumerate(layers):
        name = f"conv2d_{i}" if i else "conv2d"
        kernel = tensors[f"{name}/kernel"]  # [steps, bands or channels, 1, filters]
        state[f"{layer}.linear.weight"] = kernel.permute(3, 0, 1, 2).flatten(1).contiguous()
        state[f"{layer}.linear.bias"] = tensors[f"{name}/bias"]
        state[f"{layer}.scale"], state[f"{layer}.offset"] = norm(i + 1)
    return state


# A channel that varies by less than this over all music says nothing; those that speak vary by .3 and more.
_CONSTANT = 1e-3


def living_channels(tokens: Iterable[Tensor], backbone: Backbone) -> Tensor:
    """Which of the pooled channels vary at all.

    Args:
        tokens: Of many recordings, each [n, token_features]; the first second of each is left out, where the stream's
            silent past still shows.
        backbone: The whole network that they came from.

    Returns:
        [pooled], True where a channel says something.
    """
    pooled = backbone.shape.pooled
    low, high = torch.full((2 * pooled,), torch.inf), torch.full((2 * pooled,), -torch.inf)
    for of_one in tokens:
        settled = of_one[8:, : 2 * pooled].float()
        if len(settled):
            low, high = torch.minimum(low, settled.amin(0)), torch.maximum(high, settled.amax(0))
    varies = (high - low) > _CONSTANT
    return varies[:pooled] | varies[pooled:]


@torch.no_grad()
def slim(backbone: Backbone, living: Tensor) -> Backbone:
    """The network without the filters of its front that are not ``living`` [channels], and with tokens of the living.

    The filters of the middle layers are all kept: they cost little. From where the silence before the stream is out of
    the middle layers' reach (1.3 s), every channel that is kept has the value that the whole network gives it.

    Raises:
        ValueError: The network is slim already, ``living`` is not of its channels, or a bank has no living filter.
    """
    if backbone.shape.pooled != backbone.shape.channels:
        raise ValueError("this backbone is slim already; begin with the whole one")
    if living.dtype != torch.bool or living.shape != (backbone.shape.channels,):
        raise ValueError(f"living must be {backbone.shape.channels} truth values, one a channel")
    banks = torch.split(living[: backbone.shape.front_channels], list(backbone.shape.filters))
    if not all(bool(bank.any()) for bank in banks):
        raise ValueError("a bank of the front has no living filter; listen to more music before slimming")
    shape = BackboneShape(filters=tuple(int(bank.sum()) for bank in banks), pooled=int(living.sum()))
    small = Backbone(shape)
    small.input_scale, small.input_offset = backbone.input_scale.clone(), backbone.input_offset.clone()
    for layer, source, kept in zip(_layers(small.front), _layers(backbone.front), banks, strict=True):
        _copy(source, layer, weight=source.linear.weight[kept], bias=source.linear.bias[kept], kept=kept)
    kept = torch.cat(banks)
    constants = torch.cat([source.offset for source in _layers(backbone.front)])  # of a filter that never fires
    for i, (layer, source) in enumerate(zip(_layers(small.middle), _layers(backbone.middle), strict=True)):
        weight, bias = source.linear.weight.clone(), source.linear.bias.clone()
        if i == 0:
            by_channel = weight.view(len(weight), TIMBRAL_STEPS, -1)  # [filters, steps, channels]
            bias = bias + (by_channel[:, :, ~kept] * constants[~kept]).sum((1, 2))
            weight = by_channel[:, :, kept].flatten(1)
        _copy(source, layer, weight=weight, bias=bias)
    there = torch.cat([kept, torch.ones(len(living) - len(kept), dtype=torch.bool)])  # channels that the small one has
    small.pooled = living[there].nonzero().flatten()
    return small.eval().requires_grad_(requires_grad=False)


def _layers(modules: nn.ModuleList) -> list[Layer]:
    return [module for module in modules if isinstance(module, Layer)]


def _copy(source: Layer, layer: Layer, *, weight: Tensor, bias: Tensor, kept: Tensor | None = None) -> None:
    layer.linear.weight.copy_(weight)
    layer.linear.bias.copy_(bias)
    layer.scale = source.scale.clone() if kept is None else source.scale[kept]
    layer.offset = source.offset.clone() if kept is None else source.offset[kept]
