"""Evidence for a question: understood in its conversation, searched, cut to the sentences that matter, measured.

Found once and reused by every level. A damaged index degrades the evidence and says so; it never stops an answer.
Made by `build.py`, called by the pipeline.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from assistant import conversation, signals
from assistant.confidence import NeedsNoDocument
from assistant.types import Evidence, Question
from knowledge.errors import KnowledgeError
from knowledge.evidence import PASSAGES_READ, pick_sentences
from knowledge.store import KnowledgeStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EvidenceFinder:
    """Finds evidence in one knowledge store."""

    store: KnowledgeStore
    passages: int
    needs_no_document: NeedsNoDocument | None

    def __call__(self, question: Question) -> Evidence:
        """Search and measure. Never raises a KnowledgeError: what failed is in `degraded`."""
        queries = conversation.wordings(question)
        try:
            hits = self.store.retrieve(conversation.searched(question), self.passages)
            read = hits[:PASSAGES_READ]
            vectors = self.store.question_vectors([queries[0], question.text])
            quotes = self.store.sentence_vectors([hit.passage for hit in read])
            sentences = pick_sentences(queries, vectors[0], read, quotes)
        except KnowledgeError as error:
            log.warning("retrieval failed: %s", error)
            return Evidence(queries, degraded=str(error))
        measured = signals.from_evidence(queries, hits, sentences)
        if self.needs_no_document and self.needs_no_document.embedder == self.store.embedder.fingerprint:
            measured["no_document"] = self.needs_no_document.logit(vectors[1])
        return Evidence(queries, hits, sentences, signals.finite(measured), self.store.degraded)
