"""A question with its answer, written by a person, as knowledge: one small file for each pair among a home's uploads.

A pair with the same question replaces the one before, however it is written. What is acknowledged is on disk and can be
found. Called by the console, the copilot and the REST interface.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from assistant import uploads
from assistant.errors import AssistantError
from knowledge.ingest import ingest
from knowledge.store import KnowledgeStore
from knowledge.types import IngestReport

ANSWERS = "answers"
"""The source that pairs go to where none is named."""
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
        The document's path within the source `answers`.

    Raises:
        AssistantError: a part is missing or too long, or it could not be read back.
        KnowledgeError: it could not be stored.
    """
    report, name = add_pairs(store, home, [(question, answer)], by), _name(question)
    for failure in report.failed:
        if Path(failure.source).name == name:
            raise AssistantError(failure.reason)
    return name


def add_pairs(
    store: KnowledgeStore, home: Path, pairs: Sequence[tuple[str, str]], by: str = "", source: str = ANSWERS
) -> IngestReport:
    """Keep pairs and take them in, all or none; a pair that is there word for word is left alone.

    Args:
        store: where they are to be found.
        home: where their files live.
        pairs: question and answer; of two with the same question the later one counts.
        by: who wrote them.
        source: a name among the home's uploads.

    Raises:
        AssistantError: that is no name for a source, or a part of a pair is missing or too long.
        KnowledgeError: they could not be stored.
    """
    folder = uploads.folder_of(home, source)
    wanted = {_name(question): _checked(question, answer) for question, answer in pairs}
    with uploads.alone_in(folder):
        for name, pair in wanted.items():
            if _kept(folder / name) != pair:
                row = {"question": pair[0], "answer": pair[1], "by": by, "at": _now()}
                content = (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace")
                uploads.keep(home, source, name, io.BytesIO(content))
        *_, report = ingest(store, [folder])
    assert isinstance(report, IngestReport)  # noqa: S101  (the last of the steps)
    return report


def _checked(question: str, answer: str) -> tuple[str, str]:
    question, answer = " ".join(question.split()), answer.strip()
    for name, text, most in (("question", question, QUESTION_MAX), ("answer", answer, ANSWER_MAX)):
        if not text:
            raise AssistantError(f"the {name} is empty. Write one.")
        if len(text) > most:
            raise AssistantError(f"the {name} has {len(text):,} characters; at most {most:,} are kept. Shorten it.")
    return question, answer


def _kept(file: Path) -> tuple[str, str] | None:
    """The pair in a file; None where there is none."""
    try:
        row = json.loads(file.read_text(encoding="utf-8"))
        return row["question"], row["answer"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _name(question: str) -> str:
    """A name that people can read and that belongs to this question alone, however it is written."""
    words = re.findall(r"\w+", question.casefold())
    slug = re.sub(r"[^a-z0-9]+", "-", " ".join(words)).strip("-")[:SLUG_CHARACTERS].strip("-")
    return f"{slug or 'answer'}-{hashlib.sha256(' '.join(words).encode('utf-8', 'replace')).hexdigest()[:8]}.jsonl"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
