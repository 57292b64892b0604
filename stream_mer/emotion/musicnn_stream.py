"""Runs MSD-MusiCNN as a stream: log-mel steps in, tokens out, each step computed once, for many streams at a time.

A stream is its state, which is bounded; the network is shared. New steps of several streams are computed together:
where one has fewer new steps than another, zeros follow them, which no earlier step reads.

The front's five convolutions are a few matrix products. Unfolding a convolution copies every number of its input once
for each filter position that reads it, which takes longer than the arithmetic. Here several neighbouring positions are
one row of a product: its matrix holds the filter once for each position, shifted, and zeros elsewhere. The maximum over
mel comes first; bias, ReLU and batch norm follow on what is left. The order does not matter, since these are monotone;
filters whose batch norm has a negative scale are negated beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from stream_mer.audio.features import MEL_BANDS
from stream_mer.emotion.musicnn import (
    HISTORY_STEPS,
    MEL_STRIDE,
    MIDDLE_CHANNELS,
    MIDDLE_LAYERS,
    TEMPORAL_STEPS,
    TIMBRAL_BANDS,
    TIMBRAL_STEPS,
    TOKEN_STEPS,
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


# A filter of length n delivers the value of the step n/2 before the newest (3 for the timbral ones). To meet the
# longest one at the same step, the others wait this long.
_ALIGNMENT = (64 - 3, 64 - 3, 0, 64 - 32, 64 - 16)
_FRONT_HISTORY = max(_ALIGNMENT) + TIMBRAL_STEPS - 1
_MIDDLE_HISTORY = TIMBRAL_STEPS - 1


class StreamingBackbone:
    """The network, its weights rearranged for streams.

    Args:
        backbone: The weights; not to be changed any more.
    """

    @torch.no_grad()
    def __init__(self, backbone: Backbone) -> None:
        self.shape = backbone.shape
        self.device = backbone.input_scale.device
        self._input = backbone.input_offset, backbone.input_scale
        self._pooled = backbone.pooled
        self._front = Front(backbone)
        self._middle = [_Middle(layer) for layer in backbone.middle if isinstance(layer, Layer)]
        self._aligned = _aligned(backbone.shape.filters)

    @torch.inference_mode()
    def feed(self, streams: Sequence[BackboneStream], log_mels: Sequence[Tensor]) -> None:
        """Give each stream its next log-mel steps, [n, 96]; how many may differ, and be none."""
        fed = [(stream, log_mel, log_mel.shape[0]) for stream, log_mel in zip(streams, log_mels, strict=True)]
        fed = [(stream, log_mel, n) for stream, log_mel, n in fed if n]
        if not fed:
            return
        for start in range(0, max(n for _, _, n in fed), PIECE_STEPS):
            pieces = [(one, log_mel[start : start + PIECE_STEPS]) for one, log_mel, n in fed if n > start]
            numbers = self._numbers([stream for stream, _ in pieces], [piece for _, piece in pieces])
            for (stream, piece), rows in zip(pieces, numbers, strict=True):
                stream.keep(rows[: piece.shape[0]])

    @torch.inference_mode()
    def tokens(self, streams: Sequence[BackboneStream]) -> Tensor:
        """The token that ends at the newest step of each stream, [n, token_features]; each has heard one at least."""
        parts = [stream.sums for stream in streams]
        total = torch.stack([part.total for part in parts])
        lengths = [part.length for part in parts]
        if min(lengths) == max(lengths):
            mean = total / lengths[0]
        else:
            mean = total / torch.tensor(lengths, device=self.device).unsqueeze(1)
        greatest, of_channels = torch.stack([part.greatest for part in parts]), self.shape.channels
        log_mel, rise, squares = torch.split(mean[:, of_channels:], MEL_BANDS, dim=1)
        deviation = torch.addcmul(squares, log_mel, log_mel, value=-1.0).clamp_(min=0.0).sqrt_()
        pooled = [greatest.index_select(1, self._pooled), mean.index_select(1, self._pooled)]
        return torch.cat([*pooled, log_mel, deviation, rise], 1)

    def _numbers(self, streams: Sequence[BackboneStream], pieces: Sequence[Tensor]) -> Tensor:
        """All that is pooled of each new step, [B, n, channels + 3 * 96]; moves the streams' histories on."""
        lengths = [piece.shape[0] for piece in pieces]
        log_mel = together([*pieces]) if min(lengths) == max(lengths) else pad_sequence([*pieces], batch_first=True)
        normalised = torch.addcmul(self._input[0], log_mel, self._input[1])
        x = torch.cat([together([s.log_mel for s in streams]), normalised], 1)
        front = torch.cat([together([s.front for s in streams]), self._front(x)], 1)
        n = log_mel.shape[1]
        # All banks at the same step, [B, 6 + n, front_channels].
        middle = torch.cat([front[:, at : at + _MIDDLE_HISTORY + n, bank] for at, bank in self._aligned], 2)
        channels = [front[:, _FRONT_HISTORY:]]
        for i, layer in enumerate(self._middle):
            out = layer(middle)
            if i > 0:  # the second and third are residual
                out += middle[:, TIMBRAL_STEPS // 2 : TIMBRAL_STEPS // 2 + n]
            channels.append(out)
            if i < MIDDLE_LAYERS - 1:
                middle = torch.cat([together([s.middle[i] for s in streams]), out], 1)
                for s, tail in zip(streams, _tails(middle, lengths, _MIDDLE_HISTORY), strict=True):
                    s.middle[i] = tail
        before = torch.cat([together([s.step_before(p) for s, p in zip(streams, pieces, strict=True)]), log_mel], 1)
        moved = [
            _tails(*of) for of in ((x, lengths, HISTORY_STEPS), (front, lengths, _FRONT_HISTORY), (before, lengths, 1))
        ]
        for s, *histories in zip(streams, *moved, strict=True):
            s.log_mel, s.front, s.last_step = histories
        rise = (log_mel - before[:, :n]).clamp_(min=0.0)
        return torch.cat([*channels, log_mel, rise, log_mel.square()], 2)


class BackboneStream:
    """One stream's state: what the filters still read, and the newest 186 steps that a token pools.

    Args:
        net: The network; it alone feeds the stream.

    Attributes:
        steps: Steps heard so far.
    """

    def __init__(self, net: StreamingBackbone) -> None:
        shape, device = net.shape, net.device
        self._channels = shape.channels
        self.log_mel = torch.zeros(HISTORY_STEPS, MEL_BANDS, device=device)  # normalised
        self.front = torch.zeros(_FRONT_HISTORY, shape.front_channels, device=device)
        self.middle = [torch.zeros(_MIDDLE_HISTORY, MIDDLE_CHANNELS, device=device) for _ in range(MIDDLE_LAYERS - 1)]
        self.last_step = torch.zeros(1, MEL_BANDS, device=device)
        self.steps = 0
        self._ring = torch.zeros(TOKEN_STEPS, shape.channels + 3 * MEL_BANDS, device=device)  # steps, in any order

    def step_before(self, piece: Tensor) -> Tensor:
        """The step before a piece, [1, 96]: before the first there is none, so that nothing rises."""
        return self.last_step if self.steps else piece[:1]

    def keep(self, rows: Tensor) -> None:
        """Take what is pooled of new steps, [n, numbers]; n at most 186."""
        at = self.steps % TOKEN_STEPS
        until_end = min(rows.shape[0], TOKEN_STEPS - at)
        self._ring[at : at + until_end] = rows[:until_end]
        self._ring[: rows.shape[0] - until_end] = rows[until_end:]
        self.steps += rows.shape[0]

    @property
    def sums(self) -> _Sums:
        """What the token that ends now is made of."""
        heard = self._ring[: self.steps]
        return _Sums(heard[:, : self._channels].amax(0), heard.sum(0), min(self.steps, TOKEN_STEPS))


class _Sums(NamedTuple):
    """What a token is made of: greatest values [channels], sums of all numbers [channels + 3 * 96], and steps."""

    greatest: Tensor
    total: Tensor
    length: int


def _aligned(filters: Sequence[int]) -> list[tuple[int, slice]]:
    """Where the middle layers begin to read each filter bank: first step of the front's history, and its channels.

    Neighbours that begin alike are one.
    """
    found: list[tuple[int, slice]] = []
    stop = 0
    for n, delay in zip(filters, _ALIGNMENT, strict=True):
        at, start, stop = _FRONT_HISTORY - delay - _MIDDLE_HISTORY, stop, stop + n
        if found and found[-1][0] == at:
            start = found.pop()[1].start
        found.append((at, slice(start, stop)))
    return found


def _tails(batch: Tensor, new: Sequence[int], length: int) -> list[Tensor]:
    """What each stream has to remember of ``batch`` [B, length + n, ...]: as much as before, up to its newest step."""
    tails = [rows[n : n + length] for rows, n in zip(batch, new, strict=True)]
    return tails if len(tails) == 1 else [tail.clone() for tail in tails]  # a view holds on to the whole batch


def together(tensors: list[Tensor]) -> Tensor:
    """Stack along a new first dimension; a single one is not copied."""
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(tensors)


class _Middle:
    """A middle layer: a convolution over 7 steps, ReLU and batch norm."""

    def __init__(self, layer: Layer) -> None:
        self._bias, self._matrix = layer.linear.bias, layer.linear.weight.T.contiguous()
        self._offset, self._scale = layer.offset, layer.scale

    def __call__(self, x: Tensor) -> Tensor:
        """[B, 6 + n, channels] to [B, n, 64]."""
        rows = x.unfold(1, TIMBRAL_STEPS, 1).transpose(2, 3)  # [B, n, 7, channels]
        out = torch.addmm(self._bias, rows.reshape(-1, self._matrix.shape[0]), self._matrix).relu_()
        return torch.addcmul(self._offset, out, self._scale).view(x.shape[0], -1, self._matrix.shape[1])
