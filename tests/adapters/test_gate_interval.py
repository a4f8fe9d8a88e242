"""The bootstrap on simulated pairs: it covers, is symmetric, and the same each time."""

import math

import numpy as np
import pytest

from adapters.gate_interval import auroc, paired
from adapters.gate_scores import threshold


def names(n: int) -> list[str]:
    return [str(i) for i in range(n)]


@pytest.mark.parametrize(("gain", "loss", "n"), [(0.3, 0.1, 60), (0.05, 0.05, 40), (0.0, 0.02, 80)])
def test_the_interval_covers_the_true_difference_often_enough(gain: float, loss: float, n: int) -> None:
    random = np.random.default_rng(7)
    covered = 0
    for trial in range(300):
        drawn = random.choice([1.0, -1.0, 0.0], n, p=[gain, loss, 1 - gain - loss])
        low, high = paired(drawn.tolist(), names(n), 400, trial)
        covered += low <= gain - loss <= high
    assert covered / 300 >= 0.92


def test_turned_signs_give_the_turned_interval() -> None:
    drawn = np.random.default_rng(3).choice([1.0, -1.0, 0.0], 50).tolist()
    low, high = paired(drawn, names(50), 500)
    turned = paired([-difference for difference in drawn], names(50), 500)
    assert turned == pytest.approx((-high, -low))


def test_the_same_seed_gives_the_same_interval_and_ties_are_not_certain() -> None:
    assert paired([0.0] * 40, names(40)) == paired([0.0] * 40, names(40))
    low, high = paired([0.0] * 40, names(40))
    assert low < 0 < high and low == pytest.approx(-high)


def test_rows_of_one_group_are_no_independent_evidence() -> None:
    drawn = np.random.default_rng(5).choice([1.0, 0.0], 40).tolist()
    alone, together = paired(drawn * 2, names(80), 1000), paired(drawn * 2, names(40) * 2, 1000)
    assert together[1] - together[0] > 1.2 * (alone[1] - alone[0])


def test_no_rows_have_no_interval() -> None:
    with pytest.raises(ValueError, match="no interval"):
        paired([], [])


def test_auroc_counts_ties_half_and_needs_both_kinds() -> None:
    assert auroc([0.1, 0.2, 0.8, 0.9], [False, False, True, True]) == 1.0
    assert auroc([0.5, 0.5], [True, False]) == 0.5
    assert auroc([-math.inf, math.inf, math.inf], [False, True, False]) == 0.75
    assert auroc([0.5], [True]) is None


def test_a_threshold_gives_up_at_most_its_share_ties_and_words_included() -> None:
    values = [-5.0, -5.0, -5.0, *(-float(i) / 10 for i in range(17))]
    for share in (0.0, 0.1, 0.2, 0.5):
        limit = threshold(values, share)
        assert sum(value < limit for value in values) <= share * len(values)
    assert threshold([], 0.1) == threshold([-1.0] * 9, 0.1) == -math.inf
    assert threshold([-math.inf] * 3 + [-1.0] * 17, 0.1) == -math.inf
