"""Folds of one's own making: whole artists, even, and the same everywhere."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from stream_mer.training.corpus import N_FOLDS, balanced_folds, lead_artist


def made_up(n_artists: int, seed: int) -> tuple[list[str], list[int]]:
    """Artists with 1 to 9 clips, who keep mostly to one of four strata."""
    rng = np.random.default_rng(seed)
    groups, strata = [], []
    for artist in range(n_artists):
        usual = int(rng.choice(4, p=[0.5, 0.25, 0.15, 0.1]))
        for _ in range(int(rng.integers(1, 10))):
            groups.append(f"artist {artist}")
            strata.append(usual if rng.random() < 0.7 else int(rng.integers(4)))
    return groups, strata


@pytest.mark.parametrize("seed", range(5))
def test_folds_hold_whole_artists_and_a_fifth_of_everything(seed: int) -> None:
    groups, strata = made_up(200, seed)
    folds = balanced_folds(groups, strata)
    assert len(set(zip(groups, folds, strict=True))) == len(set(groups))
    sizes = Counter(folds)
    assert set(sizes) == set(range(N_FOLDS))
    assert max(sizes.values()) - min(sizes.values()) <= 0.05 * len(groups)
    for stratum, total in Counter(strata).items():
        shares = [
            sum(f == fold and s == stratum for f, s in zip(folds, strata, strict=True)) for fold in range(N_FOLDS)
        ]
        assert max(shares) - min(shares) <= max(3, 0.06 * total)


def test_the_order_of_the_rows_does_not_matter() -> None:
    groups, strata = made_up(60, 1)
    expected = dict(zip(groups, balanced_folds(groups, strata), strict=True))
    order = np.random.default_rng(2).permutation(len(groups)).tolist()
    shuffled = [groups[i] for i in order]
    assert dict(zip(shuffled, balanced_folds(shuffled, [strata[i] for i in order]), strict=True)) == expected


def test_the_same_names_give_the_same_folds_on_every_machine() -> None:
    folds = balanced_folds([f"artist {i}" for i in range(10)], ["one"] * 10)
    assert folds == [1, 4, 3, 1, 4, 0, 3, 0, 2, 2]
    assert sorted(folds) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_few_artists_fill_few_folds() -> None:
    assert sorted(balanced_folds(["a", "b", "a"], [0, 0, 0])) == [0, 0, 1]


@pytest.mark.parametrize(
    ("credit", "lead"),
    [
        ("Rihanna", "rihanna"),
        ("  RIHANNA  ", "rihanna"),
        ("Rihanna feat. Drake", "rihanna"),
        ("Rihanna ft Drake", "rihanna"),
        ("Maroon 5, Kendrick Lamar", "maroon 5"),
        ("Mr. & Mrs. Smith", "mr."),
        ("Withered Hand", "withered hand"),
        ("& more", "& more"),
        ("周杰伦", "周杰伦"),
    ],
)
def test_the_lead_artist_is_told_by_one_name(credit: str, lead: str) -> None:
    assert lead_artist(credit) == lead
