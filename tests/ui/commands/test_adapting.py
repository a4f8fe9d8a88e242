"""Adapters through the command line and a running deployment: real engine, real adapters with random weights."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.card import AdapterCard, Lineage, TrainingSettings
from adapters.errors import AdapterError
from adapters.export import MODULES
from assistant.build import Rungs, build
from assistant.errors import BadSettings
from assistant.serving import registry_of, serving_of
from assistant.settings import Settings
from assistant.types import Finished, Question
from knowledge.ingest import ingest
from tests.adapters.samples import ACCEPTED, REFUSED
from tests.homes import retire_the_shipped_adapter
from ui.commands.table import COMMANDS

pytestmark = pytest.mark.engine
RANK = 4


@pytest.fixture(scope="module")
def rungs(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Rungs]:
    home = tmp_path_factory.mktemp("home")
    (home / "models").mkdir()
    retire_the_shipped_adapter(home)
    for path in weights.parent.glob(f"{weights.name}*"):
        (home / "models" / path.name).symlink_to(path)
    page = tmp_path_factory.mktemp("pages") / "lamps.md"
    page.write_text("# Lamps\n\nThe lamp is switched on by the green button. It is switched off by the red one.\n")
    built = build(Settings(home=home, demo=False, answer_tokens=16))
    list(ingest(built.store, [page]))
    yield built
    built.close()


def candidate(rungs: Rungs, folder: Path, name: str, seed: int, verdict: Any = ACCEPTED) -> AdapterCard:
    """An adapter of random weights in the registry."""
    import numpy as np
    from peft import LoraConfig
    from safetensors.numpy import save_file

    base = registry_of(rungs.settings)._base
    draw = np.random.default_rng(seed)
    tensors = {}
    for path, (out, into) in base.shapes.items():
        down, up = draw.normal(0, 0.2, (RANK, into)), draw.normal(0, 0.2, (out, RANK))
        tensors[f"base_model.model.{path}.lora_A.weight"] = down.astype(np.float16)
        tensors[f"base_model.model.{path}.lora_B.weight"] = up.astype(np.float16)
    folder.mkdir(parents=True)
    LoraConfig(
        task_type="CAUSAL_LM", r=RANK, lora_alpha=8, target_modules=sorted(MODULES), inference_mode=True
    ).save_pretrained(folder)
    save_file(tensors, folder / "adapter_model.safetensors")
    card = AdapterCard(
        name,
        f"2026-11-23T10:00:{seed:02d}+00:00",
        base.name,
        base.hashes[0],
        Lineage(None, ()),
        TrainingSettings(RANK, 8.0, tuple(sorted(MODULES)), None, None, None),
    )
    added = registry_of(rungs.settings).add(folder, card)
    return registry_of(rungs.settings).record_gate(name, added.revision, verdict)


def run(rungs: Rungs, command: str, **arguments: Any) -> dict[str, Any]:
    """The command's result."""
    *_, last = COMMANDS[command](rungs, arguments, threading.Event())
    return dict(last["result"])


def asked(rungs: Rungs, site: str = "") -> Any:
    question = Question(
        "How is the lamp switched on?", rungs.traces.open_conversation("v", "cli"), site=site, level="lora"
    )
    return rungs.assistant.ask(question)


def test_promote_and_roll_back_change_what_answers_at_once(rungs: Rungs, tmp_path: Path) -> None:
    assert run(rungs, "adapters-list") == {"adapters": [], "sites": {}, "problems": []}
    assert asked(rungs).attempts[-1].skipped_because == "no adapter promoted"
    one, two = (candidate(rungs, tmp_path / str(seed), "house", seed) for seed in (1, 2))
    assert run(rungs, "adapters-promote", name="house", by="ann")["revision"] == two.revision
    second = asked(rungs)
    assert second.versions["adapter"] == f"house@{two.revision}"
    assert second.answer.level == "lora"
    run(rungs, "adapters-promote", name="house", revision=one.revision, by="ann")
    first = asked(rungs)
    assert first.versions["adapter"] == f"house@{one.revision}"
    assert first.answer.text != second.answer.text
    done = run(rungs, "adapters-rollback", name="house", by="bob", reason="worse")
    assert (done["revision"], done["stage"], done["reason"]) == (two.revision, "live", "worse")
    assert done["seconds"] < 30
    print(f"roll-back took {done['seconds']} s")
    back = asked(rungs)
    assert back.versions["adapter"] == second.versions["adapter"]
    listed = run(rungs, "adapters-list")
    assert [(a["revision"], a["stage"]) for a in listed["adapters"]] == [
        (one.revision, "retired"),
        (two.revision, "live"),
    ]
    assert listed["sites"] == {"default": "house"}
    shown = run(rungs, "adapters-show", name="house")
    assert shown["revision"] == two.revision and shown["gate"]["verdict"] == "accept"
    with pytest.raises(AdapterError, match="is live"):
        run(rungs, "adapters-remove", name="house", revision=two.revision)
    run(rungs, "adapters-retire", name="house", by="ann")
    assert asked(rungs).attempts[-1].skipped_because == "no adapter promoted"


def test_what_the_gate_refused_needs_a_reason(rungs: Rungs, tmp_path: Path) -> None:
    card = candidate(rungs, tmp_path / "bad", "bold", 3, REFUSED)
    with pytest.raises(AdapterError, match=r"It forgot to decline.*reason"):
        run(rungs, "adapters-promote", name="bold", by="ann")
    done = run(rungs, "adapters-promote", name="bold", by="ann", reason="we know")
    assert (done["revision"], done["reason"]) == (card.revision, "we know")
    run(rungs, "adapters-retire", name="bold", by="ann")


def test_an_exported_file_is_imported_as_a_candidate_under_its_content(rungs: Rungs, tmp_path: Path) -> None:
    card = candidate(rungs, tmp_path / "out", "travels", 4)
    done = run(rungs, "adapters-export", name="travels", revision=card.revision, out=str(tmp_path / "travels.bundle"))
    assert done["bytes"] == (tmp_path / "travels.bundle").stat().st_size
    taken = run(rungs, "adapters-import", path=done["file"], name="arrived")
    assert (taken["name"], taken["revision"], taken["stage"]) == ("arrived", card.revision, "candidate")
    assert taken["gate"] == "accept (elsewhere)"
    adopted = run(rungs, "adapters-import", path=str(tmp_path / "out"), name="adopted")
    assert (adopted["revision"], adopted["gate"]) == (card.revision, None)


def test_revisions_answer_one_question_side_by_side(rungs: Rungs, tmp_path: Path) -> None:
    card = candidate(rungs, tmp_path / "compared", "compared", 10)
    sides = ["base", "compared", f"compared@{card.revision}"]
    result = run(rungs, "adapters-compare", sides=sides, question="How is the lamp switched on?")
    base, one, same = result["answers"]
    assert [a["side"] for a in (base, one)] == ["base", f"compared@{card.revision}"]
    assert one["side"] == same["side"]
    assert base["logprob_min"] <= base["logprob_mean"] <= 0
    with pytest.raises(AdapterError, match="no adapter called nobody"):
        run(rungs, "adapters-compare", sides=["base", "nobody"], question="How is the lamp switched on?")


def test_each_site_has_the_adapter_that_the_settings_name(rungs: Rungs, tmp_path: Path) -> None:
    cards = [candidate(rungs, tmp_path / name, name, seed) for name, seed in (("alpha", 5), ("beta", 6))]
    for card in cards:
        run(rungs, "adapters-promote", name=card.name, by="ann")
    assert serving_of(rungs.settings).sites == {"default": "beta"}, "the one promoted last"
    settings = rungs.settings.model_copy(update={"adapters": {"default": "alpha", "docs": "beta"}})
    from dataclasses import replace

    changed = replace(rungs, settings=settings)
    changed.renew()
    assert asked(changed).versions["adapter"] == f"alpha@{cards[0].revision}"
    assert asked(changed, "docs").versions["adapter"] == f"beta@{cards[1].revision}"
    missing = rungs.settings.model_copy(update={"adapters": {"docs": "gamma"}})
    with pytest.raises(BadSettings, match="gamma is not live"):
        serving_of(missing)
    for card in cards:
        run(rungs, "adapters-retire", name=card.name, by="ann")


def test_a_live_adapter_that_was_changed_on_disk_is_not_served_and_said(rungs: Rungs, tmp_path: Path) -> None:
    card = candidate(rungs, tmp_path / "spoilt", "spoilt", 7)
    run(rungs, "adapters-promote", name="spoilt", by="ann")
    (tensors,) = (rungs.settings.home / "adapters" / "spoilt").rglob("adapter_model.safetensors")
    tensors.chmod(0o600)
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"\x00")
    serving = serving_of(rungs.settings)
    assert not serving.folders and serving.problems
    rungs.renew()
    assert asked(rungs).attempts[-1].skipped_because == "no adapter promoted"
    run(rungs, "adapters-retire", name="spoilt", revision=card.revision, by="ann")


def test_promotions_while_questions_are_answered_on_the_real_engine(rungs: Rungs, tmp_path: Path) -> None:
    cards = [candidate(rungs, tmp_path / str(seed), "busy", seed) for seed in (8, 9)]
    versions = {f"busy@{card.revision}" for card in cards}
    run(rungs, "adapters-promote", name="busy", revision=cards[0].revision, by="ann")
    stop, failures, told = threading.Event(), list[BaseException](), list[str]()
    engines = {id(rungs.model)}

    def ask() -> None:
        while not stop.is_set():
            try:
                question = Question(
                    "How is the lamp switched on?", rungs.traces.open_conversation("v", "cli"), level="lora"
                )
                *_, last = rungs.assistant.stream(question)
                assert isinstance(last, Finished)
                assert last.trace.attempts[-1].failure is None
                told.append(last.trace.versions["adapter"])
            except BaseException as error:
                failures.append(error)
                return

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    seconds = []
    for _ in range(3):
        run(rungs, "adapters-promote", name="busy", revision=cards[1].revision, by="ann", reason="again")
        engines.add(id(rungs.model))
        seconds.append(run(rungs, "adapters-rollback", name="busy", by="ann")["seconds"])
    stop.set()
    for asker in askers:
        asker.join(60)
    assert not failures
    assert set(told) == versions
    assert len(rungs.assistant._posts) == 1, "old engines were given back"
    print(f"roll-backs under load: {max(seconds)} s at most")
    run(rungs, "adapters-retire", name="busy", by="ann")


def test_the_gate_looks_at_an_adapter_from_elsewhere(rungs: Rungs, tmp_path: Path) -> None:
    card = candidate(rungs, tmp_path / "far", "far", 31, REFUSED)
    golden = tmp_path / "golden.jsonl"
    golden.write_text('{"id": "g", "question": "How is the lamp switched on?", "answers": ["green button"]}\n')
    rungs = replace(rungs, settings=rungs.settings.model_copy(update={"gate_questions": 5}))
    steps = list(COMMANDS["adapters-gate"](rungs, {"name": "far", "golden": str(golden)}, threading.Event()))
    done = steps[-1]["result"]
    assert (done["revision"], done["gate"]) == (card.revision, "too_little_evidence")
    assert {check["name"] for check in done["report"]["checks"]} >= {"domain", "general", "attacks"}
    assert rungs.registry.show("far", card.revision).gate.verdict == "too_little_evidence"  # type: ignore[union-attr]


def test_a_revision_is_written_as_a_peft_folder(rungs: Rungs, tmp_path: Path) -> None:
    from peft import LoraConfig
    from safetensors import safe_open

    card = candidate(rungs, tmp_path / "peft", "peft", 41)
    out = tmp_path / "for-vllm"
    done = run(rungs, "adapters-export", name="peft", revision=card.revision, out=str(out), peft=True)
    assert done["bytes"] == sum(path.stat().st_size for path in out.iterdir())
    assert LoraConfig.from_pretrained(str(out)).r == RANK
    with safe_open(out / "adapter_model.safetensors", "np") as file:
        assert len(list(file.keys())) > 100
    with pytest.raises(AdapterError, match="already"):
        run(rungs, "adapters-export", name="peft", revision=card.revision, out=str(out), peft=True)
