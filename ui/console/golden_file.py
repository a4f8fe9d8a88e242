"""Answers that the owner wrote, as rows of a golden set: one file in the home. Appends; grades nothing.

Called by the console.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path

GOLDEN_FILE = "golden.jsonl"


def golden_file(home: Path) -> Path:
    """Where the rows lie; there may be none yet."""
    return home / GOLDEN_FILE


def add_golden(home: Path, questions: Sequence[str], answer: str, document: str) -> None:
    """Add wordings of a question with what answers them (handbook: golden sets).

    Args:
        home: whose.
        questions: one row each.
        answer: what is right.
        document: path of the document that says so, within its source.
    """
    with golden_file(home).open("a", encoding="utf-8") as file:
        for question in questions:
            row = {"id": f"console-{secrets.token_hex(6)}", "question": question, "answers": [answer]}
            file.write(json.dumps({**row, "gold_doc": document}, ensure_ascii=False) + "\n")
