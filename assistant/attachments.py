"""Documents that a visitor attached to one conversation: read, embedded, searched for its questions only.

They never enter the knowledge store, and no query names them without their conversation. Parsed by the sandboxed
loaders; refused in words where too large, too many or unreadable. They go with their conversation. Called by the chat
page; searched by `finding.py`.
"""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
from sqlalchemy import Connection, Engine, delete, func, insert, select

from assistant.errors import AssistantError
from assistant.tables import attachment_passages, attachments
from knowledge import chunking
from knowledge.database import reading, writing
from knowledge.embedding import embed_passages
from knowledge.errors import UnreadableDocument
from knowledge.loaders import load
from knowledge.text import clean
from knowledge.types import Embedder, Hit, Passage, Vectors

SUFFIXES = (".pdf", ".docx", ".md", ".txt", ".html")
BYTES_MAX = 5 * 1024 * 1024
PER_CONVERSATION = 5
PASSAGES_MAX = 400
"""Of one document: about two hundred pages, and half a minute of embedding on two cores."""
NAME_CHARACTERS = 120
ID_BYTES = 16
SOURCE = "attachment"
YOURS = "Your document: "


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attached document."""

    id: str
    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Found:
    """A passage of an attached document, and the vectors of what can be quoted of it."""

    hit: Hit
    sentences: Vectors


class Attachments:
    """Attached documents in SQL. Safe to use from several threads; the tables are the trace store's."""

    def __init__(self, engine: Engine, embedder: Embedder) -> None:
        self._engine = engine
        self._embedder = embedder

    def add(self, conversation_id: str, name: str, content: bytes) -> Attachment:
        """Read a document and keep it for a conversation that the caller has made sure of.

        Raises:
            AssistantError: too large, too many, not readable, or of a kind that is not taken; says which.
        """
        name = shown_name(name)
        if len(content) > BYTES_MAX:
            raise AssistantError(f"{name} is too large: at most {BYTES_MAX // 1024**2} MB, please.")
        with reading(self._engine) as connection:
            _check_room(connection, conversation_id)
        attachment = Attachment(secrets.token_hex(ID_BYTES), name, len(content))
        passages = self._passages(attachment, content)
        vectors, sentences = embed_passages(self._embedder, passages)
        rows = [
            {
                "attachment": attachment.id,
                "passage": json.dumps(asdict(passage)),
                "vector": _blob(vector),
                "sentences": _blob(quotes),
            }
            for passage, vector, quotes in zip(passages, vectors, sentences, strict=True)
        ]
        about = {**asdict(attachment), "conversation": conversation_id, "embedder": self._embedder.fingerprint}
        with writing(self._engine) as connection:
            _check_room(connection, conversation_id)  # two uploads at once
            connection.execute(insert(attachments), about | {"made_at": _now()})
            connection.execute(insert(attachment_passages), rows)
        return attachment

    def of(self, conversation_id: str) -> tuple[Attachment, ...]:
        """What is attached to a conversation, in order."""
        query = (
            select(attachments.c.id, attachments.c.name, attachments.c.bytes)
            .where(attachments.c.conversation == clean(conversation_id))
            .order_by(attachments.c.number)
        )
        with reading(self._engine) as connection:
            return tuple(Attachment(*row) for row in connection.execute(query))

    def remove(self, conversation_id: str, attachment_id: str) -> None:
        """Take a document away; answers that quoted it stay in the conversation.

        Raises:
            AssistantError: there is no such document in that conversation.
        """
        same = (attachments.c.conversation == clean(conversation_id)) & (attachments.c.id == clean(attachment_id))
        with writing(self._engine) as connection:
            if not connection.execute(delete(attachments).where(same)).rowcount:
                raise AssistantError("there is no such document in this conversation.")

    def search(self, conversation_id: str, question: Vectors, k: int) -> tuple[Found, ...]:
        """The `k` passages of a conversation's documents that are nearest to a question, nearest first.

        Args:
            conversation_id: whose documents; no other's are looked at.
            question: unit vector, shape (dimension,).
            k: how many.
        """
        query = (
            select(attachment_passages.c.passage, attachment_passages.c.vector, attachment_passages.c.sentences)
            .join(attachments, attachments.c.id == attachment_passages.c.attachment)
            .where(attachments.c.conversation == clean(conversation_id))
            .where(attachments.c.embedder == self._embedder.fingerprint)
            .order_by(attachment_passages.c.number)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        if not rows:
            return ()
        cosines = np.clip(_matrix(b"".join(row.vector for row in rows), len(question)) @ question, -1.0, 1.0)
        best = np.argsort(-cosines, kind="stable")[:k].tolist()
        return tuple(
            Found(
                Hit(Passage(**json.loads(rows[n].passage)), 0.0, float(cosines[n]), dense_rank=rank),
                _matrix(rows[n].sentences, len(question)),
            )
            for rank, n in enumerate(best)
        )

    def _passages(self, attachment: Attachment, content: bytes) -> Sequence[Passage]:
        suffix = PurePosixPath(attachment.name).suffix.lower()
        if suffix not in SUFFIXES:
            raise AssistantError(f"{attachment.name} cannot be read. Attach one of: {' '.join(SUFFIXES)}")
        with tempfile.TemporaryDirectory(prefix="rungs-attached-") as folder:
            file = Path(folder) / f"document{suffix}"  # never under the name that came with it
            file.write_bytes(content)
            try:
                document = load(file)
            except UnreadableDocument as error:
                raise AssistantError(str(error).replace(file.name, attachment.name)) from error
        title = PurePosixPath(attachment.name).name
        split = chunking.split(
            document, source=f"{SOURCE} {attachment.id}", path=title, uri="", embedder=self._embedder
        )
        if not split:
            raise AssistantError(f"{attachment.name} holds no text that could be read.")
        if len(split) > PASSAGES_MAX:
            raise AssistantError(f"{attachment.name} is too long: attach the part that matters, please.")
        return tuple(_titled(passage, YOURS + title) for passage in split)


def merged(known: Sequence[Hit], found: Sequence[Found], k: int) -> tuple[Hit, ...]:
    """Hits of the store and of attached documents as one list: each attached one before the first less similar one."""
    hits = list(known)
    for one in found:
        place = next((n for n, hit in enumerate(hits) if hit.similarity < one.hit.similarity), len(hits))
        hits.insert(place, one.hit)
    return tuple(hits[:k])


def shown_name(name: str) -> str:
    """A file's name as it may be shown: its last part, on one line, not too long."""
    last = " ".join(clean(name).replace("\\", "/").rsplit("/", 1)[-1].split())
    stem, dot, suffix = last.rpartition(".")
    if dot and len(last) > NAME_CHARACTERS:
        return f"{stem[: NAME_CHARACTERS - len(suffix) - 2]}….{suffix[:10]}"
    return last[:NAME_CHARACTERS] or "document"


def _titled(passage: Passage, title: str) -> Passage:
    return Passage(**{**asdict(passage), "title": title})


def _check_room(connection: Connection, conversation_id: str) -> None:
    same = attachments.c.conversation == clean(conversation_id)
    if (connection.scalar(select(func.count()).select_from(attachments).where(same)) or 0) >= PER_CONVERSATION:
        raise AssistantError(f"at most {PER_CONVERSATION} documents can be attached to a conversation. Remove one.")


def _blob(vectors: Vectors) -> bytes:
    return np.ascontiguousarray(vectors, dtype="<f4").tobytes()


def _matrix(blob: bytes, dimension: int) -> Vectors:
    return np.frombuffer(blob, dtype="<f4").reshape(-1, dimension).astype(np.float32, copy=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
