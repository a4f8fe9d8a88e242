"""Why an answer is what it is, at three depths: a sentence, the climb with its thresholds, everything.

Formats and escapes; never decides. Called by the console.
"""

from __future__ import annotations

from collections.abc import Sequence

from assistant.routing import ASKED_FOR_A_PERSON
from assistant.stored import Feedback, StoredTurn
from assistant.types import Attempt, Trace
from ui.present import LEVEL_WORDS, OUTCOME_WORDS, STATE_WORDS, answer_html, escaped, trace_html
from ui.present.tables import folded

THUMBS = {1: "Rated helpful", -1: "Rated not helpful"}


def story_html(trace: Trace, thumbs: Sequence[Feedback], turns: Sequence[StoredTurn]) -> str:
    """An answer at three depths, each below the one before."""
    rated = "".join(
        f'<p class="rated">{THUMBS[one.value]}{": " + escaped(one.reason) if one.reason else ""}</p>' for one in thumbs
    )
    whole = trace_html(trace, [(one.value, one.reason) for one in thumbs])
    said = "".join(_turn(turn, turn.trace_id == trace.id) for turn in turns)
    return (
        f'<div class="story card"><h2>{escaped(trace.question.text)}</h2>'
        f'<p class="why">{escaped(why(trace))}</p>{rated}'
        f'<h3>The climb</h3>{climb_table(trace.attempts)}<h3>The answer</h3><div class="draft">'
        f"{answer_html(trace.answer)}</div>"
        + (
            folded(f"The conversation, {len(turns)} questions", f'<div class="turns">{said}</div>')
            if len(turns) > 1
            else ""
        )
        + folded("Everything: signals, drafts, passages, versions", whole, "whole")
        + "</div>"
    )


def why(trace: Trace) -> str:
    """One sentence: why this answer."""
    answer, tried = trace.answer, [attempt for attempt in trace.attempts if not attempt.skipped_because]
    if answer.level:
        by = next(attempt for attempt in tried if attempt.accepted)
        lead = f"{LEVEL_WORDS[answer.level]}: {_why(by)}"
        before = [attempt for attempt in tried if attempt is not by]
        held = "; ".join(f"{LEVEL_WORDS[attempt.level].lower()} was held back, {_why(attempt)}" for attempt in before)
        return f"{lead}{'. Before it, ' + held if held else ''}."
    if answer.outcome == "handed_off":
        return f"Handed to a person: {ASKED_FOR_A_PERSON}."
    if not tried:
        reasons = "; ".join(f"{LEVEL_WORDS[a.level].lower()}: {a.skipped_because}" for a in trace.attempts)
        return f"Declined without trying a level ({reasons})."
    if all(attempt.failure for attempt in tried):
        return f"Declined, since every level failed: {tried[-1].failure}"
    best = max(tried, key=lambda attempt: attempt.confidence or 0.0)
    lead = "what was written could not be shown" if best.held_back_because else "no level was sure enough"
    return f"Declined: {lead}. The nearest was {LEVEL_WORDS[best.level].lower()}, {_why(best)}."


def climb_table(attempts: Sequence[Attempt]) -> str:
    """Each level: what became of it, its confidence against its threshold, seconds and tokens."""
    return f'<ol class="rungs">{"".join(_rung(attempt) for attempt in attempts)}</ol>'


def _rung(attempt: Attempt) -> str:
    name = escaped(LEVEL_WORDS[attempt.level])
    if attempt.skipped_because:
        return f'<li class="rung skipped"><b>{name}</b><span>skipped: {escaped(attempt.skipped_because)}</span></li>'
    sure, least = attempt.confidence, attempt.threshold
    mark = "" if least is None else f'<span class="least" style="left:{100 * least:.1f}%"></span>'
    fill = f'<span class="bar {attempt.level}" style="width:{100 * (sure or 0.0):.1f}%"></span>'
    meter = f'<span class="meter" role="img" aria-label="{escaped(_why(attempt))}">{fill}{mark}</span>'
    draft = attempt.draft
    spent = [] if attempt.seconds is None else [f"{attempt.seconds:.2f} s"]
    spent += [f"{draft.tokens_in + draft.tokens_out:,} tokens"] if draft else []
    became = f"{STATE_WORDS[attempt.state]}: {escaped(attempt.reason)}"
    return (
        f'<li class="rung {attempt.state}"><b>{name}</b>{meter}<span>{became}</span>'
        f'<span class="spent">{", ".join(spent)}</span></li>'
    )


def _why(attempt: Attempt) -> str:
    return f"failed: {attempt.failure}" if attempt.failure else attempt.reason


def _turn(turn: StoredTurn, here: bool) -> str:
    ended = OUTCOME_WORDS[turn.answer.outcome] if turn.answer else "interrupted"
    said = escaped(turn.answer.text[:600]) if turn.answer else ""
    marked = ' aria-current="true"' if here else ""
    asked = f"<p><b>{escaped(turn.question)}</b></p>"
    return f'<div class="turn"{marked}>{asked}<p>{said}</p><p class="sure">{ended}</p></div>'
