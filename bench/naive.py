"""Naive RAG, the peer in the quality table: four whole 1,000-character chunks by dense search, the same model, no gate.

What a first tutorial builds. It shares the engine and the embedding model with Rungs and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import uuid4

import numpy as np
from langchain_text_splitters import RecursiveCharacterTextSplitter

from assistant.evaluation.evaluate import Result
from assistant.evaluation.golden import GoldenRow
from assistant.evaluation.grading import grade
from assistant.types import Answer, Attempt, ChatModel, Completed, Draft, Evidence, Message, Token
from bench.homes import HOMES, documents
from knowledge.loaders import load
from knowledge.types import Embedder, Hit, Passage, Vectors

CHUNK_CHARACTERS = 1000
CHUNKS = 4
ANSWER_TOKENS = 128
SYSTEM = "Use the following context to answer the question. If you don't know the answer, say that you don't know."


@dataclass(frozen=True)
class NaiveRag:
    """Chunks of one set with their vectors."""

    chunks: tuple[Passage, ...]
    vectors: Vectors
    embedder: Embedder
    model: ChatModel

    def messages(self, row: GoldenRow, hits: Sequence[Hit]) -> list[Message]:
        """The prompt: instructions, history, four whole chunks, the question."""
        context = "\n\n".join(hit.passage.text for hit in hits)
        history = [Message(turn.role, turn.text) for turn in row.history]
        return [Message("system", SYSTEM), *history, Message("user", f"{context}\n\nQuestion: {row.question}")]

    def search(self, question: str) -> tuple[Hit, ...]:
        """The four chunks nearest to the question."""
        near = self.vectors @ self.embedder.embed([question])[0]
        return tuple(
            Hit(self.chunks[i], float(near[i]), float(near[i]), rank)
            for rank, i in enumerate(np.argsort(-near)[:CHUNKS].tolist())
        )

    def ask(self, row: GoldenRow) -> Result:
        """Search, read, write; every question is answered unless the model's words decline."""
        started = time.monotonic()
        hits = self.search(row.question)
        tokens: list[Token] = []
        done = Completed("stop", 0, 0)
        for item in self.model.stream(self.messages(row, hits), max_tokens=ANSWER_TOKENS, conversation=uuid4().hex):
            if isinstance(item, Completed):
                done = item
            else:
                tokens.append(item)
        text = "".join(token.text for token in tokens).strip()
        declined = any(phrase in text.lower() for phrase in ("don't know", "do not know", "cannot answer"))
        answer = Answer(text, "abstained" if declined else "answered", "rag")
        draft = Draft(text, (), tuple(tokens), done.tokens_in, done.tokens_out)
        seconds = time.monotonic() - started
        return Result(
            row,
            "naive",
            answer,
            grade(row, answer, self.embedder),
            (Attempt("rag", True, draft=draft),),
            Evidence((row.question,), hits),
            seconds,
        )


def build_naive(name: str, embedder: Embedder, model: ChatModel) -> NaiveRag:
    """Load, chunk and embed a set's documents the naive way."""
    splitter = RecursiveCharacterTextSplitter(chunk_size=CHUNK_CHARACTERS, chunk_overlap=0)
    chunks = tuple(_chunks(name, splitter))
    kept = HOMES / f"naive-{name}.npy"
    if not kept.exists():
        np.save(kept, embedder.embed([chunk.text for chunk in chunks]))
    return NaiveRag(chunks, np.load(kept), embedder, model)


def _chunks(name: str, splitter: RecursiveCharacterTextSplitter) -> Iterator[Passage]:
    root = documents(name)
    for path in sorted(root.rglob("*.md")):
        document = load(path)
        text = "\n\n".join(section.text for section in document.sections)
        for position, chunk in enumerate(splitter.split_text(text)):
            relative = path.relative_to(root).as_posix()
            yield Passage(f"{relative}-{position}", name, relative, document.title, "", chunk, position)
