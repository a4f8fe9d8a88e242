"""Evidence for a question: understood in its conversation, searched, cut to the sentences that matter, measured.

Found once and reused by every level. A damaged index degrades the evidence and says so; it never stops an answer.
Made by `build.py`, called by the pipeline.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from assistant import conversation, signals
from assistant.attachments import Attachments, merged
from assistant.confidence import NeedsNoDocument
from assistant.types import Evidence, Question
from knowledge.errors import KnowledgeError
from knowledge.evidence import PASSAGES_READ, pick_sentences
from knowledge.store import KnowledgeStore

log = logging.getLogger(__name__)

SMALL_TALK_FROM = 2.0
"""Log-odds of needing no document from which a question is small talk that follows nothing: "hello there", "thanks"."""


@dataclass(frozen=True, slots=True)
class EvidenceFinder:
    """Finds evidence in one knowledge store, and in what is attached to the question's conversation."""

    store: KnowledgeStore
    passages: int
    needs_no_document: NeedsNoDocument | None
    attachments: Attachments | None = None

    def __call__(self, question: Question) -> Evidence:
        """Search and measure. Never raises a KnowledgeError: what failed is in `degraded`."""
        no_document = self._needs_no_document(question.text)
        if no_document is not None and no_document >= SMALL_TALK_FROM:
            question = replace(question, history=())
        queries = conversation.wordings(question)
        try:
            hits = self.store.retrieve(conversation.searched(question), self.passages)
            asked = self.store.question_vectors(queries[:1])[0]
            found = self.attachments.search(question.conversation_id, asked, self.passages) if self.attachments else ()
            hits = merged(hits, found, self.passages) if found else hits
            read = hits[:PASSAGES_READ]
            attached = {one.hit.passage.id: one.sentences for one in found}
            known = [hit.passage for hit in read if hit.passage.id not in attached]
            vectors = attached | dict(
                zip((passage.id for passage in known), self.store.sentence_vectors(known), strict=True)
            )
            sentences = pick_sentences(queries, asked, read, [vectors[hit.passage.id] for hit in read])
        except KnowledgeError as error:
            log.warning("retrieval failed: %s", error)
            return Evidence(queries, degraded=str(error))
        measured = signals.from_evidence(queries, hits, sentences)
        if no_document is not None:
            measured["no_document"] = no_document
        return Evidence(queries, hits, sentences, signals.finite(measured), self.store.degraded)

    def _needs_no_document(self, text: str) -> float | None:
        """Log-odds that the question by itself needs no document; None where nothing can tell."""
        probe = self.needs_no_document
        if probe is None or probe.embedder != self.store.embedder.fingerprint:
            return None
        return probe.logit(self.store.question_vectors([text])[0])
