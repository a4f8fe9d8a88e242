"""The sentences that matter: from the passages found, those that a small model should read or an answer should quote.

A small model drowns in whole paragraphs, and reading the prompt is the dear part on a CPU; the best three sentences
hold most answers (bench/RESULTS.md). Ranks and cuts; never rewrites a sentence. Called by the pipeline right after
retrieval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from knowledge.sentences import sentences as spans_of
from knowledge.types import Embedder, Hit, Sentence
from knowledge.words import WORD, coverage, terms

PASSAGES_READ = 8
SENTENCES_READ = 48
"""At most this many sentences are embedded per question, the best by words first."""
SENTENCES_KEPT = 16
PASSAGE_WEIGHT = 0.45
WORDS_WEIGHT = 0.5
RANK_WEIGHT = 0.02
ECHO_COST = 1.0
"""Taken off a sentence that only says the question again, or says nothing beyond question, heading and title."""
ECHO_WORDS = 3
"""A question of at least this many words that stands in a sentence word for word makes it an echo."""
LEANING = frozenset("it its this that these those they them he she such however otherwise then also".split())
"""A sentence that opens with one of these is read together with the one before."""
WORDS_LEAST = 3


def pick_sentences(queries: Sequence[str], hits: Sequence[Hit], embedder: Embedder) -> tuple[Sentence, ...]:
    """Rank the sentences of the best passages for a question, best first.

    The score adds up: cosine of question and sentence; cosine of question and passage; the share of the question's
    content words in sentence, heading and title; a little for the passage's rank. A sentence that only echoes the
    question or its heading loses, since it answers nothing.

    Args:
        queries: the wordings of the question, the most complete first; it alone is compared.
        hits: passages found, best first.
        embedder: the one that the passages were embedded with.
    """
    query = queries[0]
    wanted = terms(" ".join(queries))
    found = _candidates(hits[:PASSAGES_READ], wanted)
    if not found:
        return ()
    vectors = embedder.embed([query, *(sentence.text for sentence, _ in found)])
    similarities = vectors[1:] @ vectors[0]
    ranked = []
    for (sentence, hit), similarity in zip(found, similarities.tolist(), strict=True):
        address = terms(f"{hit.passage.title} {hit.passage.heading}")
        told = terms(sentence.text)
        score = (
            similarity
            + PASSAGE_WEIGHT * hit.similarity
            + WORDS_WEIGHT * coverage(wanted, told | address)
            - RANK_WEIGHT * hits.index(hit)
            - ECHO_COST * (told <= wanted | address or _says_again(query, sentence.text))
        )
        ranked.append(replace(sentence, similarity=similarity, score=score))
    return tuple(sorted(ranked, key=lambda sentence: -sentence.score)[:SENTENCES_KEPT])


def within(
    sentences: Sequence[Sentence], *, cost: Callable[[str], int], budget: int, most: int, drop: float = 1.0
) -> tuple[Sentence, ...]:
    """The best sentences under a budget, in reading order: documents by their best sentence, then by position.

    Args:
        sentences: ranked, best first.
        cost: what a text costs (tokens or words).
        budget: at most this much in all; the best sentence is kept whatever it costs.
        most: at most this many sentences.
        drop: a sentence whose score is further than this below the best is left out.
    """
    kept: list[Sentence] = []
    spent = 0
    for sentence in sentences:
        if len(kept) == most or (kept and sentence.score < kept[0].score - drop):
            break
        price = cost(sentence.text)
        if kept and spent + price > budget:
            continue
        if any(_overlap(sentence, other) for other in kept):
            continue
        kept.append(sentence)
        spent += price
    order = {s.passage.document: -i for i, s in reversed(list(enumerate(kept)))}
    return tuple(sorted(kept, key=lambda s: (-order[s.passage.document], s.passage.position, s.start)))


def _candidates(hits: Sequence[Hit], wanted: frozenset[str]) -> list[tuple[Sentence, Hit]]:
    found: list[tuple[Sentence, Hit]] = []
    seen: set[str] = set()
    for hit in hits:
        for start, end in _units(hit.passage.text):
            text = " ".join(hit.passage.text[start:end].split())
            key = text.lower()
            if key in seen or len(WORD.findall(text)) < WORDS_LEAST:
                continue
            seen.add(key)
            found.append((Sentence(text, hit.passage, start, end, 0.0, 0.0), hit))
    if len(found) > SENTENCES_READ:
        keys = np.array([coverage(wanted, terms(s.text)) + 0.5 * h.similarity for s, h in found])
        kept = np.sort(np.argsort(-keys, kind="stable")[:SENTENCES_READ])
        found = [found[i] for i in kept]
    return found


def _units(text: str) -> list[tuple[int, int]]:
    """Sentence spans; one that leans on the sentence before is joined with it, and a lead-in with what it leads to."""
    spans = list(spans_of(text))
    units: list[tuple[int, int]] = []
    for start, end in spans:
        first = WORD.search(text, start, end)
        leans = first is not None and first.group().lower() in LEANING
        led = bool(units) and text[units[-1][0] : units[-1][1]].rstrip().endswith(":")
        if units and (leans or led) and end - units[-1][0] <= 400:
            if led:
                units[-1] = (units[-1][0], end)
            else:
                units.append((units[-1][0], end))
        else:
            units.append((start, end))
    return units


def _says_again(query: str, text: str) -> bool:
    words = [word.lower() for word in WORD.findall(query)]
    return len(words) >= ECHO_WORDS and " ".join(words) in " ".join(word.lower() for word in WORD.findall(text))


def _overlap(one: Sentence, other: Sentence) -> bool:
    return one.passage.id == other.passage.id and one.start < other.end and other.start < one.end
