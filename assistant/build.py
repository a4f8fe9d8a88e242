"""The one place where things are wired: settings in, a running assistant out. Reads like a parts list."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from assistant import prompts
from assistant.answering import Answering
from assistant.attachments import Attachments
from assistant.bulletin import Bulletin
from assistant.bundled import take_in
from assistant.confidence import Calibration, find_calibration
from assistant.corrections import CorrectionStore
from assistant.deployment import Crew, Deployment
from assistant.desk import Desk
from assistant.finding import EvidenceFinder
from assistant.levels import LEVELS
from assistant.levels.judging import Bench
from assistant.models import make_model
from assistant.pipeline import Assistant
from assistant.processes import Heartbeat, process_id
from assistant.serving import Serving, registry_of, serving_of
from assistant.settings import Settings
from assistant.traces import TraceStore
from assistant.types import ChatModel
from knowledge.database import open_engine
from knowledge.embedding import make_embedder
from knowledge.store import KnowledgeStore

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from adapters.registry import Registry
    from knowledge.types import Embedder

EVIDENCE_TOKENS = {"embedded": 220}
"""Token budget for sentences in a prompt where a small model on a CPU reads it; others get EVIDENCE_TOKENS_SERVED."""
EVIDENCE_TOKENS_SERVED = 1200
ANSWERED_IN: Mapping[str, tuple[str, ...]] = {"embedded": ("en",)}
"""Languages by kind of model, where nothing is set; others answer in any."""
_RENEWING = threading.Lock()
"""One change at a time."""


@dataclass(frozen=True, slots=True)
class Rungs:
    """Everything that runs on one RUNGS_HOME."""

    settings: Settings
    engine: Engine
    store: KnowledgeStore
    traces: TraceStore
    assistant: Deployment
    """Answers; what it answers with changes by `renew`."""
    desk: Desk
    """Hand-offs and what people write."""
    heartbeat: Heartbeat
    """Tells the other processes of this database that this one is alive."""

    @property
    def model(self) -> ChatModel:
        """The model in force."""
        return self.assistant.current.model

    @property
    def calibration(self) -> Calibration:
        """The calibration in force."""
        return self.assistant.current.calibration

    @property
    def registry(self) -> Registry:
        """The adapters of this home.

        Raises:
            AdapterError: the model at hand keeps its adapters elsewhere.
        """
        return registry_of(self.settings)

    @property
    def corrections(self) -> CorrectionStore:
        """What people corrected."""
        return CorrectionStore(self.engine)

    @property
    def attachments(self) -> Attachments:
        """Documents that belong to one conversation."""
        return Attachments(self.engine, self.store.embedder)

    def renew(self) -> None:
        """Take up what was promoted, rolled back or calibrated, for every question that begins from now on.

        Raises:
            AssistantError, AdapterError: it cannot be served; then everything stays as it was.
        """
        with _RENEWING:
            present = self.assistant.current
            serving = serving_of(self.settings)
            with ExitStack() as opened:
                model = present.model
                if serving.versions != present.adapters:
                    model = opened.enter_context(closing(make_model(self.settings, serving.folders)))
                calibration = find_calibration(self.settings.home, model.fingerprint)
                crew = crew_of(self.settings, self.store, self.traces, model, calibration, serving)
                opened.pop_all()
            self.assistant.exchange(crew)

    def close(self) -> None:
        """Give back the engine, the index and the database. Idempotent."""
        self.desk.bulletin.close()
        self.assistant.close()
        self.heartbeat.close()
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
        store = opened.enter_context(closing(open_store(settings, engine, embedder)))
        bulletin = Bulletin(engine)
        process = process_id(engine, settings.home)
        traces = TraceStore(engine, bulletin, process)
        take_in(settings)
        serving = serving_of(settings)
        model = opened.enter_context(closing(make_model(settings, serving.folders)))
        calibration = find_calibration(settings.home, model.fingerprint)
        desk = Desk(engine, bulletin)
        rungs = wire(settings, engine, store, traces, model, calibration, serving, desk)
        rungs = replace(rungs, heartbeat=Heartbeat(engine, process))
        rungs.heartbeat.start()
        opened.pop_all()
    return rungs


def open_store(settings: Settings, engine: Engine, embedder: Embedder) -> KnowledgeStore:
    """What is known, in this home or wherever the settings say.

    Raises:
        KnowledgeError: the database cannot be used, or the setting `chroma` is no URL.
    """
    return KnowledgeStore(engine, settings.home / "chroma", embedder, settings.chroma, settings.chroma_key)


def wire(
    settings: Settings,
    engine: Engine,
    store: KnowledgeStore,
    traces: TraceStore,
    model: ChatModel,
    calibration: Calibration,
    serving: Serving | None = None,
    desk: Desk | None = None,
) -> Rungs:
    """Put parts together that are already open, as `rungs doctor` and the benches have them."""
    serving = serving or serving_of(settings)
    crew = crew_of(settings, store, traces, model, calibration, serving)
    deployment = Deployment(crew, Answering(settings.home))
    desk = desk or Desk(engine, Bulletin(engine))
    return Rungs(settings, engine, store, traces, deployment, desk, Heartbeat(engine, ""))


def crew_of(
    settings: Settings,
    store: KnowledgeStore,
    traces: TraceStore,
    model: ChatModel,
    calibration: Calibration,
    serving: Serving,
) -> Crew:
    """One assistant for each adapter that the model has loaded, and one without any."""
    rag_answers_by: str = settings.rag_answers_by
    if rag_answers_by == "auto":
        rag_answers_by = calibration.rag_answers_by
    attached = Attachments(traces.engine, store.embedder)
    find = EvidenceFinder(store, settings.passages, calibration.needs_no_document, attached)

    def assistant(adapter: str) -> Assistant:
        fixed = versions_of(model, store, serving.versions.get(adapter, "none"), calibration, rag_answers_by)
        bench = Bench(
            model=model,
            calibration=calibration,
            versions=fixed,
            answer_tokens=settings.answer_tokens,
            evidence_tokens=evidence_tokens(settings),
            rag_answers_by=rag_answers_by,
            adapter=adapter or None,
        )
        return Assistant(
            levels=[make(bench) for make in LEVELS],
            find=find,
            traces=traces,
            versions=lambda: {**fixed, "index": store.index_version},
            characters_max=settings.question_characters,
            person_topics=settings.person_topics,
            languages=settings.languages or ANSWERED_IN.get(settings.model, ()),
        )

    loaded = [name for name in serving.versions if name in model.adapters]
    assistants = {name: assistant(name) for name in ("", *loaded)}
    sites = {site: name for site, name in serving.sites.items() if name in loaded}
    return Crew(model, calibration, assistants, sites, serving.versions)


def evidence_tokens(settings: Settings) -> int:
    """Tokens of evidence in a prompt: as set, or by the kind of model."""
    return settings.evidence_tokens or EVIDENCE_TOKENS.get(settings.model, EVIDENCE_TOKENS_SERVED)


def versions_of(
    model: ChatModel,
    store: KnowledgeStore,
    adapter: str,
    calibration: Calibration,
    rag_answers_by: str,
) -> Mapping[str, str]:
    """What answers, by version: what a trace records and what a calibration belongs to."""
    return {
        "model": model.fingerprint,
        "model_name": model.name,
        "adapter": adapter,
        "prompts": prompts.fingerprint(),
        "embedder": store.embedder.fingerprint,
        "rag_answers_by": rag_answers_by,
        "calibration": calibration.version,
    }
