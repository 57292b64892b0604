"""Training learns what there is to learn, and gives the same model for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from stream_mer.emotion.backbone import TOKEN_FEATURES
from stream_mer.emotion.model import JointModelConfig
from stream_mer.training.dataset import ClipSet
from stream_mer.training.fit import Recipe, fit

SMALL = Recipe(
    epochs=2, batch_size=16, model=JointModelConfig(audio_features=TOKEN_FEATURES, width=16, heads=2, input_dropout=0)
)

Maker = Callable[..., ClipSet]


def test_the_same_seed_gives_the_same_model_and_another_seed_another(clip_set: Maker) -> None:
    data = clip_set(32)
    first, second, other = (fit(data, range(32), SMALL, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_only_the_rows_asked_for_have_an_influence(clip_set: Maker) -> None:
    data, spoiled = clip_set(32), clip_set(32)
    spoiled.tokens[20:] = 60_000
    spoiled.labels.category[20:] = 0
    a, b = (fit(d, range(20), SMALL, seed=1).state_dict() for d in (data, spoiled))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_features_are_standardised_by_the_training_clips(clip_set: Maker) -> None:
    data = clip_set(8)
    model = fit(data, [0, 2, 5], SMALL, seed=0)
    present = torch.cat([data.tokens[row, : data.n_tokens[row]].float() for row in (0, 2, 5)])
    torch.testing.assert_close(model.audio_projection.mean, present.mean(0))
    torch.testing.assert_close(model.audio_projection.scale, 1 / (present.std(0) + 1e-3))


def test_it_learns_clips_whose_tokens_tell_their_labels(clip_set: Maker) -> None:
    data = clip_set(80)
    model = fit(data, range(60), replace(SMALL, epochs=10, learning_rate=1e-2), seed=0)
    assert not model.training
    with torch.inference_mode():
        batches = [data.moments(row, "none") for row in range(60, 80)]
        heads = [model(batch.audio, batch.text).fused for batch in batches]
    guessed = torch.stack([h.category.mean(0) for h in heads]).argmax(1)
    emotion = torch.stack([h.emotion.mean(0) for h in heads])
    assert float((guessed == data.labels.category[60:]).float().mean()) >= 0.9
    for dimension in range(2):
        assert np.corrcoef(emotion[:, dimension], data.labels.emotion[60:, dimension])[0, 1] > 0.8


@pytest.mark.parametrize("epochs", [1, 2, 9, 10, 11, 20])
def test_any_number_of_steps_can_be_trained(epochs: int, clip_set: Maker) -> None:
    model = fit(clip_set(8), range(8), replace(SMALL, epochs=epochs, batch_size=64), seed=0)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
