"""Suggested questions: what the documents at hand can be asked, spread over them, nearest first after an answer.

A heading that is a question is taken as it stands, one that names a task becomes one. Called by the chat page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from assistant.types import Answer
from knowledge.store import KnowledgeStore

POOL = 24
SHOWN = 4
VERBS = frozenset(
    "add build change check choose clean configure connect control convert create debug delete deploy detect disable "
    "download edit enable export find fix get handle identify import install manage measure migrate monitor move open "
    "optimize prepare protect recover reduce remove rename replace replicate reset resolve restore run scale secure "
    "select send set share sign start stop store switch test troubleshoot tune uninstall update upgrade upload use "
    "verify view write".split()
)
"""A heading that opens with one of these says how to do something."""
CODE = frozenset("<>[]{}|`=_$;")
"""A heading with one of these is no text."""
TELLING = frozenset("about how what when where which why".split())
DANGLING = frozenset("and at by for from in of on to with".split())
ASKERS = {"you": "I", "your": "my", "yours": "mine", "you're": "I'm", "yourself": "myself"}
LENGTH = range(4, 90)


def pool(store: KnowledgeStore, size: int = POOL, keep: Callable[[str], bool] | None = None) -> tuple[str, ...]:
    """Up to `size` questions, one per document in turn, the same for everybody as long as the documents stay.

    Args:
        store: what is known.
        size: how many at most.
        keep: of which sources; None is all.
    """
    asked: dict[str, list[str]] = {}
    titles: dict[str, list[str]] = {}
    for document, title, heading in store.headings(keep):
        path = heading.split(" > ")
        own = path[-1] or title
        if len(own) not in LENGTH or not CODE.isdisjoint(own):
            continue
        if _is_question(own):
            asked.setdefault(document, []).append(own)
        elif len(path) == 1 and own.split(" ")[0].lower() not in DANGLING:
            titles.setdefault(document, []).append(own)
    chosen: dict[str, None] = {}
    for headings in (asked, titles):
        queues = [headings[key] for key in sorted(headings, key=lambda key: hashlib.sha256(key.encode()).digest())]
        for depth in range(3):
            chosen |= dict.fromkeys(phrased(queue[depth]) for queue in queues if depth < len(queue))
    return tuple(chosen)[:size]


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
    """A heading as a person would ask it."""
    heading = " ".join(heading.split())
    first, _, rest = heading.partition(" ")
    if heading.endswith("?"):
        return heading
    if first.lower() == "if":
        return f"What can I do if {_by_asker(rest).rstrip('.')}?"
    if heading.lower().startswith("how to "):
        return f"How do I {_by_asker(heading[7:])}?"
    if first.lower() in VERBS and rest:
        return f"How do I {_by_asker(first.lower() + ' ' + rest)}?"
    keeps_capital = len(first) < 2 or any(letter.isupper() for letter in first[1:])  # LoRA, SQL, QLoRA
    heading = heading if keeps_capital else heading[0].lower() + heading[1:]
    return f"Tell me {heading}" if first.lower() in TELLING else f"Tell me about {heading}"


def _is_question(heading: str) -> bool:
    first, _, rest = heading.lower().partition(" ")
    return heading.rstrip().endswith("?") or (
        bool(rest) and (first in VERBS or first == "if" or (rest.startswith("to ") and first == "how"))
    )


def _by_asker(text: str) -> str:
    """What a document says to its reader, as the reader says it."""
    return " ".join(ASKERS.get(word.lower(), word) for word in text.split(" "))
