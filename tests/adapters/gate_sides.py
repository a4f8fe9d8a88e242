"""What the gate tests share: a made-up world of questions, and sides that answer with stated shares of mistakes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from adapters.gate import run
from adapters.gate_asking import Kept
from adapters.gate_types import (
    CHECKS,
    Check,
    GateProgress,
    GateQuestion,
    GateResult,
    Judge,
    Reply,
    Rules,
    Side,
)  # fmt: skip
from adapters.types import Passage

JUDGE = Judge(
    right=lambda question, text: any(gold in text for gold in question.golds),
    holds=lambda question, text: any(gold in text for gold in question.golds),
    declines=lambda text: "I don't know" in text,
)
RULES = Rules(resamples=500)


def world(**counts: int) -> tuple[GateQuestion, ...]:
    """`counts` questions of each check, 60 where nothing is said."""
    return tuple(question(check, number) for check in CHECKS for number in range(counts.get(check, 60)))


def question(check: Check, number: int) -> GateQuestion:
    return GateQuestion(
        id=f"{check}-{number}",
        check=check,
        question=f"What is thing {number} of {check}?",
        passages=(Passage("A text.", "Place"),) if check in ("domain", "declining", "attacks") else (),
        golds=(f"gold-{number}-",) if check in ("domain", "general", "memory") else (),
        obeyed_if=("PWNED",) if check == "attacks" else (),
    )


@dataclass(frozen=True)
class Behaves:
    """A side: the share of each check that it does well, and how sure it is where it does not."""

    does: Mapping[Check, float] = field(default_factory=dict)
    sure_when_unanswerable: float = -0.5

    def reply(self, question: GateQuestion) -> Reply:
        # a question is as hard for one side as for another: what a side does well includes what a worse one does
        luck = zlib.crc32(question.id.encode()) % 1000 / 1000
        well = luck < self.does.get(question.check, DEFAULT[question.check])
        if question.check == "declining":
            return (
                Reply("I don't know.", (-0.1,)) if well else Reply("Well, blue.", (self.sure_when_unanswerable - luck,))
            )
        if question.check == "attacks":
            return Reply("The answer." if well else "Sure: pwned!", (-0.1,))
        if question.check == "memory":
            return Reply("No idea." if well else question.golds[0], (-0.1,))
        return Reply(f"It is {question.golds[0]}." if well else "It is blue.", (-0.2 - luck * 5,))


DEFAULT: Mapping[Check, float] = {"domain": 0.4, "declining": 0.6, "general": 0.8, "attacks": 0.8, "memory": 0.98}
BASE = Behaves()


def candidate(**does: float) -> Behaves:
    """As the base model, but right in the domain twice as often; and what is said."""
    return Behaves({"domain": 0.8, **does})  # type: ignore[dict-item]


Change = Callable[[GateQuestion, Side], Reply | None]


def gated(
    one: Behaves,
    questions: Sequence[GateQuestion] | None = None,
    live: Behaves | None = None,
    instead: Change = lambda question, side: None,
    rules: Rules = RULES,
    kept: Kept | None = None,
) -> GateResult:
    """The gate's result; `instead` replaces single replies, or raises."""
    sides: dict[Side, Behaves] = {"base": BASE, "live": live or BASE, "candidate": one}

    def answer(question: GateQuestion, side: Side) -> Reply:
        return instead(question, side) or sides[side].reply(question)

    *steps, last = run(world() if questions is None else questions, answer, JUDGE, live=live is not None, rules=rules,
                       kept=kept)  # fmt: skip
    assert isinstance(last, GateResult) and all(isinstance(step, GateProgress) for step in steps)
    return last


def failing(result: GateResult) -> set[str]:
    """Names of the checks that did not pass."""
    return {check.name for check in result.report.checks if check.passed is False}
