"""Level 2, rag: the best passages. Quotes the sentences that matter, or lets the base model write from them.

Quoting needs no model and cannot invent; it is what a small model is served best by. Which of the two serves the
model at hand is decided by `rungs evaluate` and stands in its calibration file; `rag_answers_by` overrides it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

from adapters.facts import invented
from assistant import prompts, signals
from assistant.levels.judging import Bench, Verdict, attempt_of, cite, judge, write
from assistant.types import Attempt, ChatModel, Draft, Evidence, Level, Question, Token, Words
from knowledge.evidence import within
from knowledge.types import Sentence
from knowledge.words import WORD, coverage, terms

QUOTE_WORDS = 60
QUOTE_SENTENCES = 4
QUOTE_DROP = 0.35
PROMPT_SENTENCES = 6
SUPPORTS_FROM = 0.3
"""A sentence is cited for a written answer when it covers at least this share of the answer's content words."""
DECLINES = ("i don't know", "i do not know", "don't know.", "not sure", "cannot answer", "can't answer")


class Rag:
    """The passages, quoted or written from."""

    name: Level = "rag"

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def skip_reason(self, question: Question, evidence: Evidence) -> str | None:
        """Skipped where nothing was found."""
        return None if evidence.sentences else "no passage was found"

    def attempt(self, question: Question, evidence: Evidence, cancel: threading.Event) -> Iterator[Words | Attempt]:
        """Quote or write."""
        if self.bench.rag_answers_by == "generating":
            yield from grounded(self.bench, "rag", question, evidence, cancel)
        else:
            yield from self._quote(question, evidence)

    def _quote(self, question: Question, evidence: Evidence) -> Iterator[Words | Attempt]:
        quoted = within(
            evidence.sentences, cost=_count_words, budget=QUOTE_WORDS, most=QUOTE_SENTENCES, drop=QUOTE_DROP
        )
        verdict = judge(self.bench, "rag", evidence.signals, forced=question.level == "rag")
        text = " ".join(f"{sentence.text} [{number}]" for number, sentence in enumerate(quoted, start=1))
        if verdict.accepted:
            yield Words(text)
        yield Attempt(
            "rag",
            accepted=verdict.accepted,
            draft=Draft(text, tuple(cite(sentence) for sentence in quoted)),
            signals=verdict.signals,
            confidence=verdict.confidence,
            threshold=verdict.threshold,
        )


def grounded(
    bench: Bench,
    level: Level,
    question: Question,
    evidence: Evidence,
    cancel: threading.Event,
    adapter: str | None = None,
) -> Iterator[Words | Attempt]:
    """Let the model, with or without an adapter, write from the sentences that matter.

    Where the confidence rests on the evidence alone (a model that was not calibrated borrows it), the draft is judged
    before the first word and streams; otherwise the whole draft is judged first, and is held back where it declines or
    says something particular that neither the conversation nor its sources say.
    """
    shown = shown_to_a_model(evidence, bench.model, bench.evidence_tokens)
    messages = prompts.grounded(question, shown)
    fitted = bench.calibration.of(level, bench.versions)
    early = fitted is not None and not any(name.startswith("logprob") for name in fitted.signals)

    def judged(tokens: Sequence[Token]) -> Verdict:
        if early and not tokens:
            return judge(bench, level, evidence.signals, forced=question.level == level)
        text = "".join(token.text for token in tokens)
        told = {**evidence.signals, **signals.from_tokens(tokens), **signals.from_support(text, shown)}
        verdict = judge(bench, level, told, forced=question.level == level)
        because = None if question.level == level else _held_back(text, question, shown)
        return replace(verdict, accepted=False, held_back_because=because) if because else verdict

    if early and not judged(()).accepted:
        verdict = judged(())
        yield Attempt(level, signals=verdict.signals, confidence=verdict.confidence, threshold=verdict.threshold)
        return
    written = yield from write(
        bench,
        messages,
        judged,
        conversation=question.conversation_id,
        cancel=cancel,
        adapter=adapter,
        probe=0 if early else None,
        forced=question.level == level,
    )
    yield attempt_of(bench, level, written, messages, [cite(s) for s in _supporting(written.text, shown)])


def shown_to_a_model(evidence: Evidence, model: ChatModel, tokens: int) -> Sequence[Sentence]:
    """The sentences that stand in a prompt: training shows an adapter the same ones."""
    return within(evidence.sentences, cost=model.count_tokens, budget=tokens, most=PROMPT_SENTENCES)


def _supporting(text: str, shown: Sequence[Sentence]) -> list[Sentence]:
    wanted = terms(text)
    kept = [sentence for sentence in shown if coverage(wanted, terms(sentence.text)) >= SUPPORTS_FROM]
    return kept or list(shown[:1])


def _held_back(text: str, question: Question, shown: Sequence[Sentence]) -> str | None:
    """Why a draft is not shown however sure its level is; one that repeats the notes' delimiter is not shown either."""
    if declines(text):
        return "its draft declines"
    said = (question.text, *(turn.text for turn in question.history))
    sources = (f"{prompts.address_of(sentence)}: {sentence.text}" for sentence in shown)
    return "its draft says things that its sources do not" if invented(text, [*said, *sources]) else None


def declines(text: str) -> bool:
    """Whether a draft declines in words."""
    return any(phrase in text.lower().replace("’", "'") for phrase in DECLINES)


def _count_words(text: str) -> int:
    return len(WORD.findall(text))
