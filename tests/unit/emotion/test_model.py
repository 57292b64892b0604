"""The joint model: its parts have names, its text can be switched off exactly, and all of it learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from stream_mer.emotion.model import (
    AudioInput,
    FusionAttention,
    FusionConcatenation,
    JointModel,
    JointModelConfig,
    JointOutput,
    PrivateLayers,
    SharedLayers,
    TextInput,
    WeightedPool,
)

CONFIG = JointModelConfig(audio_features=20, text_features=24, width=16, heads=4, text_half_life_s=30)
ABLATIONS = [
    {"private": private, "shared": shared, "attention": attention}
    for private, shared in ((True, True), (True, False), (False, True))
    for attention in (True, False)
]
# Attention over another number of elements adds in another order: a few units of float32's last place.
ORDER_TOLERANCE = 1e-5


def model(**changes: bool) -> JointModel:
    torch.manual_seed(1)
    return JointModel(replace(CONFIG, **changes)).eval()


def audio(batch: int = 3, n: int = 5) -> AudioInput:
    generator = torch.Generator().manual_seed(2)
    return AudioInput(torch.randn(batch, n, 20, generator=generator), torch.ones(batch, n, dtype=torch.bool))


def text(batch: int = 3, n: int = 4, *, weight: float = 0.9) -> TextInput:
    generator = torch.Generator().manual_seed(3)
    return TextInput(
        torch.randn(batch, n, 24, generator=generator),
        torch.full((batch, n), weight),
        torch.linspace(20, 1, n).repeat(batch, 1),
    )


def no_text(batch: int = 3) -> TextInput:
    return TextInput(torch.zeros(batch, 0, 24), torch.zeros(batch, 0), torch.zeros(batch, 0))


def results(output: JointOutput) -> list[Tensor]:
    return [*output.fused, *output.audio]


def test_the_four_parts_of_the_method_have_names() -> None:
    parts = dict(model().named_modules())
    assert type(parts["private_audio"]) is PrivateLayers
    assert type(parts["private_text"]) is PrivateLayers
    assert parts["private_audio"] is not parts["private_text"]
    assert type(parts["shared"]) is SharedLayers
    assert type(parts["fusion"]) is FusionAttention
    assert isinstance(parts["fusion.attention"], torch.nn.MultiheadAttention)


def test_shapes_and_ranges() -> None:
    with torch.inference_mode():
        output = model()(audio(), text())
    for heads in (output.fused, output.audio, output.text):
        assert [tuple(head.shape) for head in heads] == [(3, 2), (3, 4), (3, 5)]
        assert float(heads.emotion.abs().max()) <= 1
    assert output.text_gate.shape == (3,)
    assert 0 < float(output.text_gate.min()) <= float(output.text_gate.max()) < 1
    assert [tuple(rep.shape) for rep in output.representations] == [(3, 16)] * 4


def test_emotion_stays_in_range_for_any_audio() -> None:
    loud = AudioInput(1e4 * audio().tokens, audio().mask)
    with torch.inference_mode():
        assert float(model()(loud, text()).fused.emotion.abs().max()) <= 1


@pytest.mark.parametrize("switches", ABLATIONS)
@pytest.mark.parametrize("size", [1.0, 1e3, 1e18])
def test_masked_text_has_exactly_no_influence(switches: dict[str, bool], size: float) -> None:
    net = model(**switches)
    masked = TextInput(size * text().vectors, torch.zeros(3, 4), size * text().ages_s)
    with torch.inference_mode():
        bare, silenced = net(audio(), no_text()), net(audio(), masked)
    for a, b in zip(results(bare), results(silenced), strict=True):
        assert torch.equal(a, b)
    for output in (bare, silenced):
        assert torch.equal(output.text_gate, torch.zeros(3))
        for fused, alone in zip(output.fused, output.audio, strict=True):
            assert torch.equal(fused, alone)


@pytest.mark.parametrize("vector", [float("nan"), float("inf"), 3e38])
def test_not_even_a_masked_line_that_is_no_number_has_an_influence(vector: float) -> None:
    net, lines = model(), text()
    weights = lines.weights.clone()
    weights[:, 2] = 0
    vectors = lines.vectors.clone()
    vectors[:, 2] = vector
    with torch.inference_mode():
        a = net(audio(), TextInput(lines.vectors, weights, lines.ages_s))
        b = net(audio(), TextInput(vectors, weights, lines.ages_s))
    for left, right in zip(results(a), results(b), strict=True):
        assert torch.equal(left, right)


def test_a_masked_line_beside_a_present_one_has_exactly_no_influence() -> None:
    net, lines = model(), text()
    weights = lines.weights.clone()
    weights[:, 1] = 0
    vectors, ages_s = lines.vectors.clone(), lines.ages_s.clone()
    vectors[:, 1], ages_s[:, 1] = 1e18, -7.0
    with torch.inference_mode():
        a = net(audio(), TextInput(lines.vectors, weights, lines.ages_s))
        b = net(audio(), TextInput(vectors, weights, ages_s))
    for left, right in zip(results(a), results(b), strict=True):
        assert torch.equal(left, right)


def test_the_text_of_one_row_does_not_reach_another() -> None:
    net, lines = model(), text()
    weights = lines.weights.clone()
    weights[1] = 0
    with torch.inference_mode():
        mixed = net(audio(), TextInput(lines.vectors, weights, lines.ages_s))
    assert float(mixed.text_gate[1]) == 0
    for fused, alone in zip(mixed.fused, mixed.audio, strict=True):
        assert torch.equal(fused[1], alone[1])
        assert not torch.equal(fused[0], alone[0])


def test_present_text_moves_the_result_as_far_as_the_gate_says() -> None:
    with torch.inference_mode():
        output = model()(audio(), text())
        weak = model()(audio(), text(weight=0.01))
    assert not torch.equal(output.fused.category, output.audio.category)
    assert float(output.text_gate.max()) <= 0.9
    assert float(weak.text_gate.max()) <= 0.01
    near = (weak.fused.category - weak.audio.category).abs().max()
    assert float(near) < 0.1 * float((output.fused.category - output.audio.category).abs().max())


def test_old_text_fades() -> None:
    lines = text()
    with torch.inference_mode():
        gates = [
            float(model()(audio(), lines._replace(ages_s=lines.ages_s + age_s)).text_gate.max())
            for age_s in (0, 30, 300, 1e5)
        ]
    assert gates == sorted(gates, reverse=True)
    assert gates[1] < 0.6 * gates[0]
    assert gates[-1] == 0


def test_where_the_padding_stands_does_not_matter() -> None:
    net, sound, lines = model(), audio(), text()
    padding = torch.full((3, 2, 20), 7.0)
    absent, present = torch.zeros(3, 2, dtype=torch.bool), torch.ones(3, 5, dtype=torch.bool)
    nothing = torch.zeros(3, 2)
    spread = [
        (
            AudioInput(torch.cat([padding, sound.tokens], 1), torch.cat([absent, present], 1)),
            TextInput(
                torch.cat([torch.full((3, 2, 24), -5.0), lines.vectors], 1),
                torch.cat([nothing, lines.weights], 1),
                torch.cat([nothing, lines.ages_s], 1),
            ),
        ),
        (
            AudioInput(torch.cat([sound.tokens, padding], 1), torch.cat([present, absent], 1)),
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
                torch.testing.assert_close(a, b, rtol=0, atol=ORDER_TOLERANCE)


@pytest.mark.parametrize("switches", ABLATIONS)
def test_every_ablation_builds_runs_and_learns(switches: dict[str, bool]) -> None:
    net = model(**switches).train()
    names = {name.split(".")[0] for name, _ in net.named_modules()}
    assert ("private_audio" in names, "shared" in names) == (switches["private"], switches["shared"])
    assert isinstance(net.fusion, FusionAttention if switches["attention"] else FusionConcatenation)
    output = net(audio(), text())
    total = sum(
        (head.square().sum() for heads in (output.fused, output.audio, output.text) for head in heads),
        output.text_gate.sum(),
    )
    total.backward()
    without = [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    # A constant added to every score of a softmax changes nothing: these alone cannot learn, by construction.
    assert [name for name in without if not name.endswith("pool.score.bias")] == []


def test_without_text_the_text_branch_learns_nothing_and_nothing_breaks() -> None:
    net = model().train()
    output = net(audio(), no_text())
    sum(head.square().sum() for head in output.fused).backward()
    for name, parameter in net.named_parameters():
        if name.startswith(("private_text", "text_projection", "text_gate")):
            assert parameter.grad is None or not parameter.grad.any()
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="private layers, shared layers or both"):
        model(private=False, shared=False)


def test_pooling_weighs_its_elements() -> None:
    torch.manual_seed(0)
    pool, x = WeightedPool(8), torch.randn(1, 2, 8)
    torch.nn.init.zeros_(pool.score.weight)
    with torch.inference_mode():
        pooled = pool(x, torch.tensor([[0.75, 0.25]]))
        nothing = pool(x, torch.zeros(1, 2))
    torch.testing.assert_close(pooled, 0.75 * x[:, 0] + 0.25 * x[:, 1])
    assert torch.equal(nothing, torch.zeros(1, 8))
