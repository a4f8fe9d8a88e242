"""The inbox, a thread and a draft as HTML. Formats and escapes; never decides. Called by the copilot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from assistant.desk import HandOff
from assistant.drafting import REPORTED, AgentDraft
from assistant.inbox import Row
from assistant.sources import is_internal
from assistant.thread import Entry
from knowledge.types import Hit
from ui.present import LEVEL_WORDS, answer_html, confidence_in_words, escaped, prose, sources, stopped_html

EMPTY_SHELVES = {
    "waiting": "Nobody is waiting. New conversations appear here at once.",
    "mine": "You have no conversation. Take one over from Waiting.",
    "others": "No other agent has a conversation.",
    "resolved": "Nothing has been resolved yet.",
}
NOTHING_FOUND = "No conversation matches your search."
NOTHING_OPEN = (
    '<div class="desk-nothing"><h2>No conversation is open</h2><p>Choose one on the left, or press <kbd>j</kbd> and '
    "<kbd>Enter</kbd>. <kbd>?</kbd> lists all keys.</p></div>"
)
NO_DRAFT = '<p class="empty">A draft comes with the visitor\'s next message, or press Draft again.</p>'
KEYS = (
    ("j / k or ↓ / ↑", "next, previous conversation"),
    ("Enter", "open it"),
    ("t", "take it over"),
    ("r", "resolve it"),
    ("b", "give it back to the assistant"),
    ("e", "write an answer"),
    ("u", "use the draft"),
    ("g", "draft again"),
    ("n", "write a private note"),
    ("s", "search the knowledge"),
    ("/", "search the inbox"),
    ("Ctrl + Enter", "send the answer"),
    ("Esc", "leave a field, close this"),
    ("?", "show this"),
)
SPEAKERS = {"visitor": "Visitor", "assistant": "Assistant", "note": "Private note"}


def inbox_html(rows: Sequence[Row], shelf: str, chosen: str, searched: bool) -> str:
    """The rows of a shelf; each is a button that opens its conversation."""
    if not rows:
        return f'<p class="empty">{escaped(NOTHING_FOUND if searched else EMPTY_SHELVES[shelf])}</p>'
    return f'<ul class="desk-rows" aria-label="Conversations">{"".join(_row(row, chosen) for row in rows)}</ul>'


def head_html(handoff: HandOff, present: Sequence[str], agent: str) -> str:
    """Whose conversation is open, why, and who else looks at it."""
    looks = f'<span class="desk-looks">{escaped(_and(present))} also here</span>' if present else ""
    note = f'<p class="desk-note"><b>Visitor\'s note:</b> {escaped(handoff.note)}</p>' if handoff.note else ""
    return (
        f'<div class="desk-head"><h2>{escaped(handoff.title or "(nothing asked yet)")}</h2>'
        f'<p><span class="desk-kind {handoff.kind}">{escaped(handoff.reason)}</span>'
        f'<span class="desk-state {handoff.state}">{escaped(_state(handoff, agent))}</span>'
        f"<span>{escaped(_place(handoff))}</span>{looks}</p>{note}</div>"
    )


def thread_html(entries: Sequence[Entry], reports: Mapping[str, str]) -> str:
    """Everything said, oldest first.

    Args:
        entries: with agents' notes.
        reports: what the assistant's answers were found fault with for, by trace.
    """
    said = "".join(_entry(entry, reports) for entry in entries)
    return f'<div class="desk-thread" role="log" aria-label="Conversation" tabindex="0">{said}</div>'


def draft_html(draft: AgentDraft) -> str:
    """A draft with its level, how sure it is, what speaks against it, and its sources."""
    badge = (
        f'<span class="badge {draft.level if draft.accepted else "none"}">{LEVEL_WORDS[draft.level]}</span>'
        f'<span class="sure">{escaped(confidence_in_words(draft.confidence))}</span>'
        if draft.level
        else '<span class="badge none">No draft</span>'
    )
    warnings = "".join(warning_html(warning) for warning in draft.warnings)
    body = prose(draft.text) if draft.text else ""
    cited = sources(draft.citations, closest=not draft.accepted)
    return f'<div class="answer"><div class="badge-row">{badge}</div>{warnings}{body}{cited}</div>'


def warning_html(text: str) -> str:
    """Something to know before sending."""
    return f'<p class="desk-warning">{escaped(text)}</p>' if text else ""


def told_html(text: str) -> str:
    """What was done, in words."""
    return f'<p class="told" role="status">{escaped(text)}</p>' if text else ""


def summary_html(text: str, by: str) -> str:
    """A summary in lines, and who made it."""
    lines = "".join(f"<p>{escaped(line)}</p>" for line in text.splitlines())
    return f'<div class="desk-summary">{lines}<p class="sure">{escaped(by)}</p></div>'


def hits_html(hits: Sequence[Hit], internal: Sequence[str]) -> str:
    """Passages that were found, each to be copied or put into the answer."""
    if not hits:
        return '<p class="empty">Nothing is known about that.</p>'
    return f'<ol class="desk-hits">{"".join(_hit(hit, internal) for hit in hits)}</ol>'


def help_html() -> str:
    """The keys, as a dialog that the page's script opens."""
    rows = "".join(f"<tr><th><kbd>{escaped(key)}</kbd></th><td>{escaped(does)}</td></tr>" for key, does in KEYS)
    return (
        '<dialog id="copilot-help" aria-labelledby="copilot-help-title"><h2 id="copilot-help-title">Keys</h2>'
        f'<table class="facts">{rows}</table><button type="button" data-close="copilot-help">Close</button></dialog>'
    )


def waited(since: str, now: datetime | None = None) -> str:
    """How long ago, in words."""
    try:
        seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(since)).total_seconds()
    except (ValueError, TypeError):
        return ""
    minutes = max(0, int(seconds // 60))
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 24 * 60 else f"{minutes // (24 * 60)} d"


def _row(row: Row, chosen: str) -> str:
    handoff = row.handoff
    waits = f"waits {waited(row.waits_since)}" if row.waits_since else waited(handoff.updated_at)
    looks = f'<span class="desk-looks">{escaped(_and(row.present))} looking</span>' if row.present else ""
    agent = f"<span>{escaped(handoff.agent or '')}</span>" if handoff.state != "waiting" else ""
    current = ' aria-current="true"' if handoff.id == chosen else ""
    waiting = " waits" if row.waits_since else ""
    return (
        f'<li><button type="button" class="desk-row{waiting}" data-handoff="{escaped(handoff.id)}"{current}>'
        f'<span class="desk-title">{escaped(handoff.title or "(nothing asked yet)")}</span>'
        f'<span class="desk-told"><span class="desk-kind {handoff.kind}">{escaped(handoff.reason)}</span>'
        f'<span class="desk-since">{escaped(waits)}</span></span>'
        f'<span class="desk-told"><span>{escaped(_place(handoff))}</span>{agent}{looks}</span></button></li>'
    )


def _entry(entry: Entry, reports: Mapping[str, str]) -> str:
    if entry.speaker == "system":
        return f'<p class="desk-system">{escaped(entry.text)}</p>'
    who = SPEAKERS.get(entry.speaker) or entry.author
    who = f"{who} · {entry.author}" if entry.speaker == "note" else who
    rated = {1: " · found helpful", -1: " · found not helpful"}.get(entry.rating, "")
    clock = escaped(f"{entry.at[11:16]}{rated}")
    body = f"<p>{escaped(entry.text)}</p>"
    if entry.speaker == "assistant":
        body = answer_html(entry.answer) if entry.answer else stopped_html("")
        body += _report(entry, reports.get(entry.id, ""))
    return (
        f'<article class="desk-said {entry.speaker}"><header><b>{escaped(who)}</b> <span>{clock}</span></header>'
        f"{body}</article>"
    )


def _report(entry: Entry, reported: str) -> str:
    if entry.answer is None or entry.answer.outcome == "handed_off":
        return ""
    if reported:
        return f'<p class="desk-report">{escaped(reported)}</p>'
    buttons = "".join(
        f'<button type="button" data-report="{escaped(entry.id)}:{reason}">{reason}</button>' for reason in REPORTED
    )
    return f'<p class="desk-report" role="group" aria-label="Report this answer"><span>Report:</span>{buttons}</p>'


def _hit(hit: Hit, internal: Sequence[str]) -> str:
    passage = hit.passage
    address = " › ".join(part for part in (passage.title or passage.document, passage.heading.split(" > ")[-1]) if part)
    secret = '<span class="desk-secret">internal</span>' if is_internal(passage.source, internal) else ""
    return (
        f'<li><details><summary>{escaped(address)} {secret}</summary><div class="passage">{escaped(passage.text)}</div>'
        f'</details><p class="desk-report"><button type="button" data-copy>Copy</button>'
        f'<button type="button" data-quote="{escaped(passage.id)}">Quote in the answer</button></p></li>'
    )


def _state(handoff: HandOff, agent: str) -> str:
    if handoff.state == "waiting":
        return f"waits {waited(handoff.asked_at)}"
    if handoff.state == "resolved":
        return f"resolved by {handoff.agent}"
    return "you have it" if handoff.agent == agent else f"{handoff.agent} has it"


def _place(handoff: HandOff) -> str:
    return f"{handoff.surface} · {handoff.site}" if handoff.site else handoff.surface


def _and(names: Sequence[str]) -> str:
    return ", ".join(names)
