"""MSD-MusiCNN, the audio backbone: its weights as published, without the filters that never fire, and as a stream.

The network is the music tagger of Pons & Serra, "musicnn: pre-trained convolutional neural networks for music audio
tagging" (2019), trained on the Million Song Dataset; its weights are under the ISC licence. Everything before its
pooling is a convolution over time, so a stream computes only its new steps (``StreamingBackbone``). It differs from the
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

A stream is its state, which is bounded; the network is shared. New steps of several streams are computed together:
where one has fewer new steps than another, zeros follow them, which no earlier step reads.
"""

from __future__ import annotations

import textwrap
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

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
        pooled: Channels that a token holds.
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
        self.register_buffer("pooled", torch.arange(self.shape.pooled))  # indices of the channels that a token holds
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


# A channel that varies by less than this over all music counts as constant; the others vary by .3 and more.
_CONSTANT = 1e-3


def living_channels(tokens: Iterable[Tensor], backbone: Backbone) -> Tensor:
    """Which of the pooled channels vary at all.

    Args:
        tokens: Of many recordings, each [n, token_features]; the first second of each is left out, where the stream's
            silent past still shows.
        backbone: The whole network that they came from.

    Returns:
        [pooled], True for a channel that is not constant.
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


PIECE_STEPS = 32
"""Most steps that are computed in one pass: a hop of half a second."""

_MOST_POSITIONS = 6  # of a timbral filter in one row; more would multiply more zeros, fewer copy more


class Front:
    """The five filter banks, ready for streams, as a few matrix products.

    Unfolding a convolution copies every number of its input once for each filter position that reads it, which takes
    longer than the arithmetic. Here several neighbouring positions are one row of a product: its matrix holds the
    filter once for each position, shifted, and zeros elsewhere. The maximum over mel comes first; bias, ReLU and batch
    norm follow on what is left. The order does not matter, since these are monotone; filters whose batch norm has a
    negative scale are negated beforehand.

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
        """Return the maximum over mel: [B, 127 + n, 96] to [B, n, filters]."""
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
        """Return the maximum over mel: [B * 48, 127 + n] to [B, n, filters]."""
        n = bands.shape[1] - HISTORY_STEPS
        answers = torch.mm(bands[:, HISTORY_STEPS - self._before :], self._matrices[n])
        return answers.view(streams, -1, n * self._filters).amax(1).view(streams, n, self._filters)


def _sign(layer: Layer) -> Tensor:
    """Return -1 for each filter whose batch norm has a negative scale, else 1."""
    return torch.where(layer.scale < 0, -1.0, 1.0)


def _signed(layer: Layer) -> Tensor:
    """Return the layer's filters, [filters, numbers], negated where the batch norm has a negative scale."""
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
        """Feed each stream its next log-mel steps, [n, 96]; ``n`` may differ, and be 0."""
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
        """Return the token that ends at the newest step of each stream, [n, token_features]; each has one at least."""
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
        """Return the values to pool of each new step, [B, n, channels + 3 * 96]; updates the streams' histories."""
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
    """State of one stream: the history that the filters read, and the newest 186 steps, which a token pools.

    Args:
        net: The network that feeds the stream.

    Attributes:
        steps: Number of steps so far.
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
        """Return the step before a piece, [1, 96]; before the first step, that step itself."""
        return self.last_step if self.steps else piece[:1]

    def keep(self, rows: Tensor) -> None:
        """Store the values of new steps, [n, numbers]; n at most 186."""
        at = self.steps % TOKEN_STEPS
        until_end = min(rows.shape[0], TOKEN_STEPS - at)
        self._ring[at : at + until_end] = rows[:until_end]
        self._ring[: rows.shape[0] - until_end] = rows[until_end:]
        self.steps += rows.shape[0]

    @property
    def sums(self) -> _Sums:
        """Maxima and sums for the token that ends now."""
        rows = self._ring[: self.steps]
        return _Sums(rows[:, : self._channels].amax(0), rows.sum(0), min(self.steps, TOKEN_STEPS))


class _Sums(NamedTuple):
    """Parts of a token: maxima [channels], sums of all values [channels + 3 * 96], and number of steps."""

    greatest: Tensor
    total: Tensor
    length: int


def _aligned(filters: Sequence[int]) -> list[tuple[int, slice]]:
    """Return for each filter bank the first step of the front's history that the middle layers read, and its channels.

    Neighbours with the same first step are joined.
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
    """Return the history of each stream from ``batch`` [B, length + n, ...]: ``length`` rows up to its newest step."""
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
