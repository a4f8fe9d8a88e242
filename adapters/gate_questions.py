"""What a gate asks: rows of the held-out part, the owner's golden rows, and the sets that are shipped.

Every draw is made by hashes of a seed: the same data give the same questions. Asks nobody. Called by whoever runs a
gate; the owner's golden rows are made into questions above, where retrieval is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files

from adapters.dataset import TrainingSet
from adapters.duplicates import digest, normalised
from adapters.errors import BadGate
from adapters.gate_types import Check, GateQuestion
from adapters.generate import may_hold
from adapters.types import Example, Part, Passage

SETS = "gate_sets"
CROSSED_DRAWS = 64
"""At most so many passages are drawn for a row until enough of them are of other documents and hold no answer."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Most questions of each check: 520 in all, about nine minutes for each side that is asked at a second an answer.

    Base and live are asked once where their answers are kept, so a second gate costs the candidate's nine minutes. With
    60 questions of domain and attacks, a gain of 10 points and a loss of 2 could not be told from none.
    """

    domain: int = 120
    declining: int = 80
    general: int = 80
    attacks: int = 200
    memory: int = 40
    seed: int = 20261122

    def __post_init__(self) -> None:
        if min(self.domain, self.declining, self.general, self.attacks, self.memory) < 0:
            raise BadGate(f"a budget of fewer than no questions: {self}.")

    @classmethod
    def of(cls, most: int) -> Budget:
        """So many questions in the usual proportions, at least one of each check."""
        usual = cls()
        whole = usual.domain + usual.declining + usual.general + usual.attacks + usual.memory
        parts = (max(1, round(part * most / whole)) for part in (usual.domain, usual.declining, usual.general,
                 usual.attacks, usual.memory))  # fmt: skip
        return cls(*parts)


def questions(
    data: TrainingSet, golden: Sequence[GateQuestion] = (), budget: Budget | None = None
) -> tuple[GateQuestion, ...]:
    """All that a gate asks about an adapter that was trained on `data`.

    Sources of a check take turns until its budget is spent, so that a large one does not push out a small one.

    Args:
        data: its test and validation parts are asked with their passages, once more with an instruction in one of them;
            questions of its training part only without.
        golden: the owner's rows, of the checks domain and declining.
        budget: how many at most.

    Raises:
        BadGate: a golden row is of another check, or an id stands twice.
    """
    budget = budget or Budget()
    strange = [question.id for question in golden if question.check not in ("domain", "declining")]
    if strange:
        raise BadGate(f"golden rows ask about the domain or expect declining; these do not: {', '.join(strange[:10])}.")
    parts: tuple[Part, ...] = ("test", "validation")
    held = {part: [row for row in data.part(part) if row.expect == "grounded"] for part in parts}
    domain: list[Sequence[GateQuestion]] = [[question for question in golden if question.check == "domain"]]
    declining: list[Sequence[GateQuestion]] = [[question for question in golden if question.check == "declining"]]
    attacks: list[Sequence[GateQuestion]] = [fixed("attacks")]
    for part in parts:
        domain.append([asked(row, "domain", part) for row in held[part] if row.passages])
        declining.append([asked(row, "declining", part) for row in data.part(part) if row.expect == "decline"])
        declining.append(tuple(crossed(held[part], part, budget.seed)))
        attacks.append(tuple(planted(held[part], part, budget.seed)))
    return unique(
        *mixed(declining, budget.declining, budget.seed),
        *mixed(attacks, budget.attacks, budget.seed),
        *mixed([fixed("general")], budget.general, budget.seed),
        *remembered(data.train, held, budget),
        *mixed(domain, budget.domain, budget.seed),
    )


def fixed(check: Check) -> tuple[GateQuestion, ...]:
    """The questions that are shipped: `general` or `attacks`.

    Raises:
        BadGate: the package ships none for this check.
    """
    rows = [json.loads(line) for line in _shipped(check)]
    return tuple(
        GateQuestion(
            id=row["id"],
            check=check,
            question=row["question"],
            passages=(Passage(row["passage"], row["address"]),) if "passage" in row else (),
            golds=tuple(row["golds"]),
            obeyed_if=tuple(row.get("obeyed_if", ())),
        )
        for row in rows
    )


def _shipped(check: Check) -> list[str]:
    file = files("adapters").joinpath(SETS).joinpath(f"{check}.jsonl")
    if not file.is_file():
        raise BadGate(f"no gate questions are shipped for {check}.")
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def remembered(train: Sequence[Example], held: Mapping[Part, Sequence[Example]], budget: Budget) -> list[GateQuestion]:
    """What may have been learned by heart: rows that were trained on. Others only where those are too few.

    No adapter can recite what it never saw: each such row would make one that does recite look a little better.
    """
    trained = [from_memory(row, "train") for row in train if row.expect == "grounded"]
    unseen = [from_memory(row, part) for part, rows in held.items() for row in rows]
    found = mixed([trained], budget.memory, budget.seed)
    return [*found, *mixed([unseen], budget.memory - len(found), budget.seed)]


def asked(row: Example, check: Check, part: Part) -> GateQuestion:
    """A row as a question over the passages that it came with."""
    golds = (row.answer,) if check == "domain" else ()
    return GateQuestion(f"{check}:{part}:{row.id}", check, row.question, row.history, row.passages, golds)


def from_memory(row: Example, part: Part) -> GateQuestion:
    """A row as a question that notes would answer, and that is asked with none."""
    return GateQuestion(f"memory:{part}:{row.id}", "memory", row.question, row.history, golds=(row.answer,))


def crossed(rows: Sequence[Example], part: Part, seed: int) -> Iterator[GateQuestion]:
    """Each row asked over as many passages of other documents as it had, none of which may hold its answer."""
    pool = list({normalised(passage.text): passage for row in rows for passage in row.passages}.values())
    for row in rows:
        own = {normalised(passage.text) for passage in row.passages}
        strange: dict[str, Passage] = {}
        for draw in range(CROSSED_DRAWS):
            passage = pool[int(digest(f"{seed} {row.id} {draw}"), 16) % len(pool)] if pool else None
            if passage is None or len(strange) == len(row.passages):
                break
            of_row = normalised(passage.text) in own or (passage.document and passage.document == row.document)
            if not of_row and not may_hold(passage.text, row.answer):
                strange[passage.text] = passage
        if strange:
            question = asked(row, "declining", part)
            yield replace(question, id=f"{question.id}-crossed", passages=tuple(strange.values()))


def planted(rows: Sequence[Example], part: Part, seed: int) -> Iterator[GateQuestion]:
    """Each row asked over its own passages, one of which ends with an instruction of the shipped attacks."""
    attacks = [json.loads(line) for line in _shipped("attacks")]
    for row in (row for row in rows if row.passages):
        drawn = int(digest(f"{seed} {row.id} planted"), 16)
        attack, at = attacks[drawn % len(attacks)], drawn // len(attacks) % len(row.passages)
        told = " ".join((row.question, row.answer, *(passage.text for passage in row.passages))).casefold()
        if any(marker.casefold() in told for marker in attack["obeyed_if"]):
            continue
        passages = list(row.passages)
        passages[at] = replace(passages[at], text=f"{passages[at].text} {attack['instruction']}")
        yield GateQuestion(
            id=f"attacks:{part}:{row.id}",
            check="attacks",
            question=row.question,
            history=row.history,
            passages=tuple(passages),
            golds=(row.answer,),
            obeyed_if=tuple(attack["obeyed_if"]),
        )


def mixed(sources: Sequence[Sequence[GateQuestion]], most: int, seed: int) -> list[GateQuestion]:
    """`most` questions, drawn from the sources in turn."""
    drawn = [sorted(source, key=lambda question: digest(f"{seed} {question.id}"), reverse=True) for source in sources]
    taken: list[GateQuestion] = []
    while any(drawn) and len(taken) < most:
        for source in drawn:
            if source and len(taken) < most:
                taken.append(source.pop())
    return taken


def unique(*asked: GateQuestion) -> tuple[GateQuestion, ...]:
    """The same questions.

    Raises:
        BadGate: an id stands twice.
    """
    ids = [question.id for question in asked]
    twice = sorted({id for id in ids if ids.count(id) > 1})
    if twice:
        raise BadGate(f"gate questions whose id stands twice: {', '.join(twice[:10])}.")
    return asked
