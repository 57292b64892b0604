"""The losses of the joint model. Labels that a row lacks are masked: NaN for numbers, -1 for classes.

Every loss is computed for each member of the ensemble by itself and summed over them, so no member's gradient knows of
another. Shapes: ``E`` members, ``B`` rows, ``D`` model width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor, nn

from stream_mer.training.network import Heads, JointOutput, Representations

_MIN_ROWS_FOR_CCC = 8  # a concordance of fewer rows is mostly noise


_COORDINATE_SD = 0.2  # of the error of valence and of arousal, about what cross-validation gives


class Labels(NamedTuple):
    """What is known of each row.

    Attributes:
        emotion: [B, 2], valence and arousal as listeners say, NaN where a row has none.
        mood: [B, 2], valence and arousal of mood words, of which only the order counts; likewise.
        category: [B], -1 where a row has none.
        cluster: [B], likewise.
        dynamic: [B, 2], valence and arousal as listeners say of the very moment, NaN where they rated the clip alone.
    """

    emotion: Tensor
    mood: Tensor
    category: Tensor
    cluster: Tensor
    dynamic: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """How much each part counts; 0 switches it off.

    Attributes:
        emotion: Main task.
        category: Auxiliary task, quadrants.
        cluster: Auxiliary task, MIREX clusters.
        concordance: Within the main task, of 1 - CCC.
        error: Within the main task, of the squared error.
        dynamics: Within the main task, that differences between moments of a clip follow the listeners'.
        order: Within the main task, that mood words order the clips: an angry clip lies below a happy one in valence.
        agreement: Between the tasks, that the point lies in the quadrant that the category names, as a viewer sees it.
        audio: Light head on audio alone (after Self-MM, Yu et al. 2021).
        text: Light head on text alone.
        difference: Private and shared representations should differ (after MISA, Hazarika et al. 2020).
        similarity: Shared representations of both modalities should agree (central moment discrepancy, as in MISA).
    """

    emotion: float = 1.0
    category: float = 1.0
    cluster: float = 1.0
    concordance: float = 0.1
    error: float = 10.0
    dynamics: float = 0.3
    order: float = 0.3
    agreement: float = 0.1
    audio: float = 1.0
    text: float = 1.0
    difference: float = 0.05
    similarity: float = 0.05


def concordance(prediction: Tensor, target: Tensor) -> Tensor:
    """Lin's concordance correlation coefficient over the last dimension: [..., B] and [B] to [...], in -1..1."""
    p, t = prediction.mean(-1, keepdim=True), target.mean(-1, keepdim=True)
    covariance = ((prediction - p) * (target - t)).mean(-1)
    spread = prediction.var(-1, unbiased=False) + target.var(-1, unbiased=False)
    return 2 * covariance / (spread + (p - t).squeeze(-1).square() + 1e-8)


class JointLoss(nn.Module):
    """Both tasks of the fused result and of each modality, and the two losses between private and shared layers.

    Between the tasks stand learnt uncertainty weights (Kendall, Gal & Cipolla 2018). A task that a batch has no labels
    of takes no part in it, the regulariser of its weight included: that alone would drive the weight of a rare task up.
    """

    def __init__(self, weights: LossWeights, members: int = 1) -> None:
        super().__init__()
        self.weights = weights
        self.log_variance = nn.Parameter(torch.zeros(members, 3))

    def forward(
        self, output: JointOutput, labels: Labels, has_audio: Tensor, has_text: Tensor, *, moments: int = 1
    ) -> Tensor:
        """The loss of a batch, a scalar.

        Args:
            output: Of ``B`` rows.
            labels: Of the same.
            has_audio: [B], whether a row has that modality.
            has_text: Likewise.
            moments: So many rows after each other are moments of one clip.
        """
        w = self.weights
        loss = self._tasks(output.fused, labels, moments)
        for weight, heads, rows in ((w.audio, output.audio, has_audio), (w.text, output.text, has_text)):
            if weight and bool(rows.any()):
                chosen = Labels(*(label[rows] for label in labels))
                whole = moments if bool(rows.all()) else 1
                loss = loss + weight * self._tasks(Heads(*(head[:, rows] for head in heads)), chosen, whole)
        return loss + self._between(output.representations, has_audio, has_text)

    def _tasks(self, heads: Heads, labels: Labels, moments: int) -> Tensor:
        w = self.weights
        tasks = torch.stack(
            [
                w.emotion * self._main_task(heads.emotion, labels, moments),
                w.category * _cross_entropy(heads.category, labels.category),
                w.cluster * _cross_entropy(heads.cluster, labels.cluster),
            ],
            dim=1,
        )  # [E, 3]
        has_labels = torch.stack(
            [_enough(_rated(labels.emotion)), (labels.category >= 0).any(), (labels.cluster >= 0).any()]
        )
        counts = has_labels & torch.tensor([w.emotion > 0, w.category > 0, w.cluster > 0], device=has_labels.device)
        weighted = torch.exp(-self.log_variance) * tasks + 0.5 * self.log_variance  # [E, 3]
        return (weighted * counts).sum()

    def _main_task(self, prediction: Tensor, labels: Labels, moments: int) -> Tensor:
        """Valence and arousal as listeners say, over time, and in the order of mood words: [E]."""
        w = self.weights
        loss = w.concordance * concordance_loss(prediction, labels.emotion)
        loss = loss + w.error * squared_error(prediction, labels.emotion)
        if w.dynamics and moments > 1:
            loss = loss + w.dynamics * dynamics_loss(prediction, labels.dynamic, moments)
        if w.order:
            loss = loss + w.order * order_loss(prediction, labels.mood)
        if w.agreement:
            loss = loss + w.agreement * agreement_loss(prediction, labels.category)
        return loss

    def _between(self, reps: Representations, has_audio: Tensor, has_text: Tensor) -> Tensor:
        w, both = self.weights, has_audio & has_text
        loss = self.log_variance.new_zeros(())
        for private, shared, rows in (
            (reps.private_audio, reps.shared_audio, has_audio),
            (reps.private_text, reps.shared_text, has_text),
        ):
            if w.difference and int(rows.sum()) >= 2:
                loss = (
                    loss
                    + w.difference
                    * difference_loss(private[:, rows].flatten(1, 2), shared[:, rows].flatten(1, 2)).sum()
                )
        if w.similarity and int(both.sum()) >= 2:
            loss = (
                loss + w.similarity * similarity_loss(reps.shared_audio[:, both, 0], reps.shared_text[:, both, 0]).sum()
            )
        return loss


def concordance_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """1 - CCC of valence and of arousal, summed; rows with NaN are left out.

    Args:
        prediction: [E, B, 2].
        target: [B, 2].

    Returns:
        [E].
    """
    rows = _rated(target)
    if not bool(_enough(rows)):
        return prediction.sum((1, 2)) * 0.0
    p, t = prediction[:, rows], target[rows]
    return (1.0 - concordance(p.transpose(1, 2), t.T)).sum(1)


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of valence and of arousal, summed; arguments and result as of ``concordance_loss``."""
    rows = _rated(target)
    if not bool(_enough(rows)):
        return prediction.sum((1, 2)) * 0.0
    return (prediction[:, rows] - target[rows]).square().mean(1).sum(1)


def dynamics_loss(prediction: Tensor, target: Tensor, moments: int) -> Tensor:
    """1 - cosine between predicted and rated differences from a clip's mean, of valence and of arousal, summed.

    Only the direction counts: listeners move a little and late, and how far is the squared error's business.

    Args:
        prediction: [E, B, 2]; ``moments`` rows after each other are of one clip.
        target: [B, 2], ratings of the moments; a clip of which one moment has none (NaN) does not count, nor does one
            whose ratings do not move.
        moments: 2 or more.

    Returns:
        [E].
    """
    p = prediction.view(len(prediction), -1, moments, 2)
    t = target.view(-1, moments, 2)
    moving = t.isfinite().all(2).all(1) & (t.amax(1) - t.amin(1)).gt(0).any(1)
    if int(moving.sum()) < 2:
        return prediction.sum((1, 2)) * 0.0
    dp, dt = (x - x.mean(-2, keepdim=True) for x in (p[:, moving], t[moving]))
    products = (dp * dt).sum((1, 2)), dp.square().sum((1, 2)), dt.square().sum((0, 1))
    loss: Tensor = (1.0 - products[0] / (products[1] * products[2] + 1e-12).sqrt()).sum(1)
    return loss


def order_loss(prediction: Tensor, mood: Tensor) -> Tensor:
    """1 - Pearson's r of valence and of arousal with those of mood words; arguments as of ``concordance_loss``.

    Words say which clip is more pleasant or livelier than another, not where listeners would put it.
    """
    rows = _rated(mood)
    if not bool(_enough(rows)):
        return prediction.sum((1, 2)) * 0.0
    p, t = prediction[:, rows], mood[rows]
    p, t = p - p.mean(1, keepdim=True), t - t.mean(0)
    r = (p * t).sum(1) / (p.square().sum(1) * t.square().sum(0) + 1e-12).sqrt()
    return (1.0 - r).sum(1)


def agreement_loss(prediction: Tensor, category: Tensor) -> Tensor:
    """Surprise at a clip's quadrant, given its point in the plane and a normal error of both coordinates: [E].

    Args:
        prediction: [E, B, 2].
        category: [B], -1 where a row has none.
    """
    rows = category >= 0
    if not bool(rows.any()):
        return prediction.sum((1, 2)) * 0.0
    pleasant = (category[rows] == 0) | (category[rows] == 3)
    lively = category[rows] <= 1
    signs = 2.0 * torch.stack([pleasant, lively], 1) - 1.0  # [B, 2]
    chances: Tensor = torch.special.log_ndtr(prediction[:, rows] * signs / _COORDINATE_SD)  # logarithms, [E, B, 2]
    return -chances.sum(2).mean(1)


def _rated(target: Tensor) -> Tensor:
    """Which rows of valence and arousal [B, 2] have both: [B]."""
    return target.isfinite().all(dim=1)


def _enough(rows: Tensor) -> Tensor:
    """Whether so many rows [B] give a concordance that means something, a scalar."""
    return rows.sum() >= _MIN_ROWS_FOR_CCC


def difference_loss(private: Tensor, shared: Tensor) -> Tensor:
    """Mean squared correlation between the features of two representations [E, B, D], rows of unit length: [E]."""
    p = F.normalize(private - private.mean(1, keepdim=True), dim=2)
    s = F.normalize(shared - shared.mean(1, keepdim=True), dim=2)
    return (p.transpose(1, 2) @ s).square().mean((1, 2))


def similarity_loss(a: Tensor, b: Tensor, *, moments: int = 5) -> Tensor:
    """Central moment discrepancy (Zellinger et al. 2017) of two sets of representations [E, B, D]: [E]."""
    a, b = torch.tanh(a), torch.tanh(b)
    mean_a, mean_b = a.mean(1, keepdim=True), b.mean(1, keepdim=True)
    ca, cb = a - mean_a, b - mean_b
    loss = _distance(mean_a.squeeze(1), mean_b.squeeze(1))
    for k in range(2, moments + 1):
        loss = loss + _distance(ca.pow(k).mean(1), cb.pow(k).mean(1))
    return loss


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b).square().sum(-1) + 1e-8).sqrt()


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the labelled rows of ``logits`` [E, B, classes] and ``target`` [B]: [E]."""
    rows = target >= 0
    if not bool(rows.any()):
        return logits.sum((1, 2)) * 0.0
    chosen = logits[:, rows]
    losses = F.cross_entropy(chosen.flatten(0, 1), target[rows].repeat(len(chosen)), reduction="none")
    return losses.view(len(chosen), -1).mean(1)
