"""The joint model as it is trained: emotion as the main task, emotion category as the auxiliary task.

The method is that of Liu Lingyao, "Joint learning for multi-modal music emotion recognition fusing audio and text",
Journal of Anhui University (Natural Science) 50(2), 2026, 25-33. Its four parts are the names to look for:

1. *Private layers* (``private_audio``, ``private_text``): one ``ModalityEncoder`` each, specific to that modality.
2. *Shared layers* (``shared``): one ``ModalityEncoder`` that reads both modalities and serves both tasks.
3. ``combine``: the shared representation stands beside the private one of each modality.
4. ``FusionAttention``: self-attention over these; from it come the emotion and the category (``TaskHeads``).

Audio is represented at two time scales: the whole context, and its newest seconds, which follow a change without delay.
Several networks of one shape are the members of an ensemble; what is published is their mean. They are
computed side by side, since a small network costs little arithmetic and many calls: every tensor of the layers has the
members as its first dimension, and a member never reads what belongs to another.

Shapes: ``E`` members, ``B`` moments, ``N`` audio tokens (see ``audio_branch``), ``S`` time scales, ``L`` lyric lines,
``D`` model width, ``P`` parts that are fused. ``emotion.joint`` runs what was trained, without torch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor, nn

from stream_mer.emotion.joint import JointModel, JointModelConfig
from stream_mer.types import CATEGORIES, CLUSTERS


class AudioInput(NamedTuple):
    """Audio tokens of some recordings, and which of them each moment may read.

    Attributes:
        tokens: [R, N, audio_components], reduced by ``JointNetwork.components``.
        recording: [B], which of the ``R`` recordings each moment belongs to.
        weights: [B, S, N] from ``time_scales``: 0 for a token that a moment may not read. A row without any token is
            predicted from its text alone.
    """

    tokens: Tensor
    recording: Tensor
    weights: Tensor


class TextInput(NamedTuple):
    """Lyric lines: ``vectors`` [B, L, text_features], ``weights`` [B, L] in 0..1 (reliability), ``ages_s`` [B, L].

    A line with weight 0 is absent, and its vector and age have no influence.
    """

    vectors: Tensor
    weights: Tensor
    ages_s: Tensor


class Encoded(NamedTuple):
    """Elements of one modality, encoded by the private and by the shared layers, before pooling.

    Both are [E, R, elements, D]; None where the layers are not built. An element's encoding does not depend on its
    neighbours, so that a stream can keep it.
    """

    private: Tensor | None
    shared: Tensor | None


class Representations(NamedTuple):
    """Outputs of the private and of the shared layers, each [E, B, S, D]; of text [E, B, 1, D]."""

    private_audio: Tensor
    private_text: Tensor
    shared_audio: Tensor
    shared_text: Tensor


class Heads(NamedTuple):
    """``emotion`` [E, B, 2] valence and arousal in -1..1; ``category`` [E, B, 4] and ``cluster`` [E, B, 5] logits."""

    emotion: Tensor
    category: Tensor
    cluster: Tensor


class JointOutput(NamedTuple):
    """Everything one pass computes.

    Attributes:
        fused: The result.
        audio: The result from audio alone; equal to ``fused`` where a row has no text.
        text: The result of the light head on text alone; meaningless where a row has no text.
        text_gate: [B] influence of text on the result, 0..1; exactly 0 without text.
        representations: For the losses between private and shared layers.
    """

    fused: Heads
    audio: Heads
    text: Heads
    text_gate: Tensor
    representations: Representations


def time_scales(ages: Tensor, config: JointModelConfig) -> Tensor:
    """Return the weights of tokens at each time scale, [B, S, N].

    Args:
        ages: [B, N], in tokens: 0 for the newest, negative for one that is absent.
        config: Has the length of the second scale.

    Returns:
        1 where a token belongs to a scale, else 0: first the whole context, then the newest tokens.
    """
    context = ages >= 0
    scales = [context, context & (ages < config.newest_tokens)] if config.newest_tokens else [context]
    return torch.stack(scales, 1).float()


class PrincipalComponents(nn.Module):
    """Reduces audio tokens to their principal components, fixed before training; see ``training.fit``."""

    mean: Tensor
    basis: Tensor

    def __init__(self, features: int, components: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("basis", torch.eye(features, components))

    def forward(self, x: Tensor) -> Tensor:
        """[..., features] to [..., components], of variance 1 on average."""
        return (x - self.mean) @ self.basis


class Projection(nn.Module):
    """Brings one modality to the model's width, element by element."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int, config: JointModelConfig, *, input_dropout: float) -> None:
        super().__init__()
        self.members = config.members
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.drop = nn.Dropout(input_dropout)
        self.block = Block(config.members, features, config.width, config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, features] to [E, B, N, D], standardised by the training data's mean and scale."""
        x = ((x - self.mean) * self.scale).expand(self.members, *x.shape)
        if self.training and self.drop.p:
            # A feature is dropped from the whole sequence: its elements are nearly copies of each other.
            x = x * self.drop(x.new_ones(self.members, x.shape[1], 1, x.shape[3]))
        out: Tensor = self.block(x)
        return out


class ModalityEncoder(nn.Module):
    """Private layers of one modality, or the layers shared by both: encodes each element, then pools over time."""

    def __init__(self, config: JointModelConfig) -> None:
        super().__init__()
        self.block = Block(config.members, config.width, config.width, config.dropout)
        self.pools = nn.ModuleList(WeightedPool(config.members, config.width) for _ in range(config.scales))

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Encode elements [E, B, N, D] and pool them with ``weights`` [B, S, N]: [E, B, S, D]."""
        return self.pool(self.block(x), weights)

    def pool(self, encoded: Tensor, weights: Tensor) -> Tensor:
        """Attention pooling of encoded elements at each time scale; zeros where a row has no element."""
        scales = [pool(encoded, weights[:, i]) for i, pool in zip(range(weights.shape[1]), self.pools, strict=False)]
        return torch.stack(scales, 2)


class FusionAttention(nn.Module):
    """Self-attention over the representations of both modalities."""

    def __init__(self, config: JointModelConfig, parts: int) -> None:
        super().__init__()
        self.kind = nn.Parameter(torch.randn(config.members, 1, parts, config.width) * 0.02)
        self.norm = Norm(config.members, config.width)
        self.attention = SelfAttention(config.members, config.width, config.heads, config.dropout)
        self.feed = nn.Sequential(
            Norm(config.members, config.width), Block(config.members, config.width, config.width, config.dropout)
        )

    def forward(self, parts: Tensor, present: Tensor) -> Tensor:
        """Fuse ``parts`` [E, B, P, D], of which ``present`` [B, P] are there, to [E, B, D].

        Absent parts have no influence.
        """
        x = parts + self.attention(self.norm(parts + self.kind), present)
        x = x + self.feed(x)
        absent = ~present.unsqueeze(-1)
        fused: Tensor = x.masked_fill(absent, 0.0).sum(2) / present.to(x.dtype).sum(1, keepdim=True)
        return fused


class FusionConcatenation(nn.Module):
    """Concatenation in place of self-attention, for the ablation."""

    def __init__(self, config: JointModelConfig, parts: int) -> None:
        super().__init__()
        self.block = Block(config.members, parts * config.width, config.width, config.dropout)

    def forward(self, parts: Tensor, present: Tensor) -> Tensor:
        """As ``FusionAttention.forward``; absent parts count as zeros."""
        out: Tensor = self.block(parts.masked_fill(~present.unsqueeze(-1), 0.0).flatten(2))
        return out


class TaskHeads(nn.Module):
    """The main task (valence, arousal) and the auxiliary task (category, cluster) from one representation."""

    def __init__(self, config: JointModelConfig) -> None:
        super().__init__()
        self.emotion = Linear(config.members, config.width, 2)
        self.category = Linear(config.members, config.width, len(CATEGORIES))
        self.cluster = Linear(config.members, config.width, len(CLUSTERS))

    def forward(self, x: Tensor) -> Heads:
        """Map [E, B, D] to the outputs of both tasks."""
        return Heads(torch.tanh(self.emotion(x)), self.category(x), self.cluster(x))


class JointNetwork(nn.Module):
    """The network; see the module's docstring for its parts."""

    def __init__(self, config: JointModelConfig) -> None:
        super().__init__()
        self.config = config
        self.components = PrincipalComponents(config.audio_features, config.audio_components)
        self.audio_projection = Projection(config.audio_components, config, input_dropout=config.input_dropout)
        self.text_projection = Projection(config.text_features, config, input_dropout=config.text_dropout)
        if config.private:
            self.private_audio = ModalityEncoder(config)
            self.private_text = ModalityEncoder(config)
        if config.shared:
            self.shared = ModalityEncoder(config)
        self._branches = config.private + config.shared
        parts = (config.scales + 1) * self._branches
        self.fusion = (FusionAttention if config.attention else FusionConcatenation)(config, parts)
        self.heads = TaskHeads(config)
        self.text_heads = TaskHeads(config)

    @classmethod
    def from_model(cls, model: JointModel) -> JointNetwork:
        """Return the network of a checkpoint, in eval mode."""
        network = cls(model.config)
        network.load_state_dict({name: torch.from_numpy(tensor.copy()) for name, tensor in model.tensors.items()})
        return network.eval()

    def to_model(self) -> JointModel:
        """Return the network as it runs; later training does not change it."""
        tensors = {name: tensor.detach().numpy().copy() for name, tensor in self.state_dict().items()}
        return JointModel(self.config, tensors)

    def forward(self, audio: AudioInput, text: TextInput) -> JointOutput:
        """Compute both tasks for some moments; rows without text give exactly the result of audio alone."""
        encoded = self.encode_audio(audio.tokens)
        return self.fuse(self.pool_audio(encoded, audio.weights, audio.recording), audio.weights, text)

    def encode_audio(self, components: Tensor) -> Encoded:
        """Encode audio tokens, reduced to their components [R, N, audio_components], one by one."""
        x = self.audio_projection(components)
        return Encoded(
            self.private_audio.block(x) if self.config.private else None,
            self.shared.block(x) if self.config.shared else None,
        )

    def pool_audio(self, encoded: Encoded, weights: Tensor, recording: Tensor | None = None) -> list[Tensor]:
        """Pool encoded tokens at each time scale: the private and then the shared representation, [E, B, S, D].

        Args:
            encoded: Of ``R`` recordings.
            weights: [B, S, N], see ``AudioInput``.
            recording: [B]; None where each moment has a recording of its own, in their order.
        """
        branches = [(self.private_audio, encoded.private)] if self.config.private else []
        branches += [(self.shared, encoded.shared)] if self.config.shared else []
        return [
            encoder.pool(x if recording is None else x[:, recording], weights)
            for encoder, x in branches
            if x is not None
        ]

    def encode_text(self, mean: Tensor) -> list[Tensor]:
        """Represent the mean of the lines [B, text_features]: private, then shared, each [E, B, 1, D]."""
        x = self.text_projection(mean.unsqueeze(1))
        encoders = [self.private_text] if self.config.private else []
        encoders += [self.shared] if self.config.shared else []
        return [encoder.block(x) for encoder in encoders]

    def combine(self, audio: list[Tensor] | None, text: list[Tensor] | None) -> Heads:
        """Set shared beside private for each modality that is there, fuse them, and read both tasks from it.

        Args:
            audio: From ``pool_audio``; None judges words alone.
            text: From ``encode_text``; None judges audio alone, and nothing of text is computed.
        """
        there = audio or text
        if there is None:
            raise ValueError("there is nothing to combine")
        members, moments, _, width = there[0].shape
        absent = there[0].new_zeros(members, moments, 1, width)
        audio_parts = audio or [absent.expand(-1, -1, self.config.scales, -1)] * self._branches
        parts = torch.cat([*audio_parts, *(text or [absent] * self._branches)], 2)
        n_audio = self.config.scales * self._branches
        present = torch.zeros(moments, parts.shape[2], dtype=torch.bool, device=parts.device)
        present[:, :n_audio], present[:, n_audio:] = audio is not None, text is not None
        heads: Heads = self.heads(self.fusion(parts, present))
        return heads

    def fuse(self, audio: list[Tensor], weights: Tensor, text: TextInput) -> JointOutput:
        """As ``forward``, from pooled audio; ``weights`` [B, S, N] say which rows have some.

        What was sung so far is read as the mean of its lines: a single line is little evidence. Where a row has no
        audio, its words alone decide.
        """
        line_weights = text.weights * torch.exp2(-text.ages_s.clamp(min=0.0) / self.config.text_half_life_s)  # [B, L]
        has_text, has_audio = (line_weights > 0).any(1), (weights > 0).flatten(1).any(1)  # [B]
        audio_only = self.combine(audio, None)
        words = self.encode_text(_mean_line(text.vectors, line_weights))
        gate = self._gate(line_weights, has_audio | ~has_text)
        both = audio_only
        for rows, with_audio in ((has_text & has_audio, True), (has_text & ~has_audio, False)):
            if bool(rows.any()):  # the fusion with text is computed for these rows only
                of_rows = self.combine([x[:, rows] for x in audio] if with_audio else None, [x[:, rows] for x in words])
                both = Heads(*(_with_rows(x, rows, new) for x, new in zip(both, of_rows, strict=True)))
        reps = Representations(
            private_audio=audio[0],
            private_text=words[0] * has_text[:, None, None],
            shared_audio=audio[-1],
            shared_text=words[-1] * has_text[:, None, None],
        )
        return JointOutput(
            fused=Heads(*(a + gate[:, None] * (b - a) for a, b in zip(audio_only, both, strict=True))),
            audio=audio_only,
            text=self.text_heads(torch.stack(words).sum(0).squeeze(2)),
            text_gate=gate,
            representations=reps,
        )

    def _gate(self, weights: Tensor, has_audio: Tensor) -> Tensor:
        """Return the text gate, [B], which grows with number, reliability and recency of the lines.

        Exactly 0 without text, and 1 without audio.
        """
        total = weights.sum(1)
        return torch.where(has_audio, total / (total + self.config.text_half_lines), 1.0)


def _mean_line(vectors: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of lines [B, L, text_features]; a line of weight 0 has exactly no influence."""
    present = vectors.masked_fill((weights <= 0).unsqueeze(-1), 0.0)
    return torch.einsum("bl,bld->bd", weights, present) / weights.sum(1, keepdim=True).clamp(min=1e-9)


def _with_rows(x: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    """``x`` [E, B, n] with ``new`` [E, m, n] in place of its ``rows``, m truth values of [B]."""
    return x.index_copy(1, rows.nonzero().squeeze(1), new)


class Linear(nn.Module):
    """One linear map a member."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """[E, ..., inputs] to [E, ..., outputs]."""
        out = torch.baddbmm(self.bias, x.flatten(1, -2), self.weight)
        return out.view(*x.shape[:-1], out.shape[-1])


class Norm(nn.Module):
    """Layer normalisation with a scale and an offset for each member."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(members, 1, width))
        self.offset = nn.Parameter(torch.zeros(members, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """[E, ..., width] to the same shape."""
        flat = F.layer_norm(x.flatten(1, -2), x.shape[-1:])
        out: Tensor = flat * self.scale + self.offset
        return out.view_as(x)


class Block(nn.Sequential):
    """Linear map, layer normalisation, GELU, dropout: [E, ..., inputs] to [E, ..., outputs]."""

    def __init__(self, members: int, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__(Linear(members, inputs, outputs), Norm(members, outputs), nn.GELU(), nn.Dropout(dropout))


class WeightedPool(nn.Module):
    """Attention pooling over a sequence, with a weight of its own for every element.

    An element of weight 0 has exactly no influence; a row without any gives zeros.
    """

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.score = Linear(members, width, 1)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Pool ``x`` [E, B, N, D] with ``weights`` [B, N] >= 0 to [E, B, D]."""
        absent = weights <= 0  # [B, N]
        empty = absent.all(dim=1, keepdim=True)
        score = self.score(x).squeeze(-1) + torch.log(weights.clamp(min=1e-6))  # [E, B, N]
        score = score.masked_fill(absent, -torch.inf).masked_fill(empty, 0.0)
        attention = torch.softmax(score, dim=-1).masked_fill(empty, 0.0)
        present = x.masked_fill(absent.unsqueeze(-1), 0.0)
        pooled: Tensor = attention.unsqueeze(-2) @ present
        return pooled.squeeze(-2)


class SelfAttention(nn.Module):
    """Scaled dot-product self-attention with several heads (Vaswani et al. 2017)."""

    def __init__(self, members: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.read = Linear(members, width, 3 * width)
        self.write = Linear(members, width, width)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Let the elements of ``x`` [E, B, P, D] attend to those that are ``present`` [B, P]."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(2, 3)  # [E, B, heads, P, D / heads]
            for part in self.read(x).chunk(3, dim=-1)
        )
        dropout = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(query, key, value, present[:, None, None, :], dropout_p=dropout)
        out: Tensor = self.write(seen.transpose(2, 3).flatten(-2))
        return out
