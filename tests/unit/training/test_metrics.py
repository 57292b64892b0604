"""The figures agree with scikit-learn and with closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from stream_mer.training.metrics import Figure, bootstrap, calibration_error, ccc, macro_f1, pearson, r_squared


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_is_that_of_scikit_learn(seed: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn comes with the extra 'train'")
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, 60)
    guess = np.where(rng.random(60) < 0.6, truth, rng.integers(0, 4, 60))
    assert macro_f1(truth, guess, 4) == pytest.approx(sklearn.f1_score(truth, guess, average="macro"))


def test_macro_f1_counts_a_class_that_is_never_hit() -> None:
    truth = np.array([0, 0, 1, 1, 2])
    assert macro_f1(truth, truth, 3) == 1
    assert macro_f1(truth, np.zeros(5, int), 3) == pytest.approx((2 * 2 / 7) / 3)
    assert macro_f1(truth[:4], truth[:4], 3) == pytest.approx(2 / 3)  # nobody names the third


def test_correlations_by_their_definitions() -> None:
    x = np.array([0.0, 1.0, 2.0, 3.0])
    assert pearson(x, 2 * x - 5) == pytest.approx(1)
    assert ccc(x, x) == pytest.approx(1)
    assert ccc(x, x + 1) == pytest.approx(2 * 1.25 / (1.25 + 1.25 + 1))
    assert ccc(x, 2 * x) == pytest.approx(2 * 2.5 / (1.25 + 5 + 1.5**2))
    assert ccc(x, np.full(4, 1.5)) == 0
    assert ccc(np.ones(4), np.ones(4)) == 0


def test_pearson_is_numpys_and_nothing_where_nothing_varies() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 30))
    assert pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert pearson(np.zeros(3), np.arange(3.0)) == 0
    assert pearson(np.ones(1), np.ones(1)) == 0


def test_r_squared_counts_offset_and_scale() -> None:
    x = np.array([0.0, 1.0, 2.0, 3.0])  # variance 1.25
    assert r_squared(x, x) == 1
    assert r_squared(x, np.full(4, 1.5)) == pytest.approx(0)
    assert r_squared(x, x + 1) == pytest.approx(1 - 1 / 1.25)
    assert r_squared(x, 3 - x) == pytest.approx(1 - 5 / 1.25)
    assert r_squared(np.ones(3), np.arange(3.0)) == 0


def test_a_figure_over_nothing_is_a_dash() -> None:
    figure = bootstrap(lambda _: 1.0, np.array([], dtype=str))
    assert (figure.n, str(figure)) == (0, "-")


def test_calibration_error_of_known_cases() -> None:
    right = np.array([0, 0, 0, 0, 1])  # four of five right, at a confidence of .8
    probs = np.tile([0.8, 0.2], (5, 1))
    assert calibration_error(right, probs) == pytest.approx(0)
    assert calibration_error(np.ones(5, int), probs) == pytest.approx(0.8)
    sure = np.tile([1.0, 0.0], (5, 1))
    assert calibration_error(right, sure) == pytest.approx(0.2)


def test_the_bootstrap_finds_the_interval_of_a_mean() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(400)
    groups = np.array([f"g{i}" for i in range(400)])
    figure = bootstrap(lambda rows: float(x[rows].mean()), groups)
    assert figure.n == 400
    assert figure.value == pytest.approx(x.mean())
    width = 1.96 * x.std() / 20
    assert figure.high - figure.value == pytest.approx(width, rel=0.15)
    assert figure.value - figure.low == pytest.approx(width, rel=0.15)


def test_clips_of_one_artist_are_drawn_together() -> None:
    x = np.repeat(np.random.default_rng(0).standard_normal(40), 10)  # ten equal clips an artist
    alone = bootstrap(lambda rows: float(x[rows].mean()), np.array([f"g{i}" for i in range(400)]))
    together = bootstrap(lambda rows: float(x[rows].mean()), np.array([f"g{i // 10}" for i in range(400)]))
    assert together.high - together.low > 2.5 * (alone.high - alone.low)  # the square root of 10, about


def test_the_same_seed_gives_the_same_interval() -> None:
    x = np.arange(20.0)
    groups = np.array([f"g{i}" for i in range(20)])
    a, b = (bootstrap(lambda rows: float(x[rows].mean()), groups, rounds=50) for _ in range(2))
    assert a == b


def test_a_figure_reads_as_value_and_interval() -> None:
    assert str(Figure(value=0.6789, low=0.6, high=0.75, n=9)) == "0.679 [0.600, 0.750]"
