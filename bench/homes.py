"""One RUNGS_HOME per data set, filled once and kept under `.bench/`: no set is ever loaded beside another.

Only documents are ingested. Used by every bench that needs knowledge.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import track

from assistant.build import Rungs, wire
from assistant.bundled import take_in
from assistant.confidence import Calibration, find_calibration
from assistant.models import make_model
from assistant.serving import Serving, serving_of
from assistant.settings import Settings
from assistant.traces import TraceStore
from assistant.types import ChatModel
from bench import sets
from knowledge.database import open_engine
from knowledge.embedding import make_embedder
from knowledge.ingest import ingest
from knowledge.store import KnowledgeStore
from knowledge.types import IngestReport

RUNGS = (sys.executable, "-c", "from ui.cli.main import main; main()")
"""The command line, as this Python runs it."""
HOMES = Path(__file__).resolve().parents[1] / ".bench"
NAMES = ("demo", "squad2", "tidb-docs", "arduino-help")
ANSWERS = ("medquad", "bitext-support")
"""Sets whose answers are the documents: report rows only, for the quality table."""


def documents(name: str) -> Path:
    """The folder of documents of a set."""
    if name == "demo":
        return sets.HANDBOOK
    if name == "squad2":
        return sets.write_squad(HOMES / "squad2-documents")
    if name in ANSWERS:
        return sets.write_answers(name, HOMES / f"{name}-documents")
    return sets.DATA / name / "docs"


def shipped() -> Serving:
    """What a fresh installation serves: the adapter that ships."""
    settings = Settings(home=HOMES)
    take_in(settings)
    return serving_of(settings)


def open_model() -> ChatModel:
    """The embedded default with the adapter that ships; one engine serves every home."""
    return make_model(Settings(home=HOMES), shipped().folders)


@contextmanager
def open_home(
    name: str,
    model: ChatModel,
    rag_answers_by: str = "auto",
    calibration: Calibration | None = None,
    serving: Serving | None = None,
    **changed: Any,
) -> Iterator[Rungs]:
    """A set's knowledge with the given model on it; ingested on first use, checked against the documents after."""
    settings = Settings(home=HOMES / name, demo=False, rag_answers_by=rag_answers_by, **changed)  # type: ignore[arg-type]
    engine = open_engine(settings.database_url)
    store = KnowledgeStore(engine, settings.home / "chroma", make_embedder("minilm", HOMES / "models"))
    folder = documents(name)
    steps = ingest(store, [folder])
    for step in track(steps, description=f"{name}: ingesting", transient=True):
        if isinstance(step, IngestReport) and step.failed:
            raise SystemExit(f"{name}: {step.failed}")
    assert not any(document.endswith(".jsonl") for document in store.known(str(folder)))
    calibration = calibration or find_calibration(settings.home, model.fingerprint)
    try:
        yield wire(settings, engine, store, TraceStore(engine), model, calibration, serving or shipped())
    finally:
        store.close()
        engine.dispose()


def rows_of(name: str, split: sets.Split) -> list[sets.GoldenRow]:
    """The rows of a set and split that the quality table and the shipped calibration use."""
    if name == "demo":
        return sets.demo_rows(split)
    if name == "squad2":
        return list(sets.halves(sets.squad_rows(split), 50 if split == "report" else 120))
    if name in ANSWERS:
        return sets.answers_rows(name, split)
    return sets.docs_rows(name, split)[:100]  # type: ignore[arg-type]
