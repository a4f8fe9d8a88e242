"""What the commands do, apart from how they are typed: one function each, progress first and the result last.

The same functions run in the command line's own process and, beside a running server, inside that server. Results are
the JSON documents of the command contract (handbook: command line). Parses no arguments and prints nothing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from assistant.errors import AssistantError
from assistant.thread import history_of
from assistant.types import Attempt, Citation, Climbing, Event, Finished, Question, Trace
from knowledge.types import Hit, IngestReport, Progress
from ui.commands.accounts import COMMANDS as ACCOUNTS
from ui.commands.adapting import COMMANDS as ADAPTING
from ui.commands.backup import COMMANDS as BACKUP
from ui.commands.examples import COMMANDS as EXAMPLES
from ui.commands.sites import COMMANDS as SITES
from ui.commands.steps import Arguments, Command, Step, Steps, progress_step
from ui.commands.webhooks import COMMANDS as WEBHOOKS

if TYPE_CHECKING:
    from assistant.build import Rungs
    from assistant.settings import Settings

VISITOR = "command line"
SEARCH_RESULTS = 5


def ask(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """One question through the cascade, or through one level."""
    conversation = rungs.traces.open_conversation(VISITOR, "cli", arguments.get("conversation"))
    level = arguments.get("level")
    question = Question(
        str(arguments["text"]),
        conversation,
        history_of(rungs.traces, rungs.desk, conversation),
        "cli",
        None if level in (None, "auto") else level,
        str(arguments.get("site") or ""),
    )
    with closing(cast("Generator[Event, None, None]", rungs.assistant.stream(question, cancel))) as events:
        for event in events:
            if isinstance(event, Finished):
                yield {"result": answer_document(event.trace)}
            elif isinstance(event, Climbing):
                yield {"climb": asdict(event)}


def ingest(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Add or update knowledge from files and folders."""
    from knowledge.ingest import ingest as take_in

    paths = [Path(path) for path in arguments["paths"]]
    for step in take_in(rungs.store, paths, prune=bool(arguments.get("prune"))):
        yield {"result": asdict(step)} if isinstance(step, IngestReport) else progress_step(step)


def sources_list(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """What is known and from where."""
    yield {"result": {"sources": [asdict(source) for source in rungs.store.sources()]}}


def sources_remove(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Remove a source with all its documents."""
    wanted = str(arguments["source"])
    known = {source.source for source in rungs.store.sources()}
    named = next((name for name in (wanted, arguments.get("path")) if name in known), None)
    if named is None:
        listed = ", ".join(sorted(known)) or "none"
        raise AssistantError(f"there is no source {wanted!r}. Known sources: {listed}.")
    yield {"result": {"source": named, "removed": rungs.store.remove(named)}}


def retention(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Erase conversations by age, or say how many would go."""
    from assistant.erasure import erase_older

    days = int(arguments.get("days") or rungs.settings.retention_days)
    erased = erase_older(rungs.engine, days, dry_run=bool(arguments.get("dry_run")))
    yield {"result": {"days": days, "dry_run": bool(arguments.get("dry_run")), **asdict(erased)}}


def reindex(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Rebuild Chroma and the keywords from the catalogue."""
    import time

    started = time.monotonic()
    for step in rungs.store.reindex():
        yield progress_step(step)
    yield {"result": {"passages": rungs.store.count(), "seconds": round(time.monotonic() - started, 3)}}


def search(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Retrieval alone, for one text or for every row of a JSONL file."""
    k = int(arguments.get("k") or SEARCH_RESULTS)
    if arguments.get("batch"):
        for row in _batch(Path(arguments["batch"])):
            found = _found(rungs, row["question"], k)
            yield {"row": {"id": row["id"], "results": found}}
        yield {"result": None}
        return
    yield {"result": {"results": _found(rungs, str(arguments["text"]), k)}}


def evaluate(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """A golden set through chosen levels."""
    from assistant.evaluation.evaluate import EvaluationReport
    from assistant.evaluation.evaluate import evaluate as measure
    from assistant.evaluation.golden import read_golden

    rows = read_golden(Path(arguments["file"]))[: arguments.get("limit") or None]
    for step in measure(rungs, rows, list(arguments["levels"])):
        if isinstance(step, EvaluationReport):
            yield {"result": step.as_json(rows=bool(arguments.get("rows")))}
        else:
            yield progress_step(step)


def calibrate(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Fit the confidence on a golden set and choose thresholds."""
    from assistant.evaluation.calibration import CalibrationReport
    from assistant.evaluation.calibration import calibrate as fit
    from assistant.evaluation.golden import read_golden

    for step in fit(rungs, read_golden(Path(arguments["file"])), float(arguments["max_wrong"])):
        if isinstance(step, CalibrationReport):
            rungs.renew()
            yield {"result": step.as_json()}
        else:
            yield progress_step(step)


def doctor(rungs: Rungs, arguments: Arguments, cancel: threading.Event) -> Steps:
    """Is everything in place, asked of a running assistant."""
    return _examined(rungs.settings, rungs)


def doctor_alone(settings: Settings) -> Steps:
    """Is everything in place, where nothing runs and perhaps nothing can."""
    return _examined(settings, None)


COMMANDS: Mapping[str, Command] = {
    "doctor": doctor,
    "ask": ask,
    "ingest": ingest,
    "sources-list": sources_list,
    "sources-remove": sources_remove,
    "reindex": reindex,
    "retention": retention,
    "search": search,
    "evaluate": evaluate,
    "calibrate": calibrate,
    **ADAPTING,
    **EXAMPLES,
    **SITES,
    **ACCOUNTS,
    **BACKUP,
    **WEBHOOKS,
}


def failed_in_part(name: str, result: Any) -> bool:
    """True where a result is to be printed and the exit status is 1 all the same."""
    if name == "doctor":
        return not all(check["ok"] for check in result["checks"])
    return name == "ingest" and bool(result["failed"])


def answer_document(trace: Trace) -> dict[str, Any]:
    """The JSON document of `rungs ask`."""
    answer = trace.answer
    return {
        "answer": answer.text,
        "level": answer.level,
        "outcome": answer.outcome,
        "confidence": answer.confidence,
        "citations": [_citation(citation) for citation in answer.citations],
        "attempts": [_attempt(attempt) for attempt in trace.attempts],
        "trace_id": trace.id,
        "conversation_id": trace.question.conversation_id,
        "seconds": round(trace.seconds, 3),
    }


def _examined(settings: Settings, rungs: Rungs | None) -> Steps:
    from ui.commands.doctor import CHECKS, examine

    checks = []
    for check in examine(settings, rungs):
        checks.append(asdict(check))
        yield progress_step(Progress(len(checks), len(CHECKS), check.name))
    yield {"result": {"checks": checks}}


def _citation(citation: Citation) -> dict[str, Any]:
    return {name: getattr(citation, name) for name in ("document", "title", "heading", "uri", "quote", "score")}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    draft, tried = attempt.draft, attempt.skipped_because is None
    return {
        "level": attempt.level,
        "accepted": attempt.accepted if tried else None,
        "skipped_because": attempt.skipped_because,
        "failure": attempt.failure,
        "confidence": attempt.confidence,
        "signals": dict(attempt.signals) if tried else None,
        "seconds": attempt.seconds,
        "tokens_in": draft.tokens_in if draft else None,
        "tokens_out": draft.tokens_out if draft else None,
        "text": draft.text if draft else None,
    }


def _found(rungs: Rungs, text: str, k: int) -> list[dict[str, Any]]:
    return [_hit(hit) for hit in rungs.store.retrieve([text], k)]


def _hit(hit: Hit) -> dict[str, Any]:
    passage = hit.passage
    return {
        "document": passage.document,
        "title": passage.title,
        "heading": passage.heading,
        "text": passage.text,
        "score": round(hit.score, 6),
        "similarity": round(hit.similarity, 4),
    }


def _batch(path: Path) -> Iterator[dict[str, str]]:
    from assistant.evaluation.golden import read_golden

    for row in read_golden(path):
        yield {"id": row.id, "question": row.question}


def as_line(step: Step) -> str:
    """A step as one line of NDJSON, in ASCII: a file's name may hold what UTF-8 cannot."""
    return json.dumps(step) + "\n"
