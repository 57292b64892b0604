"""Moments of clips: what had been heard by then, and no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from stream_mer.errors import CorpusError
from stream_mer.training.dataset import BLOCK_S, ClipSet, TextSampling

PLAIN = TextSampling(absent=0.0, delay_s=(3.0, 3.0), lost_lines=0.0, noise=0.0)

Maker = Callable[..., ClipSet]


def test_a_moment_sees_its_past_alone(clip_set: Maker) -> None:
    data = clip_set(4)
    batch = data.moments(1, "none")
    n = int(data.n_tokens[1])
    assert batch.audio.tokens.shape == (n, data.context_tokens, data.tokens.shape[2])
    for moment in (0, 3, n - 1):
        seen = batch.audio.tokens[moment][batch.audio.mask[moment]]
        past = data.tokens[1, max(0, moment + 1 - data.context_tokens) : moment + 1].float()
        assert torch.equal(seen, past)


def test_a_context_of_10_s_holds_15_tokens(clip_set: Maker) -> None:
    assert clip_set(4).context_tokens == 15


def test_words_are_known_once_their_delay_has_passed(clip_set: Maker) -> None:
    batch = clip_set(4).moments(0, "recognised", delay_s=3.0)  # lines end at 1, 4 and 7 s
    for moment, weights in enumerate(batch.text.weights):
        t = BLOCK_S * (moment + 1)
        assert int((weights > 0).sum()) == sum(end + 3.0 <= t for end in (1.0, 4.0, 7.0))
    last = batch.text
    t = BLOCK_S * len(last.weights)
    assert last.ages_s[-1].tolist() == pytest.approx([t - 1, t - 4, t - 7], abs=1e-4)
    assert last.weights[-1].tolist() == pytest.approx([0.9, 0.5, 0.8])


def test_printed_words_are_all_known(clip_set: Maker) -> None:
    batch = clip_set(4).moments(0, "printed")
    assert (batch.text.weights > 0).all()
    assert (batch.text.ages_s >= 0).all()


def test_clips_without_words_have_none(clip_set: Maker) -> None:
    data = clip_set(4)
    assert not data.has_lines(1, "recognised")
    assert data.has_lines(0, "recognised")
    assert not data.has_lines(0, "none")
    assert not data.moments(1, "recognised").has_text.any()


def test_draws_are_of_the_rows_asked_for_and_repeat_with_their_seed(clip_set: Maker) -> None:
    data, rows = clip_set(12), torch.tensor([7, 2, 2, 11])
    a, b = (data.draw(rows, np.random.default_rng(3), PLAIN) for _ in range(2))
    other = data.draw(rows, np.random.default_rng(4), PLAIN)
    assert torch.equal(a.audio.tokens, b.audio.tokens)
    assert torch.equal(a.text.vectors, b.text.vectors)
    assert not torch.equal(a.audio.tokens, other.audio.tokens)
    assert a.labels.category.tolist() == [3, 2, 2, 3]
    for row, tokens, mask in zip(rows, a.audio.tokens, a.audio.mask, strict=True):
        newest = tokens[mask][-1]
        assert (data.tokens[row].float() == newest).all(dim=1).any()


def test_draws_begin_with_the_third_second(clip_set: Maker) -> None:
    data, rng = clip_set(4), np.random.default_rng(0)
    lengths = torch.cat([data.draw(torch.arange(4), rng, PLAIN).audio.mask.sum(1) for _ in range(50)])
    assert int(lengths.min()) == 6
    assert int(lengths.max()) == data.context_tokens


@pytest.mark.parametrize(("absent", "expected"), [(0.0, 1.0), (0.45, 0.55), (1.0, 0.0)])
def test_words_are_absent_as_often_as_told(absent: float, expected: float, clip_set: Maker) -> None:
    data, rng = clip_set(24), np.random.default_rng(0)
    sampling = replace(PLAIN, absent=absent, delay_s=(0.0, 0.0))
    with_both = torch.tensor([row for row in range(24) if data.has_lines(row, "printed")])
    shares = [data.draw(with_both, rng, sampling).has_text.float().mean() for _ in range(100)]
    # 600 draws; some fall before the first line ends.
    assert float(torch.stack(shares).mean()) == pytest.approx(expected, abs=0.1)


def test_noise_and_lost_lines_are_as_large_as_told(clip_set: Maker) -> None:
    data, rows = clip_set(4), torch.zeros(200, dtype=torch.long)
    clean = data.draw(rows, np.random.default_rng(1), PLAIN).text
    noisy = data.draw(rows, np.random.default_rng(1), replace(PLAIN, noise=0.3)).text
    lossy = data.draw(rows, np.random.default_rng(1), replace(PLAIN, lost_lines=0.5)).text
    assert float((noisy.weights > 0).sum()) == pytest.approx(float((clean.weights > 0).sum()), rel=0.3)
    lengths = noisy.vectors[noisy.weights > 0].norm(dim=1)
    originals = clean.vectors[clean.weights > 0].norm(dim=1)
    assert float(lengths.square().mean() - originals.square().mean()) == pytest.approx(0.09, rel=0.2)
    assert float((lossy.weights > 0).sum()) == pytest.approx(0.5 * float((clean.weights > 0).sum()), rel=0.25)


def test_only_clips_with_a_quadrant_teach_valence_and_arousal(clip_set: Maker) -> None:
    source = clip_set(4)
    clips = [replace(source.clips[0], category=None), replace(source.clips[1], valence=None)]
    data = ClipSet(clips, {f"m{i}": source.tokens[i].numpy() for i in range(2)}, {}, {})
    assert data.labels.category.tolist() == [-1, 1]
    assert not data.labels.emotion.isfinite().all(dim=1).any()


def test_ratings_of_listeners_teach_without_a_quadrant(clip_set: Maker) -> None:
    source = clip_set(4)
    clips = [replace(source.clips[0], category=None, rated_by="listeners"), replace(source.clips[1], category=None)]
    data = ClipSet(clips, {f"m{i}": source.tokens[i].numpy() for i in range(2)}, {}, {})
    assert data.labels.emotion.isfinite().all(dim=1).tolist() == [True, False]
    assert data.labels.emotion[0].tolist() == pytest.approx([clips[0].valence, clips[0].arousal])


def test_a_clip_without_a_single_token_is_refused_by_its_name(clip_set: Maker) -> None:
    source = clip_set(2)
    tokens = {"m0": source.tokens[0].numpy(), "m1": source.tokens[1, :0].numpy()}
    with pytest.raises(CorpusError, match=r"shorter than 0\.5 s, the first one is 'm1'"):
        ClipSet(source.clips, tokens, {}, {})
