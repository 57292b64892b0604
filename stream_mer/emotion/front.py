"""The front of the backbone as a few matrix products: what five convolutions over time and mel cost as a stream.

Unfolding a convolution copies every number of its input once for each filter position that reads it, which takes longer
than the arithmetic. Here several neighbouring positions are one row of a product instead: its matrix holds the filter
once for each of them, shifted, and zeros elsewhere. A few multiplications by zero cost less than the copies.

The maximum over mel comes first, and what each bank does with every value (bias, ReLU, batch norm) after it, on what is
left. That is the same, since these keep order, or turn it around where a batch norm's scale is negative; such filters
are negated beforehand.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stream_mer.audio.features import MEL_BANDS
from stream_mer.emotion.backbone import (
    HISTORY_STEPS,
    MEL_STRIDE,
    TEMPORAL_STEPS,
    TIMBRAL_BANDS,
    TIMBRAL_STEPS,
    Backbone,
    Layer,
)

PIECE_STEPS = 32
"""Steps that are computed at once at most: a hop of half a second."""

_MOST_POSITIONS = 6  # of a timbral filter in one row; more would multiply more zeros, fewer copy more


class Front:
    """The five filter banks, ready for streams.

    Args:
        backbone: Their weights; not to be changed any more.
    """

    @torch.no_grad()
    def __init__(self, backbone: Backbone) -> None:
        layers = [layer for layer in backbone.front if isinstance(layer, Layer)]
        timbral, temporal = layers[: len(TIMBRAL_BANDS)], layers[len(TIMBRAL_BANDS) :]
        self._timbral = [_TimbralBank(layer, bands) for layer, bands in zip(timbral, TIMBRAL_BANDS, strict=True)]
        self._temporal = [_TemporalBank(layer, steps) for layer, steps in zip(temporal, TEMPORAL_STEPS, strict=True)]
        self._sign = torch.cat([_sign(layer) for layer in layers])
        self._bias = torch.cat([layer.linear.bias for layer in layers])
        self._scale = torch.cat([layer.scale for layer in layers])
        self._offset = torch.cat([layer.offset for layer in layers])

    def __call__(self, x: Tensor) -> Tensor:
        """Run on normalised log-mel ``x`` [B, 127 + n, 96], n at most 32: the n new steps, [B, n, front_channels]."""
        bands = x[:, :, ::MEL_STRIDE].transpose(1, 2).flatten(0, 1)  # [B * 48, 127 + n]
        greatest = [bank(x) for bank in self._timbral] + [bank(bands, x.shape[0]) for bank in self._temporal]
        out = torch.addcmul(self._bias, torch.cat(greatest, dim=2), self._sign).relu_()
        return torch.addcmul(self._offset, out, self._scale)


class _TimbralBank:
    """Filters of 7 steps by many mel bands."""

    def __init__(self, layer: Layer, bands: int) -> None:
        positions = len(range(0, MEL_BANDS - bands + 1, MEL_STRIDE))
        self._together = max(n for n in range(1, _MOST_POSITIONS + 1) if positions % n == 0)
        self._span = bands + MEL_STRIDE * (self._together - 1)  # mel bands that one row reads
        filters = _signed(layer).view(-1, TIMBRAL_STEPS, bands).permute(1, 2, 0)  # [7, bands, filters]
        matrix = filters.new_zeros(TIMBRAL_STEPS, self._span, self._together, filters.shape[2])
        for i in range(self._together):
            matrix[:, MEL_STRIDE * i : MEL_STRIDE * i + bands, i] = filters
        self._matrix = matrix.flatten(2).flatten(0, 1)  # [7 * span, together * filters]

    def __call__(self, x: Tensor) -> Tensor:
        """The greatest answer over mel: [B, 127 + n, 96] to [B, n, filters]."""
        n = x.shape[1] - HISTORY_STEPS
        newest = x[:, -(n + TIMBRAL_STEPS - 1) :].unfold(1, TIMBRAL_STEPS, 1)  # [B, n, 96, 7]
        rows = newest.unfold(2, self._span, MEL_STRIDE * self._together)  # [B, n, groups of positions, 7, span]
        answers = torch.mm(rows.reshape(-1, self._matrix.shape[0]), self._matrix)
        of_groups = answers.view(x.shape[0], n, -1, self._matrix.shape[1]).amax(2)
        return of_groups.view(x.shape[0], n, self._together, -1).amax(2)


class _TemporalBank:
    """Filters of many steps by one mel band."""

    def __init__(self, layer: Layer, steps: int) -> None:
        self._before = steps - 1  # steps that are read before the first new one
        filters = _signed(layer).T  # [steps, filters]
        matrix = filters.new_zeros(self._before + PIECE_STEPS, PIECE_STEPS, filters.shape[1])
        for i in range(PIECE_STEPS):
            matrix[i : i + steps, i] = filters
        # For each number of new steps the part of the matrix that they take, [steps read, new steps * filters].
        self._matrices = [matrix[: self._before + n, :n].flatten(1) for n in range(PIECE_STEPS + 1)]
        self._filters = filters.shape[1]

    def __call__(self, bands: Tensor, streams: int) -> Tensor:
        """The greatest answer over mel: [B * 48, 127 + n] to [B, n, filters]."""
        n = bands.shape[1] - HISTORY_STEPS
        answers = torch.mm(bands[:, HISTORY_STEPS - self._before :], self._matrices[n])
        return answers.view(streams, -1, n * self._filters).amax(1).view(streams, n, self._filters)


def _sign(layer: Layer) -> Tensor:
    """-1 for each filter whose batch norm turns the order of its values around, else 1."""
    return torch.where(layer.scale < 0, -1.0, 1.0)


def _signed(layer: Layer) -> Tensor:
    """The layer's filters, [filters, numbers], such that the greatest answer is the greatest value."""
    return layer.linear.weight * _sign(layer)[:, None]
