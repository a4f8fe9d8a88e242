"""The gate: may a candidate adapter go live? It must prove it on questions that it was not trained on.

Every side is asked the same questions over the same passages: the base weights alone, the live adapter if there is one,
the candidate. The candidate must be right more often than the base model, and must not have forgotten to decline,
begun to obey its passages, lost general ability, or learned facts by heart. A person promotes; this file only reports.

`gate_questions.py` says what is asked, `gate_asking.py` asks, `gate_scores.py` counts, `gate_checks.py` decides. Knows
no model: answering and grading are given. Called by `assistant/gating.py`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from adapters import gate_checks, gate_samples
from adapters.card import check_gate
from adapters.errors import BadGate
from adapters.gate_asking import Kept, ask_all
from adapters.gate_questions import unique
from adapters.gate_scores import score
from adapters.gate_types import Answer, GateProgress, GateQuestion, GateResult, Judge, Rules, Side


def run(
    questions: Sequence[GateQuestion],
    answer: Answer,
    judge: Judge,
    *,
    live: bool = False,
    rules: Rules | None = None,
    kept: Kept | None = None,
) -> Generator[GateProgress | GateResult, None, None]:
    """Ask all sides, compare, decide. Closing the generator stops it after the answer that is being written.

    Args:
        questions: what is asked, of every check.
        answer: gives a side's reply to a question.
        judge: how replies are judged.
        live: whether there is a live adapter to be compared with, too.
        rules: what must be reached.
        kept: answers of earlier gates.

    Yields:
        Progress after each answer, and last the result.

    Raises:
        BadGate: there is nothing to ask, or an id stands twice.
        AdapterError: answers cannot be kept.
    """
    rules = rules or Rules()
    if not questions:
        raise BadGate("there is nothing to ask. Give the held-out part, golden rows, or the sets that are shipped.")
    sides: tuple[Side, ...] = ("base", "live", "candidate") if live else ("base", "candidate")
    rows = yield from ask_all(unique(*questions), answer, sides, kept)
    scored = score(rows, sides, judge, rules.answerable_declined)
    report = gate_checks.decide(rows, scored, sides, rules)
    check_gate(report)
    yield GateResult(report, tuple(gate_samples.chosen(scored, sides, rules.seed)))
