"""What the console hands out as files: true rows, no formulas, nothing for whoever is no owner (see test_doors.py)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from assistant.build import Rungs, build
from assistant.home import owned
from assistant.types import Question
from tests.ui.test_server import PORT, TOKEN, settings_of
from ui.console.golden_file import add_golden
from ui.server import create_app

FORMULA = '=HYPERLINK("https://evil.test","click")'


@pytest.fixture(scope="module")
def rungs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rungs]:
    home = tmp_path_factory.mktemp("files")
    with owned(home):
        built = build(settings_of(home))
        for number, text in enumerate((FORMULA, "Who won the chess match?", "@SUM(1)\nnext line")):
            built.assistant.ask(Question(text, f"c{number}", surface="chat"))
        yield built
        built.close()


@pytest.fixture(scope="module")
def web(rungs: Rungs) -> Iterator[TestClient]:
    with TestClient(create_app(rungs, TOKEN, PORT), base_url=f"http://127.0.0.1:{PORT}") as client:
        yield client


def rows(web: TestClient, name: str, **query: str) -> list[dict[str, str]]:
    answer = web.get(f"/console/files/{name}", params=query)
    assert answer.status_code == 200 and "attachment" in answer.headers["content-disposition"]
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_every_question_is_a_row_and_no_cell_is_a_formula(web: TestClient) -> None:
    found = rows(web, "questions.csv")
    assert [row["question"] for row in found] == [f"'{FORMULA}", "Who won the chess match?", "'@SUM(1)\nnext line"]
    assert all(row["fate"] == "declined" for row in found)


def test_a_period_leaves_earlier_questions_out(web: TestClient) -> None:
    assert rows(web, "questions.csv", since="2999-01-01T00:00:00") == []


def test_gaps_are_rows_with_their_questions(web: TestClient) -> None:
    found = rows(web, "unanswered.csv")
    assert {row["question"] for row in found} >= {f"'{FORMULA}", "Who won the chess match?"}
    assert all(row["questions"] and row["gap"] for row in found)


def test_the_golden_set_is_there_once_something_was_written(web: TestClient, rungs: Rungs) -> None:
    from assistant.evaluation.golden import read_golden

    assert web.get("/console/files/golden.jsonl").status_code == 404
    add_golden(rungs.settings.home, ["How?", "How then?"], "So.", "how.jsonl")
    assert web.get("/console/files/golden.jsonl").text.count("\n") == 2
    read = list(read_golden(rungs.settings.home / "golden.jsonl"))
    assert [(row.question, row.answers, row.gold_docs) for row in read] == [
        ("How?", ("So.",), ("how.jsonl",)),
        ("How then?", ("So.",), ("how.jsonl",)),
    ]
