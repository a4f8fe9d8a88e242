"""Examples made from documents, in the manner of RAFT (Zhang et al. 2024, arXiv:2403.10131).

A question about a passage is answered from that passage standing among distractors; some are asked again with
distractors alone, and there declining is right. Unlike RAFT, no row is to be answered from memory. Questions are
given, or made by templates from headings and first sentences; no model is asked. Everything is drawn by hashes of a
seed: the same documents give the same rows. Distractors come from documents of the same part, so that held-out text
is not trained on. Called by the command line, the console and the recipe of the bundled adapter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from adapters.duplicates import digest, normalised
from adapters.errors import BadTrainingSet
from adapters.splits import Shares, part_of_document
from adapters.templates import best_sentence, first_sentences, question_of
from adapters.types import Example, Part, Passage

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts to unit vectors, shape (n, dimension)."""
BLOCK = 256
NEAREST = 8
"""So many times the distractors wanted are looked at."""
HOLDS = 0.7
"""A passage with this share of an answer's words may hold the answer; it is no distractor."""
_CONTENT_WORD = re.compile(r"\w{4,}|\d+")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a passage."""

    question: str
    passage: Passage
    answer: str = ""
    """Empty: the passage's sentence that shares most words with the question."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How examples are made."""

    decline: str
    """The sentence that serving declines with."""
    distractors: int = 3
    unanswerable: float = 0.15
    """Share of all rows that are unanswerable twins. Half of them taught a small model to decline everything."""
    seed: int = 20261122
    approved_by: str = ""
    shares: Shares = field(default_factory=Shares)
    """How the set will be split."""

    def __post_init__(self) -> None:
        if not 0 <= self.unanswerable < 1 or self.distractors < 0:
            raise BadTrainingSet(
                f"a share of {self.unanswerable} unanswerable rows with {self.distractors} distractors cannot be made; "
                "the share goes from 0 to below 1, the number from 0 up."
            )


def from_documents(passages: Sequence[Passage]) -> tuple[Asked, ...]:
    """Questions made by templates: at most one for each heading of a document, none that two documents would answer."""
    made: dict[str, list[Asked]] = {}
    seen: set[tuple[str, str]] = set()
    for passage in _of_one_document(passages):
        place = passage.document, passage.address
        question, answer = question_of(passage), first_sentences(passage.text)
        if place not in seen and question and answer:
            made.setdefault(normalised(question), []).append(Asked(question, passage, answer))
        seen.add(place)
    return tuple(asked[0] for asked in made.values() if len(asked) == 1)


def generate(
    passages: Sequence[Passage], asked: Sequence[Asked], recipe: Recipe, embed: Embed | None = None
) -> tuple[Example, ...]:
    """Make examples: a grounded one for each question, and unanswerable twins for some.

    Args:
        passages: what distractors are drawn from; each names its document.
        asked: questions, given or of `from_documents`.
        recipe: how many distractors and twins.
        embed: draws distractors near the question, as retrieval would bring them; without it, any are drawn.

    Returns:
        The grounded rows in the order of the questions, then the twins. All have consent: no person is behind them.

    Raises:
        BadTrainingSet: a passage names no document, so that nobody could say which part it belongs to.
    """
    given = [*passages, *(one.passage for one in asked)]
    nameless = [passage.text[:60] for passage in given if not passage.document]
    if nameless:
        raise BadTrainingSet(f"{len(nameless)} passages name no document, for example {nameless[0]!r}.")
    passages = _of_one_document(passages)
    pools = _pools(passages, recipe.shares)
    near = _near(passages, asked, recipe, embed) if embed and passages else []
    grounded: dict[str, Example] = {}
    twins: dict[str, Example] = {}
    for number, one in enumerate(asked):
        example = _grounded(one, recipe)
        if not example.answer:
            continue
        pool = pools.get(part_of_document(one.passage.document, recipe.shares), [])
        candidates = [*([passages[i] for i in near[number]] if near else ()), *_drawn(example.id, pool, recipe)]
        others = _distracting(candidates, one.passage, example.answer, recipe.distractors)
        grounded[example.id] = replace(example, passages=_shuffled(example.id, (one.passage, *others), recipe.seed))
        if others:
            id = f"{example.id}-unanswerable"
            shown = _shuffled(id, others, recipe.seed)
            twins[id] = replace(example, id=id, answer=recipe.decline, passages=shown, expect="decline")
    wanted = round(len(grounded) * recipe.unanswerable / (1 - recipe.unanswerable))
    chosen = sorted(twins, key=lambda id: digest(f"{recipe.seed} {id}"))[:wanted]
    return (*grounded.values(), *(twins[id] for id in chosen))


def _grounded(one: Asked, recipe: Recipe) -> Example:
    passage = one.passage
    return Example(
        id=f"made-{digest(chr(10).join((passage.document, passage.address, passage.text, one.question)))[:16]}",
        question=one.question,
        answer=one.answer or best_sentence(passage.text, one.question),
        expect="grounded",
        source="generated",
        document=passage.document,
        approved_by=recipe.approved_by,
        consent=True,
    )


def _of_one_document(passages: Sequence[Passage]) -> list[Passage]:
    """Without what stands in several documents word for word: it could fall into two parts, and answers nothing."""
    documents: dict[str, set[str]] = {}
    for passage in passages:
        documents.setdefault(normalised(passage.text), set()).add(passage.document)
    return [passage for passage in passages if len(documents[normalised(passage.text)]) == 1]


def _pools(passages: Sequence[Passage], shares: Shares) -> dict[Part, list[Passage]]:
    pools: dict[Part, list[Passage]] = {}
    for passage in passages:
        pools.setdefault(part_of_document(passage.document, shares), []).append(passage)
    return pools


def _near(passages: Sequence[Passage], asked: Sequence[Asked], recipe: Recipe, embed: Embed) -> list[list[int]]:
    """For each question, some of the passages nearest to it within its part, in an order drawn by hash."""
    parts = np.array([part_of_document(passage.document, recipe.shares) for passage in passages])
    vectors = embed([passage.text for passage in passages])
    most = min(NEAREST * recipe.distractors, len(passages))
    found: list[list[int]] = []
    for start in range(0, len(asked), BLOCK):
        block = asked[start : start + BLOCK]
        similarity = embed([one.question for one in block]) @ vectors.T
        own = np.array([part_of_document(one.passage.document, recipe.shares) for one in block])
        similarity[own[:, None] != parts[None, :]] = -np.inf
        for one, row in zip(block, similarity, strict=True):
            best = [int(i) for i in np.argsort(-row, kind="stable")[:most] if np.isfinite(row[i])]
            found.append(sorted(best, key=lambda i: digest(f"{recipe.seed} {one.question} {passages[i].text}")))
    return found


def _drawn(id: str, pool: Sequence[Passage], recipe: Recipe) -> Iterator[Passage]:
    """Passages of a pool at random by hash; enough of them that some can be refused."""
    for draw in range(NEAREST * recipe.distractors if pool else 0):
        yield pool[int(digest(f"{recipe.seed} {id} {draw}"), 16) % len(pool)]


def _distracting(candidates: Iterable[Passage], gold: Passage, answer: str, most: int) -> tuple[Passage, ...]:
    """The first candidates that do not hold the answer, each text once."""
    taken = {normalised(gold.text): gold}
    for passage in candidates:
        if len(taken) > most:
            break
        if not may_hold(passage.text, answer):
            taken.setdefault(normalised(passage.text), passage)
    return tuple(taken.values())[1:]


def may_hold(text: str, answer: str) -> bool:
    """Whether a passage says so many of an answer's content words that it may answer, too."""
    wanted = set(_CONTENT_WORD.findall(answer.lower()))
    held = len(wanted & set(_CONTENT_WORD.findall(text.lower())))
    return bool(wanted) and held >= HOLDS * len(wanted)


def _shuffled(id: str, passages: Sequence[Passage], seed: int) -> tuple[Passage, ...]:
    return tuple(sorted(passages, key=lambda passage: digest(f"{seed} {id} {passage.address} {passage.text}")))


def with_passages(examples: Sequence[Example], find: Callable[[Example], Sequence[Passage]]) -> tuple[Example, ...]:
    """Rows that come without passages get what retrieval finds for their question, as serving would show it.

    Args:
        examples: rows; those that have passages stay as they are.
        find: retrieval for a row's question in its conversation, best passage first.
    """
    done = []
    for example in examples:
        found = () if example.passages else tuple(find(example))
        expect = "grounded" if found and example.expect == "style" else example.expect
        done.append(replace(example, passages=found or example.passages, expect=expect))
    return tuple(done)
