"""Files and folders into the store: what is new or changed is read, split and embedded; what vanished is removed.

A folder is one source, and its documents are POSIX paths relative to it. A file is a source of its own, unless it lies
in a folder that is known already: then it updates that document there. Each document is on disk when it is done, so a
run can be killed and repeated; a failing file never stops the rest. Reads nothing outside what it was given. Called by
`ui/commands/table.py`, the control surface and `bench/`.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from knowledge import chunking
from knowledge.embedding import embed_passages
from knowledge.errors import StorageFull, UnreadableDocument
from knowledge.files import Root, explain_absence, find_root
from knowledge.loaders import load, sandbox
from knowledge.loaders.reading import BYTES_MAX, too_large
from knowledge.store import KnowledgeStore
from knowledge.types import Failure, IngestReport, Passage, Progress, Vectors

BATCH_PASSAGES = 256
"""Passages embedded together, across documents: similar lengths meet, and a bar still moves every few seconds."""
HASHED_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class _Read:
    """A document that is read and split, not yet stored."""

    source: str
    path: str
    fingerprint: str
    title: str
    uri: str
    passages: tuple[Passage, ...]
    known: bool


@dataclass(slots=True)
class _Tally:
    """What a run has done so far."""

    total: int = 0
    done: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[Failure] = field(default_factory=list)

    def fail(self, source: str, reason: str) -> None:
        self.failed.append(Failure(source, reason))


def ingest(
    store: KnowledgeStore, paths: Sequence[Path], *, prune: bool = False, source: str | None = None
) -> Iterator[Progress | IngestReport]:
    """Add or update knowledge. Yields progress, then exactly one report.

    Args:
        store: where it goes.
        paths: files and folders.
        prune: also remove what is known of a path that is missing or empty; without it, that is reported as a failure
            and nothing is removed.
        source: the source's name, instead of the path; for `handbook`.

    Raises:
        StorageFull: no room left; documents done before are kept.
        IndexDamaged: the store holds passages of another embedder.
    """
    started = time.monotonic()
    tally = _Tally()
    sources = frozenset(summary.source for summary in store.sources())
    roots: list[Root] = []
    for path in paths:
        roots.append(find_root(path, sources | {root.source for root in roots if not root.single}, source))
    tally.total = sum(len(root.files) for root in roots)
    yield Progress(0, tally.total, "looking for changes")
    try:
        yield from _store_all(store, _changed(store, roots, tally), tally)
        for root in roots:
            present = frozenset().union(*(other.present for other in roots if other.source == root.source))
            _remove_vanished(store, root, present, tally, prune=prune)
    except StorageFull as error:
        kept = tally.counts["added"] + tally.counts["updated"]
        raise StorageFull(f"{error} {kept} documents of this run are in; run the same command again later.") from error
    finally:
        sandbox.close()
    yield Progress(tally.total, tally.total, "done")
    yield _report(store, roots, tally, time.monotonic() - started)


def _report(store: KnowledgeStore, roots: Sequence[Root], tally: _Tally, seconds: float) -> IngestReport:
    touched = {root.source for root in roots}
    return IngestReport(
        added=tally.counts["added"],
        updated=tally.counts["updated"],
        unchanged=tally.counts["unchanged"],
        removed=tally.counts["removed"],
        failed=tuple(tally.failed),
        passages=sum(summary.passages for summary in store.sources() if summary.source in touched),
        seconds=seconds,
    )


def _changed(store: KnowledgeStore, roots: Sequence[Root], tally: _Tally) -> Iterator[_Read | str]:
    """The name of each file before it is looked at; its document after, where that is new or changed."""
    taken: dict[tuple[str, str], Path] = {}
    for root in roots:
        for place, reason in root.refused:
            tally.fail(place, reason)
        known = store.known(root.source)
        for path, file in root.files.items():
            yield path
            before = taken.setdefault((root.source, path), file)
            if before is not file:
                tally.done += 1
                if before != file:
                    tally.fail(str(file), f"{file}: {before} has the same path in source {root.source}. Rename one.")
                continue
            try:
                document = _read(store, root, path, file, known)
            except UnreadableDocument as error:
                tally.fail(str(file), str(error))
            except OSError as error:
                tally.fail(str(file), f"{file.name}: cannot be read ({error.strerror}).")
            else:
                if document is not None:
                    yield document
                    continue
                tally.counts["unchanged"] += 1
            tally.done += 1


def _read(store: KnowledgeStore, root: Root, path: str, file: Path, known: Mapping[str, str]) -> _Read | None:
    """The file as passages; None where the store has it already."""
    fingerprint = _fingerprint(file, store.embedder.fingerprint)
    if known.get(path) == fingerprint:
        return None
    document = load(file)
    uri = file.as_uri()
    passages = chunking.split(document, source=root.source, path=path, uri=uri, embedder=store.embedder)
    if not passages:
        raise UnreadableDocument(f"{file.name}: holds no text.")
    return _Read(root.source, path, fingerprint, document.title, uri, passages, path in known)


def _fingerprint(file: Path, embedder: str) -> str:
    """Of bytes, chunker and embedder: what passages and vectors depend on.

    Raises:
        UnreadableDocument: too large to be read.
    """
    size = file.stat().st_size
    if size > BYTES_MAX:
        raise UnreadableDocument(too_large(file, size))
    digest = hashlib.sha256(f"{chunking.VERSION}\0{embedder}\0{file.suffix.lower()}\0".encode())
    with file.open("rb") as stream:
        while block := stream.read(HASHED_AT_ONCE):
            digest.update(block)
    return digest.hexdigest()


# embedding across documents


@dataclass(slots=True)
class _Embedded:
    """Vectors of the first passages of the documents that wait, and of what can be quoted of each."""

    vectors: list[Vectors] = field(default_factory=list)
    sentences: list[Vectors] = field(default_factory=list)


def _store_all(store: KnowledgeStore, documents: Iterator[_Read | str], tally: _Tally) -> Iterator[Progress]:
    """Embed in batches that span documents; put each document as soon as all of its passages have vectors."""
    waiting: list[_Read] = []
    ready = _Embedded()
    pending = 0
    for document in documents:
        if isinstance(document, str):
            yield Progress(tally.done, tally.total, document)
            continue
        waiting.append(document)
        pending += len(document.passages)
        while pending >= BATCH_PASSAGES:
            pending -= _embed(store, waiting, ready)
            yield _progress(tally, waiting, len(ready.vectors))
            _put_complete(store, waiting, ready, tally)
    while waiting:
        _embed(store, waiting, ready)
        yield _progress(tally, waiting, len(ready.vectors))
        _put_complete(store, waiting, ready, tally)
    yield Progress(tally.done, tally.total, "stored")


def _embed(store: KnowledgeStore, waiting: Sequence[_Read], ready: _Embedded) -> int:
    """Embed the next passages that have no vector yet; returns how many."""
    passages = [passage for document in waiting for passage in document.passages]
    passages = passages[len(ready.vectors) : len(ready.vectors) + BATCH_PASSAGES]
    vectors, sentences = embed_passages(store.embedder, passages)
    ready.vectors += list(vectors)
    ready.sentences += sentences
    return len(passages)


def _put_complete(store: KnowledgeStore, waiting: list[_Read], ready: _Embedded, tally: _Tally) -> None:
    """Store the documents whose passages all have vectors."""
    while waiting and len(ready.vectors) >= len(waiting[0].passages):
        document = waiting.pop(0)
        count = len(document.passages)
        store.put(
            document.source,
            document.path,
            document.fingerprint,
            document.title,
            document.uri,
            document.passages,
            np.array(ready.vectors[:count], dtype=np.float32).reshape(count, store.embedder.dimension),
            ready.sentences[:count],
        )
        del ready.vectors[:count], ready.sentences[:count]
        tally.counts["updated" if document.known else "added"] += 1
        tally.done += 1


def _progress(tally: _Tally, waiting: Sequence[_Read], embedded: int) -> Progress:
    document = waiting[-1]
    count = len(document.passages)
    ready = max(0, embedded - sum(len(other.passages) for other in waiting[:-1]))
    part = f" ({ready:,} of {count:,} passages)" if count > BATCH_PASSAGES else ""
    return Progress(tally.done, tally.total, f"{document.path}{part}")


# what vanished


def _remove_vanished(store: KnowledgeStore, root: Root, present: frozenset[str], tally: _Tally, *, prune: bool) -> None:
    """Remove what is known of the root and no longer there; `present` is what any root of its source holds."""
    known = [path for path in store.known(root.source) if path not in present and not root.hides(path)]
    gone = [path for path in known if path == root.single] if root.single else known
    if gone and not root.single:  # what somebody else kept and stored meanwhile was not there when the run began
        now = find_root(root.place, (), root.source).present
        gone = [path for path in gone if path not in now]
    if not root.found and not (prune and gone):
        tally.fail(str(root.place), explain_absence(root, len(gone)))
    elif gone:
        tally.counts["removed"] += store.remove(root.source, gone)
