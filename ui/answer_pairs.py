"""A question with its answer, written by a person, as knowledge: one small file for each pair in a source of its own.

What is acknowledged is on disk and can be found. Called by the console and the copilot.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.errors import AssistantError
from ui import uploads
from ui.control import run_command

if TYPE_CHECKING:
    from assistant.build import Rungs

ANSWERS = "answers"
"""The source that pairs go to."""
QUESTION_MAX, ANSWER_MAX = 500, 8000
"""Characters."""
SLUG_CHARACTERS = 60


def add_pair(rungs: Rungs, question: str, answer: str) -> str:
    """Keep a pair and take it in; one with the same question is replaced.

    Returns:
        The document's path within the source `answers`.

    Raises:
        AssistantError: a part is missing or too long, or it could not be taken in.
    """
    question, answer = " ".join(question.split()), answer.strip()
    for name, text, most in (("question", question, QUESTION_MAX), ("answer", answer, ANSWER_MAX)):
        if not text:
            raise AssistantError(f"the {name} is empty. Write one.")
        if len(text) > most:
            raise AssistantError(f"the {name} has {len(text):,} characters; at most {most:,} are kept. Shorten it.")
    home = rungs.settings.home
    content = json.dumps({"question": question, "answer": answer}, ensure_ascii=False) + "\n"
    file = uploads.keep(home, ANSWERS, _name(question), io.BytesIO(content.encode("utf-8", "replace")))
    *_, last = run_command(rungs, "ingest", {"paths": [str(file.parent)]}, threading.Event())
    if "error" in last:
        raise AssistantError(last["error"])
    for failure in last["result"]["failed"]:
        if Path(failure["source"]).name == file.name:
            raise AssistantError(failure["reason"])
    return file.name


def _name(question: str) -> str:
    """A name that people can read and that belongs to this question alone."""
    slug = re.sub(r"[^a-z0-9]+", "-", question.lower()).strip("-")[:SLUG_CHARACTERS].strip("-")
    return f"{slug or 'answer'}-{hashlib.sha256(question.lower().encode('utf-8', 'replace')).hexdigest()[:8]}.jsonl"
