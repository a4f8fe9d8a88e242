"""A conversation as one file for whoever had it: Markdown to read, JSON to process.

What a visitor may see and nothing else: no agents' notes, no confidence's parts. Called by the chat page.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from assistant.thread import Entry, thread_of

if TYPE_CHECKING:
    from assistant.build import Rungs

FORMAT = 1


def as_json(rungs: Rungs, conversation_id: str) -> str:
    """A conversation that the caller has made sure of, as a JSON document."""
    entries = [_entry(entry) for entry in thread_of(rungs.traces, rungs.desk, conversation_id)]
    documents = [{"name": one.name, "bytes": one.bytes} for one in rungs.attachments.of(conversation_id)]
    document = {"format": FORMAT, "conversation": conversation_id, "entries": entries, "documents": documents}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def as_markdown(rungs: Rungs, conversation_id: str) -> str:
    """The same as Markdown; every line that somebody wrote is quoted, so that it stays their words."""
    parts = ["# Conversation"]
    for entry in thread_of(rungs.traces, rungs.desk, conversation_id):
        if entry.speaker == "assistant" and not entry.text:
            continue
        parts.append(f"**{_speaker(entry)}**, {entry.at[:16].replace('T', ' ')} UTC")
        parts.append("\n".join(f"> {line}" for line in entry.text.splitlines()))
        if entry.answer and entry.answer.citations:
            sources = (f"{n}. {c.title or c.document}: {c.quote}" for n, c in enumerate(entry.answer.citations, 1))
            parts.append("\n".join("> " + " ".join(line.split()) for line in sources))
    return "\n\n".join(parts) + "\n"


def _speaker(entry: Entry) -> str:
    names = {"visitor": "You", "assistant": "Assistant", "system": "Support"}
    return names.get(entry.speaker) or f"{entry.author} from support"


def _entry(entry: Entry) -> dict[str, Any]:
    told: dict[str, Any] = {"speaker": entry.speaker, "at": entry.at, "text": entry.text}
    if entry.author:
        told["author"] = entry.author
    if entry.rating:
        told["rating"] = entry.rating
    if entry.answer:
        told |= {"outcome": entry.answer.outcome, "level": entry.answer.level}
        told["sources"] = [{"document": c.document, "title": c.title, "quote": c.quote} for c in entry.answer.citations]
    return told
