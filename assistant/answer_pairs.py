"""A question with its answer, written by a person, as knowledge: one small file for each pair in a source of its own.

A pair with the same question replaces the one before. What is acknowledged is on disk and can be found. Called by the
console and the copilot.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from assistant.errors import AssistantError
from knowledge.ingest import ingest
from knowledge.store import KnowledgeStore
from knowledge.types import IngestReport

ANSWERS = "answers"
"""Folder among a home's uploads that pairs go to."""
UPLOADS = "uploads"
QUESTION_MAX, ANSWER_MAX = 500, 8000
"""Characters."""
SLUG_CHARACTERS = 60


def add_pair(store: KnowledgeStore, home: Path, question: str, answer: str, by: str = "") -> str:
    """Keep a pair and take it in; one with the same question is replaced.

    Args:
        store: where it is to be found.
        home: where its file lives.
        question: in a visitor's words.
        answer: plain text.
        by: who wrote it; kept in the file.

    Returns:
        The document's path within its source.

    Raises:
        AssistantError: a part is missing or too long, or it could not be read back.
        KnowledgeError: it could not be stored.
    """
    question, answer = " ".join(question.split()), answer.strip()
    for name, text, most in (("question", question, QUESTION_MAX), ("answer", answer, ANSWER_MAX)):
        if not text:
            raise AssistantError(f"the {name} is empty. Write one.")
        if len(text) > most:
            raise AssistantError(f"the {name} has {len(text):,} characters; at most {most:,} are kept. Shorten it.")
    folder = home.resolve() / UPLOADS / ANSWERS
    folder.mkdir(parents=True, exist_ok=True)
    row = {"question": question, "answer": answer, "by": by, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    file = folder / _name(question)
    with tempfile.NamedTemporaryFile("wb", dir=folder.parent, delete=False) as part:
        part.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
    Path(part.name).replace(file)
    *_, report = ingest(store, [folder])
    assert isinstance(report, IngestReport)  # noqa: S101  (the last of the steps)
    for failure in report.failed:
        if Path(failure.source).name == file.name:
            raise AssistantError(failure.reason)
    return file.name


def _name(question: str) -> str:
    """A name that people can read and that belongs to this question alone, however it is written."""
    words = re.findall(r"\w+", question.casefold())
    slug = re.sub(r"[^a-z0-9]+", "-", " ".join(words)).strip("-")[:SLUG_CHARACTERS].strip("-")
    return f"{slug or 'answer'}-{hashlib.sha256(' '.join(words).encode('utf-8', 'replace')).hexdigest()[:8]}.jsonl"
