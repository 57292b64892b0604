"""The audio backbone: MSD-MusiCNN, run as a stream.

The network is the music tagger of Pons & Serra, "musicnn: pre-trained convolutional neural networks for music audio
tagging" (2019), trained on the Million Song Dataset; its weights are under the ISC licence. Everything before its
pooling is a convolution over time, so a stream computes only its new steps. Three things differ from the original:

- It is causal. Each convolution delivers as soon as the steps it reads are there; before the middle layers the faster
  ones are delayed to meet the slowest, so that these see what they were trained on.
- The front evaluates every second mel position, which halves its cost; accuracy on the folds stays within its
  interval (`docs/decisions/0002-backbone.md`).
- It stops at the pooling: in place of the tagger's dense layers, the joint model reads the pooled channels.
- It may be slim: 523 of its 753 channels say nothing, because their filters never fire on music; ``emotion.slim``
  leaves them out.

A *token* is what the joint model reads: maximum and mean of every channel that says something over the last 186 steps
(3 s), and mean, deviation and rise of each log-mel band over the same steps. One token is kept every 31 steps (0.5 s).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from stream_mer.audio.features import MEL_BANDS

TIMBRAL_STEPS = 7  # length of the timbral filters, and of the middle layers
TIMBRAL_BANDS = (38, 67)  # height of the two timbral filter banks, mel bands
TEMPORAL_STEPS = (128, 64, 32)  # length of the three temporal filter banks
MIDDLE_CHANNELS = 64
MIDDLE_LAYERS = 3
MEL_STRIDE = 2  # every second mel position of the front

BLOCK_STEPS = 31  # one token a block: 0.496 s
TOKEN_BLOCKS = 6  # a token pools 186 steps: 2.976 s; the original's windows have 187
TOKEN_STEPS = BLOCK_STEPS * TOKEN_BLOCKS

_HISTORY_STEPS = max(TEMPORAL_STEPS) - 1  # normalised log-mel that the longest filter still reads
# A filter of length n delivers the value of the step n/2 before the newest (3 for the timbral ones). To meet the
# longest one at the same step, the others wait this long.
_ALIGNMENT = (64 - 3, 64 - 3, 0, 64 - 32, 64 - 16)
_FRONT_HISTORY = max(_ALIGNMENT) + TIMBRAL_STEPS - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneShape:
    """How much of the network there is; the default is all that was published.

    Attributes:
        filters: Filters of each bank of the front: two timbral ones, three temporal ones.
        pooled: Channels that a token tells of.
    """

    filters: tuple[int, ...] = (204, 204, 51, 51, 51)
    pooled: int = 753

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
    """The network's weights, batch norms folded to a scale and an offset; see ``BackboneStream`` for its state."""

    input_scale: Tensor
    input_offset: Tensor
    pooled: Tensor

    def __init__(self, shape: BackboneShape | None = None) -> None:
        super().__init__()
        self.shape = shape or BackboneShape()
        timbral, temporal = self.shape.filters[: len(TIMBRAL_BANDS)], self.shape.filters[len(TIMBRAL_BANDS) :]
        self.register_buffer("input_scale", torch.ones(1))
        self.register_buffer("input_offset", torch.zeros(1))
        self.register_buffer("pooled", torch.arange(self.shape.pooled))  # places of the channels that a token tells of
        self.front = nn.ModuleList(
            [Layer(TIMBRAL_STEPS * bands, n) for bands, n in zip(TIMBRAL_BANDS, timbral, strict=True)]
            + [Layer(steps, n) for steps, n in zip(TEMPORAL_STEPS, temporal, strict=True)]
        )
        self.middle = nn.ModuleList(
            Layer(TIMBRAL_STEPS * (self.shape.front_channels if i == 0 else MIDDLE_CHANNELS), MIDDLE_CHANNELS)
            for i in range(MIDDLE_LAYERS)
        )

    def front_channels(self, x: Tensor) -> list[Tensor]:
        """Run the front on normalised log-mel ``x`` [127 + n, 96]: per filter bank its n new steps, [n, filters]."""
        n = x.shape[0] - _HISTORY_STEPS
        out = []
        for layer, bands in zip(self.front, TIMBRAL_BANDS, strict=False):
            # [n, positions, 7, bands] -> one row for each step and mel position
            patches = x[-(n + TIMBRAL_STEPS - 1) :].unfold(0, TIMBRAL_STEPS, 1).unfold(1, bands, 1)[:, ::MEL_STRIDE]
            positions, rows = patches.shape[1], patches.reshape(-1, TIMBRAL_STEPS * bands)
            out.append(layer(rows).view(n, positions, -1).amax(1))
        for layer, steps in zip(self.front[len(TIMBRAL_BANDS) :], TEMPORAL_STEPS, strict=True):
            patches = x[-(n + steps - 1) :, ::MEL_STRIDE].unfold(0, steps, 1)  # [n, 48, steps]
            out.append(layer(patches.reshape(-1, steps)).view(n, patches.shape[1], -1).amax(1))
        return out


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


class BackboneStream:
    """The backbone at work on one stream: log-mel steps in, tokens out, its state bounded.

    Args:
        backbone: The weights; shared between streams, never changed.
        context_steps: How far back the tokens that ``tokens`` returns may reach, at least 186 steps.
        device: Where the weights are.
    """

    def __init__(self, backbone: Backbone, *, context_steps: int, device: torch.device | str = "cpu") -> None:
        self._backbone = backbone
        zeros = partial(torch.zeros, device=device)
        self._log_mel = zeros(_HISTORY_STEPS, MEL_BANDS)
        self._last_step = zeros(1, MEL_BANDS)
        self._front = zeros(_FRONT_HISTORY, backbone.shape.front_channels)
        self._middle = [zeros(TIMBRAL_STEPS - 1, MIDDLE_CHANNELS) for _ in range(MIDDLE_LAYERS - 1)]
        self._channels = zeros(0, backbone.shape.pooled)  # up to 186 newest steps, for the token that ends now
        self._bands = zeros(0, 2 * MEL_BANDS)  # log-mel and its rise, for the same steps
        self._blocks: deque[_BlockStatistics] = deque(maxlen=TOKEN_BLOCKS)
        self._steps = 0
        kept = max(1, (context_steps - TOKEN_STEPS) // BLOCK_STEPS + 1)
        self._grid: deque[tuple[int, Tensor]] = deque(maxlen=kept)

    @torch.inference_mode()
    def feed(self, log_mel: Tensor) -> None:
        """Take the next log-mel steps, [n, 96]."""
        if len(log_mel) == 0:
            return
        channels, bands = self._new_channels(log_mel), self._new_bands(log_mel)
        start = 0
        while start < len(log_mel):  # cut at block ends: a block is pooled once, whatever the hop
            stop = min(len(log_mel), start + BLOCK_STEPS - self._steps % BLOCK_STEPS)
            self._channels = torch.cat([self._channels, channels[start:stop]])[-TOKEN_STEPS:]
            self._bands = torch.cat([self._bands, bands[start:stop]])[-TOKEN_STEPS:]
            self._steps += stop - start
            if self._steps % BLOCK_STEPS == 0:
                self._blocks.append(_BlockStatistics(self._channels[-BLOCK_STEPS:], self._bands[-BLOCK_STEPS:]))
                self._grid.append((self._steps, _pool(self._blocks)))
            start = stop

    def tokens(self) -> Tensor:
        """The context as the joint model reads it, [N, token_features], oldest first; the last ends at the newest step.

        N is 0 before the first step. Kept tokens so young that they nearly repeat the last one are left out.
        """
        if self._steps == 0:
            return self._channels.new_zeros(0, self._backbone.shape.token_features)
        now = _pool([_BlockStatistics(self._channels, self._bands)])
        older = [token for end, token in self._grid if end <= self._steps - BLOCK_STEPS // 2]
        if self._grid.maxlen is not None:
            older = older[max(0, len(older) - self._grid.maxlen + 1) :]
        return torch.stack([*older, now])

    def grid_tokens(self) -> Tensor:
        """The kept tokens alone, one a block, [n, token_features]; what training reads."""
        return (
            torch.stack([token for _, token in self._grid])
            if self._grid
            else self._channels.new_zeros(0, self._backbone.shape.token_features)
        )

    def _new_bands(self, log_mel: Tensor) -> Tensor:
        """Log-mel and its half-wave rectified rise, [n, 192]."""
        previous = torch.cat([self._last_step if self._steps else log_mel[:1], log_mel[:-1]])
        self._last_step = log_mel[-1:]
        return torch.cat([log_mel, (log_mel - previous).clamp(min=0.0)], dim=1)

    def _new_channels(self, log_mel: Tensor) -> Tensor:
        """The channels that a token tells of at the new steps, [n, pooled], each as fresh as its filter allows."""
        net, n = self._backbone, len(log_mel)
        x = torch.cat([self._log_mel, log_mel * net.input_scale + net.input_offset])
        self._log_mel = x[-_HISTORY_STEPS:]
        parts = net.front_channels(x)
        front = torch.cat([self._front, torch.cat(parts, dim=1)])
        self._front = front[-_FRONT_HISTORY:]
        reach = n + TIMBRAL_STEPS - 1
        aligned = torch.cat(
            [
                bank[len(bank) - delay - reach : len(bank) - delay]
                for bank, delay in zip(torch.split(front, [p.shape[1] for p in parts], dim=1), _ALIGNMENT, strict=True)
            ],
            dim=1,
        )  # [6 + n, front_channels], all banks at the same step
        return torch.cat([front[-n:], *self._middle_channels(aligned)], dim=1)[:, net.pooled]

    def _middle_channels(self, x: Tensor) -> Iterator[Tensor]:
        """The three middle layers over [6 + n, front_channels]; the second and third are residual."""
        for i, layer in enumerate(self._backbone.middle):
            out = layer(x.unfold(0, TIMBRAL_STEPS, 1).transpose(1, 2).flatten(1))  # rows [n, 7 * channels] to [n, 64]
            if i > 0:
                out = out + x[TIMBRAL_STEPS // 2 : len(x) - TIMBRAL_STEPS // 2]
            yield out
            if i < len(self._middle):
                x = torch.cat([self._middle[i], out])
                self._middle[i] = x[-(TIMBRAL_STEPS - 1) :]


class _BlockStatistics:
    """What pooling needs of a run of steps."""

    __slots__ = ("bands_sum", "bands_sum_of_squares", "channels_max", "channels_sum", "length")

    def __init__(self, channels: Tensor, bands: Tensor) -> None:
        self.length = len(channels)
        self.channels_max = channels.amax(0)
        self.channels_sum = channels.sum(0)
        self.bands_sum = bands.sum(0)
        self.bands_sum_of_squares = bands[:, :MEL_BANDS].square().sum(0)


def _pool(blocks: deque[_BlockStatistics] | list[_BlockStatistics]) -> Tensor:
    """One token [token_features] over consecutive blocks."""
    length = sum(block.length for block in blocks)
    maximum = torch.stack([block.channels_max for block in blocks]).amax(0)
    mean = torch.stack([block.channels_sum for block in blocks]).sum(0) / length
    bands = torch.stack([block.bands_sum for block in blocks]).sum(0) / length
    squares = torch.stack([block.bands_sum_of_squares for block in blocks]).sum(0) / length
    deviation = (squares - bands[:MEL_BANDS].square()).clamp(min=0.0).sqrt()
    return torch.cat([maximum, mean, bands[:MEL_BANDS], deviation, bands[MEL_BANDS:]])
