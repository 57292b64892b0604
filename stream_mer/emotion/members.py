"""Layers that hold several networks at once: the members of an ensemble, computed together.

A small network costs little arithmetic and many calls, so three members side by side take hardly longer than one. Every
tensor has the members as its first dimension ``E``; member ``e`` never reads what belongs to another.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor, nn


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
    """Scaled dot-product self-attention with several heads (Vaswani et al. 2017).

    Raises:
        ValueError: The heads do not share the width evenly.
    """

    def __init__(self, members: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"{heads} heads cannot share a width of {width} evenly")
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
