"""Folds for a corpus that brings none: whole artists, balanced, and the same ones on every machine."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Hashable, Sequence

N_FOLDS = 5

_GUESTS = re.compile(r"\s*(?:,|;|/|\+|&|\b(?:feat|ft|featuring|with|vs)\b\.?).*", re.IGNORECASE)


def lead_artist(name: str) -> str:
    """The first of the artists that a credit names, for telling who is the same: ``Rihanna feat. Drake`` is Rihanna.

    Cutting too much ("Earth, Wind & Fire" becomes "earth") is safe: it can only put more clips on the same side.
    """
    folded = " ".join(name.casefold().split())
    return _GUESTS.sub("", folded).strip() or folded


def balanced_folds(groups: Sequence[str], strata: Sequence[Hashable]) -> list[int]:
    """Deal groups out to five folds, so that each holds about a fifth of every stratum and of the whole.

    The largest group first, each to the fold that has least of what it brings. Groups of one size come in the order
    of a hash of their names, so neither the rows' order nor the machine decides anything.

    Args:
        groups: Who must stay together, one name a clip.
        strata: What should be even, one a clip.

    Returns:
        Fold of every clip, 0..4. Fewer groups than folds leave folds empty.
    """
    total = Counter(strata)
    content: dict[str, Counter[Hashable]] = {}
    for group, stratum in zip(groups, strata, strict=True):
        content.setdefault(group, Counter())[stratum] += 1
    held: list[Counter[Hashable]] = [Counter() for _ in range(N_FOLDS)]
    fold_of: dict[str, int] = {}
    for group in sorted(content, key=lambda name: (-content[name].total(), _hash(name))):
        brings = content[group]

        def crowding(fold: int, brings: Counter[Hashable] = brings) -> tuple[float, int]:
            of_strata = sum(n * held[fold][stratum] / total[stratum] for stratum, n in brings.items())
            of_all = brings.total() * held[fold].total() / len(groups)
            return of_strata + of_all, fold

        fold_of[group] = min(range(N_FOLDS), key=crowding)
        held[fold_of[group]].update(brings)
    return [fold_of[group] for group in groups]


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()  # Python's own hash changes from run to run
