"""The losses: right by their formulas, blind to what is masked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from stream_mer.emotion.model import Heads, JointOutput, Representations
from stream_mer.training.losses import (
    JointLoss,
    Labels,
    LossWeights,
    concordance,
    difference_loss,
    emotion_loss,
    similarity_loss,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(5))
def test_concordance_is_lins_formula(seed: int) -> None:
    p, t = drawn(50, seed=seed), 0.5 * drawn(50, seed=seed) + 0.3 * drawn(50, seed=seed + 100) + 0.2
    x, y = p.double().numpy(), t.double().numpy()
    expected = 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert float(concordance(p, t)) == pytest.approx(expected, abs=1e-5)


def test_concordance_knows_agreement_opposition_and_offset() -> None:
    x = torch.linspace(-1, 1, 20)
    assert float(concordance(x, x)) == pytest.approx(1, abs=1e-6)
    assert float(concordance(x, -x)) == pytest.approx(-1, abs=1e-6)
    assert float(concordance(x + 1, x)) < 0.5
    assert float(concordance(torch.zeros(20), x)) == 0


def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_does() -> None:
    target = drawn(20, 2).tanh()
    assert float(emotion_loss(target, target)) == pytest.approx(0, abs=1e-5)
    assert float(emotion_loss(-target, target)) > 4


def test_rows_without_a_rating_have_no_effect() -> None:
    prediction, target = drawn(20, 2).tanh(), drawn(20, 2, seed=1).tanh()
    expected = emotion_loss(prediction, target)
    more = torch.cat([target, torch.tensor([[float("nan"), 0.1], [0.1, float("nan")]])])
    odd = torch.cat([prediction, torch.tensor([[99.0, 99.0], [-99.0, 99.0]])]).requires_grad_()
    loss = emotion_loss(odd, more)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    loss.backward()
    assert odd.grad is not None
    assert not odd.grad[20:].any()
    assert odd.grad[:20].any()
    assert odd.grad.isfinite().all()


def test_too_few_rows_cost_nothing_but_can_be_differentiated() -> None:
    prediction = drawn(5, 2).requires_grad_()
    loss = emotion_loss(prediction, drawn(5, 2, seed=1))
    loss.backward()
    assert loss.item() == 0
    assert prediction.grad is not None
    assert not prediction.grad.any()


def test_similarity_is_zero_for_one_distribution_and_grows_with_distance() -> None:
    a = drawn(64, 8)
    shuffled = a[torch.randperm(64, generator=torch.Generator().manual_seed(1))]
    same, near, far = (float(similarity_loss(a, b)) for b in (shuffled, shuffled + 0.1, shuffled + 1.0))
    assert same < 1e-3  # five roots of the 1e-8 that keeps the gradient finite at zero
    assert same < near < far
    assert float(similarity_loss(a, 3 * a)) > near  # equal means, other moments


def test_similarity_is_the_sum_over_central_moments() -> None:
    a, b = drawn(30, 4), drawn(40, 4, seed=1) * 0.5 + 0.2
    x, y = (np.tanh(v.double().numpy()) for v in (a, b))
    expected = np.linalg.norm(x.mean(0) - y.mean(0))
    for k in range(2, 6):
        expected += np.linalg.norm(((x - x.mean(0)) ** k).mean(0) - ((y - y.mean(0)) ** k).mean(0))
    assert float(similarity_loss(a, b)) == pytest.approx(expected, abs=1e-3)


def test_difference_is_zero_for_orthogonal_and_large_for_equal_representations() -> None:
    rows = torch.eye(4).repeat_interleave(2, 0) * torch.tensor([1.0, -1.0]).repeat(4)[:, None]  # centred, unit length
    private, shared = torch.cat([rows, 0 * rows]), torch.cat([0 * rows, rows])
    assert float(difference_loss(private, shared)) == pytest.approx(0, abs=1e-9)
    assert float(difference_loss(rows, rows)) == pytest.approx(float((rows.T @ rows).square().mean()))
    assert float(difference_loss(rows, rows)) > 0.5


def output(n: int = 16, seed: int = 0) -> JointOutput:
    def heads(k: int) -> Heads:
        return Heads(drawn(n, 2, seed=seed + k).tanh(), drawn(n, 4, seed=seed + k + 1), drawn(n, 5, seed=seed + k + 2))

    reps = Representations(*(drawn(n, 8, seed=seed + 50 + k) for k in range(4)))
    return JointOutput(heads(0), heads(10), heads(20), torch.full((n,), 0.5), reps)


def labels(n: int = 16) -> Labels:
    return Labels(drawn(n, 2, seed=7).tanh(), torch.arange(n) % 4, torch.arange(n) % 5)


def changed_rows(given: JointOutput, rows: Tensor) -> JointOutput:
    """The same output with other results, in all heads, in these rows."""

    def swap(heads: Heads) -> Heads:
        return Heads(*(torch.where(rows[:, None], -head - 0.1, head) for head in heads))

    return given._replace(fused=swap(given.fused), audio=swap(given.audio), text=swap(given.text))


def test_rows_without_any_label_have_no_effect_on_the_tasks() -> None:
    rows = torch.arange(16) >= 12
    given = labels()
    masked = Labels(
        given.emotion.masked_fill(rows[:, None], float("nan")),
        given.category.masked_fill(rows, -1),
        given.cluster.masked_fill(rows, -1),
    )
    loss, with_text = JointLoss(LossWeights()), torch.ones(16, dtype=torch.bool)
    before = loss(output(), masked, with_text).item()
    assert loss(changed_rows(output(), rows), masked, with_text).item() == pytest.approx(before, abs=1e-6)
    assert loss(changed_rows(output(), rows), given, with_text).item() != pytest.approx(before, abs=1e-3)


def test_what_the_text_head_says_of_rows_without_text_has_no_effect() -> None:
    given, with_text = output(), torch.arange(16) < 10
    other = given._replace(text=Heads(*(torch.where(with_text[:, None], h, h + 9) for h in given.text)))
    loss = JointLoss(LossWeights())
    expected = loss(given, labels(), with_text).item()
    assert loss(other, labels(), with_text).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("with_text", [torch.zeros(16, dtype=torch.bool), torch.arange(16) < 1, torch.arange(16) < 9])
def test_any_share_of_text_and_no_labels_at_all_give_a_finite_loss(with_text: Tensor) -> None:
    bare = Labels(torch.full((16, 2), float("nan")), torch.full((16,), -1), torch.full((16,), -1))
    for given in (labels(), bare):
        assert np.isfinite(JointLoss(LossWeights())(output(), given, with_text).item())


@pytest.mark.parametrize("part", ["emotion", "category", "cluster", "audio", "text", "difference", "similarity"])
def test_every_weight_counts_and_zero_switches_its_part_off(part: str) -> None:
    with_text = torch.ones(16, dtype=torch.bool)

    def value(weight: float) -> float:
        loss = JointLoss(replace(LossWeights(), **{part: weight}))
        return loss(output(), labels(), with_text).item()

    off, half, whole = value(0.0), value(0.5), value(1.0)
    assert whole > off
    assert half == pytest.approx((off + whole) / 2, abs=1e-4)  # before anything is learnt, weights are linear


def test_the_uncertainty_weights_learn() -> None:
    loss = JointLoss(LossWeights())
    loss(output(), labels(), torch.ones(16, dtype=torch.bool)).backward()
    assert loss.log_variance.grad is not None
    assert loss.log_variance.grad.all()
