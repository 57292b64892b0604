"""The losses: right by their formulas, blind to what is masked, and each member's its own."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from stream_mer.training.losses import (
    JointLoss,
    Labels,
    LossWeights,
    concordance,
    concordance_loss,
    difference_loss,
    dynamics_loss,
    order_loss,
    similarity_loss,
    squared_error,
)
from stream_mer.training.network import Heads, JointOutput, Representations

MEMBERS = 2
ALL = torch.ones(16, dtype=torch.bool)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_concordance_knows_agreement_opposition_and_offset():
    x = torch.linspace(-1, 1, 20)
    assert float(concordance(x, x)) == pytest.approx(1, abs=1e-6)
    assert float(concordance(x, -x)) == pytest.approx(-1, abs=1e-6)
    assert float(concordance(x + 1, x)) < 0.5
    assert float(concordance(torch.zeros(20), x)) == 0


@pytest.mark.parametrize(("loss", "worst"), [(concordance_loss, 4.0), (squared_error, None), (order_loss, 4.0)])
def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_does(loss, worst):
    target = drawn(20, 2).tanh()
    target = target - target.mean(0)
    right, wrong = loss(torch.stack([target, -target]), target).tolist()
    assert right == pytest.approx(0, abs=1e-5)
    assert wrong == pytest.approx(worst or 4 * float(target.square().mean(0).sum()), rel=1e-4)


def test_the_concordance_loss_is_one_minus_lins_formula_of_both():
    prediction, target = drawn(20, 2).tanh(), drawn(20, 2, seed=1).tanh()
    p, t = prediction.double().numpy(), target.double().numpy()
    expected = 0.0
    for k in range(2):
        both = p[:, k].var() + t[:, k].var() + (p[:, k].mean() - t[:, k].mean()) ** 2
        expected += 1 - 2 * np.cov(p[:, k], t[:, k], bias=True)[0, 1] / both
    assert concordance_loss(prediction[None], target).item() == pytest.approx(expected, abs=1e-5)


def test_the_squared_error_is_the_mean_over_rows_of_both():
    target = torch.zeros(8, 2)
    prediction = torch.zeros(1, 8, 2)
    prediction[0, 0] = torch.tensor([0.4, 0.8])
    assert squared_error(prediction, target).item() == pytest.approx((0.16 + 0.64) / 8)


def test_the_order_loss_is_one_minus_pearsons_r_of_both():
    prediction, mood = drawn(20, 2), drawn(20, 2, seed=1)
    r = [np.corrcoef(prediction[:, k].double(), mood[:, k].double())[0, 1] for k in range(2)]
    assert order_loss(prediction[None], mood).item() == pytest.approx(2 - sum(r), abs=1e-5)


def test_the_order_loss_sees_neither_scale_nor_offset():
    prediction, mood = drawn(1, 20, 2), drawn(20, 2, seed=1)
    plain = order_loss(prediction, mood).item()
    assert plain > 0.1
    assert order_loss(0.2 * prediction - 0.5, mood).item() == pytest.approx(plain, abs=1e-5)
    assert order_loss(prediction, 3 * mood + 1).item() == pytest.approx(plain, abs=1e-5)
    assert order_loss(-prediction, mood).item() == pytest.approx(4 - plain, abs=1e-5)
    assert concordance_loss(0.2 * prediction - 0.5, mood).item() != pytest.approx(
        concordance_loss(prediction, mood).item(), abs=1e-2
    )


@pytest.mark.parametrize("loss", [concordance_loss, squared_error, order_loss])
def test_rows_without_a_rating_have_no_effect(loss):
    prediction, target = drawn(MEMBERS, 20, 2).tanh(), drawn(20, 2, seed=1).tanh()
    expected = loss(prediction, target)
    more = torch.cat([target, torch.tensor([[float("nan"), 0.1], [0.1, float("nan")]])])
    strange = torch.tensor([[99.0, 99.0], [-99.0, 99.0]]).expand(MEMBERS, 2, 2)
    odd = torch.cat([prediction, strange], dim=1).requires_grad_()
    found = loss(odd, more)
    torch.testing.assert_close(found, expected)
    torch.autograd.backward(found.sum())
    assert not odd.grad[:, 20:].any()
    assert odd.grad[:, :20].any()
    assert odd.grad.isfinite().all()


@pytest.mark.parametrize("loss", [concordance_loss, squared_error, order_loss])
def test_too_few_rows_cost_nothing_but_can_be_differentiated(loss):
    prediction = drawn(MEMBERS, 5, 2).requires_grad_()
    found = loss(prediction, drawn(5, 2, seed=1))
    torch.autograd.backward(found.sum())
    assert found.tolist() == [0] * MEMBERS
    assert not prediction.grad.any()


# --- dynamics: three moments of each clip, one after the other

STEPS = torch.tensor([[-0.1, 0.2], [0.0, 0.0], [0.1, -0.2], [0.3, 0.1], [0.0, 0.1], [-0.3, -0.2]])  # of two clips


def test_the_dynamics_loss_is_one_minus_the_cosine_of_the_movements():
    prediction = torch.tensor([[0.5, 0.1], [0.4, 0.1], [0.6, 0.1], [0.2, 0.0], [0.2, 0.3], [0.2, 0.0]])
    expected = 0.0
    for k in range(2):
        p, t = (x[:, k].double().numpy().reshape(2, 3) for x in (prediction, STEPS))
        dp, dt = p - p.mean(1, keepdims=True), t - t.mean(1, keepdims=True)
        expected += 1 - (dp * dt).sum() / np.sqrt((dp**2).sum() * (dt**2).sum())
    assert dynamics_loss(prediction[None], STEPS, 3).item() == pytest.approx(expected, abs=1e-5)


def test_the_dynamics_loss_sees_directions_alone():
    level = torch.tensor([0.3] * 3 + [-0.4] * 3)[:, None]
    right, far, opposite, still = (STEPS, 5 * STEPS + level, -STEPS, torch.zeros_like(STEPS))
    found = dynamics_loss(torch.stack([right, far, opposite, still]), STEPS, 3).tolist()
    assert found == pytest.approx([0, 0, 4, 2], abs=1e-4)


@pytest.mark.parametrize("third", ["without ratings", "with a gap", "still"])
def test_clips_that_are_not_rated_at_each_moment_or_do_not_move_have_no_effect_on_dynamics(third):
    prediction = drawn(MEMBERS, 6, 2)
    other = torch.full((3, 2), float("nan") if third == "without ratings" else 0.2)
    if third == "with a gap":
        other[:, 0] = torch.tensor([-0.5, 0.5, float("nan")])
    odd = torch.cat([prediction, drawn(MEMBERS, 3, 2, seed=3)], dim=1).requires_grad_()
    found = dynamics_loss(odd, torch.cat([STEPS, other]), 3)
    torch.testing.assert_close(found, dynamics_loss(prediction, STEPS, 3))
    torch.autograd.backward(found.sum())
    assert not odd.grad[:, 6:].any()
    assert odd.grad.isfinite().all()


def test_one_clip_that_moves_is_too_few_for_dynamics():
    prediction = drawn(MEMBERS, 3, 2).requires_grad_()
    found = dynamics_loss(prediction, STEPS[:3], 3)
    torch.autograd.backward(found.sum())
    assert found.tolist() == [0] * MEMBERS
    assert not prediction.grad.any()


def test_similarity_is_zero_for_one_distribution_and_grows_with_distance():
    a = drawn(1, 64, 8)
    shuffled = a[:, torch.randperm(64, generator=torch.Generator().manual_seed(1))]
    same, near, far = (float(similarity_loss(a, b)) for b in (shuffled, shuffled + 0.1, shuffled + 1.0))
    assert same < 1e-3  # five roots of the 1e-8 that keeps the gradient finite at zero
    assert same < near < far
    assert float(similarity_loss(a, 3 * a)) > near  # equal means, other moments


def test_similarity_is_the_sum_over_central_moments():
    a, b = drawn(MEMBERS, 30, 4), drawn(MEMBERS, 40, 4, seed=1) * 0.5 + 0.2
    found = similarity_loss(a, b)
    for member in range(MEMBERS):
        x, y = (np.tanh(v[member].double().numpy()) for v in (a, b))
        expected = np.linalg.norm(x.mean(0) - y.mean(0))
        for k in range(2, 6):
            expected += np.linalg.norm(((x - x.mean(0)) ** k).mean(0) - ((y - y.mean(0)) ** k).mean(0))
        assert float(found[member]) == pytest.approx(expected, abs=1e-3)


def test_difference_is_zero_for_orthogonal_and_large_for_equal_representations():
    rows = torch.eye(4).repeat_interleave(2, 0) * torch.tensor([1.0, -1.0]).repeat(4)[:, None]  # centred, unit length
    private, shared = torch.cat([rows, 0 * rows]), torch.cat([0 * rows, rows])
    orthogonal, equal = difference_loss(torch.stack([private, private]), torch.stack([shared, private])).tolist()
    assert orthogonal == pytest.approx(0, abs=1e-9)
    assert equal == pytest.approx(float((private.T @ private).square().mean()))
    assert float(difference_loss(rows[None], rows[None])) > 0.5


def output(n=16, seed=0):
    def heads(k):
        shapes = ((MEMBERS, n, 2), (MEMBERS, n, 4), (MEMBERS, n, 5))
        emotion, category, cluster = (drawn(*shape, seed=seed + k + i) for i, shape in enumerate(shapes))
        return Heads(emotion.tanh(), category, cluster)

    # Audio has two time scales, text none.
    reps = Representations(*(drawn(MEMBERS, n, scales, 8, seed=seed + 50 + k) for k, scales in enumerate((2, 1, 2, 1))))
    return JointOutput(heads(0), heads(10), heads(20), torch.full((n,), 0.5), reps)


def labels(n=16):
    """Of each row all of them; two moments of a clip stand one after the other."""
    return Labels(
        emotion=drawn(n, 2, seed=7).tanh(),
        mood=drawn(n, 2, seed=8).tanh(),
        category=torch.arange(n) % 4,
        cluster=torch.arange(n) % 5,
        dynamic=drawn(n, 2, seed=9).tanh(),
    )


def unlabelled(n=16):
    nan = torch.full((n, 2), float("nan"))
    return Labels(nan, nan.clone(), torch.full((n,), -1), torch.full((n,), -1), nan.clone())


def joint_loss(weights=None):
    return JointLoss(weights or LossWeights(), MEMBERS)


def changed_rows(given, rows):
    """The same output with other results, in all heads, in these rows."""

    def swap(heads):
        return Heads(*(torch.where(rows[:, None], -head - 0.1, head) for head in heads))

    return given._replace(fused=swap(given.fused), audio=swap(given.audio), text=swap(given.text))


def test_rows_without_any_label_have_no_effect_on_the_tasks():
    rows = torch.arange(16) >= 12
    given = labels()
    masked = Labels(
        *(
            label.masked_fill(rows, -1) if label.dim() == 1 else label.masked_fill(rows[:, None], float("nan"))
            for label in given
        )
    )
    loss = joint_loss()
    before = loss(output(), masked, ALL, ALL, moments=2).item()
    assert loss(changed_rows(output(), rows), masked, ALL, ALL, moments=2).item() == pytest.approx(before, abs=1e-5)
    assert loss(changed_rows(output(), rows), given, ALL, ALL, moments=2).item() != pytest.approx(before, abs=1e-3)


def changed(given, modality, heads):
    return given._replace(audio=heads) if modality == "audio" else given._replace(text=heads)


@pytest.mark.parametrize("modality", ["audio", "text"])
def test_what_a_light_head_says_of_rows_without_its_modality_has_no_effect(modality):
    given, there = output(), torch.arange(16) < 10
    heads = getattr(given, modality)
    absent, present = (
        changed(given, modality, Heads(*(torch.where(rows[:, None], h + 9 * h.abs(), h) for h in heads)))
        for rows in (~there, there)
    )
    which = (there, ALL) if modality == "audio" else (ALL, there)
    loss = joint_loss()
    expected = loss(given, labels(), *which).item()
    assert loss(absent, labels(), *which).item() == pytest.approx(expected, abs=1e-5)
    assert loss(present, labels(), *which).item() != pytest.approx(expected, abs=1e-2)


@pytest.mark.parametrize("modality", ["audio", "text"])
def test_what_is_represented_of_a_modality_that_a_row_lacks_has_no_effect(modality):
    given, there = output(), torch.arange(16) < 10
    reps = given.representations
    names = (f"private_{modality}", f"shared_{modality}")
    other = given._replace(
        representations=reps._replace(
            **{name: torch.where(there[:, None, None], getattr(reps, name), torch.tensor(9.0)) for name in names}
        )
    )
    which = (there, ALL) if modality == "audio" else (ALL, there)
    loss = joint_loss()
    expected = loss(given, labels(), *which).item()
    assert loss(other, labels(), *which).item() == pytest.approx(expected, abs=1e-5)
    assert loss(other, labels(), ALL, ALL).item() != pytest.approx(loss(given, labels(), ALL, ALL).item(), abs=1e-4)


NONE = torch.zeros(16, dtype=torch.bool)


@pytest.mark.parametrize(
    ("has_audio", "has_text"),
    [(ALL, NONE), (NONE, ALL), (ALL, torch.arange(16) < 1), (torch.arange(16) >= 9, torch.arange(16) < 9)],
    ids=["no words", "no music", "one row with words", "each row one of them"],
)
def test_any_share_of_a_modality_and_no_labels_at_all_give_a_finite_loss(has_audio, has_text):
    for given in (labels(), unlabelled()):
        assert np.isfinite(joint_loss()(output(), given, has_audio, has_text, moments=2).item())


@pytest.mark.parametrize("part", [field.name for field in fields(LossWeights)])
def test_every_weight_counts_and_zero_switches_its_part_off(part):
    def value(weight):
        return float(
            joint_loss(replace(LossWeights(), **{part: weight}))(output(), labels(), ALL, ALL, moments=2).item()
        )

    off, half, whole = value(0.0), value(0.5), value(1.0)
    assert whole > off
    assert half == pytest.approx((off + whole) / 2, abs=1e-4)  # before anything is learnt, weights are linear


def only_labelled(task):
    """The labels of a batch that has them for one task alone."""
    return unlabelled()._replace(**{task: getattr(labels(), task)})


def test_dynamics_are_taught_by_ratings_of_moments_and_not_by_those_of_clips():
    only_dynamics = joint_loss(LossWeights(concordance=0.0, error=0.0, order=0.0))
    given, nan = labels(), torch.full((16, 2), float("nan"))
    whole = only_dynamics(output(), given, ALL, ALL, moments=2).item()
    static = given._replace(dynamic=nan)
    assert only_dynamics(output(), static, ALL, ALL, moments=2).item() < whole
    assert only_dynamics(output(), static, ALL, ALL, moments=2).item() == pytest.approx(
        only_dynamics(output(), given, ALL, ALL, moments=1).item(), abs=1e-4
    )


@pytest.mark.parametrize("task", ["emotion", "category", "cluster"])
def test_the_uncertainty_weight_of_a_task_without_labels_in_the_batch_stays(task):
    """Of a batch that has only valence and arousal, only the weight of emotion learns; likewise of the others."""
    loss = joint_loss()
    loss(output(), only_labelled(task), ALL, ALL).backward()
    assert loss.log_variance.grad is not None
    learns = (loss.log_variance.grad != 0).tolist()
    assert learns == [[name == task for name in ("emotion", "category", "cluster")]] * MEMBERS


def test_too_few_ratings_for_a_concordance_move_no_weight():
    few = only_labelled("emotion")
    few.emotion[7:] = float("nan")
    loss = joint_loss()
    loss(output(), few, ALL, ALL).backward()
    assert loss.log_variance.grad is not None
    assert not loss.log_variance.grad.any()


def test_a_task_that_is_switched_off_moves_no_weight():
    loss = joint_loss(LossWeights(cluster=0.0))
    loss(output(), labels(), ALL, ALL).backward()
    assert loss.log_variance.grad is not None
    assert (loss.log_variance.grad != 0).tolist() == [[True, True, False]] * MEMBERS


def test_the_loss_is_the_sum_of_what_each_member_would_have_alone():
    def only(member, value):
        return tuple(tensor[member : member + 1] for tensor in value)

    given, there = output(), torch.arange(16) % 3 > 0
    alone = [
        given._replace(
            fused=Heads(*only(member, given.fused)),
            audio=Heads(*only(member, given.audio)),
            text=Heads(*only(member, given.text)),
            representations=Representations(*only(member, given.representations)),
        )
        for member in range(MEMBERS)
    ]
    whole = joint_loss()(given, labels(), ALL, there).item()
    by_member = [JointLoss(LossWeights())(one, labels(), ALL, there).item() for one in alone]
    assert whole == pytest.approx(sum(by_member), rel=1e-5)
    assert by_member[0] != pytest.approx(by_member[1], abs=1e-2)
