"""Suggested questions: what the documents at hand can be asked, spread over them, nearest first after an answer.

A heading that is a question is taken as it stands; any other becomes one about its subject. Called by the chat page.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from assistant.types import Answer
from knowledge.store import KnowledgeStore

POOL = 24
SHOWN = 4
QUESTION = re.compile(r"\?\s*$|^how to ", re.I)
LENGTH = range(8, 90)


def pool(store: KnowledgeStore, size: int = POOL) -> tuple[str, ...]:
    """Up to `size` questions, one per document in turn, the same for everybody as long as the documents stay."""
    by_document: dict[str, list[str]] = {}
    for document, title, heading in store.headings():
        own = heading.split(" > ")[-1] or title
        if len(own) in LENGTH:
            asked = by_document.setdefault(document, [])
            asked.insert(0, own) if QUESTION.search(own) else asked.append(own)
    queues = sorted(by_document.items(), key=lambda item: hashlib.sha256(item[0].encode()).digest())
    chosen: list[str] = []
    for depth in range(3):
        for _, headings in queues:
            if depth < len(headings) and len(chosen) < size:
                question = phrased(headings[depth])
                if question not in chosen:
                    chosen.append(question)
    return tuple(chosen)


def opening(questions: Sequence[str], asked: frozenset[str], visitor: str) -> tuple[str, ...]:
    """What to offer on the empty page: not asked yet, another start for every visitor."""
    fresh = [question for question in questions if question not in asked]
    start = int.from_bytes(hashlib.sha256(visitor.encode()).digest()[:4], "big") % max(1, len(fresh))
    return tuple((fresh[start:] + fresh[:start])[:SHOWN])


def following(
    store: KnowledgeStore, questions: Sequence[str], asked: frozenset[str], answer: Answer
) -> tuple[str, ...]:
    """What to offer after an answer: what is nearest to the sentences it rests on, not asked yet."""
    fresh = [question for question in questions if question not in asked]
    if not fresh:
        return ()
    if not answer.citations:
        return tuple(fresh[: SHOWN - 1])
    vectors = store.embedder.embed([answer.citations[0].quote, *fresh])
    near = vectors[1:] @ vectors[0]
    return tuple(fresh[i] for i in sorted(range(len(fresh)), key=lambda i: -near[i])[: SHOWN - 1])


def explored(questions: Sequence[str], asked: frozenset[str]) -> int:
    """How many of the suggested questions a visitor asked."""
    return sum(question in asked for question in questions)


def phrased(heading: str) -> str:
    """A heading as a question that a person would ask."""
    heading = " ".join(heading.split())
    if heading.endswith("?"):
        return heading
    if heading.lower().startswith("how to "):
        return f"How do I {heading[7:]}?"
    first = heading.split(" ")[0]
    keeps_capital = len(first) < 2 or any(letter.isupper() for letter in first[1:])  # LoRA, SQL, QLoRA
    return f"What should I know about {heading if keeps_capital else heading[0].lower() + heading[1:]}?"
