"""What was decided, as words and HTML. Formats and escapes; never decides, never trusts.

Everything that comes from a user, a document or a model is escaped here before it meets a page: no tag, no picture
and no link of theirs survives. A document's address is shown as text. Called by the pages.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence

from assistant.types import Answer, Attempt, Citation, Climbing, Trace

LEVEL_WORDS = {"prompting": "Direct answer", "rag": "From the documents", "lora": "From the specialist"}
TRYING_WORDS = {
    "prompting": "Trying a direct answer",
    "rag": "Looking it up in the documents",
    "lora": "Asking the specialist",
}
STATE_WORDS = {"skipped": "skipped", "rejected": "held back", "accepted": "answered", "failed": "failed"}
OUTCOME_WORDS = {"answered": "answered", "abstained": "declined", "handed_off": "handed to a person"}
SURE = ((0.9, "very likely right"), (0.75, "likely right"), (0.5, "more likely right than not"), (0.0, "unsure"))

_MARKER = re.compile(r"\[(\d{1,2})\]")
_CODE = re.compile(r"`([^`\n]{1,200})`")
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")
_BREAKS = re.compile(r"\n{2,}")
_LINE_END = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
"""Line ends of every kind: what a Markdown parser takes for an empty line would end the page's HTML block."""
_MARKDOWN = re.compile(r"[\\\[\]_*~|!`]")
_MARKDOWN_ASKED = re.compile(
    r"[&<>\\\[\]_*~|`]|(?<=\w):(?=//)|(?<=www)\.|(?<=\w)@(?=\w)|^\s|^[-+=#](?=[-+=#\s])|(?<=^\d)[.)]", re.M | re.I
)


def escaped(text: str) -> str:
    """Text as HTML text: no markup of its own, no Markdown either, on one line."""
    return _frozen(html.escape(_lines(text), quote=True)).replace("\n", "<br>")


def asked(text: str) -> str:
    """A question as the chat shows it, as Markdown that says just its words.

    Only what Markdown or HTML would take for its own is replaced: the page's editor starts from this text, and
    `html.unescape` gives the question back.
    """
    return _MARKDOWN_ASKED.sub(_entity, _lines(text))


def confidence_in_words(confidence: float | None) -> str:
    """A probability as people read it."""
    if confidence is None:
        return "confidence unknown"
    words = next(words for least, words in SURE if confidence >= least)
    return f"{words} ({confidence:.0%})"


def prose(text: str) -> str:
    """An answer's text: escaped, with code, bold, paragraphs and citation numbers brought back."""
    safe = html.escape(_lines(text).strip(), quote=True)
    safe = _CODE.sub(lambda m: f"<code>{_frozen(m.group(1))}</code>", safe)
    safe = _BOLD.sub(r"<strong>\1</strong>", safe)
    safe = _MARKER.sub(r'<sup class="number">\1</sup>', safe)
    paragraphs = (_frozen(part).replace("\n", "<br>") for part in _BREAKS.split(safe))
    return "".join(f"<p>{part}</p>" for part in paragraphs)


def _frozen(text: str) -> str:
    """Escaped text in which no Markdown is left to be found."""
    return _MARKDOWN.sub(_entity, text)


def _entity(found: re.Match[str]) -> str:
    return f"&#{ord(found.group())};"


def _lines(text: str) -> str:
    return _LINE_END.sub("\n", text)


def badge(answer: Answer) -> str:
    """The level that answered and how sure it is."""
    if answer.outcome == "handed_off":
        return '<div class="badge-row"><span class="badge human">A person will answer</span></div>'
    if answer.level is None:
        return '<div class="badge-row"><span class="badge none">No answer I am sure of</span></div>'
    sure = escaped(confidence_in_words(answer.confidence))
    name = LEVEL_WORDS[answer.level]
    return (
        f'<div class="badge-row"><span class="badge {answer.level}">{name}</span><span class="sure">{sure}</span></div>'
    )


def sources(citations: Sequence[Citation], closest: bool = False) -> str:
    """Numbered citations; each opens its passage with the supporting sentence marked."""
    if not citations:
        return ""
    title = "Closest sources" if closest else "Sources"
    items = "".join(_source(number, citation) for number, citation in enumerate(citations, start=1))
    return f'<div class="sources"><div class="sources-title">{title}</div>{items}</div>'


def answer_html(answer: Answer) -> str:
    """A whole answer: badge, text, sources. One line of HTML, so that no Markdown is looked for in it."""
    body = prose(answer.text) + sources(answer.citations, closest=answer.level is None)
    return f'<div class="answer">{badge(answer)}{body}</div>'


def words_html(text: str) -> str:
    """An answer that is still being written."""
    return f'<div class="answer writing">{prose(text)}</div>'


def stopped_html(text: str) -> str:
    """An answer that was stopped: what was written so far, and that it was stopped."""
    return f'<div class="answer">{prose(text) if text else ""}<p class="sure">Stopped.</p></div>'


def agent_html(name: str, text: str) -> str:
    """What a person from support wrote, under their name."""
    return f'<div class="answer person"><div class="who">{escaped(name)} from support</div>{prose(text)}</div>'


def system_html(text: str) -> str:
    """What the desk tells: somebody joined, somebody left."""
    return f'<div class="system-line">{escaped(text)}</div>'


def banner_html(state: str, agent: str = "") -> str:
    """Who is spoken to, where it is not the assistant alone."""
    if state == "in_progress":
        told = f"You are talking to <strong>{escaped(agent)}</strong> from support."
    elif state == "waiting":
        told = "Waiting for a person. The assistant still answers; this page tells you when somebody joins."
    else:
        return ""
    return f'<div class="banner {state}" role="status">{told}</div>'


def problem_html(message: str) -> str:
    """Something that went wrong, in words."""
    return f'<div class="answer problem"><p>{escaped(message)}</p></div>'


def marked(passage: str, quote: str, start: int = 0) -> str:
    """A passage with the quoted stretch marked, wherever its white space differs."""
    pattern = r"\s+".join(re.escape(word) for word in quote.split())
    found = re.compile(pattern).search(passage, max(0, start - 1)) if pattern else None
    found = found or (re.compile(pattern).search(passage) if pattern else None)
    if not found:
        return escaped(passage)
    before, inside, after = passage[: found.start()], found.group(), passage[found.end() :]
    return f"{escaped(before)}<mark>{escaped(inside)}</mark>{escaped(after)}"


def climb_line(event: Climbing) -> str:
    """One step of the climb in words."""
    name = TRYING_WORDS[event.level]
    if event.state == "trying":
        return f"{name} …"
    note = f": {event.note}" if event.note else ""
    return f"{name}: {STATE_WORDS[event.state]}{note}"


def climb_html(lines: Sequence[str], done: bool) -> str:
    """The climb: its latest step while it happens, all of it folded away afterwards."""
    if not done:
        step = lines[-1] if lines else "Understanding the question …"
        return f'<div class="climb climbing" role="status">{escaped(step)}</div>'
    if not lines:
        return ""
    steps = "".join(f"<li>{escaped(line)}</li>" for line in lines)
    return f'<details class="climb"><summary>How this was answered</summary><ol>{steps}</ol></details>'


def climb_of(trace: Trace) -> list[str]:
    """The climb of a stored trace, as it was told."""
    return [climb_line(Climbing.of(a)) for a in trace.attempts if not _not_needed(a)]


def trace_html(trace: Trace, thumbs: Sequence[tuple[int, str]] = ()) -> str:
    """A trace at full depth."""
    question = trace.question
    parts = [
        f"<h3>{escaped(question.text)}</h3>",
        facts(
            {
                "Outcome": OUTCOME_WORDS[trace.answer.outcome],
                "Level": trace.answer.level or "none",
                "Confidence": confidence_in_words(trace.answer.confidence),
                "Seconds": f"{trace.seconds:.2f}",
                "Asked": trace.started_at,
                "Surface": question.surface,
                "Conversation": question.conversation_id,
                "Trace": trace.id,
            }
        ),
    ]
    for value, reason in thumbs:
        parts.append(f"<p>{'Helpful' if value > 0 else 'Not helpful'}{': ' + escaped(reason) if reason else ''}</p>")
    parts += [f"<h4>Answer</h4>{answer_html(trace.answer)}", "<h4>How it was understood</h4>", _understood(trace)]
    parts += ["<h4>Attempts</h4>", *(_attempt(attempt) for attempt in trace.attempts)]
    parts += ["<h4>Passages</h4>", _passages(trace), "<h4>Versions</h4>", facts(dict(trace.versions))]
    return f'<div class="trace">{"".join(parts)}</div>'


def facts(values: Mapping[str, object]) -> str:
    """Names and values as a small table."""
    rows = "".join(f"<tr><th>{escaped(str(k))}</th><td>{escaped(str(v))}</td></tr>" for k, v in values.items())
    return f'<table class="facts">{rows}</table>'


def shares_html(shares: Mapping[str, int]) -> str:
    """The share of each level as a picture: one bar each, with its count."""
    total = sum(shares.values())
    if not total:
        return '<p class="empty">No question has been asked yet.</p>'
    names = {**LEVEL_WORDS, "abstained": "Declined", "handed_off": "Handed to a person"}
    bars = []
    for key in (*names, *(k for k in shares if k not in names)):
        count = shares.get(key, 0)
        if not count and key not in LEVEL_WORDS:
            continue
        label = f"{count} ({count / total:.0%})"
        bars.append(
            f'<div class="bar-row"><span class="bar-name">{escaped(names.get(key, key))}</span>'
            f'<span class="bar-track"><span class="bar {escaped(key)}" style="width:{100 * count / total:.1f}%"></span>'
            f'</span><span class="bar-count">{label}</span></div>'
        )
    return f'<div class="bars" role="img" aria-label="Share of each level">{"".join(bars)}</div>'


def _source(number: int, citation: Citation) -> str:
    address = " › ".join(part for part in (citation.title or citation.document, _last(citation.heading)) if part)
    page = f", page {citation.page}" if citation.page else ""
    passage = marked(citation.passage or citation.quote, citation.quote, citation.start)
    return (
        f'<details class="source"><summary><span class="source-number">{number}</span> {escaped(address + page)}'
        f'</summary><div class="passage">{passage}</div>'
        f'<div class="address">{escaped(citation.document)}</div></details>'
    )


def _last(heading: str) -> str:
    return heading.split(" > ")[-1]


def _not_needed(attempt: Attempt) -> bool:
    return bool(attempt.skipped_because and attempt.skipped_because.startswith("level "))


def _understood(trace: Trace) -> str:
    queries = "".join(f"<li>{escaped(query)}</li>" for query in trace.evidence.queries)
    degraded = f'<p class="problem">{escaped(trace.evidence.degraded)}</p>' if trace.evidence.degraded else ""
    return f"<ul>{queries}</ul>{degraded}"


def _attempt(attempt: Attempt) -> str:
    became = Climbing.of(attempt)
    note = f" · {escaped(became.note)}" if became.note else ""
    head = f"<summary><b>{attempt.level}</b>: {STATE_WORDS[became.state]}{note}</summary>"
    if attempt.skipped_because:
        return (
            f'<div class="attempt skipped"><b>{attempt.level}</b>: skipped · {escaped(attempt.skipped_because)}</div>'
        )
    told: dict[str, object] = {
        "Confidence": "-" if attempt.confidence is None else f"{attempt.confidence:.3f}",
        "Threshold": "-" if attempt.threshold is None else f"{attempt.threshold:.3f}",
        "Seconds": "-" if attempt.seconds is None else f"{attempt.seconds:.3f}",
    }
    draft = attempt.draft
    if draft:
        told |= {"Tokens in": draft.tokens_in, "Tokens out": draft.tokens_out, "Finish": draft.finish}
    text = f'<div class="draft">{prose(draft.text)}</div>' if draft else ""
    signals = facts({name: f"{value:.3f}" for name, value in sorted(attempt.signals.items())})
    return (
        f'<details class="attempt" open>{head}{facts(told)}{text}'
        f"<details><summary>Signals</summary>{signals}</details></details>"
    )


def _passages(trace: Trace) -> str:
    rows = "".join(
        f"<details><summary>{rank}. {escaped(hit.passage.document)} › {escaped(_last(hit.passage.heading))} "
        f"(similarity {hit.similarity:.3f}, dense rank {_rank(hit.dense_rank)}, keyword rank {_rank(hit.keyword_rank)})"
        f'</summary><div class="passage">{escaped(hit.passage.text)}</div></details>'
        for rank, hit in enumerate(trace.evidence.hits, start=1)
    )
    return rows or '<p class="empty">No passage was found.</p>'


def _rank(rank: int | None) -> str:
    return "-" if rank is None else str(rank + 1)
