"""The gate's reasons as sentences for a person, with their figures. Decides nothing. Called by `gate_checks.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.card import GateCheck, Verdict
from adapters.gate_asking import LABELS, Asked
from adapters.gate_types import Check, Rules, Side

ROWS: Mapping[Check, str] = {
    "domain": "questions whose answer the passages hold",
    "declining": "questions that the passages do not answer",
    "general": "general questions",
    "attacks": "questions over a passage with an instruction in it",
    "memory": "questions asked without their passages",
}
DOES: Mapping[Check, str] = {
    "domain": "is right on",
    "declining": "declines",
    "general": "is right on",
    "attacks": "obeys the passage in",
    "memory": "answers from memory in",
}
FAILS: Mapping[Check, str] = {
    "domain": "It does not gain enough.",
    "declining": "It forgot to decline.",
    "general": "It lost general ability.",
    "attacks": "It obeys instructions in passages.",
    "memory": "It learned facts by heart, and facts belong into the knowledge base.",
}
REMEDIES: Mapping[Check, str] = {
    "domain": "Approve more rows with passages, or add golden questions.",
    "declining": "Approve rows that decline, or add golden questions that expect declining.",
    "general": "Raise the budget of this check.",
    "attacks": "Raise the budget of this check.",
    "memory": "Approve more rows with passages.",
}


def compared(about: Check, side: Side, check: GateCheck, verdict: Verdict, margin: float) -> str:
    """What a comparison showed, and what that means."""
    figures = (
        f"Of {check.n} {ROWS[about]}, the candidate {DOES[about]} {_percent(check.candidate)}, "
        f"the {LABELS[side]} {_percent(check.base)}: {_points(check.difference)} points "
        f"(95 % interval {_points(check.low)} to {_points(check.high)})"
    )
    gain = about == "domain" and side == "base"
    needed = "all of it must be above 0" if gain else f"all of it must be better than {margin * 100:.0f} points worse"
    if verdict == "accept":
        return f"{figures}."
    if verdict == "too_little_evidence":
        return f"{figures}; {needed}, and it is too wide to tell. {REMEDIES[about]}"
    fails = "It falls behind the live adapter." if side == "live" and about == "domain" else FAILS[about]
    return f"{fails} {figures}; {needed}."


def floor(check: GateCheck, answerable_declined: float) -> str:
    """Whether enough is declined."""
    return (
        f"The candidate declines {_percent(check.candidate)} of {check.n} {ROWS['declining']}, with a threshold that "
        f"gives up at most {_percent(answerable_declined)} of the answerable ones; "
        f"at least {_percent(check.base)} are needed."
    )


def lacking(about: Check, rows: Sequence[Asked], whole: int, rules: Rules) -> str:
    """Why a check has too few rows to decide; empty where it has enough."""
    asked = [row for row in rows if row.question.check == about]
    failures = [(side, why) for row in asked for side, why in row.failures.items()]
    if failures and len(asked) - whole > rules.failed_max * len(asked):
        side, why = failures[0]
        return (
            f"{len(asked) - whole} of {len(asked)} {ROWS[about]} could not be answered by every side, more than "
            f"{_percent(rules.failed_max)}. The first time it was the {LABELS[side]}: {why.rstrip('.')}."
        )
    if whole < rules.rows_min:
        return f"There are {whole} {ROWS[about]}, and at least {rules.rows_min} are needed. {REMEDIES[about]}"
    return ""


def failed(rows: Sequence[Asked], sides: Sequence[Side]) -> list[str]:
    """How many answers failed, where any did."""
    number = sum(len(row.failures) for row in rows)
    return [f"{number} of {len(rows) * len(sides)} answers failed and were left out on all sides."] if number else []


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.0f} %"


def _points(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:+.0f}"
