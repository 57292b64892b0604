"""Trains one joint model on a set of clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from stream_mer.emotion.joint import JointModelConfig
from stream_mer.lyrics.text_features import LINE_FEATURES
from stream_mer.training.corpus import RatedBy
from stream_mer.training.dataset import ClipSet, Sampling
from stream_mer.training.losses import JointLoss, LossWeights
from stream_mer.training.network import JointNetwork
from stream_mer.training.tokens import of_yamnet

_TEXT_LAYERS = ("text_projection", "private_text", "text_heads")
_SMALLEST_SPREAD = 1e-2  # relative to the mean of all features: a constant one stays small


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides what training gives, apart from the data and the seed.

    Attributes:
        epochs: Rounds over the clips.
        batch_size: Clips.
        moments: Moments of each clip that a step draws.
        learning_rate: Peak of the one-cycle schedule.
        weight_decay: Of AdamW.
        text_weight_decay: Of the layers that read words alone: there are few songs to learn from, again and again.
        model: Shape of the network; how wide an audio token is, the data say.
        losses: Weights of the losses.
        sampling: How moments are drawn.
        songs_per_epoch: Of each set of songs without audio, at most so many a round.
        taught_by: Whose ratings of valence and arousal teach the main task (switchable for ablations).
        yamnet: Whether the network reads YAMNet's part of the audio tokens (switchable for ablations).
    """

    epochs: int = 12
    batch_size: int = 64
    moments: int = 3
    learning_rate: float = 1e-3
    weight_decay: float = 0.3
    text_weight_decay: float = 3.0
    songs_per_epoch: int = 250
    model: JointModelConfig = field(
        default_factory=lambda: JointModelConfig(audio_features=1000, text_features=LINE_FEATURES, members=5)
    )
    losses: LossWeights = field(default_factory=LossWeights)
    sampling: Sampling = field(default_factory=Sampling)
    taught_by: RatedBy = "listeners"
    yamnet: bool = True


def fit(data: ClipSet, rows: Sequence[int], recipe: Recipe, *, seed: int) -> JointNetwork:
    """Train on the clips ``rows``; the same seed, data and machine give the same model."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    features, n_components = data.components.basis.shape
    config = replace(recipe.model, audio_features=features, audio_components=n_components)
    model = JointNetwork(config)
    model.components.load_state_dict(data.components.state_dict())
    if not recipe.yamnet:
        model.audio_projection.scale[of_yamnet(data.components)] = 0.0
    _standardise_text(model, data, rows)
    loss = JointLoss(recipe.losses, config.members)
    parameters = [*model.parameters(), *loss.parameters()]
    optimiser = torch.optim.AdamW(_groups(model, loss, recipe), lr=recipe.learning_rate)
    round_rows = len(data.epoch(rows, np.random.default_rng(seed), songs=recipe.songs_per_epoch))
    per_epoch = max(1, round_rows // recipe.batch_size)
    steps = recipe.epochs * per_epoch
    warm_up = 0.1 if steps != 10 else 0.2  # OneCycleLR divides by zero where the warm-up is exactly one step
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps, pct_start=warm_up
    )
    model.train()
    for _ in range(recipe.epochs):
        order = data.epoch(rows, rng, songs=recipe.songs_per_epoch)
        for batch_rows in torch.split(order[: per_epoch * recipe.batch_size], recipe.batch_size):
            drawn = batch_rows.repeat_interleave(recipe.moments)
            batch = data.draw(drawn, rng, recipe.sampling, config=config)
            if recipe.taught_by == "tags" and data.listeners_rated:  # else they teach the main task already
                batch = batch._replace(labels=batch.labels._replace(emotion=batch.labels.mood))
            output = model(batch.audio, batch.text)
            value = loss(output, batch.labels, batch.has_audio, batch.has_text, moments=recipe.moments)
            optimiser.zero_grad()
            value.backward()
            _clip_gradients(parameters)
            optimiser.step()
            schedule.step()
    return model.eval()


def _groups(model: JointNetwork, loss: JointLoss, recipe: Recipe) -> list[dict[str, Any]]:
    """The parameters, each with its weight decay."""
    named = [(name.startswith(_TEXT_LAYERS), parameter) for name, parameter in model.named_parameters()]
    text, others = ([parameter for is_text, parameter in named if is_text is wanted] for wanted in (True, False))
    return [
        {"params": [*others, *loss.parameters()], "weight_decay": recipe.weight_decay},
        {"params": text, "weight_decay": recipe.text_weight_decay},
    ]


def _clip_gradients(parameters: Sequence[torch.nn.Parameter], *, longest: float = 5.0) -> None:
    """Shorten the gradient of each member of the ensemble to a norm of ``longest`` at most."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0).sqrt()  # [E]
    scale = (longest / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))


def _standardise_text(model: JointNetwork, data: ClipSet, rows: Sequence[int]) -> None:
    """Set mean and scale of the features of words from the training clips."""
    seen = data.song_means(rows)
    if len(seen) >= 2 and bool(seen.std(0).any()):
        spread = seen.std(0)
        model.text_projection.mean.copy_(seen.mean(0))
        model.text_projection.scale.copy_(1.0 / (spread + _SMALLEST_SPREAD * spread.mean()))
