"""The backbone at work: log-mel steps in, tokens out, each step computed once, for many streams at a time.

A stream is its state, which is bounded; the network is shared. What is new of several streams is computed together:
where one has fewer new steps than another, zeros follow them, which no earlier step reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from stream_mer.audio.features import MEL_BANDS
from stream_mer.emotion.backbone import (
    BLOCK_STEPS,
    HISTORY_STEPS,
    MIDDLE_CHANNELS,
    MIDDLE_LAYERS,
    TIMBRAL_STEPS,
    TOKEN_STEPS,
    Backbone,
    Layer,
)
from stream_mer.emotion.front import PIECE_STEPS, Front

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

    @torch.inference_mode()
    def feed(self, streams: Sequence[BackboneStream], log_mels: Sequence[Tensor]) -> None:
        """Give each stream its next log-mel steps, [n, 96]; how many may differ, and be none."""
        fed = [(stream, log_mel) for stream, log_mel in zip(streams, log_mels, strict=True) if len(log_mel)]
        ended: list[tuple[BackboneStream, int, _Sums]] = []
        for start in range(0, max((len(log_mel) for _, log_mel in fed), default=0), PIECE_STEPS):
            pieces = [(stream, log_mel[start : start + PIECE_STEPS]) for stream, log_mel in fed if len(log_mel) > start]
            numbers = self._numbers([stream for stream, _ in pieces], [piece for _, piece in pieces])
            for (stream, piece), row in zip(pieces, numbers, strict=True):
                ended += [(stream, step, sums) for step, sums in stream.pool(row[: len(piece)])]
        now = [stream.sums for stream, _ in fed]
        tokens = _tokens([*(sums for _, _, sums in ended), *now], self.shape.pooled) if fed else ()
        for (stream, step, _), token in zip(ended, tokens, strict=False):
            stream.keep(step, token)
        for (stream, _), token in zip(fed, tokens[len(ended) :], strict=True):
            stream.newest = token.clone()

    def _numbers(self, streams: Sequence[BackboneStream], pieces: Sequence[Tensor]) -> Tensor:
        """All that is pooled of each new step, [B, n, pooled + 3 * 96]; moves the streams' histories on."""
        lengths = [len(piece) for piece in pieces]
        log_mel = together([*pieces]) if len({*lengths}) == 1 else pad_sequence([*pieces], batch_first=True)
        x = torch.cat(
            [together([s.log_mel for s in streams]), torch.addcmul(self._input[0], log_mel, self._input[1])], 1
        )
        front = torch.cat([together([s.front for s in streams]), self._front(x)], 1)
        channels = [front[:, _FRONT_HISTORY:]]
        reach = log_mel.shape[1] + _MIDDLE_HISTORY
        banks = torch.split(front, list(self.shape.filters), dim=2)
        aligned = [
            bank[:, _FRONT_HISTORY - delay - _MIDDLE_HISTORY :][:, :reach]
            for bank, delay in zip(banks, _ALIGNMENT, strict=True)
        ]
        middle = torch.cat(aligned, dim=2)  # [B, 6 + n, front_channels], all banks at the same step
        for i, layer in enumerate(self._middle):
            out = layer(middle)
            if i > 0:  # the second and third are residual
                out += middle[:, TIMBRAL_STEPS // 2 : TIMBRAL_STEPS // 2 + out.shape[1]]
            channels.append(out)
            if i < MIDDLE_LAYERS - 1:
                middle = torch.cat([together([s.middle[i] for s in streams]), out], 1)
                for s, history, n in zip(streams, middle, lengths, strict=True):
                    s.middle[i] = history[n : n + _MIDDLE_HISTORY].clone()
        before = torch.cat([together([s.step_before(p) for s, p in zip(streams, pieces, strict=True)]), log_mel], 1)
        for b, (s, n) in enumerate(zip(streams, lengths, strict=True)):
            s.log_mel = x[b, n : n + HISTORY_STEPS].clone()
            s.front = front[b, n : n + _FRONT_HISTORY].clone()
            s.last_step = before[b, n : n + 1].clone()
        rise = (log_mel - before[:, :-1]).clamp_(min=0.0)
        return torch.cat([torch.cat(channels, 2)[:, :, self._pooled], log_mel, rise, log_mel.square()], 2)


class BackboneStream:
    """One stream's state, and the tokens that it keeps.

    Args:
        net: The network, which feeds the stream; nobody else does.
        context_steps: How far back the tokens that ``tokens`` returns may reach, at least 186 steps.

    Attributes:
        kept: Tokens that are kept at most, one a block.
        steps: Steps heard so far.
        newest: The token that ends at the newest step, [token_features]; not there before the first step.
    """

    newest: Tensor

    def __init__(self, net: StreamingBackbone, *, context_steps: int) -> None:
        shape, device = net.shape, net.device
        self._net = net
        self.log_mel = torch.zeros(HISTORY_STEPS, MEL_BANDS, device=device)  # normalised
        self.front = torch.zeros(_FRONT_HISTORY, shape.front_channels, device=device)
        self.middle = [torch.zeros(_MIDDLE_HISTORY, MIDDLE_CHANNELS, device=device) for _ in range(MIDDLE_LAYERS - 1)]
        self.last_step = torch.zeros(1, MEL_BANDS, device=device)
        self.steps = 0
        self.kept = max(1, (context_steps - TOKEN_STEPS) // BLOCK_STEPS + 1)
        self._ring = torch.zeros(TOKEN_STEPS, shape.pooled + 3 * MEL_BANDS, device=device)  # steps, in any order
        self._grid: deque[tuple[int, Tensor]] = deque(maxlen=self.kept)
        self._fresh = 0

    def feed(self, log_mel: Tensor) -> None:
        """Take the next log-mel steps, [n, 96], alone; see ``StreamingBackbone.feed``."""
        self._net.feed([self], [log_mel])

    def tokens(self) -> Tensor:
        """The context as the joint model reads it, [N, token_features], oldest first; the last ends at the newest step.

        N is 0 before the first step. Kept tokens so young that they nearly repeat the last one are left out.
        """
        if self.steps == 0:
            return self.last_step.new_zeros(0, self._net.shape.token_features)
        older = [token for end, token in self._grid if end <= self.steps - BLOCK_STEPS // 2]
        return torch.stack([*older[max(0, len(older) - self.kept + 1) :], self.newest])

    def grid_tokens(self) -> Tensor:
        """The kept tokens alone, one a block, [n, token_features]; what training reads."""
        if not self._grid:
            return self.last_step.new_zeros(0, self._net.shape.token_features)
        return torch.stack([token for _, token in self._grid])

    def fresh_tokens(self) -> list[Tensor]:
        """Tokens that have been kept since this was asked last, oldest first; at most ``kept``."""
        fresh, self._fresh = min(self._fresh, self.kept), 0
        return [token for _, token in list(self._grid)[len(self._grid) - fresh :]]

    def step_before(self, piece: Tensor) -> Tensor:
        """The step before a piece, [1, 96]: before the first there is none, so that nothing rises."""
        return self.last_step if self.steps else piece[:1]

    def pool(self, rows: Tensor) -> list[tuple[int, _Sums]]:
        """Take what is pooled of new steps, [n, numbers]; return what a token at each block's end is made of."""
        ended = []
        start = 0
        while start < len(rows):  # cut at block ends, and so never around the ring's end
            stop = min(len(rows), start + BLOCK_STEPS - self.steps % BLOCK_STEPS)
            at = self.steps % TOKEN_STEPS
            self._ring[at : at + stop - start] = rows[start:stop]
            self.steps += stop - start
            if self.steps % BLOCK_STEPS == 0:
                ended.append((self.steps, self.sums))
            start = stop
        return ended

    @property
    def sums(self) -> _Sums:
        """What the token that ends now is made of."""
        heard = self._ring[: self.steps]
        return _Sums(heard[:, : self._net.shape.pooled].amax(0), heard.sum(0), len(heard))

    def keep(self, step: int, token: Tensor) -> None:
        """Keep the token that ended at ``step``."""
        self._grid.append((step, token.clone()))  # a view would hold on to the tokens of all streams
        self._fresh += 1


class _Sums(NamedTuple):
    """What a token is made of: greatest values [pooled], sums of all numbers [pooled + 3 * 96], and steps."""

    greatest: Tensor
    total: Tensor
    length: int


def _tokens(parts: Sequence[_Sums], pooled: int) -> Tensor:
    """Tokens [n, token_features] from what they are made of."""
    lengths = torch.tensor([[float(part.length)] for part in parts], device=parts[0].total.device)
    mean = torch.stack([part.total for part in parts]) / lengths
    log_mel, squares = mean[:, pooled : pooled + MEL_BANDS], mean[:, pooled + 2 * MEL_BANDS :]
    deviation = (squares - log_mel.square()).clamp_(min=0.0).sqrt_()
    rise = mean[:, pooled + MEL_BANDS : pooled + 2 * MEL_BANDS]
    greatest = torch.stack([part.greatest for part in parts])
    return torch.cat([greatest, mean[:, : pooled + MEL_BANDS], deviation, rise], 1)


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
        return torch.addcmul(self._offset, out, self._scale).view(len(x), -1, self._matrix.shape[1])
