"""The gate on the real thing: prompts as serving sends them, a `ChatModel` with each adapter, grading by golds.

Puts together what `adapters/gate.py` takes as callables, and makes questions of the owner's golden rows. Decides
nothing, loads no adapter and promotes none. Called by the commands and the console.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from adapters.errors import AnswerFailed, BadGate
from adapters.gate_types import GateQuestion, Judge, Reply, Side
from adapters.types import Passage
from adapters.types import Turn as Earlier
from assistant import prompts
from assistant.errors import ModelError
from assistant.evaluation.golden import GoldenRow
from assistant.evaluation.grading import Grade, grade
from assistant.levels.rag import declines
from assistant.types import Answer, ChatModel, Completed, Message, Question, Token, Turn
from knowledge.types import Embedder, Sentence


@dataclass(frozen=True, slots=True)
class Answering:
    """Lets a model answer as each side: the `Answer` of a gate.

    Raises:
        BadGate: the model has no such adapter, or the candidate is the live one.
    """

    model: ChatModel
    candidate: str
    """The name that the model loaded the candidate under."""
    live: str | None
    answer_tokens: int
    """As serving has it."""
    cancel: threading.Event = field(default_factory=threading.Event)
    """Set by who stops a gate in the middle of an answer."""

    def __post_init__(self) -> None:
        missing = {name for name in (self.candidate, self.live) if name} - set(self.model.adapters)
        if missing:
            raise BadGate(f"{self.model.name} has no adapter {', '.join(sorted(missing))} loaded; load it to gate it.")
        if self.candidate == self.live:
            raise BadGate(
                f"{self.candidate} is to be compared with itself. Load the candidate under a name of its own."
            )

    def __call__(self, question: GateQuestion, side: Side) -> Reply:
        """What a side replies.

        Raises:
            AnswerFailed: the model could not answer, or was cancelled.
        """
        adapter = {"base": None, "live": self.live, "candidate": self.candidate}[side]
        tokens: list[Token] = []
        finish = None
        try:
            stream = self.model.stream(
                messages_of(question), max_tokens=self.answer_tokens, adapter=adapter, cancel=self.cancel
            )
            for item in stream:
                if isinstance(item, Completed):
                    finish = item.finish
                else:
                    tokens.append(item)
        except ModelError as error:
            raise AnswerFailed(str(error)) from error
        if finish == "cancelled":
            raise AnswerFailed("the answer was cancelled")
        text = "".join(token.text for token in tokens).strip().encode("utf-8", "replace").decode()
        return Reply(text, tuple(token.logprob for token in tokens if token.logprob is not None))

    def keys(self, versions: Mapping[Side, str]) -> dict[Side, str]:
        """What answers, for each side whose answers may be kept: everything that an answer depends on.

        Args:
            versions: of the adapters, as hashes of their files; a side without one is asked afresh. Base needs none.
        """
        fixed = f"{self.model.fingerprint} {prompts.fingerprint()} {self.answer_tokens}"
        return {"base": fixed, **{side: f"{fixed} {version}" for side, version in versions.items() if side != "base"}}


def messages_of(question: GateQuestion) -> tuple[Message, ...]:
    """What serving would send. The notes' mark is the same for every side, so that only the weights differ."""
    history = tuple(Turn(turn.role, turn.text) for turn in question.history)
    asked = Question(question.question, "", history, "gate")
    if question.check == "general":
        return prompts.alone(asked)
    notes = [(passage.address, passage.text) for passage in question.passages]
    mark = hashlib.sha256(f"{question.question}{notes}".encode("utf-8", "replace")).hexdigest()[:6]
    return prompts.from_notes(asked, notes, mark)


def judge_by(embedder: Embedder) -> Judge:
    """Grading as `rungs evaluate` does it, and declining as the levels see it."""

    def graded(question: GateQuestion, text: str) -> Grade:
        row = GoldenRow(question.id, question.question, expect="answer", answers=question.golds)
        return grade(row, Answer(text, "answered"), embedder)

    return Judge(
        right=lambda question, text: graded(question, text).correct,
        holds=lambda question, text: graded(question, text).contains,
        declines=declines,
    )


def golden_questions(
    rows: Iterable[GoldenRow], shown: Callable[[Question], Sequence[Sentence]]
) -> Iterator[GateQuestion]:
    """The owner's golden rows as questions of a gate.

    Rows that expect neither an answer nor declining are left out; so are rows whose gold document retrieval did not
    bring: no adapter can be blamed or praised for those.

    Args:
        rows: of a golden set.
        shown: the sentences that serving would show a model.
    """
    for row in rows:
        if row.expect not in ("answer", "decline"):
            continue
        sentences = shown(Question(row.question, "", row.history, "gate"))
        found = {sentence.passage.document for sentence in sentences}
        answers = row.expect == "answer"
        if answers and (not row.answers or not sentences or (row.gold_docs and found.isdisjoint(row.gold_docs))):
            continue
        check: Literal["domain", "declining"] = "domain" if answers else "declining"
        yield GateQuestion(
            id=f"{check}:golden:{row.id}",
            check=check,
            question=row.question,
            history=tuple(Earlier(turn.role, turn.text) for turn in row.history),
            passages=tuple(Passage(s.text, prompts.address_of(s), s.passage.document) for s in sentences),
            golds=row.answers if answers else (),
        )
