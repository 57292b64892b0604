"""The joint model at work: each audio token is encoded once, and a result costs the same however long the context is.

The numbers are those of ``JointModel`` in evaluation, within the rounding of float32. They take fewer and larger steps:
weights that follow one another without anything between them are multiplied beforehand, the members that read the same
input do so in one product, private and shared layers are computed side by side, and what is not there (a modality that
is silent) is left out rather than masked.

Shapes: ``E`` members, ``B`` streams, ``D`` model width; ``K`` kinds of layers, private and shared, and ``G = E * K``
networks side by side, member by member.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor, nn

from stream_mer.emotion.members import Block, Linear, Norm
from stream_mer.emotion.model import FusionAttention, JointModel, PrivateLayers, Projection
from stream_mer.emotion.streaming_backbone import together
from stream_mer.types import CATEGORIES, CLUSTERS

OUTPUTS = 2 + len(CATEGORIES) + len(CLUSTERS)
"""Valence and arousal, the category's logits, the cluster's logits."""


class TokenCodes:
    """The codes of one stream's audio tokens, in a ring: one place for each that is kept, and one for the newest.

    A code is what private and shared layers see of a token, and how much of it the pooling takes: [G, D + 1].

    Args:
        joint: Whose codes they are.
        kept: Tokens that are kept, at least 1.

    Attributes:
        ring: [G, 1 + kept, D + 1]; the last number is -inf where there is no token yet.
    """

    def __init__(self, joint: StreamingJoint, *, kept: int) -> None:
        self.ring = torch.zeros(joint.networks, 1 + kept, joint.width + 1, device=joint.device)
        self.ring[:, :, -1] = -torch.inf
        self._kept = kept
        self._count = 0

    def take(self, codes: Sequence[Tensor]) -> None:
        """Take the codes of tokens that are to be kept, and last of all of the newest one."""
        for code in codes[:-1]:
            self.ring[:, 1 + self._count % self._kept] = code
            self._count += 1
        self.ring[:, 0] = codes[-1]

    def hidden(self, *, newest_kept: bool) -> int:
        """The place that does not count.

        Args:
            newest_kept: Whether the token kept last counts. If not (it nearly repeats the newest), it does not; else
                the oldest gives way where all places are taken. So the context is the same at every moment.
        """
        return 1 + (self._count if newest_kept else self._count - 1) % self._kept


class StreamingJoint:
    """The network, its weights rearranged for streams.

    Nothing that it computes is to be differentiated: call it within ``torch.inference_mode``.

    Args:
        joint: The weights; not to be changed any more.
    """

    @torch.no_grad()
    def __init__(self, joint: JointModel) -> None:
        config = joint.config
        self.width, self.device = config.width, joint.audio_projection.mean.device
        of_audio = ([joint.private_audio] if config.private else []) + ([joint.shared] if config.shared else [])
        of_text = ([joint.private_text] if config.private else []) + ([joint.shared] if config.shared else [])
        self.networks = config.members * len(of_audio)
        self._audio = _Encoder(joint.audio_projection, of_audio)
        self._text = _Encoder(joint.text_projection, of_text)
        self._fusion = _Attention(joint.fusion) if isinstance(joint.fusion, FusionAttention) else None
        self._concatenation = None if config.attention else joint.fusion
        heads = [joint.heads.emotion, joint.heads.category, joint.heads.cluster]
        self._heads = torch.cat([head.bias for head in heads], 2), torch.cat([head.weight for head in heads], 2)

    def encode_audio(self, tokens: Tensor) -> Tensor:
        """Encode audio tokens [n, audio_features], each by itself: their codes, [n, G, D + 1]."""
        values, scores = self._audio(tokens)
        return torch.cat([values, scores], 3).transpose(0, 1).flatten(1, 2)

    def pool_audio(self, streams: Sequence[TokenCodes], hidden: Sequence[int]) -> Tensor:
        """What each stream's tokens say together, [B, G, D]; ``hidden`` is the place of each that does not count."""
        rings = together([stream.ring for stream in streams])  # [B, G, places, D + 1]
        scores = rings[..., self.width].clone()
        for i, place in enumerate(hidden):
            scores[i, :, place] = -torch.inf
        attention = torch.softmax(scores, dim=2).view(-1, 1, scores.shape[2])  # [B * G, 1, places]
        return torch.bmm(attention, rings.flatten(0, 1)[..., : self.width]).view(len(streams), -1, self.width)

    def encode_text(self, means: Tensor) -> Tensor:
        """What the words of each stream say, [B, G, D], from the weighted means of their lines, [B, text_features].

        There is one element, so that pooling leaves it as it is.
        """
        return self._text(means)[0].transpose(0, 1).flatten(1, 2)

    def outputs(self, audio: Tensor | None, text: Tensor | None) -> Tensor:
        """Fuse what the modalities say, each [B, G, D]: the means of the members' outputs, [results, B, OUTPUTS].

        One result where a modality is left out; of both that of audio alone, and that of both.
        """
        bias, weight = self._heads
        parts = [None if said is None else self._parts(said) for said in (audio, text)]
        fused = self._attend(*parts) if self._fusion else self._concatenate(*parts)
        out = torch.baddbmm(bias, fused.flatten(1, 2), weight)
        out[:, :, :2].tanh_()
        return out.mean(0).view(fused.shape[1], -1, OUTPUTS)

    def _attend(self, audio: Tensor | None, text: Tensor | None) -> Tensor:
        """Fuse parts [E, B, K, D] by self-attention: [E, results, B, D]."""
        assert self._fusion is not None  # noqa: S101 - narrows the type
        if audio is not None and text is not None:
            kinds = audio.shape[2]
            return self._fusion(torch.cat([audio, text], 2), 0, [kinds, 2 * kinds])
        there = text if audio is None else audio
        assert there is not None  # noqa: S101 - narrows the type
        kinds = there.shape[2]
        return self._fusion(there, kinds if audio is None else 0, [kinds])

    def _concatenate(self, audio: Tensor | None, text: Tensor | None) -> Tensor:
        """Fuse parts [E, B, K, D] by concatenation: [E, results, B, D]; what is left out counts as zeros."""
        assert self._concatenation is not None  # noqa: S101 - narrows the type
        pairs = [(audio, text)] if audio is None or text is None else [(audio, None), (audio, text)]
        some = text if audio is None else audio
        assert some is not None  # noqa: S101 - narrows the type
        present = torch.ones(some.shape[1], 2 * some.shape[2], dtype=torch.bool, device=self.device)
        whole = [[torch.zeros_like(some) if part is None else part for part in pair] for pair in pairs]
        return torch.stack([self._concatenation(torch.cat(pair, 2), present) for pair in whole], 1)

    def _parts(self, said: Tensor) -> Tensor:
        """[B, G, D] to [E, B, K, D]."""
        return said.view(len(said), len(self._heads[0]), -1, self.width).transpose(0, 1)


class _Norm:
    """The scale and offset of a layer normalisation, then GELU, over [..., D]."""

    def __init__(self, norms: Sequence[Norm]) -> None:
        """Norms of several kinds, [E, 1, D] each, side by side: [E, 1, K, D]."""
        self._offset = torch.stack([norm.offset for norm in norms], 2)
        self._scale = torch.stack([norm.scale for norm in norms], 2)

    def __call__(self, x: Tensor) -> Tensor:
        """[E, n, K, D] to the same."""
        return F.gelu(torch.addcmul(self._offset, torch.layer_norm(x, x.shape[-1:]), self._scale))


class _Encoder:
    """Projection, private and shared layers of one modality, for elements by themselves."""

    def __init__(self, projection: Projection, layers: Sequence[PrivateLayers]) -> None:
        linear, norm = _linear(projection.block[0]), _norm(projection.block[1])
        self._mean = projection.mean
        # The members read the same elements: one product, [features, E * D].
        self._matrix = (linear.weight * projection.scale[:, None]).transpose(0, 1).flatten(1)
        self._bias = linear.bias.flatten()
        self._members = len(linear.weight)
        self._norm = _Norm([norm])
        linears = [_linear(layer.block[0]) for layer in layers]
        self._layer_matrix = torch.cat([one.weight for one in linears], 2)  # [E, D, K * D]
        self._layer_bias = torch.cat([one.bias for one in linears], 2)
        self._layer_norm = _Norm([_norm(layer.block[1]) for layer in layers])
        # [E, 1, K, D]; the bias of a score is left out: a softmax does not see what is the same for all elements.
        self._score = torch.stack([layer.pool.score.weight.transpose(1, 2) for layer in layers], 2)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[n, features] to what the layers see of n elements, [E, n, K, D], and what pooling takes, [E, n, K, 1]."""
        wide = torch.addmm(self._bias, x - self._mean, self._matrix)
        n, members = x.shape[0], self._members
        narrow = wide.view(n, members, 1, -1).transpose(0, 1)  # [E, n, 1, D]
        seen = torch.baddbmm(self._layer_bias, self._norm(narrow).squeeze(2), self._layer_matrix)
        values = self._layer_norm(seen.view(members, n, -1, narrow.shape[3]))  # [E, n, K, D]
        return values, (values * self._score).sum(3, keepdim=True)


class _Attention:
    """``FusionAttention`` over parts that are all there."""

    def __init__(self, fusion: FusionAttention) -> None:
        attention = fusion.attention
        self._heads, self._kind = attention.heads, fusion.kind
        self._read = _after(fusion.norm, attention.read)
        self._write = attention.write.bias, attention.write.weight
        norm, block = fusion.feed
        assert isinstance(block, Block)  # noqa: S101 - narrows the type
        self._feed = _after(_norm(norm), _linear(block[0]))
        self._norm = _Norm([_norm(block[1])])

    def __call__(self, parts: Tensor, first: int, groups: Sequence[int]) -> Tensor:
        """Fuse ``parts`` [E, B, P, D], which are the model's parts from ``first`` on: [E, len(groups), B, D].

        A group is a number of leading parts, which attend to one another alone; all read the same, which is computed
        once.
        """
        members, streams, p, width = parts.shape
        told = F.layer_norm(parts + self._kind[:, :, first : first + p], (width,))
        read = torch.baddbmm(self._read[0], told.view(members, -1, width), self._read[1])
        by_head = read.view(members * streams, p, 3, self._heads, -1).permute(2, 0, 3, 1, 4)  # [3, E * B, heads, P, D']
        seen, before = [], []
        for n in groups:
            query, key, value = by_head[:, :, :, :n].unbind()
            answer = F.scaled_dot_product_attention(query, key, value)  # [E * B, heads, n, D / heads]
            seen.append(answer.transpose(1, 2).reshape(members, -1, width))
            before.append(parts[:, :, :n].reshape(members, -1, width))
        x = torch.baddbmm(self._write[0], _along(seen), self._write[1]) + _along(before)
        fed = torch.baddbmm(self._feed[0], F.layer_norm(x, (width,)), self._feed[1])
        x = x + self._norm(fed.unsqueeze(2)).squeeze(2)
        fused = torch.split(x, [streams * n for n in groups], dim=1)
        return torch.stack([rows.view(members, streams, -1, width).mean(2) for rows in fused], 1)


def _along(rows: list[Tensor]) -> Tensor:
    """One after the other, [E, rows, D]; a single one is not copied."""
    return rows[0] if len(rows) == 1 else torch.cat(rows, 1)


def _after(norm: Norm, linear: Linear) -> tuple[Tensor, Tensor]:
    """Bias and matrix of a linear map that reads a normalisation's output, whose scale and offset are in them."""
    bias = torch.baddbmm(linear.bias, norm.offset, linear.weight)
    return bias, norm.scale.transpose(1, 2) * linear.weight


def _linear(module: nn.Module) -> Linear:
    assert isinstance(module, Linear)  # noqa: S101 - narrows the type
    return module


def _norm(module: nn.Module) -> Norm:
    assert isinstance(module, Norm)  # noqa: S101 - narrows the type
    return module
