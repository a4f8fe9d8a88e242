"""`rungs examples`: corrections, rows made from documents, training sets as files. On the scripted model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.reading import Unsaid, read_rows
from assistant.prompts import DECLINE
from tests.ui.serving import CommandLine


@pytest.fixture
def trace(rungs: CommandLine, pages: Path) -> str:
    rungs("ingest", str(pages))
    return str(rungs.json("ask", "How is a lamp switched on?")["trace_id"])


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_correction_is_made_reviewed_and_listed(rungs: CommandLine, trace: str) -> None:
    made = rungs.json("examples", "correct", trace, "--text", "Pull the red lever.", "--by", "ann")
    assert (made["state"], made["made_by"], made["consent"]) == ("waiting", "ann", False)
    assert "1 waiting" in rungs("examples", "list").stdout
    assert "no consent" in rungs("examples", "list", "--state", "waiting").stdout
    done = rungs.json("examples", "approve", made["id"], "--consent", "--by", "ben")
    assert (done["state"], done["reviewed_by"], done["consent"]) == ("approved", "ben", True)
    assert rungs.json("examples", "reject", made["id"])["state"] == "rejected"
    assert rungs.json("examples", "list")["counts"] == {"waiting": 0, "approved": 0, "rejected": 1}


def test_declining_and_approving_as_it_is(rungs: CommandLine, trace: str) -> None:
    assert rungs.json("examples", "correct", trace, "--decline", "--approve")["correction"] == DECLINE
    kept = rungs.json("examples", "correct", trace, "--as-it-is")
    assert kept["correction"] == kept["draft"] and kept["distance"] == 0
    assert rungs("examples", "correct", trace, "--decline", "--text", "x").exit_code == 2
    assert "no answered question" in rungs.refused("examples", "correct", "unheard-of", "--text", "x")
    assert "no correction" in rungs.refused("examples", "approve", "unheard-of")


def test_rows_are_made_from_documents(rungs: CommandLine, trace: str, tmp_path: Path) -> None:
    out = tmp_path / "made.jsonl"
    told = rungs.json("examples", "generate", str(out))
    rows = read_rows(out, Unsaid(DECLINE, approved_by="ann", consent=True))
    assert told["rows"] == len(rows) >= 2
    assert all(row.passages and row.approved_by == "ann" for row in rows)
    assert len(rows_of(out)) == told["rows"]
    assert rungs.json("examples", "generate", str(out), "--limit", "1")["questions"] == 1


def test_documents_without_headings_make_no_rows(rungs: CommandLine, tmp_path: Path) -> None:
    assert "no question could be made" in rungs.refused("examples", "generate", str(tmp_path / "none.jsonl"))


def test_a_training_set_is_exported_in_three_shapes(rungs: CommandLine, trace: str, tmp_path: Path) -> None:
    verbs = "clean polish repair replace store ship insure label paint recycle".split()
    data = tmp_path / "rows.csv"
    data.write_text("question,answer\n" + "".join(f"How do I {v} it?,First {v} the lever gently.\n" for v in verbs))
    rungs("examples", "correct", trace, "--text", "Pull the red lever.", "--consent", "--approve")
    out = tmp_path / "set"
    given = ("examples", "export", str(out), "--data", str(data), "--corrections")
    told = rungs.json(*given)
    assert sum(told["rows"].values()) == len(verbs) + 1
    first = rows_of(out / "train.jsonl")[0]
    assert [message["role"] for message in first["prompt"]] == ["system", "user"]
    assert first["completion"][0]["role"] == "assistant"
    pairs = rungs.json(*given, "--as", "preference")["rows"]
    assert sum(pairs.values()) == 1, "only what was corrected has something to reject"
    assert sum(rungs.json(*given, "--as", "rows")["rows"].values()) == len(verbs) + 1
    assert any(
        row.get("rejected") for part in ("train", "validation", "test") for row in rows_of(out / f"{part}.jsonl")
    )
    assert rungs("examples", "export", str(out)).exit_code == 2


def test_a_table_without_the_two_columns_is_refused(rungs: CommandLine, trace: str, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("name,colour\nlamp,red\n")
    assert "no columns" in rungs.refused("examples", "export", str(tmp_path / "set"), "--data", str(data))
