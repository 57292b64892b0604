"""Layers of several networks: each member is the plain network with its weights, and knows nothing of the others."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from tolerance import LAYER
from torch import Tensor, nn

from stream_mer.emotion.members import Block, Linear, Norm, SelfAttention, WeightedPool

MEMBERS, BATCH, LENGTH, WIDTH = 3, 2, 5, 8
TOLERANCE = {"rtol": LAYER, "atol": LAYER}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(11)


def shuffled(layer: nn.Module) -> nn.Module:
    """The layer with random parameters throughout: norms begin as ones and zeros, which would hide much."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer.eval().requires_grad_(requires_grad=False)


def plain_linear(layer: Linear, member: int) -> nn.Linear:
    inputs, outputs = layer.weight.shape[1:]
    plain = nn.Linear(inputs, outputs)
    plain.load_state_dict({"weight": layer.weight[member].T, "bias": layer.bias[member, 0]})
    return plain


def plain_norm(layer: Norm, member: int) -> nn.LayerNorm:
    plain = nn.LayerNorm(layer.scale.shape[-1])
    plain.load_state_dict({"weight": layer.scale[member, 0], "bias": layer.offset[member, 0]})
    return plain


def plain_block(block: Block, member: int) -> nn.Sequential:
    linear, norm = block[0], block[1]
    assert isinstance(linear, Linear)
    assert isinstance(norm, Norm)
    return nn.Sequential(plain_linear(linear, member), plain_norm(norm, member), nn.GELU())


PLAIN: dict[str, tuple[Callable[[], nn.Module], Callable[..., nn.Module]]] = {
    "linear": (lambda: Linear(MEMBERS, WIDTH, 3), plain_linear),
    "norm": (lambda: Norm(MEMBERS, WIDTH), plain_norm),
    "block": (lambda: Block(MEMBERS, WIDTH, 6, 0.5), plain_block),
}


@pytest.mark.parametrize("shape", [(BATCH,), (BATCH, LENGTH), (BATCH, LENGTH, 2)])
@pytest.mark.parametrize("kind", PLAIN)
def test_each_member_is_the_plain_layer_with_its_weights(kind: str, shape: tuple[int, ...]) -> None:
    make, plain = PLAIN[kind]
    layer = shuffled(make())
    x = torch.randn(MEMBERS, *shape, WIDTH)
    out = layer(x)
    assert out.shape[:-1] == x.shape[:-1]
    with torch.no_grad():
        for member in range(MEMBERS):
            torch.testing.assert_close(out[member], plain(layer, member)(x[member]), **TOLERANCE)


def pooled_plainly(pool: WeightedPool, member: int, x: Tensor, weights: Tensor) -> Tensor:
    """One row [N, D] with weights [N]: a softmax of the scores, each times its weight."""
    force = weights * torch.exp(plain_linear(pool.score, member)(x)[:, 0])
    return (force[:, None] * x).sum(0) / force.sum()


def test_each_member_pools_with_its_own_scores() -> None:
    pool = shuffled(WeightedPool(MEMBERS, WIDTH))
    assert isinstance(pool, WeightedPool)
    x, weights = torch.randn(MEMBERS, BATCH, LENGTH, WIDTH), torch.rand(BATCH, LENGTH)
    weights[1, 2:4] = 0
    out = pool(x, weights)
    assert out.shape == (MEMBERS, BATCH, WIDTH)
    for member in range(MEMBERS):
        for row in range(BATCH):
            expected = pooled_plainly(pool, member, x[member, row], weights[row])
            torch.testing.assert_close(out[member, row], expected, **TOLERANCE)


@pytest.mark.parametrize("value", [0.0, 1e18, float("inf"), float("nan")])
def test_an_element_of_weight_0_has_exactly_no_influence_on_a_pool(value: float) -> None:
    pool = shuffled(WeightedPool(MEMBERS, WIDTH))
    x, weights = torch.randn(MEMBERS, BATCH, LENGTH, WIDTH), torch.rand(BATCH, LENGTH)
    weights[:, 3] = 0
    odd = x.clone()
    odd[:, :, 3] = value
    torch.testing.assert_close(pool(odd, weights), pool(x, weights), **TOLERANCE)


def test_a_row_without_elements_pools_to_zeros_and_a_pool_of_one_is_that_one() -> None:
    pool = shuffled(WeightedPool(MEMBERS, WIDTH))
    x = torch.randn(MEMBERS, 3, LENGTH, WIDTH)
    weights = torch.zeros(3, LENGTH)
    weights[1, 4] = 0.2
    weights[2] = 1
    out = pool(x, weights)
    assert torch.equal(out[:, 0], torch.zeros(MEMBERS, WIDTH))
    torch.testing.assert_close(out[:, 1], x[:, 1, 4], **TOLERANCE)
    assert torch.equal(pool(x[:, :, :0], weights[:, :0]), torch.zeros(MEMBERS, 3, WIDTH))


def test_scores_without_an_opinion_leave_the_weights() -> None:
    pool, x = shuffled(WeightedPool(MEMBERS, WIDTH)), torch.randn(MEMBERS, 1, 2, WIDTH)
    pool.score.weight.zero_()
    expected = 0.75 * x[:, :, 0] + 0.25 * x[:, :, 1]
    torch.testing.assert_close(pool(x, torch.tensor([[0.75, 0.25]])), expected, **TOLERANCE)


def plain_attention(layer: SelfAttention, member: int) -> nn.MultiheadAttention:
    plain = nn.MultiheadAttention(WIDTH, layer.heads, batch_first=True)
    read, write = plain_linear(layer.read, member), plain_linear(layer.write, member)
    plain.load_state_dict(
        {
            "in_proj_weight": read.weight,
            "in_proj_bias": read.bias,
            "out_proj.weight": write.weight,
            "out_proj.bias": write.bias,
        }
    )
    return plain.eval()


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_each_member_attends_as_multi_head_attention_does(heads: int) -> None:
    layer = shuffled(SelfAttention(MEMBERS, WIDTH, heads, 0.5))
    assert isinstance(layer, SelfAttention)
    x = torch.randn(MEMBERS, BATCH, LENGTH, WIDTH)
    present = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    present[1, 1:3] = False
    out = layer(x, present)
    with torch.no_grad():
        for member in range(MEMBERS):
            expected, _ = plain_attention(layer, member)(x[member], x[member], x[member], key_padding_mask=~present)
            torch.testing.assert_close(out[member], expected, **TOLERANCE)


def test_what_is_absent_is_attended_to_by_none() -> None:
    layer = shuffled(SelfAttention(MEMBERS, WIDTH, 2, 0.0))
    x = torch.randn(MEMBERS, BATCH, LENGTH, WIDTH)
    present = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    present[:, 2] = False
    other = x.clone()
    other[:, :, 2] = 1e6
    seen = present[0]
    torch.testing.assert_close(layer(x, present)[:, :, seen], layer(other, present)[:, :, seen], **TOLERANCE)


@pytest.mark.parametrize("heads", [0, -2, 3, 16])
def test_heads_that_do_not_share_the_width_are_refused(heads: int) -> None:
    with pytest.raises(ValueError, match="cannot share a width of 8 evenly"):
        SelfAttention(MEMBERS, WIDTH, heads, 0.0)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    **{kind: make for kind, (make, _) in PLAIN.items()},
    "pool": lambda: WeightedPool(MEMBERS, WIDTH),
    "attention": lambda: SelfAttention(MEMBERS, WIDTH, 2, 0.0),
}


def run(kind: str, layer: nn.Module, x: Tensor) -> Tensor:
    if kind == "pool":
        out: Tensor = layer(x, torch.ones(BATCH, LENGTH))
    elif kind == "attention":
        out = layer(x, torch.ones(BATCH, LENGTH, dtype=torch.bool))
    else:
        out = layer(x)
    return out


@pytest.mark.parametrize("kind", LAYERS)
def test_members_do_not_influence_each_other(kind: str) -> None:
    """Neither by what one reads nor by what it has learnt."""
    layer = shuffled(LAYERS[kind]())
    x = torch.randn(MEMBERS, BATCH, LENGTH, WIDTH)
    before = run(kind, layer, x)
    changed = x.clone()
    changed[1] += torch.randn_like(changed[1])  # not alike everywhere: a norm would take that out
    for parameter in layer.parameters():
        parameter[1].normal_()
    after = run(kind, layer, changed)
    torch.testing.assert_close(after[[0, 2]], before[[0, 2]], **TOLERANCE)
    assert not torch.allclose(after[1], before[1])


@pytest.mark.parametrize("kind", LAYERS)
def test_a_member_learns_from_its_own_errors_alone(kind: str) -> None:
    layer = shuffled(LAYERS[kind]()).requires_grad_()
    run(kind, layer, torch.randn(MEMBERS, BATCH, LENGTH, WIDTH))[1].square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None
        assert not parameter.grad[[0, 2]].any(), name
        if name != "score.bias":  # a constant added to every score of a softmax changes nothing
            assert parameter.grad[1].any(), name


def test_a_linear_map_begins_as_torch_begins_one() -> None:
    layer = Linear(50, 16, 16).requires_grad_(requires_grad=False)
    for parameter in layer.parameters():
        assert float(parameter.abs().max()) <= 1 / math.sqrt(16)
        assert float(parameter.std()) == pytest.approx(1 / math.sqrt(3 * 16), rel=0.1)
    assert not torch.equal(layer.weight[0], layer.weight[1])


def test_a_norm_begins_as_plain_layer_normalisation() -> None:
    x = torch.randn(MEMBERS, BATCH, WIDTH)
    torch.testing.assert_close(Norm(MEMBERS, WIDTH)(x), F.layer_norm(x, (WIDTH,)), **TOLERANCE)


def test_dropout_works_while_training_alone_and_for_each_member_by_itself() -> None:
    block = Block(MEMBERS, WIDTH, 64, 0.5)
    x = torch.randn(1, BATCH, WIDTH).expand(MEMBERS, -1, -1)
    for parameter in block.parameters():
        parameter.data.copy_(parameter.data[:1].expand_as(parameter))  # three members of the same weights
    dropped = block.train()(x) == 0
    assert 0.3 < float(dropped.float().mean()) < 0.7
    assert not torch.equal(dropped[0], dropped[1])
    whole = block.eval()(x)
    torch.testing.assert_close(whole[0], whole[1], **TOLERANCE)
    assert not (whole == 0).any()
