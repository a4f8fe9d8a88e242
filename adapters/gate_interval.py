"""How sure a difference is: paired bootstrap intervals, and how well a confidence ranks right above wrong.

Numbers in, numbers out; knows no question and no verdict. Called by `gate_checks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TAIL = 0.025
"""Of each side of a 95 % interval."""


def paired(
    differences: Sequence[float], groups: Sequence[str], resamples: int = 2000, seed: int = 20261122
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean paired difference (Efron & Tibshirani 1993, ch. 13).

    Rows of one group are drawn together. One made-up pair of each sign is drawn along: where no pair differs, the
    plain bootstrap would claim to be certain (the same correction for Wald's interval: Bonett & Price 2012,
    J. Educ. Behav. Stat. 37(4)). Differences with their signs turned give the interval turned.

    Args:
        differences: shape (n,), each from -1 to 1, n at least 1.
        groups: shape (n,), names of what is independent.
        resamples: drawn twice, with the made-up pairs exchanged.
        seed: the same gives the same interval.

    Returns:
        The lower and the upper end.
    """
    if not differences or len(differences) != len(groups):
        raise ValueError(f"{len(differences)} differences in {len(groups)} groups have no interval")
    names = sorted(set(groups))
    number = {name: i for i, name in enumerate(names)}
    sums, sizes = np.zeros(len(names) + 2), np.zeros(len(names) + 2)
    for difference, group in zip(differences, groups, strict=True):
        sums[number[group]] += difference
        sizes[number[group]] += 1
    sizes[-2:] = 1
    drawn = np.random.default_rng(seed).integers(0, len(sums), (resamples, len(sums)))
    weights = sizes[drawn].sum(axis=1)
    means = [(sums + _made_up(len(sums), sign))[drawn].sum(axis=1) / weights for sign in (1.0, -1.0)]
    low, high = np.quantile(np.concatenate(means), [TAIL, 1 - TAIL])
    return float(low), float(high)


def _made_up(length: int, sign: float) -> NDArray[np.float64]:
    pair = np.zeros(length)
    pair[-2:] = sign, -sign
    return pair


def auroc(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """Probability that a right answer scores above a wrong one, ties counted half (Mann & Whitney 1947).

    Returns:
        0 to 1, or None where all are right, or none.
    """
    good = np.array([score for score, is_right in zip(scores, right, strict=True) if is_right])
    bad = np.array([score for score, is_right in zip(scores, right, strict=True) if not is_right])
    if not good.size or not bad.size:
        return None
    above = (good[:, None] > bad[None, :]).mean() + 0.5 * (good[:, None] == bad[None, :]).mean()
    return float(above)
