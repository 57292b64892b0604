"""A slim backbone is the whole one without what says nothing."""

from __future__ import annotations

import pytest
import torch
from tolerance import NETWORK
from torch import Tensor

from stream_mer.audio.features import MEL_BANDS
from stream_mer.emotion.musicnn import TOKEN_STEPS, Backbone, BackboneShape, living_channels, slim
from stream_mer.emotion.musicnn_stream import PIECE_STEPS, BackboneStream, StreamingBackbone

TOLERANCE = {"rtol": NETWORK, "atol": NETWORK}
SHAPE = BackboneShape(filters=(9, 8, 6, 5, 4), pooled=32 + 192)
DEAD = (0, 4, 8, 9, 16, 17, 22, 23, 31)  # some of every bank, the first and the last of all among them
# The longest filter, and the reach of three middle layers: before that they read what was before the stream.
SETTLED_STEPS = 61 + 3 * 6


def log_mel(n: int, seed: int = 0) -> Tensor:
    return 3 * torch.rand(n, MEL_BANDS, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def whole() -> Backbone:
    """Random weights, batch norms that scale and shift; filters that never fire, and others that always do."""
    torch.manual_seed(5)
    net = Backbone(SHAPE)
    for name, buffer in net.named_buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.randn_like(buffer) * 0.5 + (1.0 if name.endswith("scale") else 0.0))
    biases = torch.cat([torch.full((SHAPE.front_channels,), 2.0), torch.full((192,), 60.0)])
    biases[list(DEAD)] = -1e4
    layers = [*net.front, *net.middle]
    for layer, bias in zip(layers, biases.split([*SHAPE.filters, 64, 64, 64]), strict=True):
        layer.linear.bias.data.copy_(bias)
    return net.eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def living(whole: Backbone) -> Tensor:
    return living_channels([tokens_of(whole, log_mel(600, seed)) for seed in (1, 2)], whole)


def channels_of(net: Backbone, steps: Tensor, hop: int) -> Tensor:
    streaming = StreamingBackbone(net)
    stream = BackboneStream(streaming)
    with torch.inference_mode():
        pieces = [streaming._numbers([stream], [piece])[0] for piece in steps.split(min(hop, PIECE_STEPS))]
    return torch.cat(pieces)[:, net.pooled]


def tokens_of(net: Backbone, steps: Tensor, hop: int | None = None) -> Tensor:
    """A token every 31 steps, which are fed ``hop`` at a time at most."""
    streaming = StreamingBackbone(net)
    stream, tokens = BackboneStream(streaming), []
    for block in steps.split(31):
        for piece in block.split(hop or 31):
            streaming.feed([stream], [piece])
        tokens.extend(streaming.tokens([stream]) if len(block) == 31 else [])
    return torch.stack(tokens)


def test_the_channels_that_never_change_are_found_and_no_others(living: Tensor) -> None:
    assert living.shape == (SHAPE.pooled,)
    assert tuple((~living).nonzero().flatten().tolist()) == DEAD


def test_a_channel_lives_that_speaks_in_one_of_many_recordings(whole: Backbone) -> None:
    quiet = torch.zeros(20, SHAPE.token_features)
    loud = quiet.clone()
    loud[15, 3] = 1.0  # its maximum
    loud[16, SHAPE.pooled + 7] = 0.5  # the mean of another
    assert living_channels([quiet, loud, quiet], whole).nonzero().flatten().tolist() == [3, 7]


def test_the_start_of_a_recording_and_shorter_ones_say_nothing(whole: Backbone) -> None:
    start = torch.zeros(20, SHAPE.token_features)
    start[:8] = torch.rand(8, SHAPE.token_features)
    assert not living_channels([start, start[:5]], whole).any()
    assert not living_channels([], whole).any()


@pytest.mark.parametrize("hop", [6, 31, 400], ids=["hops", "blocks", "one pass"])
def test_a_slim_backbone_gives_the_channels_and_tokens_of_the_whole_one(
    hop: int, whole: Backbone, living: Tensor
) -> None:
    small = slim(whole, living)
    steps = log_mel(400)
    expected = channels_of(whole, steps, hop)[:, living]
    torch.testing.assert_close(channels_of(small, steps, hop)[SETTLED_STEPS:], expected[SETTLED_STEPS:], **TOLERANCE)
    columns = torch.cat([living, living, torch.ones(3 * MEL_BANDS, dtype=torch.bool)])
    settled = -(-(TOKEN_STEPS + SETTLED_STEPS) // 31)
    tokens = tokens_of(whole, steps, hop)[:, columns]
    assert len(tokens[settled - 1 :]) == 4
    torch.testing.assert_close(tokens_of(small, steps, hop)[settled - 1 :], tokens[settled - 1 :], **TOLERANCE)


def test_the_front_of_a_slim_backbone_is_that_of_the_whole_one_from_the_first_step(
    whole: Backbone, living: Tensor
) -> None:
    steps = log_mel(60)
    n = int(living[: SHAPE.front_channels].sum())
    ours, theirs = (channels_of(net, steps, 31) for net in (slim(whole, living), whole))
    torch.testing.assert_close(ours[:, :n], theirs[:, living][:, :n], **TOLERANCE)


def test_a_slim_backbone_is_smaller_frozen_and_comes_back_from_its_weights(whole: Backbone, living: Tensor) -> None:
    small = slim(whole, living)
    assert small.shape == BackboneShape(filters=(6, 6, 4, 4, 3), pooled=SHAPE.pooled - len(DEAD))
    assert not small.training
    assert not any(parameter.requires_grad for parameter in small.parameters())
    again = Backbone(small.shape)
    again.load_state_dict(small.state_dict())
    torch.testing.assert_close(tokens_of(again, log_mel(200)), tokens_of(small, log_mel(200)), **TOLERANCE)


def test_slimming_leaves_the_whole_one_as_it_was(whole: Backbone, living: Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    small = slim(whole, living)
    for tensor in small.state_dict().values():
        tensor.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in whole.state_dict().items())


def test_where_all_live_nothing_changes(whole: Backbone) -> None:
    all_of_them = slim(whole, torch.ones(SHAPE.channels, dtype=torch.bool))
    assert all_of_them.shape == SHAPE
    torch.testing.assert_close(tokens_of(all_of_them, log_mel(200)), tokens_of(whole, log_mel(200)), **TOLERANCE)


def test_a_middle_channel_that_says_nothing_is_not_told_but_still_computed(whole: Backbone, living: Tensor) -> None:
    without = living.clone()
    without[SHAPE.front_channels + 5] = False
    small = slim(whole, without)
    assert small.middle[0].linear.out_features == 64
    steps = log_mel(200)
    torch.testing.assert_close(
        channels_of(small, steps, 31)[SETTLED_STEPS:],
        channels_of(whole, steps, 31)[SETTLED_STEPS:, without],
        **TOLERANCE,
    )


def test_what_makes_no_network_is_refused(whole: Backbone, living: Tensor) -> None:
    with pytest.raises(ValueError, match="224 truth values"):
        slim(whole, living[: SHAPE.front_channels])
    with pytest.raises(ValueError, match="224 truth values"):
        slim(whole, living.float())
    silent = living.clone()
    silent[9:17] = False
    with pytest.raises(ValueError, match="no living filter"):
        slim(whole, silent)
    muted = living.clone()
    muted[-1] = False  # a channel that is there, and that no token tells of: living cannot be told by tokens any more
    with pytest.raises(ValueError, match="slim already"):
        slim(slim(whole, muted), muted)
