"""Thresholds hold what they promise."""

import numpy as np
import pytest

from assistant.evaluation.calibration import auroc, choose_threshold, clopper_pearson, rows_needed


@pytest.mark.parametrize(("wrong", "accepted", "bound"), [(0, 59, 0.05), (0, 29, 0.10), (4, 100, 0.0892)])
def test_the_bound_is_that_of_clopper_and_pearson(wrong: int, accepted: int, bound: float) -> None:
    assert clopper_pearson(wrong, accepted) == pytest.approx(bound, abs=2e-3)


def test_all_wrong_bounds_nothing() -> None:
    assert clopper_pearson(5, 5) == 1.0


@pytest.mark.parametrize(("max_wrong", "needed"), [(0.05, 59), (0.10, 29)])
def test_rows_needed_is_what_zero_errors_take(max_wrong: float, needed: int) -> None:
    assert rows_needed(max_wrong) == needed


def test_a_threshold_accepts_only_where_its_bound_holds() -> None:
    confidence = np.linspace(1, 0, 400)
    right = np.array([i < 200 or i % 2 == 0 for i in range(400)])
    chosen = choose_threshold(confidence, right, 0.10)
    assert chosen.threshold is not None
    accepted = confidence >= chosen.threshold
    assert clopper_pearson(int((~right[accepted]).sum()), int(accepted.sum())) <= 0.10
    assert chosen.facts["bound"] <= 0.10


def test_too_few_rows_promise_nothing() -> None:
    chosen = choose_threshold(np.linspace(1, 0, 20), np.ones(20, dtype=bool), 0.05)
    assert chosen.threshold is None and chosen.facts["bound"] == 1.0


def test_confidence_that_knows_nothing_promises_nothing() -> None:
    rng = np.random.default_rng(0)
    assert choose_threshold(rng.random(300), rng.random(300) < 0.5, 0.10).threshold is None


def test_a_bound_holds_in_nearly_all_new_samples() -> None:
    rng = np.random.default_rng(1)
    broken = 0
    for _ in range(200):
        chance = rng.random(300)
        chosen = choose_threshold(chance, rng.random(300) < chance, 0.2)
        if chosen.threshold is not None:
            fresh = rng.random(4000)
            accepted = fresh >= chosen.threshold
            broken += (rng.random(4000) >= fresh)[accepted].mean() > 0.2
    assert broken <= 0.08 * 200


def test_ranking_quality_of_one_kind_only_is_a_coin() -> None:
    assert auroc(np.array([0.1, 0.9]), np.array([True, True])) == 0.5
