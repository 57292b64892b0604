"""The joint model as it runs gives what the network gives that was trained, whatever of it is built or there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tolerance import LAYER
from weights import random_joint

from stream_mer.emotion import joint
from stream_mer.emotion.joint import OUTPUTS, Encoded, JointModel, JointModelConfig, joint_tensors, time_scales
from stream_mer.training import network
from stream_mer.training.network import JointNetwork
from stream_mer.types import Floats

CONFIG = JointModelConfig(
    audio_features=20, text_features=24, audio_components=12, members=2, width=16, heads=4, newest_tokens=2
)
ABLATIONS = [
    {"private": private, "shared": shared, "attention": attention, "newest_tokens": newest}
    for private, shared in ((True, True), (True, False), (False, True))
    for attention in (True, False)
    for newest in (2, 0)
]
AGES = np.array([[4, 3, 2, 1, 0], [2, 1, 0, -1, -1], [-1, 0, -1, -1, -1]])
"""Full, begun, and of a single token; in any order, as in a ring buffer."""


def drawn(*shape: int, seed: int = 2) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def contexts(model: JointModel, streams: int, n: int = 5) -> Encoded:
    """Encoded tokens of the streams' contexts; where a place is empty, anything may lie."""
    encoded = model.encode_audio(drawn(streams * n, CONFIG.audio_features))
    return Encoded(*(part.reshape(streams, n, *part.shape[1:]) for part in encoded))


def pooled_by_network(net: JointNetwork, streams: int, ages: NDArray[np.int64]) -> list[torch.Tensor]:
    tokens = torch.from_numpy(drawn(streams * ages.shape[1], CONFIG.audio_features))
    encoded = net.encode_audio(net.components(tokens).reshape(streams, ages.shape[1], -1))
    return net.pool_audio(encoded, network.time_scales(torch.from_numpy(ages), net.config))


def outputs_of(heads: network.Heads) -> Floats:
    """Mean of the members, [B, 11]."""
    outputs: Floats = torch.cat(heads, 2).mean(0).numpy()
    return outputs


def assert_close(found: Floats, expected: Floats) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=LAYER, atol=LAYER)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("switches", ABLATIONS, ids=lambda one: " ".join(f"{name}={on}" for name, on in one.items()))
def test_it_gives_what_the_network_gives_of_the_same_weights(
    switches: dict[str, Any], streams: int, members: int
) -> None:
    """Step by step, of contexts that are partly empty: audio alone, words alone, and both."""
    model = random_joint(replace(CONFIG, **switches, members=members))
    ages, mean = AGES[-streams:], drawn(streams, CONFIG.text_features, seed=3)
    audio, words = model.pool_audio(*contexts(model, streams), ages), model.encode_text(mean)
    with torch.inference_mode():
        net = JointNetwork.from_model(model)
        theirs, their_words = pooled_by_network(net, streams, ages), net.encode_text(torch.from_numpy(mean))
        assert_close(audio, torch.stack(theirs, 2).numpy())
        assert_close(words, torch.cat(their_words, 2).numpy())
        for there in ((True, False), (False, True), (True, True)):
            found = model.combine(
                *(part if is_there else None for part, is_there in zip((audio, words), there, strict=True))
            )
            expected = net.combine(theirs if there[0] else None, their_words if there[1] else None)
            assert found.shape == (streams, OUTPUTS)
            assert_close(found, outputs_of(expected))
        both, audio_alone = model.combine_with_and_without_text(audio, words)
        assert_close(both, outputs_of(net.combine(theirs, their_words)))
        assert_close(audio_alone, outputs_of(net.combine(theirs, None)))


BASES = {
    "two blocks": [(slice(0, 13), slice(0, 7)), (slice(13, 20), slice(7, 12))],
    "blocks that overlap": [(slice(0, 13), slice(0, 7)), (slice(9, 20), slice(7, 12))],
    "some features of none": [(slice(2, 8), slice(0, 4)), (slice(12, 17), slice(4, 12))],
    "some components of none": [(slice(0, 20), slice(3, 5)), (slice(0, 1), slice(7, 12))],
    "one block again": [(slice(0, 8), slice(0, 4)), (slice(8, 20), slice(4, 8)), (slice(0, 8), slice(8, 12))],
    "nothing at all": [],
}


@pytest.mark.parametrize("kind", BASES)
def test_components_of_parts_of_a_token_are_those_of_the_whole_basis(kind: str) -> None:
    """Zeros of the basis are left out, wherever they are."""
    tensors = dict(random_joint(CONFIG).tensors)
    basis = np.zeros((20, 12), np.float32)
    for features, components in BASES[kind]:
        basis[features, components] = tensors["components.basis"][features, components]
    basis[5, 1] = 0.0  # one that is zero by chance
    model = JointModel(CONFIG, {**tensors, "components.basis": basis})
    ages, tokens = AGES[:1], torch.from_numpy(drawn(5, CONFIG.audio_features))
    with torch.inference_mode():
        net = JointNetwork.from_model(model)
        np.testing.assert_allclose(net.components(tokens), (tokens - net.components.mean) @ torch.from_numpy(basis))
        assert_close(
            model.pool_audio(*contexts(model, 1), ages), torch.stack(pooled_by_network(net, 1, ages), 2).numpy()
        )


def test_it_comes_back_from_the_network_as_it_was() -> None:
    model = random_joint(CONFIG)
    again = JointNetwork.from_model(model).to_model()
    assert again.config == model.config
    assert again.tensors.keys() == model.tensors.keys()
    for name, tensor in model.tensors.items():
        np.testing.assert_array_equal(again.tensors[name], tensor)


def test_later_training_does_not_change_a_model() -> None:
    net = JointNetwork(CONFIG)
    model = net.to_model()
    before = {name: tensor.copy() for name, tensor in model.tensors.items()}
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    for name, tensor in model.tensors.items():
        np.testing.assert_array_equal(tensor, before[name])


@pytest.mark.parametrize("switches", ABLATIONS)
def test_a_checkpoint_holds_what_the_network_has(switches: dict[str, Any]) -> None:
    config = replace(CONFIG, **switches)
    ours, theirs = joint_tensors(config), JointNetwork(config).state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: tuple(t.shape) for name, t in theirs.items()}


def test_what_lies_in_an_empty_place_has_no_influence() -> None:
    model = random_joint(CONFIG)
    values, scores = contexts(model, 3)
    expected = model.pool_audio(values, scores, AGES)
    empty = AGES < 0
    values[empty], scores[empty] = -7e3, 9e3
    assert_close(model.pool_audio(values, scores, AGES), expected)


def test_nothing_that_is_kept_or_given_is_written_to() -> None:
    model = random_joint(CONFIG)
    values, scores = contexts(model, 3)
    tokens, mean = drawn(4, CONFIG.audio_features), drawn(3, CONFIG.text_features)
    for array in (values, scores, tokens, mean, *model.tensors.values()):
        array.flags.writeable = False
    model.encode_audio(tokens)
    audio, words = model.pool_audio(values, scores, AGES), model.encode_text(mean)
    audio.flags.writeable = words.flags.writeable = False
    first, again = model.combine(audio, words), model.combine(audio, words)
    assert_close(again, first)
    assert_close(model.combine_with_and_without_text(audio, words)[0], first)


def test_the_time_scales_are_the_context_and_its_newest_tokens() -> None:
    ages = np.array([[3, 2, 1, 0], [-1, -1, 1, 0], [-1, -1, -1, -1]])
    expected = [[[1, 1, 1, 1], [0, 0, 1, 1]], [[0, 0, 1, 1], [0, 0, 1, 1]], [[0] * 4] * 2]
    assert time_scales(ages, CONFIG).tolist() == expected
    assert time_scales(ages, replace(CONFIG, newest_tokens=0)).tolist() == [[one[0]] for one in expected]
    np.testing.assert_array_equal(time_scales(ages, CONFIG), network.time_scales(torch.from_numpy(ages), CONFIG).bool())


@pytest.mark.parametrize("attention", [True, False])
def test_there_is_nothing_to_combine_without_audio_and_words(*, attention: bool) -> None:
    with pytest.raises(ValueError, match="nothing to combine"):
        random_joint(replace(CONFIG, attention=attention)).combine(None, None)


def test_emotion_stays_in_range_for_any_audio() -> None:
    model = random_joint(CONFIG)
    encoded = model.encode_audio(1e4 * drawn(5, CONFIG.audio_features))
    outputs = model.combine(model.pool_audio(*(part[None] for part in encoded), AGES[:1]), None)
    assert np.isfinite(outputs).all()
    assert np.abs(outputs[:, :2]).max() <= 1


# --- GELU, which numpy does not have


def test_gelu_is_the_exact_one() -> None:
    x = np.linspace(-10, 10, 200_001, dtype=np.float32)
    given = x.copy()
    expected = torch.nn.functional.gelu(torch.from_numpy(x).double())
    np.testing.assert_allclose(joint._gelu(given), expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(given, x)


@pytest.mark.parametrize(("x", "expected"), [(0.0, 0.0), (1e4, 1e4), (-1e4, 0.0), (1e18, 1e18), (-1e18, 0.0)])
def test_gelu_far_from_zero_is_a_number(x: float, expected: float) -> None:
    assert joint._gelu(np.full((2, 3), x, np.float32)).tolist() == [[pytest.approx(expected)] * 3] * 2


# --- what is no model


@pytest.mark.parametrize("heads", [0, -2, 3, 32])
def test_heads_that_do_not_share_the_width_are_refused(heads: int) -> None:
    with pytest.raises(ValueError, match=f"{heads} heads cannot share a width of 16 evenly"):
        replace(CONFIG, heads=heads)
    assert replace(CONFIG, heads=heads, attention=False).heads == heads, "where nothing attends they do not matter"


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="private layers, shared layers or both"):
        replace(CONFIG, private=False, shared=False)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("heads.emotion.bias", None, "1 tensors are missing, such as heads.emotion.bias"),
        ("colour", np.zeros(3, np.float32), "1 tensors belong to no part of it, such as 'colour'"),
        ("fusion.kind", np.zeros((2, 1, 5, 16), np.float32), r"size mismatch for fusion.kind: \[2, 1, 5, 16\]"),
        ("components.mean", np.zeros(20), "components.mean is of the type float64 in place of float32"),
        ("components.mean", np.full(20, np.nan, np.float32), "components.mean holds NaN or a value beyond"),
        ("components.mean", np.full(20, -1e7, np.float32), "components.mean holds NaN or a value beyond"),
    ],
)
def test_tensors_of_another_model_are_refused(name: str, value: NDArray[Any] | None, says: str) -> None:
    tensors = {**random_joint(CONFIG).tensors, name: value}
    with pytest.raises(ValueError, match=says):
        JointModel(CONFIG, {name: tensor for name, tensor in tensors.items() if tensor is not None})
