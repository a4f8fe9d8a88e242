"""The table of models: light to import, clear about what is missing; and what the factories hand over."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import typing
from pathlib import Path

import pytest

from assistant.errors import ModelUnavailable
from assistant.models import INSTALL, MODELS, make_model
from assistant.models.slots import Slots
from assistant.settings import Settings
from assistant.types import Completed, Message


def test_every_model_setting_has_its_line() -> None:
    assert set(MODELS) == set(typing.get_args(Settings.model_fields["model"].annotation))


def test_importing_the_table_imports_nothing_heavy() -> None:
    heavy = "('torch', 'xllamacpp', 'gguf', 'numpy', 'openai')"
    code = f"import sys, assistant.models; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # numpy comes with the types of passages
    assert done.stdout.strip() in ("[]", "['numpy']")


@pytest.mark.parametrize("name", sorted(INSTALL))
def test_a_missing_package_names_the_command_that_installs_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(settings: Settings, adapters: object) -> typing.NoReturn:
        raise ModuleNotFoundError("No module named 'x'", name="x")

    monkeypatch.setattr("assistant.models.MODELS", {name: missing})
    with pytest.raises(ModelUnavailable, match=r"package x.*Run: pip install"):
        make_model(Settings(home=tmp_path, model=name))  # type: ignore[arg-type]


def test_the_scripted_model_takes_adapters_by_name(tmp_path: Path) -> None:
    model = make_model(Settings(home=tmp_path, model="scripted"), {"live": tmp_path})
    assert model.adapters == ("live",)


@pytest.mark.engine
def test_any_gguf_file_is_served_with_its_own_template(weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "other name.gguf"
    shutil.copy(weights, file)
    settings = Settings(home=tmp_path / "home", model_file=file, context_tokens=100_000, slots=1, threads=1)
    model = make_model(settings)
    try:
        assert model.name == "other name"
        assert model.context_tokens == 8192
        assert len(model.fingerprint) == 12
        messages = [Message("system", "Be brief."), Message("user", "Hi")]
        assert isinstance(list(model.stream(messages, max_tokens=2))[-1], Completed)
    finally:
        model.close()


@pytest.mark.engine
def test_a_file_that_llama_cpp_cannot_run_is_refused_and_the_process_lives(tmp_path: Path) -> None:
    from tests.assistant.models.test_weights import tiny_gguf

    with pytest.raises(ModelUnavailable, match="refuses"):
        make_model(Settings(home=tmp_path, model_file=tiny_gguf(tmp_path / "model.gguf")))


def test_a_conversation_gets_its_own_slot_back() -> None:
    slots, never = Slots(2), threading.Event()
    first = slots.take("a", never)
    second = slots.take("b", never)
    assert {first, second} == {0, 1}
    for slot in (first, second):
        assert slot is not None
        slots.give_back(slot)
    assert slots.take("b", never) == second
    assert slots.take("b", never) == first


def test_a_newcomer_takes_the_slot_that_was_idle_longest() -> None:
    slots, never = Slots(3), threading.Event()
    order = [slots.take(name, never) for name in "abc"]
    for slot in (order[1], order[0], order[2]):
        assert slot is not None
        slots.give_back(slot)
    assert slots.take("new", never) == order[1]


def test_the_line_is_served_in_order_and_a_cancelled_one_leaves_it() -> None:
    slots, never, left = Slots(1), threading.Event(), threading.Event()
    held = slots.take("holder", never)
    served: list[str] = []
    started = [threading.Event() for _ in range(3)]

    def wait(name: str, number: int, cancel: threading.Event) -> None:
        started[number].set()
        slot = slots.take(name, cancel)
        if slot is not None:
            served.append(name)
            slots.give_back(slot)

    threads = []
    for number, (name, cancel) in enumerate([("one", never), ("gone", left), ("two", never)]):
        threads.append(threading.Thread(target=wait, args=(name, number, cancel)))
        threads[-1].start()
        started[number].wait()
        while len(slots._line) <= number:
            pass
    left.set()
    threads[1].join(5)
    assert held is not None
    slots.give_back(held)
    for thread in threads:
        thread.join(5)
    assert served == ["one", "two"]
