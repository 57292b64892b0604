"""Leaves out the filters of the backbone that never fire: the same tokens for a fraction of the arithmetic.

Most filters of the published network answer 0 to every music that it hears, so that behind their batch norm stands a
constant. What reads such a constant has it added to its bias once and for all.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from stream_mer.emotion.backbone import TIMBRAL_STEPS, Backbone, BackboneShape, Layer

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
