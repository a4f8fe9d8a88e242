"""The one place where things are wired: settings in, a running assistant out. Reads like a parts list."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assistant import prompts
from assistant.confidence import Calibration, find_calibration
from assistant.finding import EvidenceFinder
from assistant.levels import LEVELS
from assistant.levels.judging import Bench
from assistant.models import make_model
from assistant.models.adapter_files import version_of
from assistant.pipeline import Assistant
from assistant.settings import Settings
from assistant.traces import TraceStore
from assistant.types import ChatModel
from knowledge.database import open_engine
from knowledge.embedding import make_embedder
from knowledge.store import KnowledgeStore

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

EVIDENCE_TOKENS = {"embedded": 220}
"""Token budget for sentences in a prompt where a small model on a CPU reads it; others get EVIDENCE_TOKENS_SERVED."""
EVIDENCE_TOKENS_SERVED = 1200


@dataclass(frozen=True, slots=True)
class Rungs:
    """Everything that runs on one RUNGS_HOME."""

    settings: Settings
    engine: Engine
    store: KnowledgeStore
    traces: TraceStore
    model: ChatModel
    calibration: Calibration
    assistant: Assistant

    def close(self) -> None:
        """Give back the engine, the index and the database. Idempotent."""
        self.model.close()
        self.store.close()
        self.engine.dispose()


def build(settings: Settings) -> Rungs:
    """Wire everything. Quick on a prepared home; the embedded model's weights are prepared here if they are not yet.

    Raises:
        AssistantError, KnowledgeError, AdapterError: with what to do about it.
    """
    with ExitStack() as opened:  # what is open already is given back where a later part fails
        engine = open_engine(settings.database_url)
        opened.callback(engine.dispose)
        embedder = make_embedder(settings.embedder, settings.home / "models")
        store = opened.enter_context(closing(KnowledgeStore(engine, settings.home / "chroma", embedder)))
        traces = TraceStore(engine)
        adapters = {settings.adapter.name: settings.adapter} if settings.adapter else {}
        model = opened.enter_context(closing(make_model(settings, adapters)))
        calibration = find_calibration(settings.home, model.fingerprint)
        rungs = wire(settings, engine, store, traces, model, calibration)
        opened.pop_all()
    return rungs


def wire(
    settings: Settings,
    engine: Engine,
    store: KnowledgeStore,
    traces: TraceStore,
    model: ChatModel,
    calibration: Calibration,
) -> Rungs:
    """Put parts together that are already open, as `rungs doctor` and the benches have them."""
    adapter = settings.adapter if settings.adapter and settings.adapter.name in model.adapters else None
    rag_answers_by: str = settings.rag_answers_by
    if rag_answers_by == "auto":
        rag_answers_by = calibration.rag_answers_by
    fixed = versions_of(model, store, adapter, calibration, rag_answers_by)
    bench = Bench(
        model=model,
        calibration=calibration,
        versions=fixed,
        answer_tokens=settings.answer_tokens,
        evidence_tokens=evidence_tokens(settings),
        rag_answers_by=rag_answers_by,
        adapter=adapter.name if adapter else None,
    )
    assistant = Assistant(
        levels=[make(bench) for make in LEVELS],
        find=EvidenceFinder(store, settings.passages, calibration.needs_no_document),
        traces=traces,
        versions=lambda: {**fixed, "index": store.index_version},
        characters_max=settings.question_characters,
    )
    return Rungs(settings, engine, store, traces, model, calibration, assistant)


def evidence_tokens(settings: Settings) -> int:
    """Tokens of evidence in a prompt: as set, or by the kind of model."""
    return settings.evidence_tokens or EVIDENCE_TOKENS.get(settings.model, EVIDENCE_TOKENS_SERVED)


def versions_of(
    model: ChatModel,
    store: KnowledgeStore,
    adapter: Path | None,
    calibration: Calibration,
    rag_answers_by: str,
) -> Mapping[str, str]:
    """What answers, by version: what a trace records and what a calibration belongs to."""
    return {
        "model": model.fingerprint,
        "model_name": model.name,
        "adapter": version_of(adapter) if adapter else "none",
        "prompts": prompts.fingerprint(),
        "embedder": store.embedder.fingerprint,
        "rag_answers_by": rag_answers_by,
        "calibration": calibration.version,
    }
