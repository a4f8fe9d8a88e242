"""Content gaps: questions that got no good answer, grouped by what they are about, the worst first.

A question counts where it was declined, handed to a person, or rated not helpful. Groups are made greedily by cosine
(leader clustering: Hartigan, Clustering Algorithms, 1975). Looks and notes decisions; answers nothing. Called by the
console.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from sqlalchemy import Engine, delete, insert, select

from assistant.fates import Asked, asked
from assistant.tables import gap_decisions
from knowledge.database import reading, writing
from knowledge.types import Embedder, Vectors

Decision = Literal["ignored", "answered"]
LIKE_FROM = 0.6
"""Cosine of a question and a group from which it belongs to it: of 0.45 to 0.8 the best mean F1 of pairs (0.40) on 800
questions each of banking77 and clinc-oos, whose intents are finer than a gap (`bench/gap_grouping.py`)."""
QUESTIONS_MAX = 2000
"""Questions that are grouped, the latest first."""
TEXT_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Gap:
    """Questions about one thing that got no good answer."""

    questions: tuple[Asked, ...]
    """The most typical first, then the latest first."""
    ignored: bool

    @property
    def id(self) -> str:
        """The most typical question's."""
        return self.questions[0].id

    @property
    def title(self) -> str:
        """The most typical question's text."""
        return self.questions[0].text

    @property
    def handoffs(self) -> int:
        """How many of them ended with a person."""
        return sum(one.fate == "handed_off" for one in self.questions)

    @property
    def disputed(self) -> int:
        """How many of them were rated not helpful."""
        return sum(one.thumb < 0 for one in self.questions)

    @property
    def declined(self) -> int:
        """How many of them were declined."""
        return sum(one.fate == "declined" for one in self.questions)


@dataclass(slots=True)
class _Group:
    members: list[int]
    centre: Vectors
    """Sum of the members' vectors."""


@dataclass(frozen=True, slots=True)
class GapFinder:
    """Finds gaps; remembers the vectors of questions that it has seen."""

    engine: Engine
    embedder: Embedder
    vectors: dict[str, Vectors] = field(default_factory=dict)

    def find(self, since: str | None = None, *, ignored: bool = False) -> tuple[Gap, ...]:
        """The gaps, most questions and hand-offs first; those that were ignored only if asked for.

        What was answered is left out; when it is asked again later, that is a new gap.
        """
        decided = self._decided()
        rows = [row for row in _without_answer(asked(self.engine, since)) if decided.get(row.id) != "answered"]
        rows = rows[::-1][:QUESTIONS_MAX]
        if not rows:
            return ()
        gaps = []
        vectors = self._embedded([row.text for row in rows])
        for group in grouped(vectors):
            centre = group.centre / max(float(np.linalg.norm(group.centre)), 1e-9)
            typical = max(group.members, key=lambda i: (round(float(vectors[i] @ centre), 4), -i))
            others = (rows[i] for i in group.members if i != typical)
            marked = any(decided.get(rows[i].id) == "ignored" for i in group.members)
            gaps.append(Gap((rows[typical], *others), marked))
        kept = [gap for gap in gaps if ignored or not gap.ignored]
        return tuple(sorted(kept, key=lambda gap: (-len(gap.questions) - gap.handoffs, gap.title)))

    def decide(self, gap: Gap, decision: Decision | None, by: str) -> None:
        """Note what is to happen with a gap; None takes it back."""
        ids = [one.id for one in gap.questions]
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with writing(self.engine) as connection:
            for id in ids:
                connection.execute(delete(gap_decisions).where(gap_decisions.c.question == id))
                if decision:
                    row = {"question": id, "decision": decision, "decided_by": by, "decided_at": now}
                    connection.execute(insert(gap_decisions), row)

    def _decided(self) -> dict[str, str]:
        with reading(self.engine) as connection:
            rows = connection.execute(select(gap_decisions.c.question, gap_decisions.c.decision))
            return {question: decision for question, decision in rows}

    def _embedded(self, texts: Sequence[str]) -> Vectors:
        cut = [text[:TEXT_CHARACTERS] for text in texts]
        fresh = [text for text in dict.fromkeys(cut) if text not in self.vectors]
        known: Mapping[str, Vectors] = dict(self.vectors)
        if fresh:
            known = {**known, **dict(zip(fresh, self.embedder.embed(fresh), strict=True))}
        kept = {text: known[text] for text in dict.fromkeys(cut)}
        self.vectors.clear()
        self.vectors.update(kept)
        return np.array([kept[text] for text in cut], dtype=np.float32)


def grouped(vectors: Vectors, like_from: float = LIKE_FROM) -> list[_Group]:
    """Unit vectors to groups: each joins the group whose centre is nearest, or begins one.

    Args:
        vectors: shape (n, dimension).
        like_from: least cosine of a vector and a group's centre.
    """
    groups: list[_Group] = []
    centres = np.empty_like(vectors)
    for index, vector in enumerate(vectors):
        if groups:
            cosines = centres[: len(groups)] @ vector
            nearest = int(cosines.argmax())
            if cosines[nearest] >= like_from:
                group = groups[nearest]
                group.members.append(index)
                group.centre = group.centre + vector
                centres[nearest] = group.centre / max(float(np.linalg.norm(group.centre)), 1e-9)
                continue
        centres[len(groups)] = vector
        groups.append(_Group([index], vector))
    return groups


def _without_answer(rows: Sequence[Asked]) -> list[Asked]:
    """Questions without a good answer. "I want a person" is no gap; what was asked before it is."""
    return [row for row in rows if row.fate in ("declined", "handed_off", "disputed") and not row.wants_person]
