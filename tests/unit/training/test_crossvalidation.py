"""No clip is judged by a model that heard its artist, and finished folds are kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tolerance import LAYER, NETWORK

from stream_mer.training import crossvalidation
from stream_mer.training.crossvalidation import (
    AUDIO_ONLY,
    FRAME_TOKEN,
    PRINTED,
    RECOGNISED,
    STANDARD_CONDITIONS,
    cross_validate,
    predict_clip,
)
from stream_mer.training.fit import fit
from stream_mer.training.network import AudioInput, JointNetwork, TextInput, time_scales

HEADS = ("emotion", "category", "cluster")
KINDS = tuple(condition.name for condition in STANDARD_CONDITIONS)
# Sums in another order: a clip's moments all at once, or one by one.
TOLERANCE = {"rtol": NETWORK, "atol": LAYER}


@pytest.fixture
def fits(monkeypatch):
    """The rows of every training."""
    calls = []

    def noted(data, rows, recipe, *, seed):
        calls.append(list(rows))
        return fit(data, rows, recipe, seed=seed)

    monkeypatch.setattr(crossvalidation, "fit", noted)
    return calls


@pytest.fixture
def model(small_recipe):
    torch.manual_seed(2)
    return JointNetwork(small_recipe.model).eval()


def rows_of(results):
    members = [member for kind in KINDS for member in results.members[kind]]
    return [*(results.clips[kind] for kind in KINDS), *(results.frames[kind] for kind in KINDS), *members]


def same(a, b):
    pairs = zip(rows_of(a), rows_of(b), strict=True)
    return all(np.allclose(getattr(p, name), getattr(q, name), rtol=0, atol=LAYER) for p, q in pairs for name in HEADS)


# --- folds


def test_every_fold_is_predicted_by_a_model_of_the_others(clip_set, small_recipe, tmp_path, fits):
    data = clip_set(20, songs=20, copies=1)
    cross_validate(data, small_recipe, 0, tmp_path)
    assert len(fits) == 5
    for fold, rows in enumerate(fits):
        left_out = set(range(40)) - set(rows)
        assert {data.clips[row].fold for row in left_out} == {fold}
        assert {data.with_audio[row] for row in left_out} == {True, False}
        # The made-up songs are by the clips' artists: nobody is on both sides, with music or without.
        assert not {data.clips[row].artist for row in rows} & {data.clips[row].artist for row in left_out}


def test_a_clip_is_told_what_the_model_of_its_fold_says(clip_set, small_recipe, tmp_path):
    data = clip_set(20, songs=5)
    results = cross_validate(data, small_recipe, 7, tmp_path)
    for row in (0, 6, 13, 22):
        others = [i for i in range(25) if data.clips[i].fold != data.clips[row].fold]
        told = predict_clip(fit(data, others, small_recipe, seed=7), data, row, STANDARD_CONDITIONS)
        for i, kind in enumerate(KINDS):
            of_members = [np.concatenate([getattr(p, head)[row] for head in HEADS]) for p in results.members[kind]]
            np.testing.assert_allclose(of_members, told.outputs[:, 0, i])
            mean = np.concatenate([getattr(results.clips[kind], head)[row] for head in HEADS])
            np.testing.assert_allclose(mean, np.mean(of_members, axis=0))
            frame = np.concatenate([getattr(results.frames[kind], head)[row] for head in HEADS])
            np.testing.assert_allclose(frame, told.outputs[:, 1, i].mean(0))
        assert np.array_equal(results.moments[row], told.moments)


def test_what_is_told_of_a_fold_does_not_change_with_its_labels(clip_set, small_recipe, tmp_path):
    data, other = clip_set(20, songs=10), clip_set(20, songs=10)
    inside = np.array([clip.fold == 2 for clip in data.clips])
    other.labels.category[inside] = (other.labels.category[inside] + 1) % 4
    other.labels.emotion[inside] *= -1
    a, b = (cross_validate(d, small_recipe, 0, tmp_path) for d in (data, other))
    for p, q in zip(rows_of(a), rows_of(b), strict=True):
        for head in HEADS:
            np.testing.assert_allclose(getattr(p, head)[inside], getattr(q, head)[inside], rtol=0, atol=LAYER)
            assert not np.array_equal(getattr(p, head)[~inside], getattr(q, head)[~inside])


def test_clips_without_words_are_judged_by_audio_alone(clip_set, small_recipe, tmp_path):
    data = clip_set(20)
    clips = cross_validate(data, small_recipe, 0, tmp_path).clips
    for kind in ("recognised", "printed"):
        with_words = np.array([data.has_lines(row, kind) for row in range(20)])
        moved = (np.abs(clips[kind].category - clips["none"].category) > LAYER).any(1)
        assert np.array_equal(moved, with_words)


def test_a_corpus_of_fewer_folds_is_measured_on_those_it_has(clip_set, small_recipe, tmp_path, fits):
    data = clip_set(12)
    data.clips = tuple(replace(clip, fold=3 * (clip.fold % 2)) for clip in data.clips)
    results = cross_validate(data, small_recipe, 0, tmp_path)
    assert len(fits) == 2
    assert (results.clips["none"].category != 0).all()


# --- what is kept


def test_an_interrupted_run_goes_on_where_it_stopped(clip_set, small_recipe, tmp_path, fits, monkeypatch):
    data = clip_set(20, songs=5)
    whole = cross_validate(data, small_recipe, 0, tmp_path / "whole")
    fits.clear()

    noted = vars(crossvalidation)["fit"]

    def interrupted(*args, **kwargs):
        if len(fits) == 3:
            raise KeyboardInterrupt
        return noted(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(crossvalidation, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cross_validate(data, small_recipe, 0, tmp_path / "cut")
    resumed = cross_validate(data, small_recipe, 0, tmp_path / "cut")
    assert len(fits) == 5
    assert same(resumed, whole)
    assert [len(of_clip) for of_clip in resumed.moments] == [24] * 20 + [1] * 5
    for ours, theirs in zip(resumed.moments, whole.moments, strict=True):
        assert np.array_equal(ours, theirs)
    assert same(cross_validate(data, small_recipe, 0, tmp_path / "cut"), whole)
    assert len(fits) == 5


@pytest.mark.parametrize("what", ["recipe", "seed", "condition"])
def test_another_way_to_measure_is_computed_anew(what, clip_set, small_recipe, tmp_path, fits):
    data = clip_set(8)
    cross_validate(data, small_recipe, 0, tmp_path)
    n = len(fits)
    late = (AUDIO_ONLY, replace(RECOGNISED, delay_s=6.0), PRINTED)
    cross_validate(
        data,
        replace(small_recipe, learning_rate=2e-3) if what == "recipe" else small_recipe,
        1 if what == "seed" else 0,
        tmp_path,
        conditions=late if what == "condition" else STANDARD_CONDITIONS,
    )
    assert len(fits) == 2 * n


@pytest.mark.parametrize(
    "what", ["tokens", "copies", "labels", "mood", "dynamic", "folds", "artists", "words", "songs", "sets"]
)
def test_other_data_are_computed_anew(what, clip_set, small_recipe, tmp_path, fits):
    cross_validate(clip_set(8, songs=4), small_recipe, 0, tmp_path)
    n = len(fits)
    changed = clip_set(8, songs=5 if what == "songs" else 4, copies=int(what == "copies"))
    if what == "tokens":
        changed.tokens += 1
    elif what == "labels":
        changed.labels.category[3] = 0
    elif what == "mood":
        changed.labels.mood[3] = 0.5
    elif what == "dynamic":
        changed.dynamic[3, 4] = 0.5
    elif what == "folds":
        changed.clips = tuple(replace(clip, fold=(clip.fold + 1) % 4) for clip in changed.clips)
    elif what == "artists":
        changed.clips = tuple(replace(clip, artist=f"{clip.artist}, too") for clip in changed.clips)
    elif what == "words":
        changed._lines["printed"][0] = changed._lines["printed"][4]
    elif what == "sets":
        changed.sets[-1] = "poems"
    cross_validate(changed, small_recipe, 0, tmp_path)
    assert len(fits) == n + len({clip.fold for clip in changed.clips})


# --- one clip


def one_by_one(model, data, row, condition):
    """What the model says of each moment of a clip, given nothing but what is known by then; [E, moments, 11]."""
    tokens, said = data.clip_tokens(row, condition.sound), []
    text = data.heard_lines(row, condition.text, delay_s=condition.delay_s)
    for end in range(1, tokens.shape[1] + 1):
        context = tokens[:, max(0, end - data.context_tokens) : end]
        ages = torch.arange(context.shape[1]).flip(0)[None]
        weights = time_scales(ages if condition.audio else torch.full_like(ages, -1), model.config)
        known = TextInput(text.vectors, text.weights[end - 1 : end], text.ages_s[end - 1 : end])
        with torch.inference_mode():
            audio = AudioInput(context, torch.zeros(1, dtype=torch.long), weights)
            said.append(torch.cat(model(audio, known).fused, dim=2))
    return torch.cat(said, dim=1)


@pytest.mark.parametrize(
    "condition",
    [
        AUDIO_ONLY,
        RECOGNISED,
        PRINTED,
        replace(RECOGNISED, name="late", delay_s=6.0),
        replace(PRINTED, name="read", audio=False),
        replace(AUDIO_ONLY, name="in a hall", sound="in a hall"),
    ],
    ids=lambda condition: condition.name,
)
def test_a_clip_is_judged_moment_by_moment_as_a_listener_hears_it(condition, model, clip_set):
    data = clip_set(4, troubles=("in a hall",))
    told = predict_clip(model, data, 0, (PRINTED, condition)).outputs
    moments = one_by_one(model, data, 0, condition).double().numpy()
    assert told.shape == (2, 2, 2, 11)
    np.testing.assert_allclose(told[:, 0, 1], moments.mean(1), **TOLERANCE)
    np.testing.assert_allclose(told[:, 1, 1], moments[:, FRAME_TOKEN], **TOLERANCE)


@pytest.mark.parametrize(
    "conditions", [(AUDIO_ONLY,), (PRINTED, RECOGNISED), (replace(AUDIO_ONLY, sound="in a hall"),)]
)
def test_the_moments_are_of_the_clip_as_it_is_by_audio_alone(conditions, model, clip_set):
    data = clip_set(4, troubles=("in a hall",))
    moments = predict_clip(model, data, 0, conditions).moments
    assert moments.dtype == np.float32
    np.testing.assert_allclose(moments, one_by_one(model, data, 0, AUDIO_ONLY).mean(0), **TOLERANCE)


def test_a_long_recording_is_predicted_in_parts_that_change_nothing(model, clip_set, monkeypatch):
    data = clip_set(4)
    whole = predict_clip(model, data, 0, STANDARD_CONDITIONS)
    monkeypatch.setattr(crossvalidation, "_MOMENTS", 5)
    parts = predict_clip(model, data, 0, STANDARD_CONDITIONS)
    np.testing.assert_allclose(parts.outputs, whole.outputs, rtol=0, atol=LAYER)
    np.testing.assert_allclose(parts.moments, whole.moments, rtol=0, atol=LAYER)


def test_a_clip_shorter_than_10_s_is_told_by_its_last_frame(model, clip_set):
    data = clip_set(4)
    data.n_tokens[0] = 7
    told = predict_clip(model, data, 0, (AUDIO_ONLY,)).outputs[:, 1, 0]
    np.testing.assert_allclose(told, one_by_one(model, data, 0, AUDIO_ONLY)[:, -1], **TOLERANCE)


# --- songs of words alone


def test_a_song_without_audio_is_predicted_from_its_words_alone(model, clip_set):
    data = clip_set(4, songs=2)
    told = predict_clip(model, data, 4, STANDARD_CONDITIONS).outputs
    lines = data._lines["printed"][4]
    text = TextInput(
        torch.from_numpy(lines.vectors)[None],
        torch.from_numpy(lines.reliability)[None],
        torch.full((1, 3), float(lines.t1[-1])),
    )
    silence = AudioInput(torch.full((1, 5, 200), 9.0), torch.zeros(1, dtype=torch.long), torch.zeros(1, 2, 5))
    with torch.inference_mode():
        expected = torch.cat(model(silence, text).fused, dim=2)[:, 0].numpy()
    for place in (*told[:, 0].transpose(1, 0, 2), *told[:, 1].transpose(1, 0, 2)):  # every condition, clip and frame
        np.testing.assert_allclose(place, expected, **TOLERANCE)


def test_the_one_moment_of_a_song_is_judged_by_its_words(model, clip_set):
    found = predict_clip(model, clip_set(4, songs=2), 4, STANDARD_CONDITIONS)
    assert found.moments.shape == (1, 11)
    np.testing.assert_allclose(found.moments[0], found.outputs[:, 0, 0].mean(0), rtol=0, atol=LAYER)
