"""The parts list: everything is wired from the settings, every version is told, and what fails leaves nothing open."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import AdapterError
from adapters.export import CONFIG, TENSORS
from assistant import build as module
from assistant import prompts
from assistant.build import Rungs, build, wire
from assistant.confidence import Calibration, LevelConfidence, NeedsNoDocument, to_json
from assistant.errors import AssistantError, BadSettings, ModelUnavailable
from assistant.finding import EvidenceFinder
from assistant.models.adapter_files import as_gguf, version_of
from assistant.models.scripted import ScriptedModel
from assistant.settings import Settings
from assistant.types import LEVEL_NAMES, Message, Question
from knowledge.embedding import HashEmbedder
from knowledge.errors import KnowledgeError
from knowledge.ingest import ingest
from knowledge.store import KnowledgeStore

VERSIONS = {"model", "model_name", "adapter", "prompts", "embedder", "rag_answers_by", "calibration", "index"}
SURE = LevelConfidence(("sentence_top",), (0.0,), (1.0,), (1.0,), 0.0, 0.1)


def settings_of(home: Path, **changes: Any) -> Settings:
    return Settings(**{"home": home, "model": "scripted", "embedder": "hash", "demo": False} | changes)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def rungs(home: Path) -> Iterator[Rungs]:
    built = build(settings_of(home))
    yield built
    built.close()


def rewired(rungs: Rungs, calibration: Calibration | None = None, **changes: Any) -> Rungs:
    settings = rungs.settings.model_copy(update=changes)
    chosen = rungs.calibration if calibration is None else calibration
    return wire(settings, rungs.engine, rungs.store, rungs.traces, rungs.model, chosen)


def benches(rungs: Rungs) -> list[Any]:
    return [level.bench for level in rungs.assistant.current.assistant().levels]  # type: ignore[attr-defined]


def adapter_at(folder: Path, weights: bytes = b"weights", config: str = "{}") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(config)
    (folder / TENSORS).write_bytes(weights)
    return folder


def page(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "lamp.md").write_text("# Lamps\n\nA lamp is switched on with the red lever behind its foot.\n")
    return folder


# what is wired


def test_everything_lives_under_home_and_a_question_travels_through_all_of_it(rungs: Rungs, home: Path) -> None:
    list(ingest(rungs.store, [page(home.parent / "pages")]))
    conversation = rungs.traces.open_conversation("visitor", "cli")
    trace = rungs.assistant.ask(Question("How is a lamp switched on?", conversation, level="rag"))
    assert trace.answer.level == "rag" and trace.evidence.hits[0].passage.document == "lamp.md"
    assert rungs.traces.load(trace.id).answer == trace.answer
    assert (home / "rungs.db").is_file() and list((home / "chroma").iterdir())
    databases = {"rungs.db", "rungs.db-wal", "rungs.db-shm"}
    assert {path.name for path in home.iterdir()} <= {*databases, "chroma", "models", "answering.lock"}


def test_the_levels_stand_in_the_order_of_the_climb_and_share_their_parts(rungs: Rungs) -> None:
    assert tuple(level.name for level in rungs.assistant.current.assistant().levels) == LEVEL_NAMES
    for bench in benches(rungs):
        assert bench.model is rungs.model and bench.calibration is rungs.calibration and bench.adapter is None


def test_the_settings_reach_the_parts(rungs: Rungs) -> None:
    probe = NeedsNoDocument("hash-v1-256", (0.0,) * 256, 0.0)
    chosen = {"passages": 3, "question_characters": 111, "answer_tokens": 33, "evidence_tokens": 44}
    made = rewired(rungs, Calibration({"rag": SURE}, probe), rag_answers_by="quoting", **chosen)
    find = made.assistant.current.assistant().find
    assert isinstance(find, EvidenceFinder)
    assert (find.store, find.passages, find.needs_no_document) == (rungs.store, 3, probe)
    assert made.assistant.current.assistant().characters_max == 111
    bench = benches(made)[0]
    assert (bench.answer_tokens, bench.evidence_tokens, bench.rag_answers_by) == (33, 44, "quoting")


def test_how_much_evidence_a_prompt_holds_follows_from_the_model_where_it_is_not_set(rungs: Rungs) -> None:
    assert benches(rewired(rungs, model="embedded"))[0].evidence_tokens == module.EVIDENCE_TOKENS["embedded"]
    assert benches(rewired(rungs, model="served"))[0].evidence_tokens == module.EVIDENCE_TOKENS_SERVED


@pytest.mark.parametrize("fitted", ["quoting", "generating"])
def test_level_rag_answers_as_the_calibration_found_better_unless_it_is_set(rungs: Rungs, fitted: str) -> None:
    calibration = Calibration({"rag": SURE}, rag_answers_by=fitted)
    assert benches(rewired(rungs, calibration))[1].rag_answers_by == fitted
    assert benches(rewired(rungs, calibration, rag_answers_by="quoting"))[1].rag_answers_by == "quoting"


def test_a_calibration_in_the_home_is_the_one_in_force(home: Path) -> None:
    home.mkdir()
    (home / "calibration.json").write_text(to_json(Calibration({"rag": SURE}, made_from="mine")))
    built = build(settings_of(home))
    try:
        assert built.calibration.made_from == "mine"
        assert built.assistant.versions()["calibration"] == built.calibration.version
    finally:
        built.close()


# versions


def test_a_trace_tells_the_version_of_everything(rungs: Rungs) -> None:
    versions = rungs.assistant.versions()
    assert set(versions) == VERSIONS and all(versions.values())
    assert versions["adapter"] == "none" and versions["prompts"] == prompts.fingerprint()
    conversation = rungs.traces.open_conversation("visitor", "cli")
    assert rungs.assistant.ask(Question("hello there", conversation)).versions == versions


def test_a_version_changes_with_what_it_names_and_with_nothing_else(
    rungs: Rungs, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(rungs.assistant.versions())

    def changed(made: Rungs) -> set[str]:
        return {name for name, version in made.assistant.versions().items() if version != before[name]}

    assert changed(rewired(rungs)) == set()
    assert changed(rewired(rungs, Calibration({"rag": SURE}, rag_answers_by="generating"))) == {"calibration"}
    assert changed(rewired(rungs, rag_answers_by="quoting")) == {"rag_answers_by"}
    with monkeypatch.context() as patch:
        patch.setattr(prompts, "ALONE", "Be brief.")
        assert changed(rewired(rungs)) == {"prompts"}
    assert changed(rungs) == set()
    list(ingest(rungs.store, [page(home.parent / "pages")]))
    assert changed(rungs) == {"index"}, "documents of a running assistant are told at once"


def test_an_adapter_is_asked_for_by_name_and_told_by_name_and_content(home: Path, tmp_path: Path) -> None:
    folder = adapter_at(tmp_path / "live")
    built = build(settings_of(home, adapter=folder))
    try:
        assert built.model.adapters == ("live",) and [bench.adapter for bench in benches(built)] == ["live"] * 3
        version = built.assistant.versions()["adapter"]
        assert version.startswith("live@") and len(version) == len("live@") + 12
        adapter_at(folder, weights=b"trained further")
        assert built.assistant.versions()["adapter"] == version, "what was loaded serves until the next start"
        assert rewired(built).assistant.versions()["adapter"] != version
    finally:
        built.close()


def test_the_content_of_an_adapter_counts_and_not_where_it_lies(tmp_path: Path) -> None:
    version = version_of(adapter_at(tmp_path / "one" / "live"))
    assert version_of(adapter_at(tmp_path / "two" / "live")) == version
    assert version_of(adapter_at(tmp_path / "two" / "live", weights=b"other")) != version
    assert version_of(adapter_at(tmp_path / "one" / "live", config='{"r": 8}')) != version
    (tmp_path / "live.gguf").write_bytes(b"GGUF")
    file_version = version_of(tmp_path / "live.gguf")
    assert file_version.startswith("live.gguf@")
    (tmp_path / "live.gguf").write_bytes(b"GGUF2")
    assert version_of(tmp_path / "live.gguf") != file_version


def test_an_adapter_that_only_its_server_holds_is_told_by_name(tmp_path: Path) -> None:
    assert version_of(tmp_path / "live") == "live"
    broken = adapter_at(tmp_path / "broken")
    (broken / CONFIG).unlink()
    with pytest.raises(AdapterError, match=f"broken is no adapter .*{CONFIG}"):
        version_of(broken)


def test_an_adapter_that_the_model_does_not_offer_is_not_served(rungs: Rungs, tmp_path: Path) -> None:
    made = rewired(rungs, adapter=adapter_at(tmp_path / "live"))
    assert made.assistant.versions()["adapter"] == "none" and benches(made)[2].adapter is None


# giving back


def test_closing_twice_is_closing_once_and_the_home_can_be_opened_again(home: Path) -> None:
    first = build(settings_of(home))
    list(ingest(first.store, [page(home.parent / "pages")]))
    version = first.assistant.versions()["index"]
    first.close()
    first.close()
    with pytest.raises(ModelUnavailable):
        list(first.model.stream([Message("user", "hello")], max_tokens=5))
    second = build(settings_of(home))
    try:
        assert second.store.count() == 1 and second.assistant.versions()["index"] == version
        assert second.store.degraded is None
    finally:
        second.close()


class Closing:
    """Remembers which parts were closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.closed: list[str] = []
        original = KnowledgeStore.close

        def close(store: KnowledgeStore) -> None:
            self.closed.append("store")
            original(store)

        monkeypatch.setattr(KnowledgeStore, "close", close)

    def model(self, *_: object) -> ScriptedModel:
        model = ScriptedModel()
        model.close = lambda: self.closed.append("model")  # type: ignore[method-assign]
        return model


def test_what_was_open_is_given_back_where_a_later_part_fails(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closing, engines = Closing(monkeypatch), list[Any]()
    opening = module.open_engine
    monkeypatch.setattr(module, "make_model", closing.model)
    monkeypatch.setattr(module, "open_engine", lambda url: engines.append(opening(url)) or engines[-1])
    home.mkdir()
    (home / "calibration.json").write_text("{")
    before = threading.active_count()
    with pytest.raises(AssistantError, match=r"calibration\.json.*rungs calibrate"):
        build(settings_of(home))
    assert closing.closed == ["model", "store"]
    assert threading.active_count() == before and engines[0].pool.checkedin() == 0
    (home / "calibration.json").unlink()
    closing.closed.clear()
    built = build(settings_of(home))
    assert closing.closed == []
    built.close()


# what is missing


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"model": "served"}, BadSettings, "model_url is empty"),
        ({"model": "local"}, BadSettings, "model_name is empty"),
        (
            {"model": "embedded", "model_file": Path("/nowhere.gguf")},
            ModelUnavailable,
            r"/nowhere\.gguf cannot be read",
        ),
        ({"home": Path("/proc/nowhere")}, KnowledgeError, "/proc/nowhere.*cannot be made"),
    ],
)
def test_what_is_missing_is_named(home: Path, changes: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        build(settings_of(**{"home": home} | changes))


@pytest.mark.parametrize("adapter", ["folder", "nothing"])
def test_missing_weights_are_named_before_their_adapter_is(home: Path, tmp_path: Path, adapter: str) -> None:
    folder = adapter_at(tmp_path / "live") if adapter == "folder" else tmp_path / "nothing"
    with pytest.raises(ModelUnavailable, match=r"/nowhere\.gguf cannot be read"):
        build(settings_of(home, model="embedded", model_file=Path("/nowhere.gguf"), adapter=folder))


def test_a_folder_that_is_no_adapter_is_refused_with_what_it_lacks(home: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.gguf"
    weights.write_bytes(b"GGUF")
    with pytest.raises(AdapterError, match=f"no adapter .*It needs {CONFIG} and {TENSORS}"):
        as_gguf(tmp_path / "nothing", weights, home)


def test_a_database_that_is_none_is_named(home: Path) -> None:
    home.mkdir()
    (home / "rungs.db").write_bytes(b"no database at all " * 500)
    with pytest.raises(KnowledgeError, match=r"rungs\.db: is damaged.*backup"):
        build(settings_of(home))


def test_documents_of_another_embedder_do_not_stop_the_assistant(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(settings_of(home))
    list(ingest(first.store, [page(home.parent / "pages")]))
    first.close()

    monkeypatch.setattr(HashEmbedder, "fingerprint", "another")
    second = build(settings_of(home))
    try:
        conversation = second.traces.open_conversation("visitor", "cli")
        trace = second.assistant.ask(Question("How is a lamp switched on?", conversation))
        assert trace.answer.outcome == "abstained" and "rungs reindex" in (trace.evidence.degraded or "")
    finally:
        second.close()


def test_a_new_calibration_takes_effect_without_opening_anything_again(rungs: Rungs, home: Path) -> None:
    list(ingest(rungs.store, [page(home.parent / "pages")]))
    question = Question("How is a lamp switched on?", rungs.traces.open_conversation("visitor", "cli"))
    assert rungs.assistant.ask(question).answer.outcome == "abstained"
    quoting = rewired(rungs, Calibration({"rag": replace(SURE, threshold=0.0)}, rag_answers_by="quoting"))
    assert quoting.assistant.ask(question).answer.level == "rag"
    assert quoting.store is rungs.store and quoting.model is rungs.model
