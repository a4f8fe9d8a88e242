"""Sources, passages, work in progress and why a passage ranked, as HTML. Formats and escapes. Called by the console."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from assistant.uploads import name_of
from knowledge.listing import DocumentSummary
from knowledge.retrieval import FUSION_K
from knowledge.types import Hit, Passage, Sentence, SourceSummary
from knowledge.words import WORD, stem, terms
from ui.background import Job
from ui.present import escaped, facts, problem_html
from ui.present.tables import empty, progress, table, told

NO_SOURCE = "Nothing is known yet. Drop files under Add, or run: rungs ingest PATH"
FAILURES_SHOWN = 100
PASSAGES_SHOWN = 200


def source_words(home: Path, source: str) -> str:
    """A source as people call it."""
    uploaded = name_of(home, source)
    return f"{uploaded} (uploaded)" if uploaded else source


def sources_html(home: Path, sources: Sequence[SourceSummary], degraded: str | None) -> str:
    """What is known and from where."""
    warning = problem_html(degraded) if degraded else ""
    if not sources:
        return warning + empty(NO_SOURCE)
    rows = [
        (
            source_words(home, one.source),
            f"{one.documents:,}",
            f"{one.passages:,}",
            one.updated_at[:16].replace("T", " "),
        )
        for one in sources
    ]
    return warning + table("Sources", ["Source", "Documents", "Passages", "Updated (UTC)"], rows, (1, 2))


def documents_html(documents: Sequence[DocumentSummary]) -> str:
    """The documents of a source."""
    rows = [(one.path, one.title, f"{one.passages:,}", one.updated_at[:16].replace("T", " ")) for one in documents]
    return table("Documents", ["Document", "Title", "Passages", "Updated (UTC)"], rows, (2,)) if rows else ""


def passages_html(passages: Sequence[Passage]) -> str:
    """The passages of a document, in reading order."""
    if not passages:
        return empty("This document has no passages any more. Refresh to see what is known now.")
    shown = "".join(
        f'<div class="passage"><div class="address">{_address(one)}</div>{escaped(one.text)}</div>'
        for one in passages[:PASSAGES_SHOWN]
    )
    more = len(passages) - PASSAGES_SHOWN
    rest = f'<p class="sure">and {more:,} more passages</p>' if more > 0 else ""
    return f"<h3>{escaped(passages[0].title or passages[0].document)}</h3>{shown}{rest}"


def job_html(job: Job) -> str:
    """Long work: how far it is while it runs, how it ended afterwards."""
    if job.running:
        label = "stopping after this step …" if job.cancelled else job.label or "starting …"
        return f'<div class="card job">{progress(job.title, job.done, job.total, label)}</div>'
    return f'<div class="card job">{_ended(job)}</div>'


def _ended(job: Job) -> str:
    if job.error:
        return problem_html(f"{job.title}: {job.error}")
    if job.result is None:
        kept = "what was done so far is kept" if job.kind == "ingest" else "what served before still serves"
        return told(f"{job.title}: stopped, {kept}.")
    seconds = f"{job.result['seconds']:.1f} s"
    if "added" not in job.result:
        return told(f"{job.title}: done, {job.result['passages']:,} passages in {seconds}.")
    counts = ", ".join(f"{job.result[name]:,} {name}" for name in ("added", "updated", "unchanged", "removed"))
    failed = job.result["failed"]
    return told(f"{job.title}: {counts}; {seconds}.") + (_failures(failed) if failed else "")


def _failures(failed: Sequence[dict[str, str]]) -> str:
    rows = [(Path(one["source"]).name, one["reason"]) for one in failed[:FAILURES_SHOWN]]
    more = f'<p class="sure">and {len(failed) - FAILURES_SHOWN:,} more</p>' if len(failed) > FAILURES_SHOWN else ""
    heading = f"{len(failed)} file{'' if len(failed) == 1 else 's'} could not be taken in"
    return f"<h3>{heading}</h3>{table(heading, ['File', 'Why'], rows)}{more}"


def ranked_html(query: str, hits: Sequence[Hit], sentences: Sequence[Sentence], chosen: Sequence[Sentence]) -> str:
    """Why each passage ranked where it did."""
    if not hits:
        return empty("No passage was found. Try other words, or add documents.")
    wanted = terms(query)
    best = {(one.passage.id, one.start, one.end): rank for rank, one in enumerate(sentences, start=1)}
    read = {(one.passage.id, one.start, one.end) for one in chosen}
    items = "".join(_ranked(rank, hit, wanted, best, read) for rank, hit in enumerate(hits, start=1))
    return (
        '<p class="sure">A passage is found by meaning (vectors), by keywords, or both; each list gives 1 / '
        f"({FUSION_K} + its rank), and the sum decides. Matched words are marked; outlined sentences are the ones that "
        f'an answer would be made from, with their rank.</p><ol class="ranked">{items}</ol>'
    )


_Span = tuple[str, int, int]


def _ranked(rank: int, hit: Hit, wanted: frozenset[str], best: dict[_Span, int], read: set[_Span]) -> str:
    matched = sorted({word.lower() for word in WORD.findall(_words(hit.passage)) if stem(word) in wanted})
    parts = [f"1/{FUSION_K + found + 1}" for found in (hit.dense_rank, hit.keyword_rank) if found is not None]
    by = {
        "By meaning": _found(hit.dense_rank, f"similarity {hit.similarity:.3f}"),
        "By keywords": _found(hit.keyword_rank, "" if hit.bm25 is None else f"BM25 {hit.bm25:.2f}"),
        "Together": f"{hit.score:.4f} = {' + '.join(parts)}",
        "Matched words": ", ".join(matched) or "none",
    }
    return (
        f'<li class="card"><h3><span class="source-number">{rank}</span> {_address(hit.passage)}</h3>{facts(by)}'
        f'<div class="passage">{_marked(hit.passage, wanted, best, read)}</div></li>'
    )


def _found(rank: int | None, score: str) -> str:
    return f"rank {rank + 1}, {score}" if rank is not None else f"not in this list{', ' + score if score else ''}"


def _marked(passage: Passage, wanted: frozenset[str], best: dict[_Span, int], read: set[_Span]) -> str:
    """The passage with matched words marked and the sentences that would be read outlined."""
    spans = sorted((start, end) for id, start, end in read if id == passage.id)
    parts, at = [], 0
    for start, end in spans:
        if start < at:
            continue
        number = best.get((passage.id, start, end), 0)
        parts.append(_with_words(passage.text[at:start], wanted))
        parts.append(
            f'<span class="read" title="sentence of rank {number}"><sup>{number}</sup>'
            f"{_with_words(passage.text[start:end], wanted)}</span>"
        )
        at = end
    return "".join([*parts, _with_words(passage.text[at:], wanted)])


def _with_words(text: str, wanted: frozenset[str]) -> str:
    return "".join(_pieces(text, wanted))


def _pieces(text: str, wanted: frozenset[str]) -> Iterable[str]:
    at = 0
    for match in re.finditer(WORD, text):
        if stem(match.group()) in wanted:
            yield escaped(text[at : match.start()])
            yield f"<mark>{escaped(match.group())}</mark>"
            at = match.end()
    yield escaped(text[at:])


def _words(passage: Passage) -> str:
    return f"{passage.title} {passage.heading} {passage.text}"


def _address(passage: Passage) -> str:
    page = f", page {passage.page}" if passage.page else ""
    return escaped(
        " › ".join(part for part in (passage.document, passage.heading.replace(" > ", " › ")) if part) + page
    )
