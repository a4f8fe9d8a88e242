"""A golden set through every level and into a calibration that decides what is accepted: scripted model, real store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assistant.build import Rungs, build, wire
from assistant.confidence import Calibration, LevelConfidence, find_calibration, read_calibration
from assistant.errors import BadGoldenSet
from assistant.evaluation.calibration import (
    ROWS_FULL_FIT,
    ROWS_LEAST,
    CalibrationReport,
    calibrate,
    clopper_pearson,
    signals_of,
)
from assistant.evaluation.evaluate import EvaluationReport, evaluate
from assistant.evaluation.golden import GoldenRow, row_of
from assistant.settings import Settings
from assistant.types import LEVEL_NAMES, Question, Turn
from knowledge.types import Progress
from tests.knowledge.storing import THINGS, put

DOCUMENTS = 40
MAX_WRONG = 0.2
STRANGERS = "chess opera volcano sultan comet waltz fjord novel pharaoh tango".split()
GREETINGS = "hello hi hey thanks bye".split()


def thing(number: int) -> str:
    return f"{THINGS[number % len(THINGS)]}{number}"


def answerable(number: int) -> GoldenRow:
    raw = {
        "id": f"a{number}",
        "question": f"Which screw does the {thing(number)} take?",
        "answer": f"screw{number * 7}",
    }
    return row_of({**raw, "gold_doc": f"d{number}.md"})


def unanswerable(number: int) -> GoldenRow:
    stranger = STRANGERS[number % len(STRANGERS)]
    return row_of(
        {"id": f"d{number}", "question": f"Who won the {stranger} prize of {1900 + number}?", "expect": "decline"}
    )


def greeting(number: int) -> GoldenRow:
    return row_of({"id": f"g{number}", "question": GREETINGS[number % len(GREETINGS)], "expect": "any"})


GOLDEN = (
    *(answerable(number) for number in range(DOCUMENTS)),
    *(unanswerable(number) for number in range(15)),
    *(greeting(number) for number in range(5)),
)
UNGRADED = row_of({"id": "u", "question": "What is a lamp?"})


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rungs]:
    home = tmp_path_factory.mktemp("evaluated")
    settings = Settings(home=home, model="scripted", embedder="hash", demo=False, rag_answers_by="quoting")
    built = build(settings)
    for number in range(DOCUMENTS):
        put(built.store, f"d{number}.md", [f"The {thing(number)} takes screw{number * 7}. Oil it before every winter."])
    yield built
    built.close()


@pytest.fixture
def rungs(known: Rungs, tmp_path: Path) -> Rungs:
    """The same documents, a home of its own for the calibration, and none in force."""
    return calibrated(known, Calibration(), tmp_path)


def calibrated(rungs: Rungs, calibration: Calibration, home: Path | None = None) -> Rungs:
    settings = rungs.settings.model_copy(update={"home": home or rungs.settings.home})
    return wire(settings, rungs.engine, rungs.store, rungs.traces, rungs.model, calibration)


def evaluated(rungs: Rungs, rows: Sequence[GoldenRow], *levels: str) -> dict[str, Any]:
    *steps, report = evaluate(rungs, rows, levels)
    assert isinstance(report, EvaluationReport)
    assert [step.done for step in steps if isinstance(step, Progress)] == list(range(1, len(rows) * len(levels) + 1))
    return json.loads(json.dumps(report.as_json(rows=True)))  # type: ignore[no-any-return]


def fitted(rungs: Rungs, rows: Sequence[GoldenRow], max_wrong: float = MAX_WRONG) -> CalibrationReport:
    *_, report = calibrate(rungs, rows, max_wrong)
    assert isinstance(report, CalibrationReport)
    return report


def outcomes(rungs: Rungs, rows: Sequence[GoldenRow]) -> list[tuple[str, str | None]]:
    """How the cascade ends for each row, and which level answered."""
    told = [rungs.assistant.ask(Question(row.question, rungs.traces.open_conversation("v", "cli"))) for row in rows]
    return [(trace.answer.outcome, trace.answer.level) for trace in told]


def confidence_of(threshold: float | None, **belongs_to: str) -> LevelConfidence:
    """By hand: how much of the question the evidence covers."""
    return LevelConfidence(("covered",), (0.5,), (0.25,), (1.5,), 0.25, threshold, belongs_to)


# evaluate


def test_the_counts_are_those_of_the_rows(rungs: Rungs) -> None:
    document = evaluated(rungs, [*GOLDEN, UNGRADED], "prompting", "rag", "lora", "auto")
    assert document["ungraded"] == 1 and list(document["levels"]) == ["prompting", "rag", "lora", "auto"]
    for level, counts in document["levels"].items():
        graded = [row for row in document["rows"] if row["level"] == level and row["correct"] is not None]
        answered = [row for row in graded if row["outcome"] == "answered"]
        assert counts["n"] == len(graded) == len(GOLDEN) >= ROWS_LEAST
        assert counts["answered"] == len(answered) and counts["answered"] + counts["abstained"] == counts["n"]
        assert counts["correct"] == sum(row["correct"] for row in graded)
        assert counts["wrong_accepted"] == sum(not row["correct"] for row in answered)
        assert all(row["answered_by"] == (level if row in answered else None) for row in graded)


def test_each_level_achieves_what_it_can(rungs: Rungs) -> None:
    levels = evaluated(rungs, GOLDEN, "prompting", "rag", "lora", "auto")["levels"]
    declines, greetings = 15, 5
    echoing, quoting, lora, auto = (levels[name] for name in ("prompting", "rag", "lora", "auto"))
    assert (echoing["answered"], echoing["correct"]) == (len(GOLDEN), greetings)
    assert echoing["tokens_out"] > 0 and echoing["tokens_in"] > 0
    assert quoting["contains"] == quoting["correct"] == quoting["gold_retrieved"] == DOCUMENTS
    assert quoting["tokens_out"] == 0 and 0 < quoting["token_f1"] <= 1 and quoting["words"] > 1
    assert (lora["answered"], lora["correct"], lora["wrong_accepted"]) == (0, declines, 0)
    assert (auto["answered"], auto["correct"]) == (0, declines), "without a calibration nothing is accepted"


def test_an_evaluation_does_not_look_like_users(rungs: Rungs) -> None:
    before = len(rungs.traces.find(limit=1000))
    evaluated(rungs, GOLDEN[:3], "rag", "auto")
    assert len(rungs.traces.find(limit=1000)) == before


def test_a_row_brings_its_conversation_along(rungs: Rungs) -> None:
    follow_up = replace(answerable(7), question="and that one?", history=(Turn("user", answerable(7).question),))
    assert evaluated(rungs, [follow_up], "rag")["levels"]["rag"]["correct"] == 1
    assert evaluated(rungs, [replace(follow_up, history=())], "rag")["levels"]["rag"]["correct"] == 0


def test_a_question_that_is_refused_counts_as_declined_and_stops_nothing(rungs: Rungs) -> None:
    long = replace(answerable(0), id="long", question="long " * 5000)
    document = evaluated(rungs, [long, answerable(1)], "rag")
    assert [row["correct"] for row in document["rows"]] == [False, True]
    assert document["levels"]["rag"]["abstained"] == 1 and "Shorten" in document["rows"][0]["answer"]


# calibrate


def test_a_calibration_is_written_and_decides_from_then_on(rungs: Rungs) -> None:
    known_and_not = [answerable(3), answerable(21), unanswerable(4), unanswerable(11)]
    assert {outcome for outcome, _ in outcomes(rungs, known_and_not)} == {"abstained"}
    report = fitted(rungs, GOLDEN)
    home = rungs.settings.home
    assert [path.name for path in home.glob("*.json*")] == ["calibration.json"]
    stored = find_calibration(home, rungs.model.fingerprint)
    assert stored == read_calibration(home / "calibration.json")
    assert stored.levels.keys() == report.calibration.levels.keys() and stored.made_from.startswith("60 rows")
    assert stored.version == report.calibration.version != "none"
    after = calibrated(rungs, stored)
    assert outcomes(after, known_and_not) == [("answered", "rag")] * 2 + [("abstained", None)] * 2
    assert after.calibration.matches(after.assistant.versions())
    counts = evaluated(after, GOLDEN, "auto")["levels"]["auto"]
    assert counts["answered"] >= 20 and counts["wrong_accepted"] <= MAX_WRONG * counts["answered"]


def test_what_is_promised_is_what_was_seen(rungs: Rungs) -> None:
    report = fitted(rungs, GOLDEN)
    document = json.loads(json.dumps(report.as_json()))["levels"]
    rag, facts = document["rag"], report.calibration.levels["rag"].facts
    accepted = round(rag["coverage"] * facts["rows"])
    assert facts["rows"] == len(GOLDEN) and facts["right"] == DOCUMENTS and facts["auroc"] > 0.9
    assert rag["threshold"] is not None and rag["rows_missing"] == 0
    assert rag["bound"] == pytest.approx(clopper_pearson(round(rag["wrong_rate"] * accepted), accepted))
    assert rag["bound"] <= MAX_WRONG
    assert document["prompting"]["threshold"] is None and document["prompting"]["coverage"] == 0.0
    assert document["prompting"]["rows_missing"] >= 1 and document["prompting"]["bound"] == 1.0


def test_a_stricter_promise_accepts_less_or_says_what_is_missing(rungs: Rungs) -> None:
    loose, strict = fitted(rungs, GOLDEN, 0.3), fitted(rungs, GOLDEN, 0.01)
    assert loose.calibration.levels["rag"].threshold is not None
    assert strict.calibration.levels["rag"].threshold is None and strict.rows_missing["rag"] > 200
    assert {outcome for outcome, _ in outcomes(calibrated(rungs, strict.calibration), GOLDEN[:3])} == {"abstained"}


def test_a_calibration_belongs_to_what_it_was_fitted_under(rungs: Rungs) -> None:
    calibration = fitted(rungs, GOLDEN).calibration
    versions = dict(rungs.assistant.versions())
    assert calibration.matches(versions) and calibration.rag_answers_by == "quoting"
    assert calibration.of("rag", {**versions, "model": "another"}), "quoting asks no model"
    assert not calibration.of("prompting", {**versions, "model": "another"})
    for changed in ("embedder", "rag_answers_by"):
        assert not calibration.of("rag", {**versions, changed: "another"})


def test_ungraded_rows_teach_nothing(rungs: Rungs) -> None:
    more = [replace(UNGRADED, id=f"u{number}") for number in range(20)]
    assert fitted(rungs, [*GOLDEN, *more]).calibration == fitted(rungs, GOLDEN).calibration


@pytest.mark.parametrize("graded", [0, 1, ROWS_LEAST - 1])
def test_too_few_graded_rows_are_refused_with_both_numbers(rungs: Rungs, graded: int) -> None:
    more = [replace(UNGRADED, id=f"u{number}") for number in range(20)]
    with pytest.raises(BadGoldenSet, match=rf"at least {ROWS_LEAST} graded rows.* has {graded}\."):
        list(calibrate(rungs, [*GOLDEN[:graded], *more], MAX_WRONG))
    assert not (rungs.settings.home / "calibration.json").exists()


def test_a_calibration_that_is_broken_off_leaves_the_old_one(rungs: Rungs) -> None:
    fitted(rungs, GOLDEN)
    before = (rungs.settings.home / "calibration.json").read_bytes()
    steps = calibrate(rungs, GOLDEN, 0.3)
    for _ in range(50):
        assert isinstance(next(steps), Progress)
    steps.close()  # type: ignore[attr-defined]
    assert [path.name for path in rungs.settings.home.glob("*.json*")] == ["calibration.json"]
    assert (rungs.settings.home / "calibration.json").read_bytes() == before


def test_few_rows_only_rescale_the_confidence_at_hand(rungs: Rungs) -> None:
    before = confidence_of(0.5)
    after = fitted(calibrated(rungs, Calibration({"rag": before})), GOLDEN).calibration.levels["rag"]
    assert len(GOLDEN) < ROWS_FULL_FIT
    assert (after.signals, after.mean, after.scale) == (before.signals, before.mean, before.scale)
    assert after.weights != before.weights and after.belongs_to == {
        "embedder": "hash-v1-256",
        "rag_answers_by": "quoting",
    }
    slope = after.weights[0] / before.weights[0]
    assert slope > 0
    low, high = ({"covered": value} for value in (0.2, 0.9))
    assert after.confidence(low) < after.confidence(high)


def test_enough_rows_fit_every_signal_anew(rungs: Rungs) -> None:
    copies = ROWS_FULL_FIT // len(GOLDEN) + 1
    rows = [replace(row, id=f"{row.id}-{copy}") for row in GOLDEN for copy in range(copies)]
    after = fitted(calibrated(rungs, Calibration({"rag": confidence_of(0.5)})), rows).calibration.levels["rag"]
    assert len(rows) >= ROWS_FULL_FIT
    assert after.signals == signals_of("rag", rungs.assistant.versions()) and len(after.signals) > 10


def test_without_a_confidence_at_hand_few_rows_fit_one(rungs: Rungs) -> None:
    levels = fitted(rungs, GOLDEN).calibration.levels
    assert set(levels) == set(LEVEL_NAMES) - {"lora"}
    assert levels["rag"].signals == signals_of("rag", rungs.assistant.versions())


def test_a_level_that_is_never_right_is_left_out_and_says_what_it_lacks(rungs: Rungs) -> None:
    report = fitted(rungs, GOLDEN[:-5])
    assert set(report.calibration.levels) == {"rag"} and "prompting" in report.rows_missing


def test_a_level_that_is_right_once_promises_nothing_and_stops_nothing(rungs: Rungs) -> None:
    report = fitted(rungs, GOLDEN[:-4])
    assert report.calibration.levels["rag"].threshold is not None
    assert report.as_json()["levels"].get("prompting", {}).get("threshold") is None


def test_a_set_that_is_all_right_keeps_the_confidence_at_hand(rungs: Rungs) -> None:
    right = [row for row in GOLDEN if row.expect == "answer"]
    assert len(right) >= 30
    with_one = fitted(rungs, GOLDEN)
    rungs = calibrated(rungs, with_one.calibration)
    report = fitted(rungs, right)
    assert report.calibration.levels["rag"] == with_one.calibration.levels["rag"]
    assert report.as_json()["levels"]["rag"]["rows_missing"] >= 1
