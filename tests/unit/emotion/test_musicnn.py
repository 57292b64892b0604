"""MSD-MusiCNN: the published network, the slim one, and the stream."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from products import Products
from tolerance import NETWORK
from torch import Tensor
from weights import random_backbone

from stream_mer.audio.features import MEL_BANDS
from stream_mer.emotion.musicnn import (
    MEL_STRIDE,
    MIDDLE_CHANNELS,
    PIECE_STEPS,
    TEMPORAL_STEPS,
    TIMBRAL_BANDS,
    TOKEN_FEATURES,
    TOKEN_STEPS,
    Backbone,
    BackboneShape,
    BackboneStream,
    StreamingBackbone,
    backbone_tensors,
    living_channels,
    load_musicnn,
    slim,
)
from stream_mer.errors import CheckpointError
from stream_mer.types import Floats

WHOLE, SLIM = BackboneShape(), BackboneShape(filters=(20, 16, 8, 6, 4), pooled=200)

Tensors = dict[str, np.ndarray]


@pytest.fixture(scope="module", params=[WHOLE, SLIM], ids=["whole", "slim"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """Random weights, batch norms that scale and shift; some scales are negative, which turns a maximum round."""
    net = random_backbone(request.param)
    turned = tuple(
        replace(layer, scale=np.where(np.arange(len(layer.scale)) % 3, 1, -1) * layer.scale) for layer in net.front
    )
    return replace(net, front=turned)


def log_mel(n: int, seed: int = 0) -> Floats:
    return 3 * np.random.default_rng(seed).random((n, MEL_BANDS), np.float32)


def pieces_of(steps: Floats, most: int) -> list[Floats]:
    """The steps in their order, so many at a time at most."""
    return [steps[start : start + most] for start in range(0, len(steps), most)]


def assert_close(found: Floats, expected: Floats, *, what: str = "", tolerance: float = NETWORK) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=what)


class OneStream:
    """A stream by itself, with the network that feeds it."""

    def __init__(self, backbone: Backbone) -> None:
        self.net = StreamingBackbone(backbone)
        self.state = BackboneStream(self.net)

    def feed(self, piece: Floats) -> None:
        self.net.feed([self.state], [piece])

    def token(self) -> Floats:
        """The token that ends now."""
        (token,) = self.net.tokens([self.state])
        return token


def channels_of(backbone: Backbone, steps: Floats, hop: int = PIECE_STEPS - 1) -> Floats:
    """The channels that a token tells of, [n, pooled]; steps are fed ``hop`` at a time at most."""
    net = StreamingBackbone(backbone)
    stream = BackboneStream(net)
    pieces = []
    for piece in pieces_of(steps, min(hop, PIECE_STEPS)):
        pieces += [*net._numbers([stream], [piece])]
        stream.steps += len(piece)
    return np.concatenate(pieces)[:, backbone.pooled]


def fed(backbone: Backbone, pieces: Iterable[Floats]) -> OneStream:
    stream = OneStream(backbone)
    for piece in pieces:
        stream.feed(piece)
    return stream


# --- one pass, any pieces


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 100), max_size=8))
def test_any_pieces_give_the_token_of_one_pass(lengths: list[int]) -> None:
    net, steps = random_backbone(SLIM), log_mel(220)
    pieces = np.split(steps, [min(int(edge), len(steps)) for edge in np.cumsum(lengths)])
    assert_close(fed(net, pieces).token(), fed(net, [steps]).token())


# --- what a token is


def test_the_whole_network_is_the_published_one() -> None:
    assert (WHOLE.front_channels, WHOLE.channels, WHOLE.token_features) == (561, 753, 1794)
    assert WHOLE.channels == WHOLE.pooled
    assert WHOLE.token_features == TOKEN_FEATURES


@pytest.mark.parametrize("n", [1, 30, 31, 32, 185, 186, 187, 400])
def test_a_token_pools_the_newest_three_seconds_that_end_now(backbone: Backbone, n: int) -> None:
    steps = log_mel(n)
    channels = channels_of(backbone, steps)[-TOKEN_STEPS:].astype(np.float64)
    rise = np.diff(steps, axis=0, prepend=steps[:1]).clip(min=0)[-TOKEN_STEPS:].astype(np.float64)
    bands = steps[-TOKEN_STEPS:].astype(np.float64)
    expected = np.concatenate([channels.max(0), channels.mean(0), bands.mean(0), bands.std(0), rise.mean(0)])
    token = fed(backbone, [steps]).token()
    assert token.shape == (backbone.shape.token_features,)
    # The deviation comes from sums of squares in float32, whose difference loses half of the digits near zero.
    np.testing.assert_allclose(token, expected, rtol=1e-3, atol=2e-3)


def test_no_steps_change_nothing(backbone: Backbone) -> None:
    stream = fed(backbone, [log_mel(50)])
    before = stream.token()
    stream.feed(log_mel(0))
    assert_close(stream.token(), before)
    assert stream.state.steps == 50


def test_asking_for_a_token_changes_nothing(backbone: Backbone) -> None:
    asked, silent = OneStream(backbone), OneStream(backbone)
    for piece in pieces_of(log_mel(250), 40):
        asked.feed(piece)
        asked.token()
        silent.feed(piece)
    assert_close(asked.token(), silent.token())


# --- bounds


def numbers_held(state: BackboneStream) -> int:
    """How many numbers the stream's state keeps alive, views counted with all that they hold on to."""
    held: dict[int, int] = {}

    def visit(value: object) -> None:
        if isinstance(value, np.ndarray):
            while isinstance(value.base, np.ndarray):
                value = value.base
            held[id(value)] = value.size
        elif isinstance(value, (list, tuple, deque)):
            for item in value:
                visit(item)

    for value in vars(state).values():
        visit(value)
    return sum(held.values())


def test_the_state_is_bounded(backbone: Backbone) -> None:
    stream = fed(backbone, [log_mel(31, seed=i) for i in range(25)])
    early = numbers_held(stream.state)
    for i in range(25):
        stream.feed(log_mel(31, seed=i))
        stream.token()
    assert numbers_held(stream.state) == early
    assert early < 1_000_000


def test_a_stream_holds_on_to_nothing_of_those_that_it_was_computed_with(backbone: Backbone) -> None:
    net = StreamingBackbone(backbone)
    streams = [BackboneStream(net) for _ in range(5)]
    for i in range(25):
        net.feed(streams, [log_mel(31, seed=i)] * 5)
    alone = fed(backbone, [log_mel(31, seed=i) for i in range(25)])
    assert numbers_held(streams[0]) <= numbers_held(alone.state)


def products(backbone: Backbone, *, before: int, hop: int) -> int:
    """Multiplications of one hop, after so many steps were heard."""
    stream = fed(backbone, pieces_of(log_mel(before), 62))
    counter = Products()
    counter.watch(stream.net)
    counter.watch(stream.state)
    stream.feed(log_mel(hop, seed=1))
    stream.token()
    return counter.total


def test_the_cost_of_a_hop_is_its_own_steps_whatever_the_past(backbone: Backbone) -> None:
    for hop in (6, 31):
        assert len({products(backbone, before=before, hop=hop) for before in (0, 62, 250, 1000)}) == 1
    few, many = (products(backbone, before=62, hop=hop) for hop in (4, 32))
    assert 0 < few < many / 6


@pytest.mark.parametrize("hop", [1, 6, 31, 32])
def test_each_layer_is_computed_for_the_new_steps_alone(hop: int) -> None:
    """The products of one hop, added up by hand: rows times columns of each layer's matrix."""
    timbral = hop * 7 * 3 * ((38 + 2 * 2) * 10 * 20 + (67 + 2 * 2) * 5 * 16)  # positions in groups of 3
    together = 8 * math.ceil(hop / 8)  # steps in groups of 8
    temporal = 48 * together * sum((length + 7) * n for length, n in zip(TEMPORAL_STEPS, (8, 6, 4), strict=True))
    middle = hop * 7 * 64 * (SLIM.front_channels + 64 + 64)
    assert products(random_backbone(SLIM), before=200, hop=hop) == timbral + temporal + middle


# --- several streams at once


def test_streams_computed_together_are_those_computed_alone(backbone: Backbone) -> None:
    """They begin at other times, and have other numbers of new steps: none, few, more than are computed at once."""
    net = StreamingBackbone(backbone)
    together, alone = [BackboneStream(net) for _ in range(4)], [OneStream(backbone) for _ in range(4)]
    pieces = [[0, 40, 31, 6], [31, 31, 32, 0], [100, 1, 31, 7], [32, 64, 0, 62], [31, 31, 31, 31]]
    for turn, lengths in enumerate(pieces):
        news = [log_mel(n, seed=10 * turn + i) for i, n in enumerate(lengths)]
        net.feed(together, news)
        for stream, piece in zip(alone, news, strict=True):
            stream.feed(piece)
        heard = [i for i, stream in enumerate(together) if stream.steps]
        for i, token in zip(heard, net.tokens([together[i] for i in heard]), strict=True):
            assert_close(token, alone[i].token())


# --- the same network as the original


def random_musicnn() -> Tensors:
    """Tensors with the names and shapes of the published network."""
    rng = np.random.default_rng(3)
    kernels = [(7, bands, 1, 204) for bands in TIMBRAL_BANDS]
    kernels += [(steps, 1, 1, 51) for steps in TEMPORAL_STEPS]
    kernels += [(7, 561, 1, MIDDLE_CHANNELS)] + 2 * [(7, MIDDLE_CHANNELS, 1, MIDDLE_CHANNELS)]
    tensors: Tensors = {}
    for i, shape in enumerate(kernels):
        name = f"conv2d_{i}" if i else "conv2d"
        tensors[f"{name}/kernel"] = rng.standard_normal(shape) / np.sqrt(np.prod(shape[:3]))
        tensors[f"{name}/bias"] = 0.1 * rng.standard_normal(shape[3])
    for i, width in enumerate([1, *(shape[3] for shape in kernels)]):
        name = f"batch_normalization_{i}" if i else "batch_normalization"
        tensors[f"{name}/gamma"] = rng.uniform(0.5, 1.5, width)
        tensors[f"{name}/beta"] = 0.2 * rng.standard_normal(width)
        tensors[f"{name}/moving_mean"] = 0.2 * rng.standard_normal(width)
        tensors[f"{name}/moving_variance"] = rng.uniform(0.5, 2.0, width)
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


class Original:
    """MSD-MusiCNN written the plain way: whole excerpts, two-dimensional convolutions, nothing folded, nothing kept."""

    def __init__(self, tensors: Tensors, *, mel_stride: int = 1) -> None:
        self._tensors = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
        self._mel_stride = mel_stride

    def _get(self, layer: str, index: int, name: str) -> Tensor:
        return self._tensors[f"{layer}_{index}/{name}" if index else f"{layer}/{name}"]

    def norm(self, x: Tensor, index: int) -> Tensor:
        """[T, ..., channels] batch-normalised over its last axis."""
        mean, variance, gamma, beta = (
            self._get("batch_normalization", index, name)
            for name in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return (x - mean) / torch.sqrt(variance + 1e-3) * gamma + beta

    def bank(self, x: Tensor, index: int) -> Tensor:
        """[T, mel] to [T, filters]: a convolution over time and mel, its maximum over mel."""
        kernel = self._get("conv2d", index, "kernel").permute(3, 2, 0, 1)  # [filters, 1, steps, bands]
        steps = kernel.shape[2]
        padded = F.pad(x[None, None], (0, 0, (steps - 1) // 2, steps // 2))
        y = F.conv2d(padded, kernel, self._get("conv2d", index, "bias"))[0].permute(1, 2, 0)  # [T, positions, filters]
        return self.norm(F.relu(y[:, :: self._mel_stride]), index + 1).amax(1)

    def middle_layer(self, x: Tensor, index: int) -> Tensor:
        kernel = self._get("conv2d", index, "kernel")[:, :, 0].permute(2, 1, 0)  # [filters, channels, steps]
        y = F.conv1d(x.T[None], kernel, self._get("conv2d", index, "bias"), padding=3)[0].T
        return self.norm(F.relu(y), index + 1)

    def channels(self, log_mel: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The five front banks and the three middle layers of [T, 96], each [T, its filters]."""
        x = self.norm(log_mel[..., None], 0)[..., 0]
        banks = [self.bank(x, i) for i in range(5)]
        first = self.middle_layer(torch.cat(banks, dim=1), 5)
        second = self.middle_layer(first, 6) + first
        return banks, [first, second, self.middle_layer(second, 7) + second]

    def embedding(self, log_mel: Tensor) -> Tensor:
        """The 200 numbers that the published reference gives of 3 s."""
        banks, middle = self.channels(log_mel)
        x = torch.cat([*banks, *middle], dim=1)
        pooled = torch.stack([x.amax(0), x.mean(0)], dim=1).flatten()  # maximum and mean interleaved
        y = F.relu(self.norm(pooled, 9) @ self._get("dense", 0, "kernel") + self._get("dense", 0, "bias"))
        return self.norm(y, 10)


# How far behind the newest step each channel group's value lies: half of its filter; 64, and 3 more a middle layer.
DELAYS = (3, 3, 64, 32, 16, 67, 70, 73)


def assert_stream_is_original(net: Backbone, original: Original, steps: Floats, *, tolerance: float = NETWORK) -> None:
    streamed = channels_of(net, steps)
    with torch.inference_mode():
        banks, middle = original.channels(torch.from_numpy(steps))
    assert streamed.shape == (len(steps), 753)
    every = [group.numpy() for group in (*banks, *middle)]
    groups = np.split(streamed, np.cumsum([group.shape[1] for group in every])[:-1], axis=1)
    for i, (group, expected) in enumerate(zip(groups, every, strict=True)):
        # The middle layers' first values read what lies before the start, which a whole excerpt pads otherwise.
        first = 3 * (i - 4) if i >= 5 else 0
        delay = DELAYS[i]
        assert_close(
            group[delay + first :], expected[first : len(steps) - delay], what=f"group {i}", tolerance=tolerance
        )


@pytest.fixture(scope="module")
def musicnn_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("musicnn") / "random.npz"
    np.savez(path, **random_musicnn())
    return path


def test_the_stream_computes_what_the_original_computes_with_every_second_mel_position(musicnn_file: Path) -> None:
    original = Original(random_musicnn(), mel_stride=MEL_STRIDE)
    assert_stream_is_original(load_musicnn(musicnn_file), original, log_mel(200))


@pytest.fixture
def published() -> Path:
    path = os.environ.get("STREAM_MER_MUSICNN")
    if not path:
        pytest.skip("set STREAM_MER_MUSICNN to the published weights (.npz, their reference beside them)")
    return Path(path)


def test_the_plain_original_gives_the_published_reference(published: Path) -> None:
    with np.load(published) as archive:
        original = Original(dict(archive))
    with np.load(published.with_name(f"{published.stem}_reference.npz")) as reference:
        named = dict(reference)
    clips = {name.rpartition("/")[0] for name in named}
    assert len(clips) >= 4
    for clip in clips:
        embedding = original.embedding(torch.from_numpy(named[f"{clip}/log_mel"]))
        np.testing.assert_allclose(embedding.numpy(), named[f"{clip}/penultimate"], rtol=1e-3, atol=1e-3)


def test_the_stream_computes_the_published_network(published: Path) -> None:
    with np.load(published) as archive:
        original = Original(dict(archive), mel_stride=MEL_STRIDE)
    # Its middle layers amplify rounding: from the same network in float64, torch is up to 9e-5, the stream 1.8e-4.
    assert_stream_is_original(load_musicnn(published), original, log_mel(200), tolerance=4e-4)


# --- files that are not the network


def test_a_loaded_backbone_holds_what_a_checkpoint_does(musicnn_file: Path) -> None:
    net = load_musicnn(musicnn_file)
    assert net.shape == WHOLE
    assert net.pooled.tolist() == list(range(753))
    wanted = backbone_tensors(WHOLE)
    found = net.tensors()
    assert list(found) == list(wanted)
    assert all((one.shape, one.dtype) == (wanted[name].shape, wanted[name].dtype) for name, one in found.items())


def not_the_network(folder: Path) -> dict[str, Path]:
    good = random_musicnn()
    np.savez(folder / "lacking.npz", **{k: v for k, v in good.items() if k != "conv2d_7/kernel"})
    np.savez(folder / "shape.npz", **{**good, "conv2d_2/kernel": good["conv2d_3/kernel"]})
    np.savez(folder / "text.npz", **{name: np.array(["words"]) for name in good})
    np.save(folder / "single.npy", np.zeros(3))
    (folder / "empty.npz").touch()
    (folder / "garbage.npz").write_bytes(b"neither an archive nor an array")
    whole = (folder / "lacking.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (folder / "flipped.npz").write_bytes(whole[:5000] + bytes(1000) + whole[6000:])
    np.savez(folder / "pickle.npz", **{**good, "conv2d/bias": np.array([{"no": "pickle"}])})
    np.savez(folder / "no-number.npz", **{**good, "conv2d/bias": good["conv2d/bias"] * np.nan})
    return {path.stem: path for path in folder.iterdir()} | {"missing": folder / "missing.npz", "folder": folder}


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "folder",
        "empty",
        "garbage",
        "cut",
        "flipped",
        "single",
        "lacking",
        "shape",
        "text",
        "pickle",
        "no-number",
    ],
)
def test_a_file_that_is_not_the_network_is_a_checkpoint_error_in_one_line(kind: str, tmp_path: Path) -> None:
    path = not_the_network(tmp_path)[kind]
    with pytest.raises(CheckpointError) as caught:
        load_musicnn(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 500


DAMAGE = {
    "a tensor missing": (lambda found: found.pop("middle.1.scale"), "1 tensors are missing, such as middle.1.scale"),
    "a tensor too many": (lambda found: found.update(more=found["pooled"]), "belong to no part of it, such as 'more'"),
    "another shape": (lambda found: found.update({"front.2.offset": np.zeros(9, np.float32)}), "front.2.offset"),
    "another type": (lambda found: found.update(input_scale=np.ones(1)), "float64 in place of float32"),
    "no number": (lambda found: found.update(input_scale=np.full(1, np.nan, np.float32)), "input_scale holds NaN"),
    "a channel beyond": (lambda found: found.update(pooled=found["pooled"] + 99), "names channels"),
    "a channel below 0": (lambda found: found.update(pooled=found["pooled"] - 99), "names channels"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_tensors_that_are_not_the_network_are_refused(kind: str) -> None:
    damage, says = DAMAGE[kind]
    found = dict(random_backbone(SLIM).tensors())
    damage(found)
    with pytest.raises(ValueError, match=says):
        Backbone.from_tensors(SLIM, found)


# --- A slim backbone is the whole one without what says nothing


SHAPE = BackboneShape(filters=(9, 8, 6, 5, 4), pooled=32 + 192)
DEAD = (0, 4, 8, 9, 16, 17, 22, 23, 31)  # some of every bank, the first and the last of all among them
# The longest filter, and the reach of three middle layers: before that they read what was before the stream.
SETTLED_STEPS = 61 + 3 * 6


@pytest.fixture(scope="module")
def whole() -> Backbone:
    """Random weights, batch norms that scale and shift; filters that never fire, and others that always do."""
    net = random_backbone(SHAPE)
    biases = np.repeat(np.float32([2, 60]), [SHAPE.front_channels, 192])
    biases[list(DEAD)] = -1e4
    of_layers = np.split(biases, np.cumsum([*SHAPE.filters, 64, 64]))
    layers = [replace(layer, bias=bias) for layer, bias in zip((*net.front, *net.middle), of_layers, strict=True)]
    return replace(net, pooled=np.arange(SHAPE.channels), front=tuple(layers[:5]), middle=tuple(layers[5:]))


@pytest.fixture(scope="module")
def living(whole: Backbone) -> NDArray[np.bool_]:
    return living_channels([tokens_of(whole, log_mel(600, seed)) for seed in (1, 2)], whole)


def tokens_of(net: Backbone, steps: Floats, hop: int = 31) -> Floats:
    """A token every 31 steps, which are fed ``hop`` at a time at most."""
    streaming = StreamingBackbone(net)
    stream, tokens = BackboneStream(streaming), []
    for block in pieces_of(steps, 31):
        for piece in pieces_of(block, hop):
            streaming.feed([stream], [piece])
        tokens.extend(streaming.tokens([stream]) if len(block) == 31 else [])
    return np.stack(tokens)


def test_the_channels_that_never_change_are_found_and_no_others(living: NDArray[np.bool_]) -> None:
    assert living.shape == (SHAPE.pooled,)
    assert tuple(np.flatnonzero(~living).tolist()) == DEAD


def test_a_channel_lives_that_speaks_in_one_of_many_recordings(whole: Backbone) -> None:
    quiet = np.zeros((20, SHAPE.token_features), np.float32)
    loud = quiet.copy()
    loud[15, 3] = 1.0  # its maximum
    loud[16, SHAPE.pooled + 7] = 0.5  # the mean of another
    assert np.flatnonzero(living_channels([quiet, loud, quiet], whole)).tolist() == [3, 7]


def test_the_start_of_a_recording_and_shorter_ones_say_nothing(whole: Backbone) -> None:
    start = np.zeros((20, SHAPE.token_features), np.float32)
    start[:8] = np.random.default_rng(0).random((8, SHAPE.token_features))
    assert not living_channels([start, start[:5]], whole).any()
    assert not living_channels([], whole).any()


@pytest.mark.parametrize("hop", [6, 31, 400], ids=["hops", "blocks", "one pass"])
def test_a_slim_backbone_gives_the_channels_and_tokens_of_the_whole_one(
    hop: int, whole: Backbone, living: NDArray[np.bool_]
) -> None:
    small = slim(whole, living)
    steps = log_mel(400)
    expected = channels_of(whole, steps, hop)[:, living]
    assert_close(channels_of(small, steps, hop)[SETTLED_STEPS:], expected[SETTLED_STEPS:])
    columns = np.concatenate([living, living, np.ones(3 * MEL_BANDS, np.bool_)])
    settled = -(-(TOKEN_STEPS + SETTLED_STEPS) // 31)
    tokens = tokens_of(whole, steps, hop)[:, columns]
    assert len(tokens[settled - 1 :]) == 4
    assert_close(tokens_of(small, steps, hop)[settled - 1 :], tokens[settled - 1 :])


def test_the_front_of_a_slim_backbone_is_that_of_the_whole_one_from_the_first_step(
    whole: Backbone, living: NDArray[np.bool_]
) -> None:
    steps = log_mel(60)
    n = int(living[: SHAPE.front_channels].sum())
    ours, theirs = (channels_of(net, steps, 31) for net in (slim(whole, living), whole))
    assert_close(ours[:, :n], theirs[:, living][:, :n])


def test_a_slim_backbone_is_smaller_and_comes_back_from_its_weights(whole: Backbone, living: NDArray[np.bool_]) -> None:
    small = slim(whole, living)
    assert small.shape == BackboneShape(filters=(6, 6, 4, 4, 3), pooled=SHAPE.pooled - len(DEAD))
    again = Backbone.from_tensors(small.shape, small.tensors())
    assert_close(tokens_of(again, log_mel(200)), tokens_of(small, log_mel(200)))


def test_slimming_leaves_the_whole_one_as_it_was(whole: Backbone, living: NDArray[np.bool_]) -> None:
    before = {name: tensor.copy() for name, tensor in whole.tensors().items()}
    small = slim(whole, living)
    assert small.tensors().keys() == before.keys()
    for name, tensor in whole.tensors().items():
        np.testing.assert_array_equal(tensor, before[name])


def test_where_all_live_nothing_changes(whole: Backbone) -> None:
    all_of_them = slim(whole, np.ones(SHAPE.channels, np.bool_))
    assert all_of_them.shape == SHAPE
    assert_close(tokens_of(all_of_them, log_mel(200)), tokens_of(whole, log_mel(200)))


def test_a_middle_channel_that_says_nothing_is_not_told_but_still_computed(
    whole: Backbone, living: NDArray[np.bool_]
) -> None:
    without = living.copy()
    without[SHAPE.front_channels + 5] = False
    small = slim(whole, without)
    assert small.middle[0].weight.shape == (64, 7 * small.shape.front_channels)
    steps = log_mel(200)
    assert_close(channels_of(small, steps, 31)[SETTLED_STEPS:], channels_of(whole, steps, 31)[SETTLED_STEPS:, without])


def test_what_makes_no_network_is_refused(whole: Backbone, living: NDArray[np.bool_]) -> None:
    with pytest.raises(ValueError, match="224 truth values"):
        slim(whole, living[: SHAPE.front_channels])
    with pytest.raises(ValueError, match="224 truth values"):
        slim(whole, living.astype(np.float32))
    silent = living.copy()
    silent[9:17] = False
    with pytest.raises(ValueError, match="no living filter"):
        slim(whole, silent)
    muted = living.copy()
    muted[-1] = False  # a channel that is there, and that no token tells of: living cannot be told by tokens any more
    with pytest.raises(ValueError, match="slim already"):
        slim(slim(whole, muted), muted)
