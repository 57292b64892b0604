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
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from stream_mer.audio.features import MEL_BANDS
from stream_mer.errors import CheckpointError
from stream_mer.types import Floats
from stream_mer.utils.model_files import MAX_WEIGHTS_BYTES, Tensors, check_tensors, like

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """A convolution as a matrix product over unfolded rows, then ReLU and batch norm.

    Attributes:
        weight: Shape ``[filters, rows]``.
        bias: Shape ``[filters]``, added before the ReLU.
        scale: Batch norm's factor, shape ``[filters]``.
        offset: Batch norm's offset, shape ``[filters]``.
    """

    weight: Floats
    bias: Floats
    scale: Floats
    offset: Floats


_PARTS = {"weight": "linear.weight", "bias": "linear.bias", "scale": "scale", "offset": "offset"}
"""Names of a layer's parts in a checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backbone:
    """The network's weights, batch norms folded to a scale and an offset; ``StreamingBackbone`` runs them.

    Attributes:
        shape: How much of the network there is.
        input_scale: Shape ``[1]``.
        input_offset: Shape ``[1]``.
        pooled: Indices of the channels that a token holds, shape ``[shape.pooled]``.
        front: Two timbral banks, three temporal ones.
        middle: Three layers.
    """

    shape: BackboneShape
    input_scale: Floats
    input_offset: Floats
    pooled: NDArray[np.int64]
    front: tuple[Layer, ...]
    middle: tuple[Layer, ...]

    @classmethod
    def from_tensors(cls, shape: BackboneShape, tensors: Tensors) -> Backbone:
        """Build it of tensors with the names and shapes of ``backbone_tensors``.

        Raises:
            ValueError: They do not fit, or ``pooled`` names a channel that there is not.
        """
        check_tensors(tensors, backbone_tensors(shape))
        pooled = tensors["pooled"]
        if not ((pooled >= 0) & (pooled < shape.channels)).all():
            raise ValueError(f"pooled names channels that are not among the {shape.channels} that there are")

        def layers(name: str, n: int) -> tuple[Layer, ...]:
            return tuple(
                Layer(**{part: tensors[f"{name}.{i}.{stored}"] for part, stored in _PARTS.items()}) for i in range(n)
            )

        return cls(
            shape=shape,
            input_scale=tensors["input_scale"],
            input_offset=tensors["input_offset"],
            pooled=pooled,
            front=layers("front", len(shape.filters)),
            middle=layers("middle", MIDDLE_LAYERS),
        )

    def tensors(self) -> Tensors:
        """Return all weights by the names of ``backbone_tensors``, in their order."""
        found: dict[str, NDArray[Any]] = {
            name: getattr(self, name) for name in ("input_scale", "input_offset", "pooled")
        }
        for name, layers in (("front", self.front), ("middle", self.middle)):
            for i, layer in enumerate(layers):
                found |= {f"{name}.{i}.{stored}": getattr(layer, part) for part, stored in _PARTS.items()}
        return {name: found[name] for name in backbone_tensors(self.shape)}


def backbone_tensors(shape: BackboneShape) -> Mapping[str, NDArray[Any]]:
    """Return what a checkpoint holds of a backbone: arrays of the right shapes and types that take no memory."""
    rows = [TIMBRAL_STEPS * bands for bands in TIMBRAL_BANDS] + list(TEMPORAL_STEPS)
    layers = {f"front.{i}": pair for i, pair in enumerate(zip(rows, shape.filters, strict=True))}
    for i in range(MIDDLE_LAYERS):
        channels = shape.front_channels if i == 0 else MIDDLE_CHANNELS
        layers[f"middle.{i}"] = TIMBRAL_STEPS * channels, MIDDLE_CHANNELS
    found: dict[str, NDArray[Any]] = {
        "input_scale": like(1),
        "input_offset": like(1),
        "pooled": np.broadcast_to(np.int64(0), (shape.pooled,)),
    }
    for name, (n_rows, n_filters) in layers.items():
        found |= {f"{name}.scale": like(n_filters), f"{name}.offset": like(n_filters)}
        found |= {f"{name}.linear.weight": like(n_filters, n_rows), f"{name}.linear.bias": like(n_filters)}
    return found


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
            tensors = {name: archive[name] for name in archive.files}
    # Beyond the usual two: an empty file, a damaged archive, and an .npy file or one of other things than numbers.
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, TypeError) as error:
        raise CheckpointError(f"cannot read the MSD-MusiCNN weights {path}: {error}") from error
    shape = BackboneShape()
    try:
        published = {name: one.astype(np.float32) for name, one in _published(tensors).items()}
        return Backbone.from_tensors(shape, {"pooled": np.arange(shape.pooled), **published})
    except (KeyError, ValueError, TypeError) as error:
        reason = textwrap.shorten(str(error), 300)
        raise CheckpointError(f"{path} does not hold the tensors of MSD-MusiCNN: {reason}") from error


def _check_size(archive: zipfile.ZipFile) -> None:
    """Refuse what would not fit into memory once unpacked, however small the file is."""
    if sum(member.file_size for member in archive.infolist()) > MAX_WEIGHTS_BYTES:
        raise ValueError("its arrays take more than 2 GiB")


def _published(tensors: Tensors) -> dict[str, NDArray[Any]]:
    """Return the weights of the original's tensors by the names of ``backbone_tensors``, all but ``pooled``."""

    def norm(index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        name = f"batch_normalization_{index}" if index else "batch_normalization"
        scale = tensors[f"{name}/gamma"] / np.sqrt(tensors[f"{name}/moving_variance"] + np.float32(_EPSILON))
        return scale, tensors[f"{name}/beta"] - tensors[f"{name}/moving_mean"] * scale

    found: dict[str, NDArray[Any]] = {}
    found["input_scale"], found["input_offset"] = norm(0)
    layers = ["front.0", "front.1", "front.2", "front.3", "front.4", "middle.0", "middle.1", "middle.2"]
    for i, layer in enumerate(layers):
        name = f"conv2d_{i}" if i else "conv2d"
        kernel = tensors[f"{name}/kernel"]  # [steps, bands or channels, 1, filters]
        filters = kernel.transpose(3, 0, 1, 2)
        found[f"{layer}.linear.weight"] = np.ascontiguousarray(filters.reshape(len(filters), -1))
        found[f"{layer}.linear.bias"] = tensors[f"{name}/bias"]
        found[f"{layer}.scale"], found[f"{layer}.offset"] = norm(i + 1)
    return found


# A channel that varies by less than this over all music counts as constant; the others vary by .3 and more.
_CONSTANT = 1e-3


def living_channels(tokens: Iterable[NDArray[Any]], backbone: Backbone) -> NDArray[np.bool_]:
    """Which of the pooled channels vary at all.

    Args:
        tokens: Of many recordings, each [n, token_features]; the first second of each is left out, where the stream's
            silent past still shows.
        backbone: The whole network that they came from.

    Returns:
        [pooled], True for a channel that is not constant.
    """
    pooled = backbone.shape.pooled
    low, high = np.full(2 * pooled, np.inf, np.float32), np.full(2 * pooled, -np.inf, np.float32)
    for of_one in tokens:
        settled = of_one[8:, : 2 * pooled].astype(np.float32)
        if len(settled):
            low, high = np.minimum(low, settled.min(0)), np.maximum(high, settled.max(0))
    varies = (high - low) > _CONSTANT
    return varies[:pooled] | varies[pooled:]


def slim(backbone: Backbone, living: NDArray[np.bool_]) -> Backbone:
    """The network without the filters of its front that are not ``living`` [channels], and with tokens of the living.

    The filters of the middle layers are all kept: they cost little. From where the silence before the stream is out of
    the middle layers' reach (1.3 s), every channel that is kept has the value that the whole network gives it.

    Raises:
        ValueError: The network is slim already, ``living`` is not of its channels, or a bank has no living filter.
    """
    if backbone.shape.pooled != backbone.shape.channels:
        raise ValueError("this backbone is slim already; begin with the whole one")
    if living.dtype != np.bool_ or living.shape != (backbone.shape.channels,):
        raise ValueError(f"living must be {backbone.shape.channels} truth values, one a channel")
    kept = living[: backbone.shape.front_channels]
    banks = np.split(kept, np.cumsum(backbone.shape.filters)[:-1])
    if not all(bank.any() for bank in banks):
        raise ValueError("a bank of the front has no living filter; listen to more music before slimming")
    front = tuple(
        Layer(weight=one.weight[bank], bias=one.bias[bank], scale=one.scale[bank], offset=one.offset[bank])
        for one, bank in zip(backbone.front, banks, strict=True)
    )
    constants = np.concatenate([one.offset for one in backbone.front])  # of a filter that never fires
    first = backbone.middle[0]
    by_channel = first.weight.reshape(MIDDLE_CHANNELS, TIMBRAL_STEPS, -1)  # [filters, steps, channels]
    bias = first.bias + (by_channel[:, :, ~kept] * constants[~kept]).sum((1, 2))
    weight = np.ascontiguousarray(by_channel[:, :, kept].reshape(MIDDLE_CHANNELS, -1))
    there = np.concatenate([kept, np.ones(len(living) - len(kept), np.bool_)])  # channels that the slim one has
    return replace(
        backbone,
        shape=BackboneShape(filters=tuple(int(bank.sum()) for bank in banks), pooled=int(living.sum())),
        pooled=np.flatnonzero(living[there]),
        front=front,
        middle=(replace(first, weight=weight, bias=bias), *backbone.middle[1:]),
    )


PIECE_STEPS = 32
"""Most steps that are computed in one pass: a hop of half a second."""

# Places of a filter in one row: more would multiply more zeros, fewer would make more products.
_MOST_POSITIONS = 3  # of a timbral filter over mel
_STEPS_TOGETHER = 8  # of a temporal filter


class Front:
    """The five filter banks, ready for streams, as a few matrix products.

    Unfolding a convolution copies every number of its input once for each filter position that reads it, which takes
    longer than the arithmetic. Here several neighbouring positions are one row of a product: its matrix holds the
    filter once for each position, shifted, and zeros elsewhere. For the timbral filters only the steps are unfolded,
    once: what the positions read are slices of that. The maximum over mel comes first; bias, ReLU and batch norm
    follow on what is left. The order does not matter, since these are monotone; filters whose batch norm has a negative
    scale are negated beforehand.

    Args:
        backbone: Their weights.
    """

    def __init__(self, backbone: Backbone) -> None:
        layers = backbone.front
        timbral, temporal = layers[: len(TIMBRAL_BANDS)], layers[len(TIMBRAL_BANDS) :]
        self._timbral = [_TimbralBank(layer, bands) for layer, bands in zip(timbral, TIMBRAL_BANDS, strict=True)]
        self._temporal = [_TemporalBank(layer, steps) for layer, steps in zip(temporal, TEMPORAL_STEPS, strict=True)]
        self._sign = np.concatenate([_sign(layer) for layer in layers])
        self._bias = np.concatenate([layer.bias for layer in layers])
        self._scale = np.concatenate([layer.scale for layer in layers])
        self._offset = np.concatenate([layer.offset for layer in layers])

    def __call__(self, x: Floats) -> Floats:
        """Run on normalised log-mel ``x`` [B, 127 + n, 96], n at most 32: the n new steps, [B, n, front_channels]."""
        streams, steps = x.shape[:2]
        unfolded = _unfolded(x)
        groups = -(-(steps - HISTORY_STEPS) // _STEPS_TOGETHER)  # of new steps
        bands = _zeros(streams, MEL_BANDS // MEL_STRIDE, HISTORY_STEPS + groups * _STEPS_TOGETHER)
        bands[:, :, :steps] = x[:, :, ::MEL_STRIDE].swapaxes(1, 2)
        timbral = [bank(unfolded) for bank in self._timbral]
        temporal = [bank(bands)[:, : steps - HISTORY_STEPS] for bank in self._temporal]
        out = np.concatenate(timbral + temporal, axis=2)
        out *= self._sign
        return _activated(out, self._bias, self._scale, self._offset)


def _unfolded(x: Floats) -> Floats:
    """Return what the timbral filters read at each new step: [B, 127 + n, 96] to [B, n, 96 * 7], step beside step."""
    streams, n = x.shape[0], x.shape[1] - HISTORY_STEPS
    of_stream, of_step, of_band = x.strides
    rows: Floats = np.ndarray(  # a view
        (streams, n, MEL_BANDS, TIMBRAL_STEPS),
        x.dtype,
        buffer=x,
        offset=(HISTORY_STEPS - TIMBRAL_STEPS + 1) * of_step,
        strides=(of_stream, of_step, of_band, of_step),
    )
    return rows.reshape(streams, n, -1)


class _TimbralBank:
    """Filters of 7 steps by many mel bands."""

    def __init__(self, layer: Layer, bands: int) -> None:
        positions = len(range(0, MEL_BANDS - bands + 1, MEL_STRIDE))
        self._together = max(n for n in range(1, _MOST_POSITIONS + 1) if positions % n == 0)
        self._groups = positions // self._together
        span = bands + MEL_STRIDE * (self._together - 1)  # mel bands that one row reads
        filters = _signed(layer).reshape(-1, TIMBRAL_STEPS, bands).transpose(2, 1, 0)  # [bands, 7, filters]
        matrix = np.zeros((span, TIMBRAL_STEPS, self._together, filters.shape[2]), np.float32)
        for i in range(self._together):
            matrix[MEL_STRIDE * i : MEL_STRIDE * i + bands, :, i] = filters
        self._matrix = matrix.reshape(span * TIMBRAL_STEPS, -1)  # [span * 7, together * filters]

    def __call__(self, unfolded: Floats) -> Floats:
        """Return the maximum over mel: ``_unfolded``, contiguous, to [B, n, filters]."""
        streams, n, length = unfolded.shape
        size = unfolded.itemsize
        rows = np.ndarray(  # a view: [groups of positions, B * n, span * 7]
            (self._groups, streams * n, len(self._matrix)),
            unfolded.dtype,
            buffer=unfolded,
            strides=(MEL_STRIDE * self._together * TIMBRAL_STEPS * size, length * size, size),
        )
        of_groups = np.maximum.reduce(rows @ self._matrix)
        greatest: Floats = np.maximum.reduce(of_groups.reshape(streams, n, self._together, -1), axis=2)
        return greatest


class _TemporalBank:
    """Filters of many steps by one mel band."""

    def __init__(self, layer: Layer, steps: int) -> None:
        self._before = steps - 1  # steps that are read before the first new one
        filters = _signed(layer).T  # [steps, filters]
        matrix = np.zeros((self._before + _STEPS_TOGETHER, _STEPS_TOGETHER, filters.shape[1]), np.float32)
        for i in range(_STEPS_TOGETHER):
            matrix[i : i + steps, i] = filters
        self._matrix = matrix.reshape(len(matrix), -1)  # [steps read, 8 * filters]

    def __call__(self, bands: Floats) -> Floats:
        """Return the maximum over mel: [B, 48, 127 + n], contiguous and n a multiple of 8, to [B, n, filters]."""
        streams, mel, steps = bands.shape
        size, n = bands.itemsize, steps - HISTORY_STEPS
        rows = np.ndarray(  # a view: [groups of new steps, B * 48, steps read]
            (n // _STEPS_TOGETHER, streams * mel, len(self._matrix)),
            bands.dtype,
            buffer=bands,
            offset=(HISTORY_STEPS - self._before) * size,
            strides=(_STEPS_TOGETHER * size, steps * size, size),
        )
        answers = (rows @ self._matrix).reshape(len(rows), streams, mel, -1)
        greatest: Floats = np.maximum.reduce(answers, axis=2)
        return greatest.swapaxes(0, 1).reshape(streams, n, -1)


def _activated(out: Floats, bias: Floats, scale: Floats, offset: Floats) -> Floats:
    """Apply bias, ReLU and batch norm in place."""
    out += bias
    np.maximum(out, 0, out=out)
    out *= scale
    out += offset
    return out


def _sign(layer: Layer) -> Floats:
    """Return -1 for each filter whose batch norm has a negative scale, else 1."""
    return np.where(layer.scale < 0, np.float32(-1), np.float32(1))


def _signed(layer: Layer) -> Floats:
    """Return the layer's filters, [filters, numbers], negated where the batch norm has a negative scale."""
    return layer.weight * _sign(layer)[:, None]


# A filter of length n delivers the value of the step n/2 before the newest (3 for the timbral ones). To meet the
# longest one at the same step, the others wait this long.
_ALIGNMENT = (64 - 3, 64 - 3, 0, 64 - 32, 64 - 16)
_FRONT_HISTORY = max(_ALIGNMENT) + TIMBRAL_STEPS - 1
_MIDDLE_HISTORY = TIMBRAL_STEPS - 1


class StreamingBackbone:
    """The network, its weights rearranged for streams.

    Args:
        backbone: The weights.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.shape = backbone.shape
        self._input = backbone.input_scale, backbone.input_offset
        self._pooled = backbone.pooled
        self._front = Front(backbone)
        self._middle = [_Middle(layer) for layer in backbone.middle]
        self._aligned = _aligned(backbone.shape.filters)
        starts = [backbone.shape.channels + i * MEL_BANDS for i in range(3)]
        self._bands = [slice(start, start + MEL_BANDS) for start in starts]  # log-mel, its rise and its square

    def feed(self, streams: Sequence[BackboneStream], log_mels: Sequence[Floats]) -> None:
        """Feed each stream its next log-mel steps, [n, 96]; ``n`` may differ, and be 0."""
        longest = max((len(log_mel) for log_mel in log_mels), default=0)
        for start in range(0, longest, PIECE_STEPS):
            pieces = [log_mel[start : start + PIECE_STEPS] for log_mel in log_mels]
            fed = [(stream, piece) for stream, piece in zip(streams, pieces, strict=True) if len(piece)]
            numbers = self._numbers([stream for stream, _ in fed], [piece for _, piece in fed])
            for (stream, piece), rows in zip(fed, numbers, strict=True):
                stream.keep(rows[: len(piece)])

    def tokens(self, streams: Sequence[BackboneStream]) -> Floats:
        """Return the token that ends at the newest step of each stream, [n, token_features]; each has one at least."""
        greatest, mean = (_stacked(parts) for parts in zip(*(stream.pooled() for stream in streams), strict=True))
        log_mel, rise, squares = (mean[:, bands] for bands in self._bands)
        deviation = np.sqrt(np.maximum(squares - np.square(log_mel), 0))
        return np.concatenate([greatest[:, self._pooled], mean[:, self._pooled], log_mel, deviation, rise], axis=1)

    def _numbers(self, streams: Sequence[BackboneStream], pieces: Sequence[Floats]) -> Floats:
        """Return the values to pool of each new step, [B, n, channels + 3 * 96]; updates the streams' histories."""
        lengths = [len(piece) for piece in pieces]
        log_mel = _padded(pieces)
        n = log_mel.shape[1]
        scale, offset = self._input
        x = np.concatenate([_stacked([s.log_mel for s in streams]), log_mel * scale + offset], axis=1)
        front = np.concatenate([_stacked([s.front for s in streams]), self._front(x)], axis=1)
        # All banks at the same step, [B, 6 + n, front_channels].
        middle = np.concatenate([front[:, at : at + _MIDDLE_HISTORY + n, bank] for at, bank in self._aligned], axis=2)
        channels = [front[:, _FRONT_HISTORY:]]
        for i, layer in enumerate(self._middle):
            out = layer(middle)
            if i > 0:  # the second and third are residual
                out += middle[:, TIMBRAL_STEPS // 2 : TIMBRAL_STEPS // 2 + n]
            channels.append(out)
            if i < MIDDLE_LAYERS - 1:
                middle = np.concatenate([_stacked([s.middle[i] for s in streams]), out], axis=1)
                for s, tail in zip(streams, _tails(middle, lengths, _MIDDLE_HISTORY), strict=True):
                    s.middle[i] = tail
        first = _stacked([s.step_before(p) for s, p in zip(streams, pieces, strict=True)])
        before = np.concatenate([first, log_mel], axis=1)
        moved = [
            _tails(*of) for of in ((x, lengths, HISTORY_STEPS), (front, lengths, _FRONT_HISTORY), (before, lengths, 1))
        ]
        for s, *histories in zip(streams, *moved, strict=True):
            s.log_mel, s.front, s.last_step = histories
        rise = np.maximum(log_mel - before[:, :n], 0)
        return np.concatenate([*channels, log_mel, rise, np.square(log_mel)], axis=2)


class BackboneStream:
    """State of one stream: the history that the filters read, and the newest 186 steps, which a token pools.

    Args:
        net: The network that feeds the stream.

    Attributes:
        steps: Number of steps so far.
    """

    def __init__(self, net: StreamingBackbone) -> None:
        shape = net.shape
        self._channels = shape.channels
        self.log_mel = _zeros(HISTORY_STEPS, MEL_BANDS)  # normalised
        self.front = _zeros(_FRONT_HISTORY, shape.front_channels)
        self.middle = [_zeros(_MIDDLE_HISTORY, MIDDLE_CHANNELS) for _ in range(MIDDLE_LAYERS - 1)]
        self.last_step = _zeros(1, MEL_BANDS)
        self.steps = 0
        self._pieces: deque[_Piece] = deque()  # the newest steps, 186 at least once there are as many
        self._kept_steps = 0

    def step_before(self, piece: Floats) -> Floats:
        """Return the step before a piece, [1, 96]; before the first step, that step itself."""
        return self.last_step if self.steps else piece[:1]

    def keep(self, rows: Floats) -> None:
        """Store the values of new steps, [n, numbers]."""
        self._pieces.append(self._piece(rows.copy()))
        self.steps += len(rows)
        self._kept_steps += len(rows)
        while self._kept_steps - len(self._pieces[0].rows) >= TOKEN_STEPS:
            self._kept_steps -= len(self._pieces.popleft().rows)

    def pooled(self) -> tuple[Floats, Floats]:
        """Return maxima [channels] and means of all values [channels + 3 * 96] for the token that ends now."""
        oldest, *others = self._pieces
        surplus = max(0, self._kept_steps - TOKEN_STEPS)
        pieces = [self._piece(oldest.rows[surplus:]) if surplus else oldest, *others]
        greatest: Floats = np.maximum.reduce([piece.greatest for piece in pieces])
        mean: Floats = np.add.reduce([piece.total for piece in pieces])
        mean /= np.float32(self._kept_steps - surplus)
        return greatest, mean

    def _piece(self, rows: Floats) -> _Piece:
        return _Piece(rows, np.maximum.reduce(rows[:, : self._channels]), np.add.reduce(rows))


class _Piece(NamedTuple):
    """Steps that were computed together: values [n, channels + 3 * 96], maxima [channels], sums of all values."""

    rows: Floats
    greatest: Floats
    total: Floats


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


def _tails(batch: Floats, new: Sequence[int], length: int) -> list[Floats]:
    """Return the history of each stream from ``batch`` [B, length + n, ...]: ``length`` rows up to its newest step."""
    tails = [rows[n : n + length] for rows, n in zip(batch, new, strict=True)]
    return [tail.copy() for tail in tails]  # a view would hold on to the whole batch


def _stacked(arrays: Sequence[Floats]) -> Floats:
    """Stack along a new first dimension; a single one is not copied."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


def _padded(pieces: Sequence[Floats]) -> Floats:
    """Stack pieces [n, 96] of several lengths along a new first dimension, zeros behind the shorter ones."""
    longest = max(len(piece) for piece in pieces)
    if len(pieces) == 1:
        return pieces[0][None]
    padded = _zeros(len(pieces), longest, MEL_BANDS)
    for row, piece in zip(padded, pieces, strict=True):
        row[: len(piece)] = piece
    return padded


def _zeros(*shape: int) -> Floats:
    return np.zeros(shape, np.float32)


class _Middle:
    """A middle layer: a convolution over 7 steps, ReLU and batch norm."""

    def __init__(self, layer: Layer) -> None:
        self._matrix = np.ascontiguousarray(layer.weight.T)
        self._bias, self._scale, self._offset = layer.bias, layer.scale, layer.offset

    def __call__(self, x: Floats) -> Floats:
        """[B, 6 + n, channels], contiguous, to [B, n, 64]."""
        streams, steps, channels = x.shape
        n = steps - _MIDDLE_HISTORY
        rows = np.ndarray(  # a view: [B, n, 7 * channels]
            (streams, n, TIMBRAL_STEPS * channels), x.dtype, buffer=x, strides=x.strides
        )
        out = rows.reshape(-1, len(self._matrix)) @ self._matrix
        return _activated(out, self._bias, self._scale, self._offset).reshape(streams, n, -1)
