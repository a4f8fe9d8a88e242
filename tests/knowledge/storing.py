"""What the store's tests share: small documents with words of their own, and a store on a temporary home."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from knowledge.database import open_engine
from knowledge.embedding import HashEmbedder, embed_passages
from knowledge.store import KnowledgeStore
from knowledge.types import Embedder, Passage

SOURCE = "manual"
HASH = HashEmbedder()
THINGS = "lamp kettle bridge violin glacier ledger turbine orchard compass lantern saddle anchor prism furnace".split()
URL = ""
"""Of a server's database that stands in for the home's own; set by the fixture `each_database`."""


def database(home: Path) -> Engine:
    return open_engine(URL or f"sqlite:///{home / 'rungs.db'}")


@contextmanager
def opened(home: Path, embedder: Embedder = HASH) -> Iterator[KnowledgeStore]:
    engine = database(home)
    store = KnowledgeStore(engine, home / "chroma", embedder)
    try:
        yield store
    finally:
        store.close()
        engine.dispose()


def passages(path: str, texts: list[str], source: str = SOURCE) -> list[Passage]:
    return [
        Passage(
            id=hashlib.sha256(f"{source}|{path}|{i}|{text}".encode("utf-8", "replace")).hexdigest()[:24],
            source=source,
            document=path,
            title=path.removesuffix(".md"),
            heading=f"Part {i}",
            text=text,
            position=i,
            page=i + 1,
            uri=f"file:///{path}",
        )
        for i, text in enumerate(texts)
    ]


def put(
    store: KnowledgeStore, path: str, texts: list[str], source: str = SOURCE, fingerprint: str = "v1"
) -> list[Passage]:
    parts = passages(path, texts, source)
    vectors, sentences = embed_passages(store.embedder, parts)
    store.put(source, path, fingerprint, path.removesuffix(".md"), f"file:///{path}", parts, vectors, sentences)
    return parts


def text_of(number: int) -> str:
    return f"The {THINGS[number % len(THINGS)]} number{number} needs part{number * 7} before winter{number % 5}."


def fill(store: KnowledgeStore, documents: int, each: int = 3) -> None:
    for number in range(documents):
        put(store, f"d{number}.md", [text_of(number * each + i) for i in range(each)])


def found(store: KnowledgeStore, query: str, k: int = 3) -> list[str]:
    return [hit.passage.text for hit in store.retrieve([query], k)]


def finds_everything(store: KnowledgeStore, numbers: range) -> bool:
    return all(found(store, text_of(number), 1) == [text_of(number)] for number in numbers)
