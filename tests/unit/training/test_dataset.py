"""Moments of clips: what had been heard by then, and no more; and songs of which there are words alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tolerance import KEPT, NETWORK
from weights import random_backbone

from stream_mer.audio.features import MEL_BANDS
from stream_mer.emotion.audio_branch import AudioBranch, token_features
from stream_mer.emotion.checkpoint import load_checkpoint
from stream_mer.emotion.joint import JointModelConfig
from stream_mer.emotion.musicnn import BackboneShape, load_musicnn
from stream_mer.errors import CheckpointError, CorpusError
from stream_mer.lyrics.text_features import LINE_FEATURES
from stream_mer.training.corpus import Clip, Rating, RatingCurve, load_corpus
from stream_mer.training.dataset import (
    MAX_LINES,
    TOKEN_S,
    ClipSet,
    Sampling,
    TextSampling,
    corrupted_kind,
    load_backbone,
    prepare,
)
from stream_mer.training.lyrics import ClipLines
from stream_mer.training.tokens import as_streamed, cached_tokens, clip_tokens, read_audio, reduce

PLAIN = TextSampling(absent=0.0, alone=0.0, delay_s=(3.0, 3.0), lost_lines=0.0)
EVERY_TOKEN = 20
CONFIG = JointModelConfig(audio_features=1, text_features=LINE_FEATURES)


def drawn(data, rows, rng, text=PLAIN, *, tokens_kept=1, degraded_share=0.4):
    sampling = Sampling(tokens_kept=tokens_kept, degraded_share=degraded_share, text=text)
    return data.draw(rows, rng, sampling, config=CONFIG)


def known_tokens(batch):
    """Which of the drawn tokens a row knows, [B, tokens]."""
    return batch.audio.weights[:, 0] > 0


def numbered(n_lines=3):
    """Two clips whose k-th token says k; the first has recognised lines that say their number, a second apart."""
    clips = [Clip(clip_id=f"m{i}", audio=Path("m.wav"), artist=f"artist {i}", fold=i, category=i) for i in range(2)]
    told = np.arange(20, dtype=np.float16)[:, None] + np.zeros((1, 7), np.float16)
    lines = ClipLines(
        vectors=np.arange(n_lines, dtype=np.float32)[:, None] + np.zeros((1, LINE_FEATURES), np.float32),
        t1=np.linspace(0.0, 9.0, n_lines, dtype=np.float32),
        reliability=np.ones(n_lines, np.float32),
    )
    return ClipSet(clips, {"m0": told, "m1": told}, {"recognised": {"m0": lines}})


# --- what a moment knows when it is measured


def test_a_moment_sees_its_past_alone(clip_set):
    data = clip_set(4)
    ages = data.ages(1)
    n = int(data.n_tokens[1])
    assert ages.shape == (n, n)
    for moment in range(n):
        known = (ages[moment] >= 0).nonzero().flatten().tolist()
        assert known == list(range(max(0, moment - 19), moment + 1))
        assert ages[moment][known].tolist() == [moment - place for place in known]


def test_a_context_of_10_s_holds_20_tokens_of_half_a_second(clip_set):
    assert TOKEN_S == 0.5
    assert clip_set(4).context_tokens == 20


def test_words_are_known_once_their_delay_has_passed(clip_set):
    text = clip_set(4).heard_lines(0, "recognised", delay_s=3.0)  # lines end at 1, 4 and 7 s
    for moment, weights in enumerate(text.weights):
        t = TOKEN_S * (moment + 1)
        assert (weights > 0).tolist() == [end + 3.0 <= t for end in (1.0, 4.0, 7.0)]
    t = TOKEN_S * len(text.weights)
    assert text.ages_s[-1].tolist() == pytest.approx([t - 1, t - 4, t - 7], abs=1e-4)
    assert text.weights[-1].tolist() == pytest.approx([0.9, 0.5, 0.8])


def test_printed_words_are_all_known_from_the_start(clip_set):
    text = clip_set(4).heard_lines(0, "printed", delay_s=3.0)
    assert (text.weights > 0).all()
    assert (text.ages_s >= 0).all()


def test_the_live_tracker_keeps_no_more_lines_than_are_told_of():
    data = numbered(MAX_LINES + 6)
    known = (data.heard_lines(0, "recognised", delay_s=0.0).weights[-1] > 0).tolist()
    assert known == [False] * 6 + [True] * MAX_LINES
    batch = drawn(data, torch.zeros(200, dtype=torch.long), np.random.default_rng(0), PLAIN, tokens_kept=1)
    assert int((batch.text.weights > 0).sum(1).max()) <= MAX_LINES


def test_clips_without_words_and_kinds_that_there_are_not_have_none(clip_set):
    data = clip_set(4)
    assert not data.has_lines(1, "recognised")
    assert data.has_lines(0, "recognised")
    assert not data.has_lines(0, "none")
    for row, kind in ((1, "recognised"), (0, "none")):
        text = data.heard_lines(row, kind, delay_s=3.0)
        assert text.vectors.shape == (1, 0, LINE_FEATURES)
        assert text.weights.shape == (24, 0)


def test_a_clip_is_told_as_it_is_or_under_a_trouble(clip_set):
    data = clip_set(4, troubles=("in a hall",))
    assert torch.equal(data.clip_tokens(1)[0], data.tokens[0, 1].float())
    assert torch.equal(data.clip_tokens(1, "in a hall"), data.clip_tokens(2))


# --- what training draws


def test_draws_are_of_the_rows_asked_for_and_repeat_with_their_seed(clip_set):
    data, rows = clip_set(12), torch.tensor([7, 2, 2, 11])
    a, b = (drawn(data, rows, np.random.default_rng(3), PLAIN, tokens_kept=5) for _ in range(2))
    other = drawn(data, rows, np.random.default_rng(4), PLAIN, tokens_kept=5)
    assert torch.equal(a.audio.tokens, b.audio.tokens)
    assert torch.equal(a.text.vectors, b.text.vectors)
    assert not torch.equal(a.audio.tokens, other.audio.tokens)
    assert a.labels.category.tolist() == [3, 2, 2, 3]
    for row, tokens, mask in zip(rows, a.audio.tokens, known_tokens(a), strict=True):
        assert all((data.tokens[0, row].float() == token).all(dim=1).any() for token in tokens[mask])


def test_draws_are_of_any_moment_and_know_their_past_alone():
    rows = torch.zeros(2000, dtype=torch.long)
    batch = drawn(numbered(), rows, np.random.default_rng(0), PLAIN, tokens_kept=EVERY_TOKEN)
    newest = batch.audio.tokens[:, 0, 0]
    assert sorted(set(newest.tolist())) == list(range(20))
    assert float(newest.mean()) > 10.5  # long contexts are likelier; without that it were 9.5
    for end, tokens, mask in zip(newest.tolist(), batch.audio.tokens, known_tokens(batch), strict=True):
        assert sorted(tokens[mask][:, 0].tolist()) == list(range(max(0, int(end) - 19), int(end) + 1))


def test_a_step_reads_as_many_tokens_as_told_and_always_the_newest():
    rows = torch.zeros(400, dtype=torch.long)
    batch = drawn(numbered(), rows, np.random.default_rng(0), PLAIN, tokens_kept=4)
    assert batch.audio.tokens.shape[:2] == (400, 4)
    assert known_tokens(batch)[:, 0].all()
    for tokens, mask in zip(batch.audio.tokens[:, :, 0], known_tokens(batch), strict=True):
        heard = tokens[mask].tolist()
        assert len(set(heard)) == len(heard)
        assert max(heard) == heard[0]
        assert min(heard) >= heard[0] - 19
    assert len({tuple(sorted(tokens.tolist())) for tokens in batch.audio.tokens[:, :, 0]}) > 100  # drawn anew each time


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_so_many_rows_hear_one_of_the_degraded_copies(share, clip_set):
    data, rows = clip_set(4, copies=2), torch.arange(4).repeat(100)
    assert data.tokens.shape[:2] == (3, 4)
    batch = drawn(data, rows, np.random.default_rng(0), PLAIN, tokens_kept=1, degraded_share=share)
    heard = torch.zeros(3)
    for row, token in zip(rows, batch.audio.tokens[:, 0], strict=True):
        same = (data.tokens[:, row].float() == token).all(2).any(1)  # [copies]
        assert int(same.sum()) == 1
        heard += same
    assert float(heard[0]) / 400 == pytest.approx(1 - share, abs=0.08)  # three standard errors of 400 rows
    assert float(heard[1]) == pytest.approx(float(heard[2]), abs=60)
    assert int(heard.sum()) == 400


def test_a_copy_is_heard_through_the_whole_moment(clip_set):
    data, rows = clip_set(4, copies=1), torch.arange(4).repeat(20)
    batch = drawn(data, rows, np.random.default_rng(0), PLAIN, tokens_kept=EVERY_TOKEN)
    for row, tokens, mask in zip(rows, batch.audio.tokens, known_tokens(batch), strict=True):
        copies = [all((of_copy[row].float() == t).all(1).any() for t in tokens[mask]) for of_copy in data.tokens]
        assert sorted(copies) == [False, True]


@pytest.mark.parametrize(("absent", "expected"), [(0.0, 1.0), (0.45, 0.55), (1.0, 0.0)])
def test_words_are_absent_as_often_as_told(absent, expected, clip_set):
    data, rows = clip_set(24), torch.full((600,), 8)  # a clip with printed words alone
    batch = drawn(data, rows, np.random.default_rng(0), replace(PLAIN, absent=absent), tokens_kept=1)
    assert float(batch.has_text.float().mean()) == pytest.approx(expected, abs=0.062)  # three standard errors
    assert batch.has_audio.all()


@pytest.mark.parametrize("alone", [0.0, 0.6, 1.0])
def test_of_the_rows_with_words_so_many_have_no_music(alone, clip_set):
    data, rows = clip_set(24), torch.full((800,), 8)
    batch = drawn(data, rows, np.random.default_rng(0), replace(PLAIN, absent=0.5, alone=alone), tokens_kept=3)
    assert batch.has_audio[~batch.has_text].all()  # nothing is left without both
    spoken = batch.has_audio[batch.has_text].float()
    assert float(spoken.mean()) == pytest.approx(1 - alone, abs=0.074)  # three standard errors of 400 rows


def test_recognised_words_are_drawn_as_they_were_known_by_then():
    data, rows = numbered(10), torch.zeros(200, dtype=torch.long)
    batch = drawn(data, rows, np.random.default_rng(0), PLAIN, tokens_kept=1)
    for token, vectors, weights, ages_s in zip(batch.audio.tokens[:, 0, 0], *batch.text, strict=True):
        t = TOKEN_S * (float(token) + 1)
        known = vectors[weights > 0][:, 0].tolist()
        assert known == [float(k) for k in range(10) if k + 3.0 <= t]  # line k ends at k seconds
        assert ages_s[weights > 0].tolist() == pytest.approx([t - k for k in known], abs=1e-4)


def test_printed_words_are_drawn_from_any_place_in_the_song(clip_set):
    data, rows = clip_set(24), torch.full((300,), 8)
    batch = drawn(data, rows, np.random.default_rng(0), PLAIN, tokens_kept=1)
    counts = (batch.text.weights > 0).sum(1)
    assert sorted(set(counts.tolist())) == [1, 2, 3]
    newest = batch.text.ages_s.gather(1, counts[:, None] - 1)
    torch.testing.assert_close(newest, torch.full_like(newest, 3.0), rtol=0, atol=1e-4)  # as old as the delay


def test_both_kinds_of_words_are_drawn_where_a_clip_has_both_and_no_others(clip_set):
    data = clip_set(24)  # clip 12 has both
    for kind, value in (("recognised", 1.0), ("printed", 2.0)):
        of_kind = data._lines[kind]
        of_kind[12] = replace(of_kind[12], vectors=np.full_like(of_kind[12].vectors, value))
    wrong = corrupted_kind("printed", 0.5)
    data._lines[wrong] = [replace(lines, vectors=np.full_like(lines.vectors, 3.0)) for lines in data._lines["printed"]]
    assert data.has_lines(12, wrong)
    assert data.heard_lines(12, wrong, delay_s=0.0).vectors.flatten().tolist() == [3.0] * 3 * LINE_FEATURES
    batch = drawn(data, torch.full((200,), 12), np.random.default_rng(0))
    told = [float(row[0, 0]) for row, spoken in zip(batch.text.vectors, batch.has_text, strict=True) if spoken]
    assert set(told) == {1.0, 2.0}
    assert told.count(1.0) > 30
    assert told.count(2.0) > 30


def test_lost_lines_are_as_many_as_told_and_never_the_newest():
    data, rows = numbered(10), torch.zeros(400, dtype=torch.long)
    whole, lossy = (
        drawn(data, rows, np.random.default_rng(1), replace(PLAIN, lost_lines=share), tokens_kept=1).text
        for share in (0.0, 0.5)
    )
    counts, kept = (whole.weights > 0).sum(1), (lossy.weights > 0).sum(1)
    spoken = counts > 0
    assert float((kept[spoken] - 1).sum()) == pytest.approx(0.5 * float((counts[spoken] - 1).sum()), rel=0.1)
    newest = [float(v[w > 0][-1, 0]) for v, w in zip(lossy.vectors, lossy.weights, strict=True) if (w > 0).any()]
    assert newest == [
        float(v[w > 0][-1, 0]) for v, w in zip(whole.vectors, whole.weights, strict=True) if (w > 0).any()
    ]


# --- songs of which there are words alone


def test_songs_stand_behind_the_clips_and_have_no_audio(clip_set):
    data = clip_set(6, songs=4)
    assert len(data) == 10
    assert [clip.clip_id for clip in data.clips[6:]] == ["s0", "s1", "s2", "s3"]
    assert data.with_audio.tolist() == [True] * 6 + [False] * 4
    assert data.sets.tolist() == [""] * 6 + ["verses"] * 4
    assert data.labels.category.tolist() == [0, 1, 2, 3, 0, 1, 0, 1, 2, 3]
    assert data.n_tokens.tolist() == [24] * 6 + [0] * 4
    assert data.has_lines(7, "printed")


def test_the_one_moment_of_a_song_is_its_end(clip_set):
    data = clip_set(6, songs=4)
    assert data.ages(7).tolist() == [[-1]]
    assert data.clip_tokens(7).shape == (1, 1, data.tokens.shape[3])
    text = data.heard_lines(7, "printed", delay_s=3.0)
    assert (text.weights > 0).tolist() == [[True] * 3]
    assert text.ages_s.tolist() == [[7.0, 7.0, 7.0]]
    assert data.heard_lines(7, "recognised", delay_s=3.0).weights.shape == (1, 0)


def test_songs_are_drawn_with_their_words_and_never_with_music(clip_set):
    data, rows = clip_set(6, songs=4, copies=1), torch.arange(10).repeat(20)
    batch = drawn(data, rows, np.random.default_rng(0), replace(PLAIN, absent=1.0), tokens_kept=5)
    songs = ~torch.from_numpy(data.with_audio)[rows]
    assert not batch.has_audio[songs].any()
    assert batch.has_text[songs].all()  # words are left out where there is music in their place, else never
    assert batch.has_audio[~songs].all()
    assert not batch.has_text[~songs].any()


def test_a_round_is_every_clip_once_and_at_most_so_many_songs_of_each_set(clip_set):
    data = clip_set(6, songs=8)
    data.sets[10:] = "poems"  # 4 verses, 4 poems
    rng = np.random.default_rng(0)
    rounds = [data.epoch(range(14), rng, songs=3).tolist() for _ in range(20)]
    for rows in rounds:
        assert len(set(rows)) == len(rows) == 12
        assert set(rows) >= set(range(6))
        assert [sum(data.sets[row] == name for row in rows) for name in ("verses", "poems")] == [3, 3]
    assert {row for rows in rounds for row in rows} == set(range(14))
    assert len({tuple(rows) for rows in rounds}) == 20
    assert set(data.epoch([1, 2, 12], rng, songs=3).tolist()) == {1, 2, 12}
    assert sorted(data.epoch(range(14), rng, songs=0).tolist()) == list(range(6))


def test_the_means_of_songs_are_of_the_rows_asked_for(clip_set):
    data = clip_set(6, songs=2)
    means = data.song_means([0, 1, 7])  # both kinds, none, printed
    expected = [data._lines[kind][row].vectors.mean(0) for kind, row in (("recognised", 0), ("printed", 0))]
    expected.append(data._lines["printed"][7].vectors.mean(0))
    np.testing.assert_allclose(means.numpy(), np.stack(expected))
    assert data.song_means([1]).shape == (0, LINE_FEATURES)


# --- labels, and what is refused


def alike(source, clips):
    return ClipSet(clips, {clip.clip_id: source.tokens[0, i].numpy() for i, clip in enumerate(clips)}, {})


def test_only_clips_with_a_quadrant_teach_valence_and_arousal(clip_set):
    source = clip_set(4)
    data = alike(source, [replace(source.clips[0], category=None), replace(source.clips[1], valence=None)])
    assert data.labels.category.tolist() == [-1, 1]
    assert not data.labels.emotion.isfinite().all(dim=1).any()


def test_ratings_of_listeners_teach_without_a_quadrant(clip_set):
    source = clip_set(4)
    clips = [replace(source.clips[0], category=None, rated_by="listeners"), replace(source.clips[1], category=None)]
    data = alike(source, clips)
    assert data.labels.emotion.isfinite().all(dim=1).tolist() == [True, False]
    assert data.labels.emotion[0].tolist() == pytest.approx([clips[0].valence, clips[0].arousal])


def test_mood_words_teach_an_order_alone_where_listeners_rated(clip_set):
    data = clip_set(8, listeners=True)
    taught, ordered = (label.isfinite().all(1).tolist() for label in (data.labels.emotion, data.labels.mood))
    assert data.listeners_rated
    assert taught == [True, False] * 4
    assert ordered == [False, True] * 4
    assert data.labels.mood[1].tolist() == pytest.approx([data.clips[1].valence, data.clips[1].arousal])
    batch = drawn(data, torch.arange(8).repeat(50), np.random.default_rng(0))
    assert batch.labels.emotion.isfinite().all(1).tolist() == taught * 50
    assert batch.labels.mood.isfinite().all(1).tolist() == ordered * 50


def test_mood_words_teach_the_main_task_where_nobody_rated(clip_set):
    data = clip_set(8)
    assert not data.listeners_rated
    assert data.labels.emotion.isfinite().all()
    assert not data.labels.mood.isfinite().any()


def test_continuous_ratings_alone_make_listeners_the_teachers(clip_set):
    source = clip_set(4, listeners=True)
    data = alike(source, [replace(source.clips[0], valence=None, arousal=None, rated_by="tags"), source.clips[1]])
    assert data.listeners_rated
    assert data.labels.mood.isfinite().all(1).tolist() == [False, True]
    assert not data.labels.emotion.isfinite().any()  # of the clip as a whole nobody said anything
    batch = drawn(data, torch.zeros(100, dtype=torch.long), np.random.default_rng(0))
    assert torch.equal(batch.labels.emotion.nan_to_num(9), batch.labels.dynamic.nan_to_num(9))
    assert batch.labels.emotion.isfinite().any()


def test_words_of_songs_alone_do_not_make_listeners_the_teachers(clip_set):
    """What somebody rated there is a text; the recordings still have mood words and nothing else."""
    source = clip_set(4)
    songs = [replace(source.clips[0], clip_id="s0", rated_by="listeners")]
    tokens = {clip.clip_id: source.tokens[0, i].numpy() for i, clip in enumerate(source.clips)}
    data = ClipSet(source.clips, tokens, {}, {"verses": songs})
    assert not data.listeners_rated
    assert data.labels.emotion.isfinite().all()


def test_a_moment_is_taught_by_what_listeners_said_then(clip_set):
    data = clip_set(8, listeners=True)  # clip 4: from .5 to 10 s, of 24 tokens
    batch = drawn(data, torch.full((400,), 4), np.random.default_rng(0))
    of_clip, (static,) = data.clips[4], {tuple(row) for row in data.labels.emotion[4:5].tolist()}
    assert of_clip.dynamic is not None
    by_place = {round(r.t_s / TOKEN_S) - 1: (r.valence, r.arousal) for r in of_clip.dynamic.ratings}
    token_places = [int((data.tokens[:, 4].float() == t).all(2).any(0).nonzero()) for t in batch.audio.tokens[:, 0]]
    assert {place in by_place for place in token_places} == {True, False}
    for place, emotion, dynamic in zip(token_places, batch.labels.emotion, batch.labels.dynamic, strict=True):
        if place in by_place:
            assert emotion.tolist() == pytest.approx(by_place[place], abs=1e-6)
            assert dynamic.tolist() == pytest.approx(by_place[place], abs=1e-6)
        else:
            assert emotion.tolist() == pytest.approx([0.9 * value for value in static], abs=1e-6)
            assert not dynamic.isfinite().any()


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_a_rating_of_the_whole_clip_counts_as_much_as_told(scale, clip_set):
    data, rows = clip_set(8, listeners=True), torch.full((20,), 2)
    sampling = Sampling(static_scale=scale, text=PLAIN)
    labels = data.draw(rows, np.random.default_rng(0), sampling, config=CONFIG).labels
    torch.testing.assert_close(labels.emotion, scale * data.labels.emotion[rows])
    assert not labels.dynamic.isfinite().any()


def test_ratings_behind_the_end_of_a_clip_are_left_out(clip_set):
    source = clip_set(4, listeners=True)
    late = RatingCurve.of([Rating(0.1, 0.2, 0.2), Rating(1.02, 0.3, -0.3), Rating(99.0, 0.4, 0.4)])
    data = alike(source, [replace(source.clips[0], dynamic=late), source.clips[1]])
    rated = data.dynamic[0].isfinite().all(1)
    assert rated.nonzero().flatten().tolist() == [1]  # the token that ends at 1 s
    assert data.dynamic[0, 1].tolist() == pytest.approx([0.3, -0.3])


def test_clips_may_differ_in_length(clip_set):
    source = clip_set(2)
    tokens = {"m0": source.tokens[0, 0].numpy(), "m1": source.tokens[0, 1, :3].numpy()}
    data = ClipSet(source.clips, tokens, {})
    assert data.n_tokens.tolist() == [24, 3]
    assert data.clip_tokens(1).shape[1] == 3
    assert not data.tokens[0, 1, 3:].any()
    batch = drawn(data, torch.ones(50, dtype=torch.long), np.random.default_rng(0), PLAIN, tokens_kept=EVERY_TOKEN)
    assert int(known_tokens(batch).sum(1).max()) == 3


def test_a_clip_without_a_single_token_is_refused_by_its_name(clip_set):
    source = clip_set(2)
    tokens = {"m0": source.tokens[0, 0].numpy(), "m1": source.tokens[0, 1, :0].numpy()}
    with pytest.raises(CorpusError, match=r"shorter than 0\.5 s, the first one is 'm1'"):
        ClipSet(source.clips, tokens, {})


# --- from corpus folders to clips in memory: everything slow once


DEAD = (0, 100, 203, 204, 300, 407, 408, 458, 459, 509, 510, 560)  # of every bank some, its first and last among them
# Until then the middle layers reach before the stream: 61 steps of delay, 3 layers of 6 steps, 186 that a token pools.
SETTLED_TOKENS = -(-(186 + 61 + 18) // 31) - 1  # 31 steps are a little less than a token's half second


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    """A whole network with random weights, written as the original's; of the front, ``DEAD`` never fire."""
    rng = np.random.default_rng(3)
    net = random_backbone(BackboneShape(), seed=3)
    layers = [*net.front, *net.middle]
    biases = np.repeat([5.0, 40.0], [561, 192])
    biases[list(DEAD)] = -1e4
    tensors = {}

    def norm(index, n):
        name = f"batch_normalization_{index}" if index else "batch_normalization"
        tensors[f"{name}/gamma"], tensors[f"{name}/beta"] = 0.5 + rng.random(n), rng.standard_normal(n)
        tensors[f"{name}/moving_mean"], tensors[f"{name}/moving_variance"] = rng.standard_normal(n), 0.5 + rng.random(n)

    norm(0, 1)
    shapes = [(7, 38, 1), (7, 67, 1), (128, 1, 1), (64, 1, 1), (32, 1, 1), *[(7, n, 1) for n in (561, 64, 64)]]
    for i, (layer, shape, bias) in enumerate(
        zip(layers, shapes, np.split(biases, np.cumsum([len(layer.bias) for layer in layers])[:-1]), strict=True)
    ):
        name = f"conv2d_{i}" if i else "conv2d"
        tensors[f"{name}/kernel"] = layer.weight.reshape(-1, *shape).transpose(1, 2, 3, 0)
        tensors[f"{name}/bias"] = bias
        norm(i + 1, len(bias))
    path = tmp_path_factory.mktemp("weights") / "network.npz"
    np.savez(path, **{name: tensor.astype(np.float32) for name, tensor in tensors.items()})
    return path


def tokens_of(backbone, samples):
    """Of MusiCNN's part, as float32, which the cache does not keep."""
    branch = AudioBranch(backbone)
    stream = branch.open()
    branch.feed([(stream, samples)])
    return np.stack(stream.take())[:, : backbone.shape.token_features]


# --- the backbone


def test_the_backbone_of_a_checkpoint_is_taken_as_it_is(tiny_model, tmp_path, jobs):
    found = load_backbone(tiny_model, (), tmp_path)
    expected = load_checkpoint(tiny_model).backbone.tensors()
    assert found.tensors().keys() == expected.keys()
    assert all(np.array_equal(tensor, expected[name]) for name, tensor in found.tensors().items())
    assert len(jobs()) == 0


def test_published_weights_are_made_slim_and_give_the_same_tokens(corpus_folder, npz, tmp_path, jobs, music):
    clips = load_corpus(corpus_folder).clips[:2]
    small = load_backbone(npz, clips, tmp_path)
    assert len(jobs()) == 2
    whole = load_musicnn(npz)
    heard = np.stack([t[8:].astype(np.float32) for t in cached_tokens(clips, whole, tmp_path).values()])
    assert len(jobs()) == 0  # the whole network has listened already, and its tokens are kept
    spread = heard.max((0, 1)) - heard.min((0, 1))
    living = (spread[:753] > 1e-3) | (spread[753:1506] > 1e-3)
    assert tuple(np.flatnonzero(~living[:561]).tolist()) == DEAD
    assert int(living[561:].sum()) > 180  # of the middle layers a few may happen never to fire
    assert small.shape.pooled == int(living.sum())
    assert sum(small.shape.filters) == int(living[:561].sum())

    samples = music(7.0, seed=5)  # of another recording
    columns = np.concatenate([living, living, np.ones(3 * MEL_BANDS, np.bool_)])
    ours, theirs = tokens_of(small, samples)[SETTLED_TOKENS:], tokens_of(whole, samples)[SETTLED_TOKENS:, columns]
    assert ours.shape == (6, small.shape.token_features)
    np.testing.assert_allclose(ours, theirs, rtol=NETWORK, atol=NETWORK)  # float32 sums in another order


def test_what_is_prepared_has_the_tokens_of_the_slim_backbone(corpus_folder, npz, tmp_path, jobs, quick_encoder):
    first = prepare([corpus_folder], npz, tmp_path, transcripts=False)
    assert len(jobs()) == 10  # this time the slim network
    assert first.backbone.shape != BackboneShape()
    features, n = first.data.components.basis.shape
    assert features == token_features(first.backbone)
    assert first.data.tokens.shape[3] == n
    clip = load_corpus(corpus_folder).clips[3]
    tokens = clip_tokens(read_audio(clip.audio), first.backbone)
    expected = reduce(as_streamed(tokens), first.data.components)
    found = first.data.clip_tokens(3)[0].numpy()
    np.testing.assert_allclose(found, expected.astype(np.float32), rtol=KEPT, atol=10 * KEPT)
    assert quick_encoder.encoded
    again = prepare([corpus_folder], npz, tmp_path, transcripts=False)
    assert len(jobs()) == 0
    assert again.data.fingerprint() == first.data.fingerprint()


@pytest.mark.parametrize("name", ["nowhere", "broken.npz"])
def test_a_backbone_that_cannot_be_read_is_an_error(name, corpus_folder, tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"PK no weights")
    with pytest.raises(CheckpointError, match=name):
        prepare([corpus_folder], tmp_path / name, tmp_path / "cache", transcripts=False)


# --- the clips


SONGS = "id,lyrics,quadrant\n" + "".join(f"{k},a song that has number {k},Q{k % 4 + 1}\n" for k in range(6))


@pytest.mark.usefixtures("quick_encoder")
def test_clips_songs_copies_and_troubles_come_together(corpus_folder, tiny_model, tmp_path, jobs, capsys):
    (tmp_path / "verses.csv").write_text(SONGS, encoding="utf-8")
    sound = "level -30 dB"
    data = prepare(
        [corpus_folder],
        tiny_model,
        tmp_path / "cache",
        transcripts=False,
        copies=2,
        words=[tmp_path / "verses.csv"],
        corrupted=[0.5],
        sounds=[sound],
    ).data
    assert len(jobs()) > 0
    assert len(data) == 16
    assert data.sets.tolist() == [""] * 10 + ["verses"] * 6
    assert data.tokens.shape[:2] == (3, 10)  # the clip and its copies
    assert [int(n) for n in data.n_tokens] == [12] * 10 + [0] * 6
    assert not torch.equal(data.tokens[0], data.tokens[1])
    assert not torch.equal(data.tokens[1], data.tokens[2])
    quiet = data.clip_tokens(4, sound)
    assert quiet.shape == data.clip_tokens(4).shape
    assert not torch.equal(quiet, data.clip_tokens(4))
    spoken = {kind: [row for row in range(16) if data.has_lines(row, kind)] for kind in ("recognised", "printed")}
    assert spoken == {"recognised": [0, 1, 4], "printed": [0, 3, *range(10, 16)]}
    for kind, row in (("recognised", 1), ("printed", 3)):
        clean, wrong = (data.heard_lines(row, k, delay_s=0.0).vectors for k in (kind, corrupted_kind(kind, 0.5)))
        assert clean.shape == wrong.shape
        assert not torch.equal(clean, wrong)
    assert not data.has_lines(12, corrupted_kind("printed", 0.5))  # only clips are measured on these
    assert "verses.csv: 6 songs of words alone" in capsys.readouterr().err


def test_what_was_prepared_once_is_read_from_the_cache(corpus_folder, tiny_model, tmp_path, jobs, quick_encoder):
    (tmp_path / "verses.csv").write_text(SONGS, encoding="utf-8")

    def fingerprint():
        words = [tmp_path / "verses.csv"]
        cache = tmp_path / "cache"
        return prepare([corpus_folder], tiny_model, cache, transcripts=False, copies=1, words=words).data.fingerprint()

    first = fingerprint()
    assert len(jobs()) > 0
    assert quick_encoder.encoded
    quick_encoder.encoded = []
    assert fingerprint() == first
    assert len(jobs()) == 0
    assert quick_encoder.encoded == []


def test_words_that_cannot_be_read_are_an_error(corpus_folder, tiny_model, tmp_path, jobs):
    with pytest.raises(CorpusError, match=r"nothing\.csv"):
        prepare([corpus_folder], tiny_model, tmp_path, transcripts=False, words=[tmp_path / "nothing.csv"])
    assert len(jobs()) == 0  # told before anything that takes minutes
