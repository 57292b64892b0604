"""Audio tokens of clips, and their principal components."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tolerance import KEPT
from weights import random_backbone

from stream_mer.audio.yamnet import EMBEDDING_SIZE
from stream_mer.emotion.audio_branch import AudioBranch, token_features
from stream_mer.emotion.musicnn import BackboneShape
from stream_mer.errors import SettingError, SourceError
from stream_mer.training import tokens as module
from stream_mer.training.augment import CONDITIONS, STAGE, Degradation, degrade
from stream_mer.training.corpus import load_corpus
from stream_mer.training.tokens import (
    as_streamed,
    audio_components,
    cached_tokens,
    clip_tokens,
    conditioned_tokens,
    degraded_tokens,
    of_yamnet,
    read_audio,
    reduce,
)

KEPT_TOLERANCE = {"rtol": KEPT, "atol": KEPT}


@pytest.fixture(scope="module")
def backbone():
    return random_backbone(BackboneShape())


def test_tokens_of_a_clip_are_those_of_a_stream(backbone, music):
    samples = music(12.3)
    kept, branch = clip_tokens(samples, backbone), AudioBranch(backbone)
    stream, streamed = branch.open(), []
    for start in range(0, len(samples), 3_000):
        branch.feed([(stream, samples[start : start + 3_000])])
        streamed += stream.take()
    assert kept.dtype == np.float16
    assert kept.shape == (24, token_features(backbone))  # one every half second
    np.testing.assert_allclose(as_streamed(kept), np.stack(streamed), **KEPT_TOLERANCE)


def test_training_reads_each_token_with_a_patch_of_its_own(backbone, music):
    """A stream shares those of whole seconds; what else is in a token is the same."""
    kept = clip_tokens(music(5), backbone)
    assert len(np.unique(kept[:, -EMBEDDING_SIZE:], axis=0)) == 10
    streamed = as_streamed(kept)
    assert len(np.unique(streamed[:, -EMBEDDING_SIZE:], axis=0)) == 6  # the first, then those of five seconds
    np.testing.assert_array_equal(streamed[:, :-EMBEDDING_SIZE], kept[:, :-EMBEDDING_SIZE])
    np.testing.assert_array_equal(streamed[1::2], kept[1::2])
    assert as_streamed(kept[:0]).shape == kept[:0].shape


def test_a_clip_shorter_than_half_a_second_has_no_token(backbone, music):
    assert clip_tokens(music(0.4), backbone).shape == (0, token_features(backbone))


def test_audio_is_read_whole(corpus_folder, music):
    samples = read_audio(corpus_folder / "audio/c2.wav")
    np.testing.assert_allclose(samples, music(6.0, seed=2), atol=1e-4)  # 16 bits


@pytest.mark.parametrize(("middle_s", "start", "end"), [(2.0, 32_000, 64_000), (6.0, 0, 96_000), (60.0, 0, 96_000)])
def test_of_a_longer_recording_the_middle_is_read(middle_s, start, end, corpus_folder):
    audio = corpus_folder / "audio/c2.wav"
    assert np.array_equal(read_audio(audio, middle_s), read_audio(audio)[start:end])


def test_another_part_of_a_recording_has_other_tokens(corpus_folder, backbone, tmp_path, jobs):
    whole = load_corpus(corpus_folder).clips[0]
    middle = replace(whole, middle_s=3.0)
    kept = [cached_tokens([clip], backbone, tmp_path)["c0"] for clip in (whole, middle)]
    assert len(jobs()) == 1
    assert len(kept[1]) < len(kept[0])
    np.testing.assert_allclose(kept[1], clip_tokens(read_audio(whole.audio, 3.0), backbone), **KEPT_TOLERANCE)


def test_real_processes_compute_what_this_one_would(corpus_folder, backbone, tmp_path):
    clips = load_corpus(corpus_folder).clips[:2]
    found = cached_tokens(clips, backbone, tmp_path, workers=1)
    assert sorted(found) == ["c0", "c1"]
    np.testing.assert_allclose(found["c1"], clip_tokens(read_audio(clips[1].audio), backbone), **KEPT_TOLERANCE)


def test_a_second_call_computes_nothing_and_an_interrupted_one_goes_on(corpus_folder, backbone, tmp_path, jobs):
    clips = load_corpus(corpus_folder).clips[:4]
    first = cached_tokens(clips[:3], backbone, tmp_path)
    assert len(jobs()) == 3
    second = cached_tokens(clips[:3], backbone, tmp_path)
    assert len(jobs()) == 0
    assert all(np.array_equal(first[name], second[name]) for name in first)
    cached_tokens(clips, backbone, tmp_path)
    assert [audio.name for audio, *_ in jobs()] == ["c3.wav"]


def test_another_backbone_has_other_tokens(corpus_folder, backbone, tmp_path, jobs):
    clips = load_corpus(corpus_folder).clips[:1]
    cached_tokens(clips, backbone, tmp_path)
    jobs()
    cached_tokens(clips, random_backbone(BackboneShape(), seed=6), tmp_path)
    assert len(jobs()) == 1


def test_a_clip_that_cannot_be_decoded_is_an_error_and_leaves_nothing_half_done(
    corpus_folder, backbone, tmp_path, jobs
):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound")
    clip = replace(load_corpus(corpus_folder).clips[0], audio=broken)
    with pytest.raises(SourceError):
        cached_tokens([clip], backbone, tmp_path / "cache")
    assert list((tmp_path / "cache").rglob("*.npy")) == []
    assert len(jobs()) == 1


def test_degraded_copies_differ_by_chance_alone(corpus_folder, backbone, tmp_path, jobs):
    clips = load_corpus(corpus_folder).clips[:3]
    clean = cached_tokens(clips, backbone, tmp_path / "a")
    once = degraded_tokens(clips, backbone, tmp_path / "a", copies=2)
    other_order = degraded_tokens(clips[::-1], backbone, tmp_path / "b", copies=2)
    for clip_id, copies in once.items():
        assert len(copies) == 2
        assert all(copy.dtype == np.float16 and copy.shape == clean[clip_id].shape for copy in copies)
        assert not np.array_equal(copies[0], copies[1])
        assert not np.array_equal(copies[0], clean[clip_id])
        np.testing.assert_allclose(np.stack(copies), np.stack(other_order[clip_id]), **KEPT_TOLERANCE)
    assert len(jobs()) == 6


def test_degraded_tokens_are_those_of_the_degraded_audio(corpus_folder, backbone, tmp_path):
    clips = load_corpus(corpus_folder).clips[:1]
    quiet = Degradation(gain_db=-20.0)
    kept = degraded_tokens(clips, backbone, tmp_path, sound=quiet, workers=1)["c0"][0]
    expected = clip_tokens(degrade(read_audio(clips[0].audio), np.random.default_rng(0), quiet), backbone)
    np.testing.assert_allclose(kept, expected, **KEPT_TOLERANCE)  # a level leaves nothing to chance


def test_copies_are_computed_once_and_more_of_them_keep_the_first(corpus_folder, backbone, tmp_path, jobs):
    clips = load_corpus(corpus_folder).clips[:2]
    first = degraded_tokens(clips, backbone, tmp_path)
    assert len(jobs()) == 2
    again = degraded_tokens(clips, backbone, tmp_path)
    assert len(jobs()) == 0
    more = degraded_tokens(clips, backbone, tmp_path, copies=2)
    assert len(jobs()) == 2
    assert all(np.array_equal(first[name][0], again[name][0]) for name in first)
    assert all(np.array_equal(first[name][0], more[name][0]) for name in first)


def test_another_sound_and_the_clean_one_have_tokens_of_their_own(corpus_folder, backbone, tmp_path, jobs):
    clips = load_corpus(corpus_folder).clips[:1]
    degraded_tokens(clips, backbone, tmp_path, sound=replace(STAGE, codec=0.0))
    jobs()
    degraded_tokens(clips, backbone, tmp_path, sound=replace(STAGE, codec=0.0, room=0.0))
    assert len(jobs()) == 1
    cached_tokens(clips, backbone, tmp_path)
    assert len(jobs()) == 1
    assert len(list(tmp_path.rglob("*.npy"))) == 3


def test_a_condition_is_one_chain_for_all_clips(corpus_folder, backbone, tmp_path, jobs):
    clips = load_corpus(corpus_folder).clips[:2]
    found = conditioned_tokens(clips, backbone, tmp_path, "level -30 dB")
    assert [job.sound for job in jobs()] == 2 * [CONDITIONS["level -30 dB"]]
    clean = cached_tokens(clips, backbone, tmp_path)
    jobs()
    assert all(found[name].shape == clean[name].shape for name in clean)
    assert all(not np.array_equal(found[name], clean[name]) for name in clean)
    conditioned_tokens(clips, backbone, tmp_path, "level -30 dB")
    assert len(jobs()) == 0


def test_a_condition_that_there_is_not_is_an_error(backbone, tmp_path):
    with pytest.raises(SettingError, match=r"'under water'.*room RT60 1 s"):
        conditioned_tokens([], backbone, tmp_path, "under water")


# --- Principal components of audio tokens: each network's by itself, all of one scale, computed once


MUSICNN_FEATURES = 30


@pytest.fixture(autouse=True)
def few_components(monkeypatch):
    monkeypatch.setattr(module, "MUSICNN_COMPONENTS", 6)
    monkeypatch.setattr(module, "YAMNET_COMPONENTS", 8)


@pytest.fixture(scope="module")
def mixtures():
    """Of ten clips; each network's part is a mixture of ten hidden signals, and a little noise."""
    rng = np.random.default_rng(0)
    mixing = [rng.standard_normal((10, n)) for n in (MUSICNN_FEATURES, EMBEDDING_SIZE)]
    found = []
    for _ in range(10):
        parts = [rng.standard_normal((20, 10)) @ mix + 0.1 * rng.standard_normal((20, mix.shape[1])) for mix in mixing]
        found.append((np.concatenate(parts, axis=1) + 2.0).astype(np.float16))
    return found


def test_components_have_a_variance_of_one_on_average_and_no_mean(mixtures, tmp_path):
    found = audio_components(mixtures, tmp_path)
    reduced = torch.cat([found(torch.from_numpy(of_clip).float()) for of_clip in mixtures])
    assert reduced.shape == (200, 14)
    assert float(reduced.square().mean()) == pytest.approx(1, abs=1e-3)
    assert float(reduced.mean(0).abs().max()) < 1e-2


def test_each_component_is_of_one_network(mixtures, tmp_path):
    found = audio_components(mixtures, tmp_path)
    assert found.basis.shape == (MUSICNN_FEATURES + EMBEDDING_SIZE, 14)
    assert not found.basis[:MUSICNN_FEATURES, 6:].any()
    assert not found.basis[MUSICNN_FEATURES:, :6].any()
    assert of_yamnet(found).tolist() == [False] * 6 + [True] * 8


def test_a_small_corpus_gives_fewer_components_of_each(mixtures, tmp_path):
    found = audio_components([mixtures[0][:4]], tmp_path)
    assert of_yamnet(found).tolist() == [False] * 4 + [True] * 4


def test_the_largest_components_are_kept(mixtures, tmp_path):
    found = audio_components(mixtures, tmp_path)
    x = torch.from_numpy(np.concatenate(mixtures)).double()[:, :MUSICNN_FEATURES]
    spread = x.std(0)
    exact = torch.linalg.svdvals((x - x.mean(0)) / (spread + 0.01 * spread.mean()))[:6]
    ours = found(torch.from_numpy(np.concatenate(mixtures)).float())[:, :6].norm(dim=0).double()
    torch.testing.assert_close(ours / ours[0], exact / exact[0], rtol=0.02, atol=0.02)  # a randomised algorithm


def test_they_are_computed_once_and_alike_everywhere(mixtures, tmp_path, monkeypatch):
    first, other = audio_components(mixtures, tmp_path / "a"), audio_components(mixtures, tmp_path / "b")
    assert torch.equal(first.basis, other.basis)
    changed = [mixtures[0] + np.float16(1), *mixtures[1:]]
    assert not torch.equal(audio_components(changed, tmp_path / "a").mean, first.mean)
    monkeypatch.setattr(module, "_components", None)  # nothing may be computed
    again = audio_components(mixtures, tmp_path / "a")
    assert torch.equal(again.basis, first.basis)
    assert torch.equal(again.mean, first.mean)


def test_tokens_are_reduced_to_what_the_model_reads(mixtures, tmp_path):
    found = audio_components(mixtures, tmp_path)
    reduced = reduce(mixtures[3], found)
    assert (reduced.dtype, reduced.shape) == (np.float16, (20, 14))
    expected = (mixtures[3].astype(np.float64) - found.mean.double().numpy()) @ found.basis.double().numpy()
    np.testing.assert_allclose(reduced, expected, atol=5e-3)  # float16
