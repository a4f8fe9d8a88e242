"""Signals: numbers that say how likely a draft is right.

They come from the question, the retrieval, the draft's own token
probabilities, and the support of the draft by the evidence.

A signal is not a confidence: `confidence.py` turns signals into a calibrated probability. Everything here costs
milliseconds and calls no language model. What each signal stands for follows "LM cascades" (arXiv 2404.10136: token
probability quantiles) and "LLM-independent adaptive retrieval" (arXiv 2505.04253: question features).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from assistant.types import Token
from knowledge.types import Hit, Sentence
from knowledge.words import WORD, coverage, specifics, terms

SENTENCES_JUDGED = 3
NO_PROBABILITY = -1.0
"""Stands for a token log-probability where the server sends none."""

EXPECTED = (
    (
        re.compile(r"\b(when|what (year|date|time|day|month|century)|how (long|old))\b", re.I),
        re.compile(r"\d"),
    ),
    (
        re.compile(
            r"\bhow (many|much|often|large|big|far|fast|high|tall)\b|\bwhat (number|percent|share|port|size)",
            re.I,
        ),
        re.compile(
            r"\d|\b(one|two|three|four|five|six|seven|eight|nine|ten|half|twice|once|several|all|none)\b",
            re.I,
        ),
    ),
    (re.compile(r"\b(who|whom|whose)\b", re.I), re.compile(r"(?<=[a-z,;(] )[A-Z][a-z]+")),
    (
        re.compile(r"\b(where|which (city|country|place)|what (city|country))\b", re.I),
        re.compile(r"(?<=[a-z,;(] )[A-Z]"),
    ),
    (
        re.compile(r"\b(how (do|can|to|should|would)|where do i)\b", re.I),
        re.compile(r"`|\b(click|run|open|select|set|use|choose|go to|press|enter|add|make|call|type|start)\b", re.I),
    ),
    (
        re.compile(r"\bwhy\b", re.I),
        re.compile(r"\b(because|since|so that|therefore|due to|reason|otherwise|cause)", re.I),
    ),
)


def from_evidence(queries: Sequence[str], hits: Sequence[Hit], sentences: Sequence[Sentence]) -> dict[str, float]:
    """Signals of question and retrieval. All finite; an empty retrieval gives zeros.

    Returns:
        Cosines as they are (-1 to 1), shares from 0 to 1, counts as log(1 + n).
    """
    question = queries[-1]
    passages = [hit.similarity for hit in hits[:5]] or [0.0]
    best = sentences[:SENTENCES_JUDGED]
    near = [sentence.similarity for sentence in best] or [0.0]
    wanted, named = terms(" ".join(queries)), specifics(question)
    shown = frozenset[str]().union(*(terms(f"{s.text} {s.passage.heading} {s.passage.title}") for s in best))
    whole = terms(f"{hits[0].passage.text} {hits[0].passage.heading} {hits[0].passage.title}") if hits else frozenset()
    return {
        "passage_top": passages[0],
        "passage_best": max(passages),
        "passage_gap": max(passages) - passages[-1],
        "sentence_top": near[0],
        "sentence_best": max(near),
        "sentence_gap": max(near) - min(near),
        "score_top": best[0].score if best else 0.0,
        "keywords_top": math.log1p(max((hit.bm25 or 0.0 for hit in hits[:5]), default=0.0)),
        "found_by_both": sum(h.dense_rank is not None and h.keyword_rank is not None for h in hits[:5]) / 5,
        "covered": coverage(wanted, shown) if best else 0.0,
        "covered_by_passage": coverage(wanted, whole) if hits else 0.0,
        "named_covered": coverage(named, shown) if best else 0.0,
        "named": math.log1p(len(named)),
        "kind_matches": _kind_matches(question, " ".join(s.text for s in best[:2])),
        "one_document": float(len({hit.passage.document for hit in hits[:3]}) == 1),
        "question_words": math.log1p(len(WORD.findall(question))),
        "follow_up": float(len(queries) > 1),
    }


def from_tokens(tokens: Sequence[Token]) -> dict[str, float]:
    """Signals of the draft's own token probabilities (natural logarithms, quantiles over the tokens)."""
    logprobs = np.array([t.logprob if t.logprob is not None else NO_PROBABILITY for t in tokens] or [NO_PROBABILITY])
    margins = [t.logprob - t.runner_up for t in tokens if t.logprob is not None and t.runner_up is not None]
    low, quarter = np.quantile(logprobs, [0.1, 0.25]).tolist()
    return {
        "logprob_mean": float(logprobs.mean()),
        "logprob_min": float(logprobs.min()),
        "logprob_first": float(logprobs[0]),
        "logprob_low_tenth": low,
        "logprob_low_quarter": quarter,
        "margin_mean": min(float(np.mean(margins)), 20.0) if margins else 0.0,
        "draft_tokens": math.log1p(len(tokens)),
    }


def from_support(text: str, sentences: Sequence[Sentence]) -> dict[str, float]:
    """How well the evidence supports a draft: words, four-word runs, and names or numbers that stand nowhere in it."""
    evidence = " ".join(f"{s.text} {s.passage.heading}" for s in sentences)
    named = specifics(text)
    return {
        "supported_words": coverage(terms(text), terms(evidence)),
        "supported_runs": _shared_runs(text, evidence),
        "unsupported_named": math.log1p(len(named - terms(evidence))),
    }


def finite(signals: Mapping[str, float]) -> dict[str, float]:
    """The same signals with anything not finite replaced by 0, so that no trace or model meets a NaN."""
    return {name: float(value) if math.isfinite(value) else 0.0 for name, value in signals.items()}


def _kind_matches(question: str, evidence: str) -> float:
    """1 where the evidence holds the kind of thing asked for (a number, a name, a step), 0 where not, 0.5 unknown."""
    for asked, shown in EXPECTED:
        if asked.search(question):
            return float(bool(shown.search(evidence)))
    return 0.5


def _shared_runs(text: str, evidence: str, length: int = 4) -> float:
    words, known = [w.lower() for w in WORD.findall(text)], [w.lower() for w in WORD.findall(evidence)]
    runs = [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
    present = {tuple(known[i : i + length]) for i in range(len(known) - length + 1)}
    return sum(run in present for run in runs) / len(runs) if runs else float(" ".join(words) in " ".join(known))
