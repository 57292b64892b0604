"""Training learns what there is to learn, member by member, and gives the same model for the same seed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tolerance import LAYER

from stream_mer.training.crossvalidation import AUDIO_ONLY, PRINTED, predict_clip
from stream_mer.training.fit import _clip_gradients, fit
from stream_mer.training.losses import LossWeights
from stream_mer.training.network import JointNetwork

UNUSED = "private_text.pools."
"""Words are one element a time, so that there is nothing to pool."""


def weights_of(model):
    return model.state_dict()


def equal(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def recipe(small_recipe):
    """Two rounds, without what blurs what is learnt."""
    return replace(small_recipe, epochs=2, model=replace(small_recipe.model, input_dropout=0.0, text_dropout=0.0))


def test_the_same_seed_gives_the_same_model_and_another_seed_another(clip_set, recipe):
    data = clip_set(32, songs=8, copies=1)
    first, second, other = (fit(data, range(40), recipe, seed=seed) for seed in (1, 1, 2))
    assert equal(weights_of(first), weights_of(second))
    for (name, ours), theirs in zip(first.named_parameters(), other.parameters(), strict=True):
        assert not torch.equal(ours, theirs), name


def test_the_members_are_different_networks(clip_set, recipe):
    for name, parameter in fit(clip_set(32), range(32), recipe, seed=1).named_parameters():
        assert not torch.equal(parameter[0], parameter[1]), name


def test_only_the_rows_asked_for_have_an_influence(clip_set, recipe):
    data, spoiled = clip_set(32, songs=8, copies=1), clip_set(32, songs=8, copies=1)
    rows = [*range(20), 32, 33, 34, 35]
    others = [row for row in range(40) if row not in rows]
    spoiled.tokens[:, 20:] = 60_000
    spoiled.labels.category[others] = 0
    spoiled.labels.emotion[others] = 1.0
    for kind in ("recognised", "printed"):
        for row in others:
            lines = spoiled._lines[kind][row]
            spoiled._lines[kind][row] = replace(lines, vectors=lines.vectors + 100, t1=lines.t1 / np.float32(2))
    a, b = (weights_of(fit(d, rows, recipe, seed=1)) for d in (data, spoiled))
    assert equal(a, b)


def test_songs_of_words_alone_and_degraded_copies_are_learnt_from(clip_set, recipe):
    plain = weights_of(fit(clip_set(32), range(32), recipe, seed=1))
    for other in (clip_set(32, songs=4), clip_set(32, copies=1)):
        assert not equal(weights_of(fit(other, range(len(other)), recipe, seed=1)), plain)
    copies = clip_set(32, copies=1)
    assert equal(
        weights_of(
            fit(copies, range(32), replace(recipe, sampling=replace(recipe.sampling, degraded_share=0.0)), seed=1)
        ),
        plain,
    )


def test_features_of_words_are_standardised_by_the_training_clips(clip_set, recipe):
    data, rows = clip_set(8, songs=3, copies=1), [0, 2, 5, 9, 10]
    model, seen = fit(data, rows, recipe, seed=0), data.song_means([0, 2, 5, 9, 10])
    torch.testing.assert_close(model.text_projection.mean, seen.mean(0))
    spread = seen.std(0)
    torch.testing.assert_close(model.text_projection.scale, 1 / (spread + 0.01 * spread.mean()))


def test_the_model_holds_the_components_that_its_tokens_were_reduced_by(clip_set, recipe):
    data = clip_set(8)
    model = fit(data, range(8), recipe, seed=0)
    features, n = data.components.basis.shape
    assert (model.config.audio_features, model.config.audio_components) == (features, n)
    assert torch.equal(model.components.basis, data.components.basis)
    assert torch.equal(model.components.mean, data.components.mean)
    assert (model.audio_projection.scale == 1).all()


def test_without_yamnet_its_components_have_no_influence(clip_set, recipe):
    data, other = clip_set(16), clip_set(16)
    other.tokens[..., 100:] += 3
    for yamnet, same in ((True, False), (False, True)):
        a, b = (fit(d, range(16), replace(recipe, yamnet=yamnet), seed=0) for d in (data, other))
        assert equal(weights_of(a), weights_of(b)) == same
    said = [predict_clip(a, d, 0, (AUDIO_ONLY,)).outputs for d in (data, other)]
    np.testing.assert_allclose(said[0], said[1], rtol=0, atol=LAYER)


@pytest.mark.parametrize("listeners", [True, False])
def test_mood_words_teach_the_main_task_where_the_recipe_says_so_or_nobody_rated(clip_set, recipe, *, listeners):
    by_tags = replace(recipe, taught_by="tags")
    alone = replace(recipe.losses, category=0.0, cluster=0.0, order=0.0)
    ours, theirs = (replace(one, losses=alone) for one in (recipe, by_tags))
    a, b = (weights_of(fit(clip_set(32, listeners=listeners), range(32), one, seed=0)) for one in (ours, theirs))
    assert equal(a, b) != listeners
    data = clip_set(32, listeners=listeners)
    data.labels.mood[:] = -data.labels.mood  # an order that is not taught here
    assert equal(weights_of(fit(data, range(32), ours, seed=0)), a)
    assert equal(weights_of(fit(data, range(32), theirs, seed=0)), b) != listeners


def test_it_learns_clips_whose_tokens_tell_their_labels(clip_set, recipe):
    data = clip_set(80)
    model = fit(data, range(60), replace(recipe, epochs=25, learning_rate=1e-2), seed=0)
    assert not model.training
    told = np.stack([predict_clip(model, data, row, (AUDIO_ONLY,)).outputs[:, 0, 0] for row in range(60, 80)], axis=1)
    assert told.shape == (2, 20, 11)
    for member in told:  # each of them has learnt it by itself
        guessed = member[:, 2:6].argmax(1)
        assert (guessed == data.labels.category[60:].numpy()).mean() >= 0.9
        for dimension in range(2):
            assert np.corrcoef(member[:, dimension], data.labels.emotion[60:, dimension])[0, 1] > 0.8


def test_it_learns_from_words_alone_what_they_tell(clip_set, recipe):
    data = clip_set(8, songs=80)
    for row in range(8, 88):
        lines = data._lines["printed"][row]
        lines.vectors[:, 100 * (row % 4) : 100 * (row % 4) + 100] += 0.2
    model = fit(data, range(68), replace(recipe, epochs=30, learning_rate=1e-2), seed=0)
    told = np.stack(
        [predict_clip(model, data, row, (PRINTED,)).outputs[:, 0, 0] for row in range(68, 88)], axis=1
    ).mean(0)
    assert (told[:, 2:6].argmax(1) == np.arange(68, 88) % 4).mean() >= 0.9


@pytest.mark.parametrize("epochs", [1, 9, 10, 11])
def test_any_number_of_steps_can_be_trained(epochs, clip_set, recipe):
    model = fit(clip_set(8), range(8), replace(recipe, epochs=epochs, batch_size=64), seed=0)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_a_corpus_without_any_words_can_be_trained(clip_set, recipe):
    data = clip_set(16)
    data._lines = {}
    model = fit(data, range(16), recipe, seed=0)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert not model.text_projection.mean.any()  # nothing to standardise by


def test_layers_that_read_words_alone_have_a_weight_decay_of_their_own(clip_set, recipe):
    nothing = LossWeights(emotion=0.0, category=0.0, cluster=0.0, difference=0.0, similarity=0.0)
    plain = replace(recipe, losses=nothing, epochs=6, weight_decay=0.0, text_weight_decay=30.0)
    data = clip_set(16)
    torch.manual_seed(4)
    start = JointNetwork(plain.model).requires_grad_(requires_grad=False)
    decayed = fit(data, range(16), plain, seed=4).requires_grad_(requires_grad=False)
    for (name, before), after in zip(start.named_parameters(), decayed.parameters(), strict=True):
        if not before.any() or name.startswith(UNUSED):
            continue
        share = float((after / before).nanmean())
        if name.startswith(("text_projection.", "private_text.", "text_heads.")):
            assert share < 0.95, name
        else:
            assert share == pytest.approx(1.0), name
        torch.testing.assert_close(after, share * before, msg=name)  # nothing is learnt, all of it is decay


def test_songs_that_all_have_the_same_words_can_be_trained(clip_set, recipe):
    data = clip_set(8)
    for of_kind in data._lines.values():
        of_kind[:] = [data._lines["printed"][0]] * 8
    model = fit(data, range(8), recipe, seed=0)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


# --- the members of an ensemble do not know of each other


def test_gradients_are_shortened_member_by_member():
    weights = [torch.nn.Parameter(torch.zeros(3, 4, 2)), torch.nn.Parameter(torch.zeros(3, 5))]
    unused = torch.nn.Parameter(torch.zeros(3, 2))
    rng = torch.Generator().manual_seed(0)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=rng)
        weight.grad[1] *= 100
        weight.grad[2] *= 0
    before = [weight.grad.clone() for weight in weights if weight.grad is not None]
    _clip_gradients([*weights, unused], longest=5.0)
    after = [weight.grad for weight in weights if weight.grad is not None]
    for a, b in zip(after, before, strict=True):
        assert torch.equal(a[0], b[0])  # shorter than 5 already, whatever its neighbour's is
        torch.testing.assert_close(a[1] / a[1].norm(), b[1] / b[1].norm())
        assert not a[2].any()
    assert float(torch.cat([a[1].flatten() for a in after]).norm()) == pytest.approx(5.0, rel=1e-4)


def test_a_member_is_what_it_would_be_beside_any_other(clip_set, recipe, monkeypatch):
    # Dropout draws for all members at once, so it is off; what is left is the arithmetic.
    quiet = replace(recipe, model=replace(recipe.model, dropout=0.0))
    data = clip_set(32, songs=8)
    ensemble = fit(data, range(40), quiet, seed=3)
    starts = []

    class Begun(JointNetwork):
        """An ensemble whose second member begins elsewhere than it would have."""

        def __init__(self, *args):
            super().__init__(*args)
            with torch.no_grad():
                for parameter in self.parameters():
                    parameter[1] *= 0.5
            starts.append({name: tensor.clone() for name, tensor in self.state_dict().items()})

    monkeypatch.setattr("stream_mer.training.fit.JointNetwork", Begun)
    other = fit(data, range(40), quiet, seed=3)
    assert len(starts) == 1
    for (name, ours), theirs in zip(ensemble.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours[0], theirs[0], msg=name)
        if ours[1].abs().max() > 1e-3:
            assert not torch.allclose(ours[1], theirs[1]), name
