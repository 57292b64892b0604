"""The network as it is trained: its parts have names, each modality can be switched off exactly, all of it learns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tolerance import LAYER
from torch import Tensor, nn

from stream_mer.emotion.joint import JointModelConfig
from stream_mer.training.network import (
    AudioInput,
    Block,
    Encoded,
    FusionAttention,
    FusionConcatenation,
    JointNetwork,
    JointOutput,
    Linear,
    ModalityEncoder,
    Norm,
    PrincipalComponents,
    SelfAttention,
    TextInput,
    WeightedPool,
    time_scales,
)

MEMBERS = 2
CONFIG = JointModelConfig(
    audio_features=20,
    text_features=24,
    audio_components=12,
    members=MEMBERS,
    width=16,
    heads=4,
    newest_tokens=2,
    text_half_life_s=30,
    text_half_lines=2,
)
NEWEST = CONFIG.newest_tokens
ABLATIONS = [
    {"private": private, "shared": shared, "attention": attention, "newest_tokens": newest}
    for private, shared in ((True, True), (True, False), (False, True))
    for attention, newest in ((True, NEWEST), (False, NEWEST), (True, 0))
]


def model(**changes: Any) -> JointNetwork:
    torch.manual_seed(1)
    return JointNetwork(replace(CONFIG, **changes)).eval()


def audio(batch: int = 3, n: int = 5, *, newest_tokens: int = NEWEST) -> AudioInput:
    """A recording for each moment, which knows all of its tokens."""
    generator = torch.Generator().manual_seed(2)
    ages = torch.arange(n).flip(0).repeat(batch, 1)
    return AudioInput(
        torch.randn(batch, n, CONFIG.audio_components, generator=generator),
        torch.arange(batch),
        time_scales(ages, replace(CONFIG, newest_tokens=newest_tokens)),
    )


def text(batch: int = 3, n: int = 4, *, weight: float = 0.9) -> TextInput:
    generator = torch.Generator().manual_seed(3)
    return TextInput(
        torch.randn(batch, n, 24, generator=generator),
        torch.full((batch, n), weight),
        torch.linspace(20, 1, n).repeat(batch, 1),
    )


def no_audio(batch: int = 3, n: int = 5, *, newest_tokens: int = NEWEST) -> AudioInput:
    sound = audio(batch, n, newest_tokens=newest_tokens)
    return sound._replace(weights=torch.zeros_like(sound.weights))


def no_text(batch: int = 3) -> TextInput:
    return TextInput(torch.zeros(batch, 0, 24), torch.zeros(batch, 0), torch.zeros(batch, 0))


def results(output: JointOutput) -> list[Tensor]:
    return [*output.fused, *output.audio]


def test_the_four_parts_of_the_method_have_names() -> None:
    parts = dict(model().named_modules())
    for name in ("private_audio", "private_text", "shared"):
        assert type(parts[name]) is ModalityEncoder
    assert len({id(parts[name]) for name in ("private_audio", "private_text", "shared")}) == 3
    assert type(parts["fusion"]) is FusionAttention
    assert isinstance(parts["fusion.attention"], SelfAttention)


def test_shapes_and_ranges() -> None:
    with torch.inference_mode():
        output = model()(audio(), text())
    for heads in (output.fused, output.audio, output.text):
        assert [tuple(head.shape) for head in heads] == [(MEMBERS, 3, 2), (MEMBERS, 3, 4), (MEMBERS, 3, 5)]
        assert float(heads.emotion.abs().max()) <= 1
    assert output.text_gate.shape == (3,)
    assert 0 < float(output.text_gate.min()) <= float(output.text_gate.max()) < 1
    scales = {"private_audio": 2, "private_text": 1, "shared_audio": 2, "shared_text": 1}
    for name, n in scales.items():
        assert getattr(output.representations, name).shape == (MEMBERS, 3, n, 16), name


def test_emotion_stays_in_range_for_any_audio() -> None:
    loud = audio()._replace(tokens=1e4 * audio().tokens)
    with torch.inference_mode():
        assert float(model()(loud, text()).fused.emotion.abs().max()) <= 1


@pytest.mark.parametrize("switches", ABLATIONS)
@pytest.mark.parametrize("size", [1.0, 1e3, 1e18])
def test_masked_text_has_exactly_no_influence(switches: dict[str, Any], size: float) -> None:
    net = model(**switches)
    masked = TextInput(size * text().vectors, torch.zeros(3, 4), size * text().ages_s)
    sound = audio(newest_tokens=switches["newest_tokens"])
    with torch.inference_mode():
        bare, silenced = net(sound, no_text()), net(sound, masked)
    for a, b in zip(results(bare), results(silenced), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=LAYER)
    for output in (bare, silenced):
        assert torch.equal(output.text_gate, torch.zeros(3))
        for fused, alone in zip(output.fused, output.audio, strict=True):
            assert torch.equal(fused, alone)


@pytest.mark.parametrize("vector", [1e18, float("nan"), float("inf"), 3e38])
def test_not_even_a_masked_line_that_is_no_number_has_an_influence(vector: float) -> None:
    net, lines = model(), text()
    weights = lines.weights.clone()
    weights[:, 2] = 0
    vectors, ages_s = lines.vectors.clone(), lines.ages_s.clone()
    vectors[:, 2], ages_s[:, 2] = vector, -7.0
    with torch.inference_mode():
        a = net(audio(), TextInput(lines.vectors, weights, lines.ages_s))
        b = net(audio(), TextInput(vectors, weights, ages_s))
    for left, right in zip(results(a), results(b), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=LAYER)


def test_the_text_of_one_row_does_not_reach_another() -> None:
    net, lines = model(), text()
    weights = lines.weights.clone()
    weights[1] = 0
    with torch.inference_mode():
        mixed = net(audio(), TextInput(lines.vectors, weights, lines.ages_s))
    assert float(mixed.text_gate[1]) == 0
    for fused, alone in zip(mixed.fused, mixed.audio, strict=True):
        assert torch.equal(fused[:, 1], alone[:, 1])
        assert not torch.equal(fused[:, 0], alone[:, 0])


def faded(lines: TextInput) -> Tensor:
    """The weight of each line [B, L] as it ages: half of it every 30 s."""
    return lines.weights * 0.5 ** (lines.ages_s / 30)


@pytest.mark.parametrize("weight", [0.01, 0.5, 1.0])
def test_text_moves_the_result_as_far_as_the_gate_says(weight: float) -> None:
    """From what audio alone gives towards what the fusion of both gives, by the share that the lines have earned."""
    lines = text(weight=weight)
    with torch.inference_mode():
        output = model()(audio(), lines)
        certain = model(text_half_lines=1e-9)(audio(), lines)  # the same weights, words believed at once
    heard = faded(lines).sum(1)
    torch.testing.assert_close(output.text_gate, heard / (heard + 2))  # half the way for two sure lines of now
    assert float(certain.text_gate.min()) == pytest.approx(1)
    for fused, alone, both in zip(output.fused, output.audio, certain.fused, strict=True):
        assert not torch.equal(both, alone)
        expected = alone + output.text_gate[:, None] * (both - alone)
        torch.testing.assert_close(fused, expected, rtol=0, atol=LAYER)


def test_the_words_so_far_are_read_as_their_weighted_mean() -> None:
    net, lines = model(), text()
    weights = faded(lines)
    mean = torch.einsum("bl,bld->bd", weights, lines.vectors) / weights.sum(1, keepdim=True)
    as_one = TextInput(mean.unsqueeze(1), weights.sum(1, keepdim=True), torch.zeros(3, 1))
    with torch.inference_mode():
        for a, b in zip(results(net(audio(), lines)), results(net(audio(), as_one)), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=LAYER)


def test_old_text_fades() -> None:
    lines = text()
    with torch.inference_mode():
        gates = [
            float(model()(audio(), lines._replace(ages_s=lines.ages_s + age_s)).text_gate.max())
            for age_s in (0, 30, 300, 1e5)
        ]
    assert gates == sorted(gates, reverse=True)
    for gate, halved in zip(gates, (1, 0.5, 2**-10, 0), strict=True):
        heard = float(faded(lines)[0].sum()) * halved
        assert gate == pytest.approx(heard / (heard + 2))
    assert gates[-1] == 0


# --- words alone


@pytest.mark.parametrize("switches", ABLATIONS)
def test_a_row_without_audio_is_judged_by_its_words_alone(switches: dict[str, Any]) -> None:
    """Whatever stands where no audio is, and whatever the other rows hear."""
    net, sound = model(**switches), audio(newest_tokens=switches["newest_tokens"])
    quiet, tokens = sound.weights.clone(), sound.tokens.clone()
    quiet[1] = 0
    tokens[1] = -7e3
    with torch.inference_mode():
        one = net(sound._replace(weights=quiet), text())
        other = net(sound._replace(weights=quiet, tokens=tokens), text())
        nothing = no_audio(1, 1, newest_tokens=switches["newest_tokens"])
        by_itself = net(nothing, TextInput(*(part[1:2] for part in text())))
    assert float(one.text_gate[1]) == float(other.text_gate[1]) == 1
    for a, b, c in zip(one.fused, other.fused, by_itself.fused, strict=True):
        torch.testing.assert_close(a[:, 1], b[:, 1], rtol=0, atol=LAYER)
        torch.testing.assert_close(a[:, 1], c[:, 0], rtol=0, atol=LAYER)
    assert bool((one.text_gate[[0, 2]] < 1).all())


@pytest.mark.parametrize("value", [1e18, float("inf"), float("nan")])
def test_absent_audio_has_exactly_no_influence_on_words_alone(value: float) -> None:
    net = model()
    odd = torch.full_like(no_audio().tokens, value)
    with torch.inference_mode():
        one, other = net(no_audio(), text()), net(no_audio()._replace(tokens=odd), text())
    for a, b in zip(one.fused, other.fused, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=LAYER)
        assert a.isfinite().all()


@pytest.mark.parametrize("attention", [True, False])
def test_a_row_with_neither_says_nothing_that_is_no_number(attention: bool) -> None:
    with torch.inference_mode():
        output = model(attention=attention)(no_audio(), no_text())
    assert not output.text_gate.any()
    for heads in (output.fused, output.audio):
        assert all(head.isfinite().all() for head in heads)


def test_words_alone_teach_nothing_to_the_audio_branch() -> None:
    net = model().train()
    sum(head.square().sum() for head in net(no_audio(), text()).fused).backward()
    for name, parameter in net.named_parameters():
        if name.startswith(("private_audio", "audio_projection")):
            assert parameter.grad is None or not parameter.grad.any(), name
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    assert net.private_text.block[0].weight.grad.any()


# --- audio: recordings, time scales, principal components


def test_the_time_scales_are_the_context_and_its_newest_tokens() -> None:
    ages = torch.tensor([[3, 2, 1, 0], [-1, -1, 1, 0], [-1, -1, -1, -1]])
    expected = [[[1, 1, 1, 1], [0, 0, 1, 1]], [[0, 0, 1, 1], [0, 0, 1, 1]], [[0] * 4] * 2]
    assert time_scales(ages, CONFIG).tolist() == expected
    assert time_scales(ages, replace(CONFIG, newest_tokens=0)).tolist() == [[one[0]] for one in expected]


def test_a_token_older_than_the_newest_moves_the_long_scale_alone() -> None:
    net, sound = model(), audio(1)
    moved = sound.tokens.clone()
    moved[:, 1] += 1.0  # of five, of which the last two are the newest
    with torch.inference_mode():
        before, after = net(sound, no_text()), net(sound._replace(tokens=moved), no_text())
    for name in ("private_audio", "shared_audio"):
        old, new = (getattr(output.representations, name) for output in (before, after))
        assert not torch.allclose(old[:, :, 0], new[:, :, 0], atol=1e-3)
        torch.testing.assert_close(old[:, :, 1], new[:, :, 1], rtol=0, atol=LAYER)


@pytest.mark.parametrize("switches", ABLATIONS)
def test_moments_of_one_recording_are_those_of_recordings_of_their_own(switches: dict[str, Any]) -> None:
    """A moment reads the recording that it belongs to, and of it the tokens that it knows."""
    net = model(**switches)
    config, tokens = net.config, audio(2, 6).tokens
    recording = torch.tensor([1, 0, 1])
    newest = torch.tensor([[5], [2], [3]])
    weights = time_scales(newest - torch.arange(6), config)
    with torch.inference_mode():
        shared = net(AudioInput(tokens, recording, weights), text())
        own = net(AudioInput(tokens[recording], torch.arange(3), weights), text())
        cut = [
            net(
                AudioInput(
                    tokens[int(of), : int(n) + 1][None],
                    torch.zeros(1, dtype=torch.long),
                    time_scales(torch.arange(int(n), -1, -1)[None], config),
                ),
                TextInput(*(part[row : row + 1] for part in text())),
            )
            for row, (of, n) in enumerate(zip(recording, newest, strict=True))
        ]
    for i, together in enumerate(results(shared)):
        torch.testing.assert_close(together, results(own)[i], rtol=0, atol=LAYER)
        alone = torch.cat([results(one)[i] for one in cut], 1)
        torch.testing.assert_close(together, alone, rtol=0, atol=LAYER)


def test_the_encoding_of_a_token_does_not_depend_on_its_neighbours() -> None:
    """So that a stream may keep it."""
    net, sound = model(), audio(1)
    with torch.inference_mode():
        whole = net.encode_audio(sound.tokens)
        parts = [net.encode_audio(token) for token in sound.tokens.split(1, dim=1)]
    for name in Encoded._fields:
        one_by_one = torch.cat([getattr(part, name) for part in parts], 2)
        torch.testing.assert_close(one_by_one, getattr(whole, name), rtol=0, atol=LAYER)


def test_principal_components_subtract_the_mean_and_turn() -> None:
    components = PrincipalComponents(5, 2)
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(components(x), x[..., :2])  # until they are set
    components.mean.copy_(torch.arange(5.0))
    components.basis.copy_(torch.randn(5, 2, generator=torch.Generator().manual_seed(2)))
    expected = torch.stack([(row - torch.arange(5.0)) @ components.basis for row in x.flatten(0, 1)])
    torch.testing.assert_close(components(x), expected.view(3, 4, 2), rtol=LAYER, atol=LAYER)
    assert not list(components.parameters())


# --- combining what is there


def test_there_is_nothing_to_combine_without_audio_and_words() -> None:
    with pytest.raises(ValueError, match="nothing to combine"):
        model().combine(None, None)


@pytest.mark.parametrize("switches", ABLATIONS)
def test_forward_combines_what_it_encoded(switches: dict[str, Any]) -> None:
    """What runs live calls the parts: audio alone, words alone, and both give what ``forward`` gives."""
    net, sound = model(**switches), audio(newest_tokens=switches["newest_tokens"])
    mean = torch.randn(3, 24, generator=torch.Generator().manual_seed(5))
    certain = TextInput(mean.unsqueeze(1), torch.full((3, 1), 1e9), torch.zeros(3, 1))  # moves it all the way
    with torch.inference_mode():
        pooled, words = net.pool_audio(net.encode_audio(sound.tokens), sound.weights), net.encode_text(mean)
        both = net(sound, certain)
        silent = net(no_audio(newest_tokens=switches["newest_tokens"]), certain)
        combined = [net.combine(pooled, None), net.combine(pooled, words), net.combine(None, words)]
    for told, expected in zip(combined, (both.audio, both.fused, silent.fused), strict=True):
        for a, b in zip(told, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=LAYER)
    assert not torch.allclose(both.audio.emotion, both.fused.emotion, atol=1e-3)
    assert not torch.allclose(silent.fused.emotion, both.fused.emotion, atol=1e-3)


@pytest.mark.parametrize("words", [no_text(), text(weight=0.0)], ids=["no lines", "lines of weight 0"])
def test_without_words_nothing_is_fused_with_words(words: TextInput, monkeypatch: pytest.MonkeyPatch) -> None:
    net = model()
    with_words: list[int] = []
    combine = net.combine

    def counted(audio: list[Tensor] | None, text: list[Tensor] | None) -> Any:
        with_words.extend([] if text is None else [text[0].shape[1]])
        return combine(audio, text)

    monkeypatch.setattr(net, "combine", counted)
    with torch.inference_mode():
        net(audio(), words)
        assert with_words == []
        one_row = text()._replace(weights=text().weights * torch.tensor([[0.0], [1.0], [0.0]]))
        net(audio(), one_row)
    assert with_words == [1], "of three rows one has words"


# --- padding, ablations, learning


def test_where_the_padding_stands_does_not_matter() -> None:
    net, sound, lines = model(), audio(), text()
    padding = torch.full((3, 2, CONFIG.audio_components), 7.0)
    absent, nothing = torch.zeros(3, 2, 2), torch.zeros(3, 2)
    spread = [
        (
            sound._replace(tokens=torch.cat([padding, sound.tokens], 1), weights=torch.cat([absent, sound.weights], 2)),
            TextInput(
                torch.cat([torch.full((3, 2, 24), -5.0), lines.vectors], 1),
                torch.cat([nothing, lines.weights], 1),
                torch.cat([nothing, lines.ages_s], 1),
            ),
        ),
        (
            sound._replace(tokens=torch.cat([sound.tokens, padding], 1), weights=torch.cat([sound.weights, absent], 2)),
            TextInput(
                torch.cat([lines.vectors, torch.full((3, 2, 24), -5.0)], 1),
                torch.cat([lines.weights, nothing], 1),
                torch.cat([lines.ages_s, nothing], 1),
            ),
        ),
    ]
    with torch.inference_mode():
        expected = results(net(sound, lines))
        for padded_audio, padded_text in spread:
            for a, b in zip(results(net(padded_audio, padded_text)), expected, strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=LAYER)


@pytest.mark.parametrize("switches", ABLATIONS)
def test_every_ablation_builds_runs_and_learns(switches: dict[str, Any]) -> None:
    net = model(**switches).train()
    names = {name.split(".")[0] for name, _ in net.named_modules()}
    assert ("private_audio" in names, "shared" in names) == (switches["private"], switches["shared"])
    assert isinstance(net.fusion, FusionAttention if switches["attention"] else FusionConcatenation)
    output = net(audio(newest_tokens=switches["newest_tokens"]), text())
    total = sum(
        (head.square().sum() for heads in (output.fused, output.audio, output.text) for head in heads),
        output.text_gate.sum(),
    )
    total.backward()
    without = [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    # By construction: a constant added to every score of a softmax changes nothing, and of words their mean is read,
    # which nothing pools.
    assert all(name.endswith(".score.bias") or name.startswith("private_text.pools.") for name in without), without


def test_without_text_the_text_branch_learns_nothing_and_nothing_breaks() -> None:
    net = model().train()
    output = net(audio(), no_text())
    sum(head.square().sum() for head in output.fused).backward()
    for name, parameter in net.named_parameters():
        if name.startswith(("private_text", "text_projection", "text_gate")):
            assert parameter.grad is None or not parameter.grad.any()
        assert parameter.grad is None or parameter.grad.isfinite().all()


# --- members


E, B, N, D = 3, 2, 5, 8
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
    "linear": (lambda: Linear(E, D, 3), plain_linear),
    "norm": (lambda: Norm(E, D), plain_norm),
    "block": (lambda: Block(E, D, 6, 0.5), plain_block),
}


@pytest.mark.parametrize("shape", [(B,), (B, N), (B, N, 2)])
@pytest.mark.parametrize("kind", PLAIN)
def test_each_member_is_the_plain_layer_with_its_weights(kind: str, shape: tuple[int, ...]) -> None:
    make, plain = PLAIN[kind]
    layer = shuffled(make())
    x = torch.randn(E, *shape, D)
    out = layer(x)
    assert out.shape[:-1] == x.shape[:-1]
    with torch.no_grad():
        for member in range(E):
            torch.testing.assert_close(out[member], plain(layer, member)(x[member]), **TOLERANCE)


def pooled_plainly(pool: WeightedPool, member: int, x: Tensor, weights: Tensor) -> Tensor:
    """One row [N, D] with weights [N]: a softmax of the scores, each times its weight."""
    force = weights * torch.exp(plain_linear(pool.score, member)(x)[:, 0])
    return (force[:, None] * x).sum(0) / force.sum()


def test_each_member_pools_with_its_own_scores() -> None:
    pool = shuffled(WeightedPool(E, D))
    assert isinstance(pool, WeightedPool)
    x, weights = torch.randn(E, B, N, D), torch.rand(B, N)
    weights[1, 2:4] = 0
    out = pool(x, weights)
    assert out.shape == (E, B, D)
    for member in range(E):
        for row in range(B):
            expected = pooled_plainly(pool, member, x[member, row], weights[row])
            torch.testing.assert_close(out[member, row], expected, **TOLERANCE)


@pytest.mark.parametrize("value", [0.0, 1e18, float("inf"), float("nan")])
def test_an_element_of_weight_0_has_exactly_no_influence_on_a_pool(value: float) -> None:
    pool = shuffled(WeightedPool(E, D))
    x, weights = torch.randn(E, B, N, D), torch.rand(B, N)
    weights[:, 3] = 0
    odd = x.clone()
    odd[:, :, 3] = value
    torch.testing.assert_close(pool(odd, weights), pool(x, weights), **TOLERANCE)


def test_a_row_without_elements_pools_to_zeros_and_a_pool_of_one_is_that_one() -> None:
    pool = shuffled(WeightedPool(E, D))
    x = torch.randn(E, 3, N, D)
    weights = torch.zeros(3, N)
    weights[1, 4] = 0.2
    weights[2] = 1
    out = pool(x, weights)
    assert torch.equal(out[:, 0], torch.zeros(E, D))
    torch.testing.assert_close(out[:, 1], x[:, 1, 4], **TOLERANCE)
    assert torch.equal(pool(x[:, :, :0], weights[:, :0]), torch.zeros(E, 3, D))


def test_scores_without_an_opinion_leave_the_weights() -> None:
    pool, x = shuffled(WeightedPool(E, D)), torch.randn(E, 1, 2, D)
    pool.score.weight.zero_()
    expected = 0.75 * x[:, :, 0] + 0.25 * x[:, :, 1]
    torch.testing.assert_close(pool(x, torch.tensor([[0.75, 0.25]])), expected, **TOLERANCE)


def plain_attention(layer: SelfAttention, member: int) -> nn.MultiheadAttention:
    plain = nn.MultiheadAttention(D, layer.heads, batch_first=True)
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
    layer = shuffled(SelfAttention(E, D, heads, 0.5))
    assert isinstance(layer, SelfAttention)
    x = torch.randn(E, B, N, D)
    present = torch.ones(B, N, dtype=torch.bool)
    present[1, 1:3] = False
    out = layer(x, present)
    with torch.no_grad():
        for member in range(E):
            expected, _ = plain_attention(layer, member)(x[member], x[member], x[member], key_padding_mask=~present)
            torch.testing.assert_close(out[member], expected, **TOLERANCE)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    **{kind: make for kind, (make, _) in PLAIN.items()},
    "pool": lambda: WeightedPool(E, D),
    "attention": lambda: SelfAttention(E, D, 2, 0.0),
}


def run(kind: str, layer: nn.Module, x: Tensor) -> Tensor:
    if kind == "pool":
        out: Tensor = layer(x, torch.ones(B, N))
    elif kind == "attention":
        out = layer(x, torch.ones(B, N, dtype=torch.bool))
    else:
        out = layer(x)
    return out


@pytest.mark.parametrize("kind", LAYERS)
def test_members_do_not_influence_each_other(kind: str) -> None:
    """Neither by what one reads nor by what it has learnt."""
    layer = shuffled(LAYERS[kind]())
    x = torch.randn(E, B, N, D)
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
    run(kind, layer, torch.randn(E, B, N, D))[1].square().sum().backward()
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


def test_dropout_works_while_training_alone_and_for_each_member_by_itself() -> None:
    block = Block(E, D, 64, 0.5)
    x = torch.randn(1, B, D).expand(E, -1, -1)
    for parameter in block.parameters():
        parameter.data.copy_(parameter.data[:1].expand_as(parameter))  # three members of the same weights
    dropped = block.train()(x) == 0
    assert 0.3 < float(dropped.float().mean()) < 0.7
    assert not torch.equal(dropped[0], dropped[1])
    whole = block.eval()(x)
    torch.testing.assert_close(whole[0], whole[1], **TOLERANCE)
    assert not (whole == 0).any()
