"""The joint model: emotion as the main task, emotion category as the auxiliary task, over audio and lyrics.

The method is that of Liu Lingyao, "Joint learning for multi-modal music emotion recognition fusing audio and text",
Journal of Anhui University (Natural Science) 50(2), 2026, 25-33. Its four parts are the four module names to look for:

1. ``PrivateLayers``: one network for audio and one for text, for the main task: what only that modality says.
2. ``SharedLayers``: one network that reads both modalities and serves both tasks.
3. ``JointModel._combine``: the shared representation stands beside the private one of each modality.
4. ``FusionAttention``: self-attention over these; from it come the emotion and the category.

Several networks of one shape stand side by side as the members of an ensemble (see ``members``); what is published is
their mean.

Shapes: ``E`` members, ``B`` batch, ``N`` audio tokens (see ``backbone``), ``L`` lyric lines, ``D`` model width.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, NamedTuple

import torch
from msgspec import Meta
from torch import Tensor, nn

from stream_mer.emotion.members import Block, Linear, Norm, SelfAttention, WeightedPool
from stream_mer.types import CATEGORIES, CLUSTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class JointModelConfig:
    """The shape of the network; stored beside the weights. The ranges are those that a checkpoint may have.

    Attributes:
        audio_features: Width of an audio token.
        text_features: Width of the vector of a line of lyrics.
        members: Networks ``E`` in the ensemble.
        width: Width ``D`` of every representation.
        heads: Attention heads.
        dropout: Within the branches, while training.
        input_dropout: On audio tokens, while training.
        text_dropout: On the mean of the lines, while training.
        private: Build the private layers (switchable for ablations).
        shared: Build the shared layers (switchable for ablations).
        attention: Fuse by self-attention; False concatenates (switchable for ablations).
        text_half_life_s: Age at which a line of lyrics weighs half as much.
        text_half_lines: Lines, each fully sure and new, that move the result half as far as words may.
    """

    audio_features: Annotated[int, Meta(ge=1, le=65_536)]
    text_features: Annotated[int, Meta(ge=1, le=65_536)]
    members: Annotated[int, Meta(ge=1, le=100)] = 1
    width: Annotated[int, Meta(ge=1, le=4096)] = 128
    heads: Annotated[int, Meta(ge=1, le=64)] = 4
    dropout: Annotated[float, Meta(ge=0, le=1)] = 0.3
    input_dropout: Annotated[float, Meta(ge=0, le=1)] = 0.5
    text_dropout: Annotated[float, Meta(ge=0, le=1)] = 0.5
    private: bool = True
    shared: bool = True
    attention: bool = True
    text_half_life_s: Annotated[float, Meta(ge=0.1, le=1e6)] = 120.0
    text_half_lines: Annotated[float, Meta(ge=0.001, le=1000)] = 2.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class AudioInput(NamedTuple):
    """Audio tokens: ``tokens`` [B, N, audio_features] oldest first, ``mask`` [B, N] True where a token is present.

    A row without any token is judged by its words alone.
    """

    tokens: Tensor
    mask: Tensor


class TextInput(NamedTuple):
    """Lyric lines: ``vectors`` [B, L, text_features], ``weights`` [B, L] in 0..1 (reliability), ``ages_s`` [B, L].

    A line with weight 0 is absent, and its vector and age have no influence.
    """

    vectors: Tensor
    weights: Tensor
    ages_s: Tensor


class Encoded(NamedTuple):
    """Each element of one modality, by itself, as the private and the shared layers see it before pooling.

    Both are [E, B, elements, D]; None where the layers are not built. An element's encoding does not depend on its
    neighbours, so it may be kept.
    """

    private: Tensor | None
    shared: Tensor | None


class Representations(NamedTuple):
    """What the four parts computed, each [E, B, D]; the losses of the method compare them."""

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
        text_gate: [B] how far text moved the result from ``audio``, 0..1; exactly 0 without text.
        representations: For the losses between private and shared layers.
    """

    fused: Heads
    audio: Heads
    text: Heads
    text_gate: Tensor
    representations: Representations


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


class PrivateLayers(nn.Module):
    """What only one modality says, for the main task."""

    def __init__(self, config: JointModelConfig) -> None:
        super().__init__()
        self.block = Block(config.members, config.width, config.width, config.dropout)
        self.pool = WeightedPool(config.members, config.width)


class SharedLayers(PrivateLayers):
    """The same layers for both modalities and both tasks: what audio and words say alike."""


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


class JointModel(nn.Module):
    """The network; see the module's docstring for its parts."""

    def __init__(self, config: JointModelConfig) -> None:
        super().__init__()
        if not (config.private or config.shared):
            raise ValueError("a joint model needs private layers, shared layers or both")
        self.config = config
        self.audio_projection = Projection(config.audio_features, config, input_dropout=config.input_dropout)
        self.text_projection = Projection(config.text_features, config, input_dropout=config.text_dropout)
        if config.private:
            self.private_audio = PrivateLayers(config)
            self.private_text = PrivateLayers(config)
        if config.shared:
            self.shared = SharedLayers(config)
        parts = 2 * (config.private + config.shared)
        self.fusion = (FusionAttention if config.attention else FusionConcatenation)(config, parts)
        self.heads = TaskHeads(config)
        self.text_heads = TaskHeads(config)

    def forward(self, audio: AudioInput, text: TextInput) -> JointOutput:
        """Compute both tasks for a batch; rows without text give the result of audio alone, exactly."""
        return self.fuse(self.encode_audio(audio.tokens), audio.mask, text)

    def encode_audio(self, tokens: Tensor) -> Encoded:
        """Encode audio tokens [B, N, audio_features] one by one."""
        x = self.audio_projection(tokens)
        return Encoded(
            self.private_audio.block(x) if self.config.private else None,
            self.shared.block(x) if self.config.shared else None,
        )

    def fuse(self, audio: Encoded, mask: Tensor, text: TextInput) -> JointOutput:
        """As ``forward``, from audio tokens that are encoded, and their mask [B, N]."""
        weights = text.weights * torch.exp2(-text.ages_s.clamp(min=0.0) / self.config.text_half_life_s)  # [B, L]
        has_text = (weights > 0).any(dim=1)  # [B]
        has_audio = mask.any(dim=1) | ~has_text
        reps = self._represent(audio, mask, self._encode_text(text.vectors, weights), has_text)
        audio_only = self.heads(self._combine(reps, torch.ones_like(has_text), torch.zeros_like(has_text)))
        # A batch without words is spared the second fusion: it would give the first one's result again.
        both = self.heads(self._combine(reps, has_audio, has_text)) if bool(has_text.any()) else audio_only
        gate = self._gate(weights, has_audio)  # [B]
        fused = Heads(*(a + gate[:, None] * (b - a) for a, b in zip(audio_only, both, strict=True)))
        return JointOutput(fused, audio_only, self.text_heads(reps.private_text + reps.shared_text), gate, reps)

    def _encode_text(self, vectors: Tensor, weights: Tensor) -> Encoded:
        """Encode what was sung so far: the mean of its lines, since a single line says little; [E, B, 1, D].

        Args:
            vectors: [B, L, text_features].
            weights: [B, L]; a line of weight 0 has exactly no influence.
        """
        present = vectors.masked_fill((weights <= 0).unsqueeze(-1), 0.0)
        mean = torch.einsum("bl,bld->bd", weights, present) / weights.sum(1, keepdim=True).clamp(min=1e-9)
        x = self.text_projection(mean.unsqueeze(1))
        return Encoded(
            self.private_text.block(x) if self.config.private else None,
            self.shared.block(x) if self.config.shared else None,
        )

    def _gate(self, weights: Tensor, has_audio: Tensor) -> Tensor:
        """How far words may move the result, [B]: further the more lines there are, the surer and the more recent.

        Exactly 0 without words, and 1 where nothing else is known.
        """
        heard = weights.sum(1)
        return torch.where(has_audio, heard / (heard + self.config.text_half_lines), 1.0)

    def _represent(self, audio: Encoded, mask: Tensor, text: Encoded, has_text: Tensor) -> Representations:
        """Private and shared representation of each modality, each [E, B, D]; zeros for what is not there."""
        heard, spoken = (m.to(self.audio_projection.mean.dtype) for m in (mask, has_text.unsqueeze(1)))
        none = heard.new_zeros(self.config.members, len(mask), self.config.width)
        private, shared = self.config.private, self.config.shared
        return Representations(
            private_audio=self.private_audio.pool(audio.private, heard) if private else none,
            private_text=self.private_text.pool(text.private, spoken) if private else none,
            shared_audio=self.shared.pool(audio.shared, heard) if shared else none,
            shared_text=self.shared.pool(text.shared, spoken) if shared else none,
        )

    def _combine(self, reps: Representations, with_audio: Tensor, with_text: Tensor) -> Tensor:
        """Set shared beside private for each modality and fuse them: [E, B, D].

        ``with_audio`` and ``with_text`` [B] say which modalities take part.
        """
        audio_parts = [reps.private_audio] * self.config.private + [reps.shared_audio] * self.config.shared
        text_parts = [reps.private_text] * self.config.private + [reps.shared_text] * self.config.shared
        parts = torch.stack([*audio_parts, *text_parts], dim=2)  # [E, B, P, D]
        present = torch.stack([with_audio] * len(audio_parts) + [with_text] * len(text_parts), dim=1)  # [B, P]
        fused: Tensor = self.fusion(parts, present)
        return fused
