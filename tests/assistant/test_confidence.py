"""Calibrated confidence: reading, versions, borrowing."""

from dataclasses import replace
from pathlib import Path

import pytest

from assistant.confidence import (
    SHIPPED,
    Calibration,
    LevelConfidence,
    find_calibration,
    read_calibration,
    sigmoid,
    to_json,
)
from assistant.errors import AssistantError

FITTED = LevelConfidence(("a",), (0.0,), (1.0,), (2.0,), 0.0, 0.5, {"model": "m1", "prompts": "p1"}, {"rows": 40.0})
CALIBRATION = Calibration({"prompting": FITTED}, None, 0.1, "quoting", "a test")


def test_a_calibration_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(to_json(CALIBRATION))
    assert read_calibration(path) == CALIBRATION


def test_a_better_signal_raises_the_confidence() -> None:
    assert FITTED.confidence({"a": 1.0}) > FITTED.confidence({"a": 0.0}) > FITTED.confidence({"a": -1.0})


def test_a_missing_signal_counts_as_average() -> None:
    assert FITTED.confidence({}) == FITTED.confidence({"a": 0.0})


@pytest.mark.parametrize("versions", [{"model": "m2", "prompts": "p1"}, {"model": "m1", "prompts": "p2"}, {}])
def test_under_another_model_or_other_prompts_it_is_void(versions: dict[str, str]) -> None:
    assert CALIBRATION.of("prompting", versions) is None
    assert not CALIBRATION.matches(versions)


def test_under_its_own_versions_it_holds() -> None:
    assert CALIBRATION.of("prompting", {"model": "m1", "prompts": "p1", "other": "x"}) == FITTED


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text('{"levels": 3')
    with pytest.raises(AssistantError, match=r"calibration\.json.*rungs calibrate"):
        read_calibration(path)


def test_the_owners_calibration_comes_before_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text(to_json(replace(CALIBRATION, made_from="mine")))
    assert find_calibration(tmp_path, "whatever").made_from == "mine"


def test_an_unknown_model_borrows_confidence_in_the_evidence_only(tmp_path: Path) -> None:
    assert list(SHIPPED.glob("*.json")), "a calibration is shipped"
    borrowed = find_calibration(tmp_path, "a model nobody knows")
    assert set(borrowed.levels) == {"rag"}
    assert set(borrowed.levels["rag"].belongs_to) == {"embedder"}


def test_the_squashing_function_is_safe_at_any_size() -> None:
    assert sigmoid(-1e9) == 0.0 and sigmoid(0.0) == 0.5 and sigmoid(1e9) == 1.0
