"""Tokens of the audio branch lie on a grid of the sample clock, and how the audio arrives does not change them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerance import NETWORK
from weights import random_backbone

from stream_mer.audio.features import LogMelStream
from stream_mer.audio.yamnet import YamnetOutput, YamnetPatches
from stream_mer.emotion.audio_branch import TOKEN_HOP, YAMNET, AudioBranch, AudioStream, token_features
from stream_mer.emotion.musicnn import BackboneShape, BackboneStream
from stream_mer.types import Floats, Samples

TOLERANCE = {"rtol": NETWORK, "atol": NETWORK}
BACKBONE = random_backbone(BackboneShape(filters=(20, 16, 8, 6, 4), pooled=200))

Music = Callable[..., Samples]


@pytest.fixture(scope="module")
def branch() -> AudioBranch:
    return AudioBranch(BACKBONE)


def assert_close(found: Floats, expected: Floats) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, **TOLERANCE)


def fed(branch: AudioBranch, pieces: Sequence[Samples], *, at_sample: int = 0) -> AudioStream:
    stream = branch.open(at_sample=at_sample)
    for piece in pieces:
        branch.feed([(stream, piece)])
    return stream


def tokens(branch: AudioBranch, pieces: Sequence[Samples], *, at_sample: int = 0) -> Floats:
    taken = fed(branch, pieces, at_sample=at_sample).take()
    return np.stack(taken) if taken else np.zeros((0, branch.token_features), np.float32)


def test_a_token_holds_both_networks(branch: AudioBranch) -> None:
    """MusiCNN's pooled channels of all that was heard, then YAMNet's blocks of the newest whole second."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 5 * TOKEN_HOP).astype(np.float32)
    found = tokens(branch, [samples])
    assert branch.token_features == found.shape[1] == 688 + 2048 == token_features(BACKBONE)
    backbone = BackboneStream(branch.backbone)
    branch.backbone.feed([backbone], [LogMelStream().feed(samples)])
    assert_close(found[-1:, :688], branch.backbone.tokens([backbone]))
    embeddings = YAMNET.run(YamnetPatches(hop_samples=TOKEN_HOP).feed(samples)).embedding
    assert_close(found[:, 688:], embeddings[[0, 1, 1, 3, 3]])


def test_each_second_is_judged_by_yamnet_once(branch: AudioBranch, music: Music) -> None:
    """Whatever the hops, and wherever the streams of a batch stand; a stream's first token does not wait."""
    streams = [branch.open(at_sample=at) for at in (0, 0, 8_000)]
    judged: list[int] = []
    run = YAMNET.run

    def recorded(patches: Floats) -> YamnetOutput:
        judged.append(len(patches))
        return run(patches)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(branch.yamnet, "run", recorded)
        for piece in np.split(music(3), 6):
            branch.feed([(stream, piece) for stream in streams])
    assert judged == [3, 2, 1, 2, 1, 2]


@pytest.mark.parametrize(("length", "expected"), [(0, 0), (1, 0), (7_999, 0), (8_000, 1), (15_999, 1), (40_000, 5)])
def test_a_token_is_made_at_each_multiple_of_half_a_second(
    length: int, expected: int, branch: AudioBranch, music: Music
) -> None:
    stream = fed(branch, [music(3)[:length]])
    assert (len(stream.fresh), stream.end_sample) == (expected, length)


@pytest.mark.parametrize(
    ("at_sample", "length", "expected"),
    [(100, 7_899, 0), (100, 7_900, 1), (16_000, 7_999, 0), (16_000, 8_000, 1), (7_000, 9_000, 2), (7_999, 8_001, 1)],
)
def test_the_grid_belongs_to_the_clock_and_not_to_the_stream(
    at_sample: int, length: int, expected: int, branch: AudioBranch, music: Music
) -> None:
    """The last case: one sample until the first multiple, which is no step to judge yet."""
    stream = fed(branch, [music(3)[:length]], at_sample=at_sample)
    assert (len(stream.fresh), stream.end_sample) == (expected, at_sample + length)


def test_audio_before_the_start_counts_as_silence(branch: AudioBranch, music: Music) -> None:
    """YAMNet's part of a token is that of the same moment after silence; MusiCNN pools only what it heard."""
    samples = music(1.5)
    late = tokens(branch, [samples], at_sample=TOKEN_HOP)
    padded = tokens(branch, [np.concatenate([np.zeros(TOKEN_HOP, np.float32), samples])])
    assert_close(late[:, 688:], padded[1:, 688:])
    assert_close(late[:, :688], tokens(branch, [samples])[:, :688])


@settings(max_examples=8)
@given(st.lists(st.integers(0, 20_000), max_size=5))
def test_any_pieces_give_the_tokens_of_one_pass(lengths: list[int]) -> None:
    branch = AudioBranch(random_backbone(BackboneShape(filters=(2, 2, 2, 2, 2), pooled=100)))
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, 30_000).astype(np.float32)
    pieces = np.split(samples, [edge for edge in np.cumsum(lengths) if edge < len(samples)])
    found = tokens(branch, pieces)
    assert len(found) == 3
    assert_close(found, tokens(branch, [samples]))


def test_streams_fed_together_get_the_tokens_that_they_get_alone(branch: AudioBranch, music: Music) -> None:
    """They began at other times and have other numbers of new samples: none, few, several tokens."""
    begun = [0, 3_000, 16_000, 0]
    turns = [[8_000, 1_000, 0, 20_000], [8_000, 8_000, 24_000, 1], [0, 300, 7_000, 8_000], [9_000, 16_000, 1_000, 0]]
    sounds = [music(3, seed=i)[: sum(turn[i] for turn in turns)] for i in range(len(begun))]
    streams = [branch.open(at_sample=at) for at in begun]
    heard = [0] * len(begun)
    for turn in turns:
        news = [sounds[i][heard[i] : heard[i] + n] for i, n in enumerate(turn)]
        branch.feed(list(zip(streams, news, strict=True)))
        heard = [before + n for before, n in zip(heard, turn, strict=True)]
    for stream, samples, at in zip(streams, sounds, begun, strict=True):
        alone = tokens(branch, [samples], at_sample=at)
        assert len(alone) >= 2
        assert_close(np.stack(stream.take()), alone)


def test_nothing_is_computed_before_a_token_ends(branch: AudioBranch, music: Music) -> None:
    """And then in one pass: hops of any length cost what their tokens cost."""
    stream, computed = branch.open(), []
    feed = branch.backbone.feed

    def recorded(streams: Sequence[BackboneStream], log_mels: Sequence[Floats]) -> None:
        computed.append([len(log_mel) for log_mel in log_mels])
        feed(streams, log_mels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(branch.backbone, "feed", recorded)
        for hop in np.split(music(1.2), 12):
            branch.feed([(stream, hop)])
    assert computed == [[31], [31]]  # steps of 256 samples
    assert len(stream.fresh) == 2
    assert stream.end_sample == 19_200


def test_what_comes_later_changes_no_token(branch: AudioBranch, music: Music) -> None:
    """Causality: the tokens of the first 2 s are the same whatever follows."""
    start = music(2)
    before = tokens(branch, [start])
    after = tokens(branch, [np.concatenate([start, np.ones(8_000, np.float32)])])
    assert (len(before), len(after)) == (4, 5)
    assert_close(after[:4], before)


def test_tokens_are_taken_once_and_hold_on_to_nothing(branch: AudioBranch, music: Music) -> None:
    streams = [branch.open() for _ in range(4)]
    branch.feed([(stream, music(1)) for stream in streams])
    taken = streams[0].take()
    assert len(taken) == 2
    assert streams[0].take() == []
    for token in taken:
        assert token.base is None
        assert token.nbytes == 4 * branch.token_features
    branch.feed([(streams[0], music(0.5))])
    assert len(streams[0].take()) == 1


@pytest.mark.parametrize("level", [0.0, 1e-30, 1e4])
def test_silence_and_noise_of_any_level_give_numbers(level: float, branch: AudioBranch) -> None:
    samples = (level * np.random.default_rng(0).uniform(-1, 1, 2 * TOKEN_HOP)).astype(np.float32)
    assert np.isfinite(tokens(branch, [samples])).all()
