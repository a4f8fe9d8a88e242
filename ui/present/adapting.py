"""Examples, trainings and adapters as HTML. Formats and escapes; never decides. Called by the console's pages."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adapters.card import AdapterCard, GateCheck, GateReport
from assistant.corrections import Correction
from ui.present import escaped, facts, problem_html

VERDICTS = {"accept": "accepted", "refuse": "refused", "too_little_evidence": "too little evidence"}
CHANGES = {"gained": "better than the base model", "lost": "worse than the base model", "same": "as the base model"}
ERASED = (
    "Approved corrections erased since it was made: {count}. It may have been trained on them: train it anew without "
    "them, or retire it."
)
CURVE = (600, 160)
"""Width and height of a loss curve, in units of its view box."""


def correction_html(one: Correction) -> str:
    """A correction, with what was taken out and put in."""
    told = {
        "State": one.state + (f" by {one.reviewed_by}" if one.reviewed_by else ""),
        "Made": f"{one.made_by}, {one.source}, {one.made_at[:16].replace('T', ' ')}",
        "Difference": f"{one.distance:.0%}",
        "Consent": "yes" if one.consent else "no: it will not be trained on",
    }
    return (
        f'<div class="trace"><h3>{escaped(one.question)}</h3>{facts(told)}<h4>What changed</h4>'
        f'<div class="draft">{_difference(one.draft, one.correction)}</div></div>'
    )


def _difference(before: str, after: str) -> str:
    """Two texts as one: what went struck through, what came marked."""
    old, new = before.split(), after.split()
    parts = []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            parts.append(escaped(" ".join(old[i:j])))
            continue
        if i < j:
            parts.append(f"<del>{escaped(' '.join(old[i:j]))}</del>")
        if k < m:
            parts.append(f"<ins>{escaped(' '.join(new[k:m]))}</ins>")
    return " ".join(parts)


def preview_html(look: Mapping[str, Any]) -> str:
    """A training set at a glance: what `rungs train --preview` tells."""
    told: dict[str, object] = {}
    for part, kinds in look["counts"].items():
        named = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
        told[part.capitalize()] = f"{sum(kinds.values())} rows ({named or 'none'})"
    told["Tokens"] = f"{look['tokens']:,} to train on; a row has {look['lengths']['median']}, at most "
    told["Tokens"] = f"{told['Tokens']}{look['lengths']['longest']}"
    for name in ("left_out", "masked"):
        named = ", ".join(f"{count} {what}" for what, count in look[name].items() if count)
        told |= {name.replace("_", " ").capitalize(): named} if named else {}
    if look["seconds"] is not None:
        told["Time"] = minutes(look["seconds"])
    samples = "".join(
        f"<details><summary>{escaped(one['expect'])}: {escaped(one['question'][:200])}</summary>"
        f'<div class="passage">{escaped(one["answer"][:1000])}</div></details>'
        for one in look["samples"]
    )
    warnings = "".join(problem_html(warning) for warning in look["warnings"])
    return f'<div class="trace">{facts(told)}{warnings}<h4>Samples</h4>{samples}</div>'


def job_html(name: str, state: Mapping[str, Any]) -> str:
    """How far a training is: its stage, a bar, the loss curve, speed and time left."""
    stage = str(state["stage"])
    done, total = state.get("step", 0), state.get("steps") or 0
    if stage in ("general", "gate") and state.get("asking"):
        done, total, label = state["asking"]
        stage = f"{'the gate asks the' if stage == 'gate' else 'general questions to the'} {label}: {done} of {total}"
    share = 1.0 if stage in ("done", "trained") else done / total if total else 0.0
    told: dict[str, object] = {"Stage": stage + (f": {state['reason']}" if state.get("reason") else "")}
    if state.get("steps"):
        told["Step"] = f"{state['step']} of {state['steps']}"
    if state.get("tokens_per_second"):
        told["Speed"] = f"{state['tokens_per_second']:.0f} tokens/s"
    if state["stage"] == "training" and state.get("seconds_left"):
        told["Time left"] = minutes(state["seconds_left"])
    bar = (
        f'<div class="bar-row"><span class="bar-name">{escaped(name)}</span><span class="bar-track">'
        f'<span class="bar lora" style="width:{100 * share:.1f}%"></span></span>'
        f'<span class="bar-count">{share:.0%}</span></div>'
    )
    picture = f'<div role="img" aria-label="{share:.0%} done">{bar}</div>'
    return f'<div class="trace" role="status">{picture}{facts(told)}{curve_html(state.get("curve", ()))}</div>'


def curve_html(points: Sequence[tuple[float, float]]) -> str:
    """The loss by step as a picture."""
    if len(points) < 2:
        return ""
    width, height = CURVE
    last, most = max(step for step, _ in points), max(loss for _, loss in points) or 1.0
    line = " ".join(f"{width * step / last:.1f},{height * (1 - loss / most):.1f}" for step, loss in _smoothed(points))
    return (
        f'<svg class="curve" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="loss from {points[0][1]:.2f} to {points[-1][1]:.2f}">'
        f'<polyline points="{line}" /></svg><p class="sure">Loss, smoothed: highest {most:.2f}, '
        f"now {_smoothed(points)[-1][1]:.2f}</p>"
    )


def _smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    smooth, found = points[0][1], []
    for step, loss in points:
        smooth = 0.9 * smooth + 0.1 * loss
        found.append((step, smooth))
    return found


def card_html(card: AdapterCard, samples: Sequence[Mapping[str, Any]], erased: int = 0) -> str:
    """A revision: what it is, what the gate said, and what the sides answered.

    Args:
        card: of the revision.
        samples: of what the sides answered.
        erased: approved corrections that visitors or age erased since it was made.
    """
    gate = card.gate or card.gate_elsewhere
    settings = card.settings
    told: dict[str, object] = {
        "Revision": card.revision,
        "Stage": card.stage + (f", by {card.promoted_by}" if card.promoted_by and card.stage == "live" else ""),
        "Made": card.created_at[:16].replace("T", " "),
        "Base model": card.base_name,
        "LoRA": f"rank {settings.rank}, alpha {settings.alpha:g}, learning rate {settings.learning_rate or '-'}",
        "Data": "; ".join(f"{one.rows} of {one.name} ({one.licence})" for one in card.lineage.sources) or "unknown",
        "Loss": f"{card.loss_first} to {card.loss_last}",
    }
    if card.reason:
        told["Reason"] = card.reason
    verdict = gate_html(gate, elsewhere=card.gate is None) if gate else '<p class="empty">No gate has looked at it.</p>'
    head = f"<h3>{escaped(card.name)}</h3>{facts(told)}"
    if erased and any(source.name.startswith("corrections") for source in card.lineage.sources):
        head += f'<p class="problem">{ERASED.format(count=erased)}</p>'
    return f'<div class="trace">{head}<h4>Gate</h4>{verdict}{samples_html(samples)}</div>'


def gate_html(gate: GateReport, elsewhere: bool = False) -> str:
    """The verdict, its reasons, and each check with its interval."""
    head = f"{VERDICTS[gate.verdict]}{' by another deployment' if elsewhere else ''}"
    reasons = "".join(f"<li>{escaped(reason)}</li>" for reason in gate.reasons)
    rows = "".join(_check(check) for check in gate.checks)
    return (
        f'<p><span class="verdict {gate.verdict}">{head}</span></p><ul>{reasons}</ul><table class="gate"><thead><tr>'
        "<th>Check</th><th>Rows</th><th>Base</th><th>Candidate</th><th>Difference (95 %)</th><th></th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _check(check: GateCheck) -> str:
    spread = "" if check.low is None or check.high is None else f" ({_points(check.low)} to {_points(check.high)})"
    passed = {True: "passed", False: "failed", None: "told only"}[check.passed]
    cells = (
        check.name,
        str(check.n),
        _share(check.base),
        _share(check.candidate),
        ("-" if check.difference is None else _points(check.difference)) + spread,
        passed,
    )
    return f"<tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in cells)}</tr>"


def samples_html(samples: Sequence[Mapping[str, Any]]) -> str:
    """Answers of the gate's sides, side by side."""
    if not samples:
        return ""
    return f"<h4>Sample answers</h4>{''.join(_samples(samples))}"


def _samples(samples: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for one in samples:
        gold = f'<p class="sure">Expected: {escaped("; ".join(one["golds"][:3])[:400])}</p>' if one["golds"] else ""
        yield (
            f"<details><summary>{escaped(one['check'])}, {CHANGES[one['change']]}: {escaped(one['question'][:160])}"
            f"</summary>{gold}{sides_html(one['replies'])}</details>"
        )


def sides_html(replies: Mapping[str, str]) -> str:
    """What each side said, in columns."""
    columns = "".join(
        f"<div><b>{escaped(side)}</b><div class='draft'>{escaped(text[:2000]) or '(nothing)'}</div></div>"
        for side, text in replies.items()
    )
    return f'<div class="sides">{columns}</div>'


def minutes(seconds: float) -> str:
    """A time as people read it."""
    hours, rest = int(seconds // 3600), max(1, round(seconds % 3600 / 60))
    return f"about {hours} h {rest} min" if hours else f"about {rest} min"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _points(value: float) -> str:
    return f"{100 * value:+.0f}"
