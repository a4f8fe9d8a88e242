"""What the data tests share: examples as a reviewer left them, files of rows, and the handbook as passages."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from adapters.reading import Unsaid
from adapters.types import Example, Passage
from knowledge.chunking import split
from knowledge.embedding import HashEmbedder
from knowledge.loaders import load

DECLINE = "I don't know."
UNSAID = Unsaid(DECLINE, "rows.jsonl", "reviewer", consent=True)
HANDBOOK = Path(__file__).resolve().parents[2] / "knowledge" / "handbook"
THINGS = "lamp kettle bridge violin glacier ledger turbine orchard compass lantern saddle anchor prism furnace".split()
DOINGS = "clean mend sell paint weigh store lend polish insure return wrap test".split()


def example(id: str = "one", question: str = "How do I clean the lamp?", answer: str = "", **fields: Any) -> Example:
    said = {"approved_by": "reviewer", "consent": True, **fields}
    return Example(id, question, answer or "With a soft cloth, and never with water.", **said)


def examples(count: int) -> list[Example]:
    """Different approved rows, each asked of a document of its own."""
    places = [(thing, doing) for thing in THINGS for doing in DOINGS][:count]
    return [
        example(f"row-{i}", f"How do I {doing} the {thing}?", f"To {doing} a {thing}, ask the desk to {doing} it.",
                document=f"{thing}/{doing}.md")
        for i, (thing, doing) in enumerate(places)
    ]  # fmt: skip


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


@cache
def handbook() -> tuple[Passage, ...]:
    """The shipped handbook, cut as it is ingested."""
    cut = [
        passage
        for path in sorted(HANDBOOK.glob("*.md"))
        for passage in split(load(path), source="handbook", path=path.name, uri="", embedder=HashEmbedder())
    ]
    return tuple(Passage(passage.text, passage.heading or passage.title, passage.document) for passage in cut)
