"""What the widget is told: answers, entries and events as JSON. Text stays text; the script makes no markup of it.

Called by `door.py`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from assistant import suggestions
from assistant.errors import AskedBefore, AssistantError
from assistant.stored import ConversationSummary
from assistant.thread import Entry
from assistant.types import Answer, Citation, Climbing, Event, Trace, Words
from ui import present
from ui.control import EXPECTED

if TYPE_CHECKING:
    from assistant.build import Rungs
    from ui.advancing import Advancing
    from ui.widget.sites import Site

log = logging.getLogger(__name__)
POLL_SECONDS = 0.25
"""How often it is looked whether an answer that was asked for before is finished."""
FAILED = "Sorry, something went wrong while I was answering. Please try again, or contact a person."


class Wording:
    """What needs the assistant's parts to be said."""

    def __init__(self, rungs: Rungs) -> None:
        self._rungs = rungs

    def settings(self, site: Site) -> dict[str, Any]:
        """A site's look as the script takes it; suggestions out of the documents where the owner named none."""
        look = site.look.model_dump()
        look["suggestions"] = look["suggestions"] or list(suggestions.pool(self._rungs.store)[:4])
        return {"name": site.name, "assistant_languages": list(self._rungs.settings.answered_in), **look}

    async def lines(self, answering: Advancing[Event], visitor: str) -> AsyncIterator[str]:
        """The events of an answer as it is made."""
        shown = False
        try:
            async for step in answering.steps():
                if isinstance(step, Climbing):
                    if shown:
                        shown = False
                        yield event("withdraw", {})
                    words = present.climb_line(step)
                    yield event("climb", {"level": step.level, "state": step.state, "words": words})
                elif isinstance(step, Words):
                    shown = True
                    yield event("words", {"text": step.text})
                else:
                    yield event("answer", await asyncio.to_thread(self._answer, step.trace, visitor))
        except AskedBefore as error:
            yield await self._told_before(error.trace_id, visitor)
        except EXPECTED as error:
            yield event("problem", {"message": str(error), "code": "refused"})
        except Exception:
            log.exception("an answer to a widget failed")
            yield event("problem", {"message": FAILED, "code": "failed"})

    async def _told_before(self, trace_id: str, visitor: str) -> str:
        """What came, or is about to come, of a question that was asked before."""
        while await asyncio.to_thread(self._rungs.traces.is_open, trace_id):
            await asyncio.sleep(POLL_SECONDS)
        try:
            trace = await asyncio.to_thread(self._rungs.traces.load, trace_id)
        except AssistantError as error:  # interrupted: asked once more it is asked anew
            return event("problem", {"message": str(error), "code": "refused"})
        return event("answer", await asyncio.to_thread(self._answer, trace, visitor))

    def _answer(self, trace: Trace, visitor: str) -> dict[str, Any]:
        asked = self._rungs.traces.asked(visitor)
        pool = suggestions.pool(self._rungs.store)
        offers = suggestions.following(self._rungs.store, pool, asked, trace.answer)
        return answer_json(trace.id, replace(trace.answer, suggestions=tuple(offers)))


def answer_json(trace_id: str, answer: Answer) -> dict[str, Any]:
    """An answer with its level and its sources."""
    return {
        "trace_id": trace_id,
        "text": answer.text,
        "outcome": answer.outcome,
        "level": answer.level,
        "level_words": present.LEVEL_WORDS[answer.level] if answer.level else "",
        "confidence": answer.confidence,
        "confidence_words": present.confidence_in_words(answer.confidence) if answer.level else "",
        "citations": [_citation(citation) for citation in answer.citations],
        "suggestions": list(answer.suggestions),
    }


def entry_json(entry: Entry) -> dict[str, Any]:
    """One thing said."""
    told = {name: getattr(entry, name) for name in ("id", "speaker", "text", "at", "author", "rating", "number")}
    return {**told, "answer": answer_json(entry.id, entry.answer) if entry.answer else None}


def told(summary: ConversationSummary) -> dict[str, Any]:
    """A conversation as a list shows it."""
    return asdict(summary)


def event(name: str, data: Any) -> str:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def _citation(citation: Citation) -> dict[str, Any]:
    """What a visitor may see of a source: no path of the owner's machine, an address only where it is on the web."""
    web = citation.uri if citation.uri.startswith(("https://", "http://")) else ""
    return {
        "title": citation.title or citation.document,
        "heading": citation.heading,
        "uri": web,
        "quote": citation.quote,
        "page": citation.page,
    }
