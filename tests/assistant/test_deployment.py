"""Who answers may change at any moment; no question notices, and no model is given back while it is needed."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from assistant.answering import Answering, is_answering
from assistant.confidence import Calibration
from assistant.deployment import Crew, Deployment
from assistant.errors import ModelUnavailable
from assistant.models.scripted import ScriptedModel
from assistant.pipeline import Assistant
from assistant.types import Attempt, Draft, Evidence, Finished, Level, Question, Trace, Words

PROMOTIONS = 100
WORDS_EACH = 12


class Model(ScriptedModel):
    """Says when it was closed, and fails whoever uses it afterwards."""

    def __init__(self, revision: str) -> None:
        super().__init__()
        self.revision = revision
        self.closed = 0

    def close(self) -> None:
        self.closed += 1

    def word(self) -> str:
        if self.closed:
            raise ModelUnavailable("closed under a question")
        return self.revision


class Speaks:
    """A level that says the revision of its model in every word, slowly."""

    name: Level = "lora"

    def __init__(self, model: Model, pause: float = 0.0) -> None:
        self.model, self.pause = model, pause

    def skip_reason(self, question: Question, evidence: Evidence) -> str | None:
        return None

    def attempt(self, question: Question, evidence: Evidence, cancel: threading.Event) -> Iterator[Words | Attempt]:
        said = []
        for _ in range(WORDS_EACH):
            cancel.wait(self.pause)
            said.append(self.model.word())
            yield Words(said[-1])
        yield Attempt(self.name, True, draft=Draft(" ".join(said)), confidence=1.0, threshold=0.5)


class Unrecorded:
    def begin(self, question: Question, versions: Mapping[str, str]) -> str:
        return "t"

    def finish(self, trace: Trace) -> None: ...

    def interrupted(self, trace_id: str, reason: str) -> None: ...


def crew(model: Model, pause: float = 0.0, **sites: str) -> Crew:
    def assistant(adapter: str) -> Assistant:
        versions = {"adapter": f"{adapter}@{model.revision}"}
        return Assistant([Speaks(model, pause)], lambda q: Evidence((q.text,)), Unrecorded(), lambda: versions, 100)

    names = ("", *sites.values())
    return Crew(model, Calibration(), {name: assistant(name) for name in names}, sites, {})


def deployed(first: Crew, home: Path = Path("/nowhere")) -> Deployment:
    return Deployment(first, Answering(home))


def test_a_question_keeps_the_crew_that_it_began_with() -> None:
    old, new = Model("old"), Model("new")
    deployment = deployed(crew(old))
    events = deployment.stream(Question("why?", "c"))
    first = next(event for event in events if isinstance(event, Words))
    deployment.exchange(crew(new))
    assert not old.closed, "somebody is still being answered by it"
    assert deployment.ask(Question("and now?", "d")).answer.text == " ".join(["new"] * WORDS_EACH)
    rest = [event for event in events if isinstance(event, Words)]
    assert {first.text, *(event.text for event in rest)} == {"old"}
    assert old.closed == 1
    assert not new.closed


def test_a_stream_that_is_left_lets_its_model_go() -> None:
    old = Model("old")
    deployment = deployed(crew(old))
    events = deployment.stream(Question("why?", "c"))
    next(events)
    deployment.exchange(crew(Model("new")))
    events.close()  # type: ignore[attr-defined]
    assert old.closed == 1


def test_a_model_that_the_next_crew_uses_too_stays_open() -> None:
    model = Model("same")
    deployment = deployed(crew(model))
    deployment.exchange(crew(model))
    deployment.exchange(crew(model))
    assert not model.closed
    assert deployment.ask(Question("why?", "c")).answer.level == "lora"
    deployment.close()
    assert model.closed == 1


def test_each_site_is_answered_with_its_own_adapter() -> None:
    deployment = deployed(crew(Model("m"), default="house", docs="manual"))
    assert deployment.ask(Question("why?", "c", site="docs")).versions["adapter"] == "manual@m"
    assert deployment.ask(Question("why?", "c")).versions["adapter"] == "house@m"
    assert deployment.ask(Question("why?", "c", site="unheard of")).versions["adapter"] == "house@m"
    assert deployment.versions("docs")["adapter"] == "manual@m"


def test_a_closed_deployment_answers_nobody() -> None:
    old, new = Model("old"), Model("new")
    deployment = deployed(crew(old))
    with deployment.lease():
        deployment.exchange(crew(new))
        deployment.close()
        deployment.close()
    assert old.closed >= 1 and new.closed >= 1
    with pytest.raises(ModelUnavailable, match="stopping"):
        deployment.ask(Question("why?", "c"))


def test_a_hundred_promotions_under_load_fail_no_answer_and_mix_no_revisions() -> None:
    models = [Model("r0")]
    deployment = deployed(crew(models[0], 0.001))
    stop = threading.Event()
    told: list[str] = []
    failures: list[BaseException] = []

    def ask(seed: int) -> None:
        draw = random.Random(seed)
        while not stop.is_set():
            try:
                *_, last = deployment.stream(Question("why?", f"c{seed}"))
                assert isinstance(last, Finished)
                (revision,) = set(last.trace.answer.text.split())
                assert last.trace.versions["adapter"] == f"@{revision}"
                told.append(revision)
            except BaseException as error:
                failures.append(error)
                return
            stop.wait(draw.random() * 0.002)

    askers = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for asker in askers:
        asker.start()
    for number in range(1, PROMOTIONS + 1):
        back = number % 3 == 0
        model = Model(f"r{number - 2 if back else number}")
        models.append(model)
        deployment.exchange(crew(model, 0.001))
        threading.Event().wait(0.01)
    stop.set()
    for asker in askers:
        asker.join(10)
    assert not failures
    assert len(told) > PROMOTIONS
    assert len(set(told)) > 20
    assert [model.closed for model in models[:-1]] == [1] * PROMOTIONS
    assert not models[-1].closed
    assert len(deployment._posts) == 1


def test_a_home_says_whether_somebody_is_being_answered(tmp_path: Path) -> None:
    deployment = deployed(crew(Model("m")), tmp_path)
    assert not is_answering(tmp_path)
    one, two = deployment.stream(Question("why?", "c")), deployment.stream(Question("why?", "d"))
    next(one), next(two)
    assert is_answering(tmp_path)
    list(one)
    assert is_answering(tmp_path)
    two.close()  # type: ignore[attr-defined]
    assert not is_answering(tmp_path)
