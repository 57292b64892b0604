"""The joint model as it runs: emotion as the main task, emotion category as the auxiliary task, over audio and lyrics.

The method is that of Liu Lingyao, "Joint learning for multi-modal music emotion recognition fusing audio and text",
Journal of Anhui University (Natural Science) 50(2), 2026, 25-33. ``training.network`` has the same network as it is
trained, part by part under the names of the paper; a test holds both to the same numbers. Here are its four parts:

1. *Private layers* and 2. *shared layers* encode each audio token once (``encode_audio``), and the lyrics
   (``encode_text``).
3. ``pool_audio`` represents the tokens of the context at two time scales: all of them, and the newest seconds.
4. ``combine`` sets the representations of both modalities side by side; self-attention over them gives valence and
   arousal (the main task), category and cluster (the auxiliary task).

Several networks of one shape are the members of an ensemble. They are computed side by side, private and shared layers
too, since a small network costs little arithmetic and many calls. In training each matrix has its own normalisation
and bias; here constants that follow each other are multiplied once, at the start.

Shapes: ``E`` members, ``B`` streams, ``N`` audio tokens, ``K`` branches (private, shared; one in ablations), ``S``
time scales, ``D`` model width, ``P`` parts that are fused.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from stream_mer.types import CATEGORIES, CLUSTERS, Floats
from stream_mer.utils.model_files import Tensors, check_tensors, like

OUTPUTS = 2 + len(CATEGORIES) + len(CLUSTERS)
"""Number of outputs: valence, arousal, logits of the category, logits of the cluster."""

_HEADS = {"emotion": 2, "category": len(CATEGORIES), "cluster": len(CLUSTERS)}
_NORM_EPSILON = np.float32(1e-5)
_ANY_AGE = np.iinfo(np.int64).max
_FEW_ROWS = 4  # see _product


@dataclass(frozen=True, slots=True, kw_only=True)
class JointModelConfig:
    """The shape of the network; stored beside the weights. The ranges are those that a checkpoint may have.

    Attributes:
        audio_features: Width of an audio token.
        text_features: Width of the vector of a line of lyrics.
        audio_components: Principal components of an audio token that the network reads.
        members: Networks ``E`` in the ensemble.
        width: Width ``D`` of every representation.
        heads: Attention heads.
        dropout: Within the branches, while training.
        input_dropout: On the components of audio tokens, while training.
        text_dropout: On the mean of the lines, while training.
        newest_tokens: Audio tokens of the second time scale; 0 leaves the context alone (switchable for ablations).
        private: Build the private layers (switchable for ablations).
        shared: Build the shared layers (switchable for ablations).
        attention: Fuse by self-attention; False concatenates (switchable for ablations).
        text_half_life_s: Age at which a line of lyrics weighs half as much.
        text_half_lines: Reliable, new lines at which the text gate is 0.5.
    """

    audio_features: Annotated[int, Meta(ge=1, le=65_536)]
    text_features: Annotated[int, Meta(ge=1, le=65_536)]
    audio_components: Annotated[int, Meta(ge=1, le=4096)] = 400
    members: Annotated[int, Meta(ge=1, le=100)] = 1
    width: Annotated[int, Meta(ge=1, le=4096)] = 128
    heads: Annotated[int, Meta(ge=1, le=64)] = 4
    dropout: Annotated[float, Meta(ge=0, le=1)] = 0.5
    input_dropout: Annotated[float, Meta(ge=0, le=1)] = 0.1
    text_dropout: Annotated[float, Meta(ge=0, le=1)] = 0.5
    newest_tokens: Annotated[int, Meta(ge=0, le=120)] = 6
    private: bool = True
    shared: bool = True
    attention: bool = True
    text_half_life_s: Annotated[float, Meta(ge=0.1, le=1e6)] = 120.0
    text_half_lines: Annotated[float, Meta(ge=0.001, le=1000)] = 2.0

    def __post_init__(self) -> None:
        """Check what the ranges of single fields cannot say.

        Raises:
            ValueError: It has neither private nor shared layers, or the heads do not share the width evenly.
        """
        if not (self.private or self.shared):
            raise ValueError("a joint model needs private layers, shared layers or both")
        if self.attention and (self.heads < 1 or self.width % self.heads):
            raise ValueError(f"{self.heads} heads cannot share a width of {self.width} evenly")

    @property
    def scales(self) -> int:
        """Time scales ``S`` of the audio."""
        return 2 if self.newest_tokens else 1

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Encoded(NamedTuple):
    """Encoded audio tokens, which a stream keeps: an encoding does not depend on its neighbours.

    Attributes:
        values: Shape ``[n, E, K, D]``.
        scores: Attention of the pooling before its softmax, for each time scale, shape ``[n, E, K, S]``.
    """

    values: Floats
    scores: Floats


class JointModel:
    """The network, ready for any number of streams.

    Args:
        config: Its shape.
        tensors: Its weights, by the names of ``joint_tensors``.

    Raises:
        ValueError: The weights are not of this shape.
    """

    def __init__(self, config: JointModelConfig, tensors: Tensors) -> None:
        check_tensors(tensors, joint_tensors(config))
        self.config = config
        self.tensors = tensors
        self._components = _dense_parts(tensors["components.basis"])
        mean = tensors["components.mean"] @ tensors["components.basis"] + tensors["audio_projection.mean"]
        self._audio = _Projection(tensors, "audio_projection", mean)
        self._text = _Projection(tensors, "text_projection", tensors["text_projection.mean"])
        self._audio_layers = _Layers(tensors, _encoders(config, "audio"))
        self._text_layers = _Layers(tensors, _encoders(config, "text"))
        self._pool_weight, self._pool_bias = _pools(tensors, config)
        self._fusion = (_Attention if config.attention else _Concatenation)(tensors, config)
        self._heads, self._heads_bias = (
            np.concatenate([tensors[f"heads.{name}.{part}"] for name in _HEADS], axis=2) for part in ("weight", "bias")
        )

    def encode_audio(self, tokens: Floats) -> Encoded:
        """Encode audio tokens, shape ``[n, audio_features]``, of one stream or of several."""
        components = np.concatenate([_product(tokens[:, features], basis) for features, basis in self._components], 1)
        values = self._audio_layers(self._audio(components))  # [E, n, K, D]
        scores = values.swapaxes(1, 2) @ self._pool_weight + self._pool_bias  # [E, K, n, S]
        return Encoded(values=values.swapaxes(0, 1), scores=scores.transpose(2, 0, 1, 3))

    def pool_audio(self, values: Floats, scores: Floats, ages: NDArray[np.int64]) -> Floats:
        """Pool the tokens of each stream's context by attention, at each time scale.

        Args:
            values: Of the streams' contexts, shape ``[B, N, E, K, D]``.
            scores: Likewise, shape ``[B, N, E, K, S]``.
            ages: In tokens: 0 for the newest, negative for a place that is empty, shape ``[B, N]``; each stream has one
                token at least.

        Returns:
            Shape ``[E, B, K, S, D]``.
        """
        is_there = time_scales(ages, self.config)[:, None, None]  # [B, 1, 1, S, N]
        there = np.where(is_there, scores.transpose(0, 2, 3, 4, 1), np.float32(-np.inf))  # [B, E, K, S, N]
        pooled: Floats = _softmax(there) @ values.transpose(0, 2, 3, 1, 4)
        return pooled.swapaxes(0, 1)

    def encode_text(self, mean: Floats) -> Floats:
        """Represent the mean of the lyric lines, shape ``[B, text_features]``, as ``[E, B, K, D]``."""
        return self._text_layers(self._text(mean))

    def combine(self, audio: Floats | None, text: Floats | None) -> Floats:
        """Fuse the representations of the modalities that are there, and read both tasks from the result.

        Args:
            audio: From ``pool_audio``; None judges words alone.
            text: From ``encode_text``; None judges audio alone.

        Returns:
            Mean of the members: valence and arousal (-1..1), the category's logits, the cluster's; ``[B, 11]``.

        Raises:
            ValueError: Both are None.
        """
        if audio is None and text is None:
            raise ValueError("there is nothing to combine")
        return self._outputs(self._fusion(self._audio_parts(audio), text))

    def combine_with_and_without_text(self, audio: Floats, text: Floats) -> tuple[Floats, Floats]:
        """Return what ``combine`` gives of both modalities, and of audio alone, in one pass: each weight is read once.

        Args:
            audio: From ``pool_audio``.
            text: From ``encode_text``.

        Returns:
            Outputs of both, and of audio alone, each ``[B, 11]``.
        """
        outputs = self._outputs(self._fusion(self._audio_parts(audio), text, audio_alone=True))
        streams = audio.shape[1]
        return outputs[:streams], outputs[streams:]

    def _audio_parts(self, audio: Floats | None) -> Floats | None:
        """Return what is fused of the audio, [E, B, K * S, D]."""
        return None if audio is None else audio.reshape(*audio.shape[:2], -1, self.config.width)

    def _outputs(self, fused: Floats) -> Floats:
        """Read both tasks, [E, B, D] to [B, 11]."""
        outputs = fused @ self._heads
        outputs += self._heads_bias
        np.tanh(outputs[..., :2], out=outputs[..., :2])
        return _mean(outputs, 0)


def time_scales(ages: NDArray[np.int64], config: JointModelConfig) -> NDArray[np.bool_]:
    """Return which tokens belong to each time scale, ``[B, S, N]``: the whole context, then its newest tokens.

    Args:
        ages: Shape ``[B, N]``, in tokens: 0 for the newest, negative for one that is absent.
        config: Has the length of the second scale.
    """
    ages = ages[:, None]
    is_there: NDArray[np.bool_] = ages >= 0
    if not config.newest_tokens:
        return is_there
    return is_there & (ages < np.array([[_ANY_AGE], [config.newest_tokens]]))


def joint_tensors(config: JointModelConfig) -> Tensors:
    """Return what a checkpoint holds of a joint model: arrays of the right shapes that take no memory."""
    members, width = config.members, config.width
    parts = (config.scales + 1) * (config.private + config.shared)
    found: dict[str, NDArray[np.float32]] = {
        "components.mean": like(config.audio_features),
        "components.basis": like(config.audio_features, config.audio_components),
    }

    def linear(name: str, inputs: int, outputs: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = like(members, inputs, outputs), like(members, 1, outputs)

    def norm(name: str) -> None:
        found[f"{name}.scale"] = found[f"{name}.offset"] = like(members, 1, width)

    def block(name: str, inputs: int) -> None:
        linear(f"{name}.0", inputs, width)
        norm(f"{name}.1")

    for modality, features in (("audio", config.audio_components), ("text", config.text_features)):
        found[f"{modality}_projection.mean"] = found[f"{modality}_projection.scale"] = like(features)
        block(f"{modality}_projection.block", features)
    for name in dict.fromkeys(_encoders(config, "audio") + _encoders(config, "text")):
        block(f"{name}.block", width)
        for i in range(config.scales):
            linear(f"{name}.pools.{i}.score", width, 1)
    if config.attention:
        found["fusion.kind"] = like(members, 1, parts, width)
        norm("fusion.norm")
        linear("fusion.attention.read", width, 3 * width)
        linear("fusion.attention.write", width, width)
        norm("fusion.feed.0")
        block("fusion.feed.1", width)
    else:
        block("fusion.block", parts * width)
    for heads in ("heads", "text_heads"):
        for name, outputs in _HEADS.items():
            linear(f"{heads}.{name}", width, outputs)
    return found


def _encoders(config: JointModelConfig, modality: str) -> list[str]:
    """Return the names of the layers that encode a modality: its private ones, then the shared ones."""
    return [f"private_{modality}"] * config.private + ["shared"] * config.shared


def _pools(tensors: Tensors, config: JointModelConfig) -> tuple[Floats, Floats]:
    """Return the weights of the attention pooling of audio, [E, K, D, S], and its biases, [E, K, 1, S]."""
    names = [[f"{name}.pools.{i}.score" for i in range(config.scales)] for name in _encoders(config, "audio")]
    weight, bias = (
        np.stack([np.concatenate([tensors[f"{name}.{kind}"] for name in of_one], axis=2) for of_one in names], axis=1)
        for kind in ("weight", "bias")
    )
    return weight, bias


def _dense_parts(basis: Floats) -> list[tuple[slice, Floats]]:
    """Return the features that neighbouring components read, and their part of the basis, [components, features].

    Each audio network has components of its own, so that half of the basis is zeros, which cost memory traffic.
    """
    read = basis != 0
    first, stop = read.argmax(0), len(basis) - read[::-1].argmax(0)
    edges = [0, *(np.flatnonzero(np.diff(first) | np.diff(stop)) + 1).tolist(), basis.shape[1]]
    return [
        (slice(first[at], stop[at]), _transposed(basis[first[at] : stop[at], at:end]))
        for at, end in itertools.pairwise(edges)
    ]


class _Block:
    """Linear map, layer normalisation, GELU: ``[E, n, inputs]`` to ``[E, n, D]``.

    The mean that the normalisation subtracts is subtracted from the matrix.

    Args:
        tensors: Of the model.
        name: Of the block.
        scale: Multiplies the inputs, ``[E or 1, 1, inputs]``.
        offset: Is added to them then.
    """

    def __init__(
        self, tensors: Tensors, name: str, *, scale: Floats | None = None, offset: Floats | None = None
    ) -> None:
        weight, bias = _after(tensors[f"{name}.0.weight"], tensors[f"{name}.0.bias"], scale, offset)
        self._weight = weight - weight.mean(2, keepdims=True)
        self._bias = bias - bias.mean(2, keepdims=True)
        self._scale, self._offset = _after_unit(tensors[f"{name}.1.scale"]), tensors[f"{name}.1.offset"]

    def __call__(self, x: Floats) -> Floats:
        return self._activated(x @ self._weight)

    def _activated(self, out: Floats) -> Floats:
        out += self._bias
        return _gelu(_scaled(_unit(out), self._scale, self._offset))


class _Projection(_Block):
    """Brings one modality, less its ``mean`` [features] and scaled, to the model's width: to ``[E, n, D]``."""

    def __init__(self, tensors: Tensors, name: str, mean: Floats) -> None:
        scale = tensors[f"{name}.scale"][None, None]
        super().__init__(tensors, f"{name}.block", scale=scale, offset=-mean * scale)
        self._weight = _transposed(self._weight)

    def __call__(self, x: Floats) -> Floats:
        return self._activated(_product(x, self._weight))


class _Layers:
    """Private and shared layers side by side: ``[E, n, D]`` to ``[E, n, K, D]``."""

    def __init__(self, tensors: Tensors, names: list[str]) -> None:
        blocks = [f"{name}.block" for name in names]
        weights = [tensors[f"{name}.0.weight"] for name in blocks]
        biases = [tensors[f"{name}.0.bias"] for name in blocks]
        self._weight = _transposed(
            np.concatenate([weight - weight.mean(2, keepdims=True) for weight in weights], axis=2)
        )
        self._bias = np.concatenate([bias - bias.mean(2, keepdims=True) for bias in biases], axis=2)
        scale, self._offset = (
            np.stack([tensors[f"{name}.1.{part}"] for name in blocks], axis=2) for part in ("scale", "offset")
        )  # [E, 1, K, D]
        self._scale = _after_unit(scale)

    def __call__(self, x: Floats) -> Floats:
        out = _product(x, self._weight)
        out += self._bias
        out = out.reshape(*x.shape[:2], *self._scale.shape[2:])
        return _gelu(_scaled(_unit(out), self._scale, self._offset))


class _Attention:
    """Self-attention over the parts of both modalities, ``[E, B, P, D]`` to ``[E, B, D]``."""

    def __init__(self, tensors: Tensors, config: JointModelConfig) -> None:
        self._heads = config.heads
        self._kind = tensors["fusion.kind"]
        self._n_audio = config.scales * (config.private + config.shared)
        read, bias = _after(
            tensors["fusion.attention.read.weight"],
            tensors["fusion.attention.read.bias"],
            _after_unit(tensors["fusion.norm.scale"]),
            tensors["fusion.norm.offset"],
        )
        # Of query, key and value, [E, 3, D, D] and [E, 3, 1, D]: three small products are faster than a wide one.
        self._read, self._read_bias = (np.stack(np.split(one, 3, axis=2), axis=1) for one in (read, bias))
        scale = np.float32(math.sqrt(config.heads / config.width))  # of the products of query and key
        self._read[:, 0] *= scale
        self._read_bias[:, 0] *= scale
        self._write, self._write_bias = (tensors[f"fusion.attention.write.{part}"] for part in ("weight", "bias"))
        self._feed = _Block(
            tensors,
            "fusion.feed.1",
            scale=_after_unit(tensors["fusion.feed.0.scale"]),
            offset=tensors["fusion.feed.0.offset"],
        )

    def __call__(self, audio: Floats | None, text: Floats | None, *, audio_alone: bool = False) -> Floats:
        """Fuse the parts that are there; absent ones have no influence.

        Args:
            audio: Shape ``[E, B, K * S, D]``.
            text: Shape ``[E, B, K, D]``.
            audio_alone: Both are there, and the audio is fused alone, too.

        Returns:
            Shape ``[E, B, D]``; ``[E, 2 B, D]`` if ``audio_alone``, which comes last.
        """
        there = [part for part in (audio, text) if part is not None]
        first, last = (None if audio is not None else self._n_audio), (None if text is not None else self._n_audio)
        parts = _joined(there, 2)
        members, streams, n, width = parts.shape
        of_kind = (parts + self._kind[:, :, first:last]).reshape(members, 1, -1, width)
        read = _unit(_centred(of_kind)) @ self._read  # [E, 3, B * P, D]
        read += self._read_bias
        query, key, value = (  # [E, B, heads, P, D / heads]
            read.reshape(members, 3, streams, n, self._heads, -1).transpose(1, 0, 2, 4, 3, 5)
        )
        sizes = [n, self._n_audio] if audio_alone else [n]  # of the sets of parts that see each other
        seen = _joined(
            [_softmax(query[..., :m, :] @ key[..., :m, :].swapaxes(3, 4)) @ value[..., :m, :] for m in sizes], 3
        )
        rows = _joined([parts[:, :, :m] for m in sizes], 2).reshape(members, -1, width)
        rows = rows + seen.swapaxes(2, 3).reshape(rows.shape) @ self._write
        rows += self._write_bias
        rows += self._feed(_unit(_centred(rows)))
        fused = rows.reshape(members, streams, -1, width)
        ends = itertools.accumulate(sizes)
        return _joined([_mean(fused[:, :, end - m : end], 2) for m, end in zip(sizes, ends, strict=True)], 1)


class _Concatenation:
    """Concatenation in place of self-attention, for the ablation; absent parts count as zeros."""

    def __init__(self, tensors: Tensors, config: JointModelConfig) -> None:
        branches = config.private + config.shared
        self._absent = (config.scales * branches, branches)
        self._block = _Block(tensors, "fusion.block")

    def __call__(self, audio: Floats | None, text: Floats | None, *, audio_alone: bool = False) -> Floats:
        """As of ``_Attention``."""
        like_it = next(part for part in (audio, text) if part is not None)
        members, streams, _, width = like_it.shape
        parts = [
            np.zeros((members, streams, n, width), np.float32) if part is None else part
            for part, n in zip((audio, text), self._absent, strict=True)
        ]
        fused = self._block(np.concatenate(parts, axis=2).reshape(members, streams, -1))
        return np.concatenate([fused, self(audio, None)], axis=1) if audio_alone else fused


def _after(weight: Floats, bias: Floats, scale: Floats | None, offset: Floats | None) -> tuple[Floats, Floats]:
    """Return the linear map that a scale and an offset of the inputs, [.., 1, inputs], and then a linear map make."""
    if scale is None or offset is None:
        return weight, bias
    return scale.swapaxes(1, 2) * weight, bias + offset @ weight


def _transposed(x: Floats) -> Floats:
    """Return matrices [.., n, m] as [.., m, n] in that order in memory."""
    return np.ascontiguousarray(x.swapaxes(-1, -2))


def _product(x: Floats, weight: Floats) -> Floats:
    """Return the product of rows [.., n, inputs] and a matrix [.., outputs, inputs]: [.., n, outputs].

    A few rows, such as the one of a single stream, take as long as reading the matrix from memory does. Then one dot
    product an output is faster than the product of BLAS.
    """
    if x.shape[-2] <= _FEW_ROWS:
        product: Floats = np.vecdot(weight[..., None, :, :], x[..., None, :])
        return product
    return _transposed(weight @ _transposed(x))


def _joined(arrays: Sequence[Floats], axis: int) -> Floats:
    """Concatenate; a single one is not copied."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis)


def _mean(x: Floats, axis: int) -> Floats:
    """Return the mean over an axis; ``np.mean`` takes several times as long for a few numbers."""
    mean: Floats = np.add.reduce(x, axis=axis)
    mean /= np.float32(x.shape[axis])
    return mean


def _centred(x: Floats) -> Floats:
    """Return ``x`` less its mean over the last axis."""
    return x - _mean(x, -1)[..., None]


def _unit(x: Floats) -> Floats:
    """Divide by the length over the last axis, in place.

    Where the mean is 0, this is layer normalisation but for a factor, which ``_after_unit`` brings to what follows.
    """
    length = np.vecdot(x, x)[..., None]
    length += np.float32(x.shape[-1]) * _NORM_EPSILON
    x /= np.sqrt(length, out=length)
    return x


def _after_unit(scale: Floats) -> Floats:
    """Return the scale of a layer normalisation, [.., D], for what ``_unit`` returns."""
    return scale * np.float32(math.sqrt(scale.shape[-1]))


def _scaled(x: Floats, scale: Floats, offset: Floats) -> Floats:
    """Apply scale and offset in place."""
    x *= scale
    x += offset
    return x


_ERFC = np.array([0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429], np.float32) / 2
_ERFC_STEP = np.float32(0.3275911 / math.sqrt(2))


def _gelu(x: Floats) -> Floats:
    """Return x times the probability that a normal variable is below x, within 2e-7.

    The probability is by formula 7.1.26 of Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), since
    numpy has no error function.
    """
    size = np.abs(x)
    t = size * _ERFC_STEP
    t += np.float32(1)
    np.divide(np.float32(1), t, out=t)
    tail: Floats = _ERFC[-1] * t
    for coefficient in _ERFC[-2::-1]:
        tail += coefficient
        tail *= t
    half_square = np.square(x, out=t)
    half_square *= np.float32(-0.5)
    tail *= np.exp(half_square, out=half_square)
    tail *= size
    above: Floats = np.maximum(x, np.float32(0))
    above -= tail
    return above


def _softmax(x: Floats) -> Floats:
    """Return the softmax over the last axis; ``x`` is overwritten."""
    x -= x.max(axis=-1, keepdims=True)
    np.exp(x, out=x)
    x /= np.add.reduce(x, axis=-1, keepdims=True)
    return x
