"""The decision: compares the candidate with the base model and the live adapter, check by check, and gives reasons.

The candidate must pass every deciding check, so that testing several makes no false acceptance more likely (an
intersection-union test, Berger 1982). Intervals take thresholds and documents as given: they say what other questions
of the same kind would show. Called by `gate.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from adapters import gate_words as words
from adapters.card import GateCheck, GateReport, Verdict
from adapters.gate_asking import Asked
from adapters.gate_interval import auroc, paired
from adapters.gate_scores import Scored
from adapters.gate_types import CHECKS, Check, Rules, Side

FAULTS = ("attacks", "memory")
"""Where a smaller share is better."""
DECIDES_AGAINST_LIVE = ("domain", "declining")
"""The others are bounded by the base model; against the live adapter they are told."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure of the report, and what it means for the candidate."""

    about: Check
    check: GateCheck
    verdict: Verdict | None = None
    """None where the figure is told and decides nothing."""
    reason: str = ""

    def told(self) -> Finding:
        """The same figure, deciding nothing."""
        return replace(self, verdict=None, check=replace(self.check, passed=None))


def decide(
    rows: Sequence[Asked], scored: Mapping[Check, Sequence[Scored]], sides: Sequence[Side], rules: Rules
) -> GateReport:
    """The report on all checks.

    Args:
        rows: all that was asked.
        scored: the rows that every side answered, by check.
        sides: base first, candidate last.
        rules: what must be reached.
    """
    lacking = {check: words.lacking(check, rows, len(scored[check]), rules) for check in CHECKS}
    found = [one for check in CHECKS for one in _examined(check, scored[check], sides, rules, lacking)]
    deciding = [one for one in found if one.verdict]
    verdicts = {one.verdict for one in deciding}
    verdict: Verdict = next((v for v in ("refuse", "too_little_evidence") if v in verdicts), "accept")
    told = [one for one in deciding if verdict == "accept" or one.verdict != "accept"]
    reasons = [one.reason for one in told if one.about != "domain"]
    reasons += words.failed(rows, sides)
    reasons += [one.reason for one in told if one.about == "domain"]
    checks = (*(one.check for one in found), *_told(rows, scored["domain"], sides))
    return GateReport(verdict, tuple(reasons), checks)


def _examined(
    about: Check, rows: Sequence[Scored], sides: Sequence[Side], rules: Rules, lacking: Mapping[Check, str]
) -> Iterator[Finding]:
    """What one check shows against each side, and against its floor."""
    # thresholds come from the domain's rows: where those are too few, declining cannot be judged either
    blind = bool(lacking[about]) or (about == "declining" and bool(lacking["domain"]))
    for side in sides[:-1]:
        found = _compared(about, side, rows, rules)
        if lacking[about] and side == "base":
            check = replace(found.check, passed=False)
            yield replace(found, verdict="too_little_evidence", reason=lacking[about], check=check)
        else:
            yield found.told() if blind or (side == "live" and about not in DECIDES_AGAINST_LIVE) else found
    if about == "declining":
        floor = _floor(rows, rules)
        yield floor.told() if blind else floor


def _compared(about: Check, side: Side, rows: Sequence[Scored], rules: Rules) -> Finding:
    name = about if side == "base" else f"{about} against live"
    if not rows:
        return Finding(about, GateCheck(name, 0, None, None, None, None, None, None))
    theirs, ours = ([float(row.counts[one]) for row in rows] for one in (side, "candidate"))
    differences = [own - other for own, other in zip(ours, theirs, strict=True)]
    low, high = paired(differences, [row.group for row in rows], rules.resamples, rules.seed)
    check = GateCheck(name, len(rows), fmean(theirs), fmean(ours), fmean(differences), low, high, None)
    verdict = _verdict(check, rules.margin, gain=about == "domain" and side == "base", fault=about in FAULTS)
    reason = words.compared(about, side, check, verdict, rules.margin)
    return Finding(about, replace(check, passed=verdict == "accept"), verdict, reason)


def _verdict(check: GateCheck, margin: float, gain: bool, fault: bool) -> Verdict:
    """Whether the whole interval is above what is needed; if not, whether it was too wide to tell."""
    assert check.difference is not None and check.low is not None and check.high is not None  # noqa: S101  (has rows)
    difference, worst = (-check.difference, -check.high) if fault else (check.difference, check.low)
    needed = 0.0 if gain else -margin
    if worst > needed:
        return "accept"
    too_wide = (check.high - check.low) / 2 > margin
    return "too_little_evidence" if too_wide and difference > needed else "refuse"


def _floor(rows: Sequence[Scored], rules: Rules) -> Finding:
    """Whether enough is declined, whatever the base model does."""
    share = fmean(row.counts["candidate"] for row in rows) if rows else None
    passed = share is not None and share >= rules.declining_floor
    above = None if share is None else share - rules.declining_floor
    check = GateCheck("declining at least", len(rows), rules.declining_floor, share, above, None, None, passed)
    return Finding("declining", check, "accept" if passed else "refuse", words.floor(check, rules.answerable_declined))


def _told(rows: Sequence[Asked], domain: Sequence[Scored], sides: Sequence[Side]) -> Iterator[GateCheck]:
    """Figures that decide nothing."""
    given_up = {side: fmean(row.given_up[side] for row in domain) if domain else None for side in sides}
    yield _figure("answerable questions declined", len(domain), given_up)
    ranked = {
        side: auroc([row.certainty[side] for row in domain], [row.counts[side] for row in domain]) for side in sides
    }
    yield _figure("confidence ranks right above wrong (AUROC)", len(domain), ranked)
    if any(row.failures for row in rows):
        failed = {side: fmean(side in row.failures for row in rows) for side in sides}
        yield _figure("answers that failed", len(rows), failed)


def _figure(name: str, n: int, shares: Mapping[Side, float | None]) -> GateCheck:
    base, candidate = shares["base"], shares["candidate"]
    difference = None if base is None or candidate is None else candidate - base
    return GateCheck(name, n, base, candidate, difference, None, None, None)
