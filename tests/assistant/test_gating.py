"""The gate's callables: prompts as serving sends them, the right adapter for each side, golden rows as questions."""

import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from adapters.errors import AnswerFailed, BadGate
from adapters.export import export
from adapters.gate import run
from adapters.gate_types import GateQuestion, GateResult, Reply, Side
from adapters.types import Passage, Turn
from assistant import prompts
from assistant.errors import ModelTimeout
from assistant.evaluation.golden import GoldenRow
from assistant.gating import Answering, golden_questions, judge_by, messages_of
from assistant.models.embedded import EmbeddedModel
from assistant.models.engine import EngineOptions
from assistant.models.scripted import ScriptedModel
from assistant.types import Question, Token
from assistant.types import Turn as Earlier
from knowledge.embedding import HashEmbedder
from knowledge.types import Passage as Found
from knowledge.types import Sentence
from tests.adapters.samples import RANK, adapter, half

HISTORY = (Turn("user", "Hi"), Turn("assistant", "Hello!"))
NOTE = Passage("The warranty lasts two years.", "Warranty")
DOMAIN = GateQuestion("d", "domain", "How long is the warranty?", HISTORY, (NOTE,), ("two years",))
GENERAL = GateQuestion("g", "general", "What is the capital of France?", golds=("paris",))
MEMORY = GateQuestion("m", "memory", "How long is the warranty?", golds=("two years",))
JUDGE = judge_by(HashEmbedder())


def sentence(text: str, document: str = "a.md") -> Sentence:
    return Sentence(text, Found("p", "s", document, "Guide", "Guide > Warranty", text, 0), 0, len(text), 0.8, 1.0)


def test_prompts_are_those_of_serving() -> None:
    asked = Question(DOMAIN.question, "c", (Earlier("user", "Hi"), Earlier("assistant", "Hello!")))
    ours, theirs = messages_of(DOMAIN), prompts.grounded(asked, [sentence("The warranty lasts two years.")])
    assert ours[:-1] == theirs[:-1]
    mark, other = (messages[-1].content.split(":")[0].removeprefix("Notes ") for messages in (ours, theirs))
    assert ours[-1].content == theirs[-1].content.replace(other, mark)
    assert messages_of(GENERAL) == prompts.alone(Question(GENERAL.question, "c"))


def test_a_question_from_memory_is_asked_with_empty_notes() -> None:
    told = messages_of(MEMORY)
    assert told[0].content == prompts.GROUNDED and "- " not in told[-1].content


def test_every_side_gets_the_same_prompt_and_its_own_adapter() -> None:
    model = ScriptedModel(["Two years."], adapters=("new", "old"))
    answering = Answering(model, "new", "old", 40)
    sides: tuple[Side, ...] = ("base", "live", "candidate")
    replies = [answering(DOMAIN, side) for side in sides]
    assert [asked.adapter for asked in model.asked] == [None, "old", "new"]
    assert len({asked.messages for asked in model.asked}) == 1 and {asked.max_tokens for asked in model.asked} == {40}
    assert replies[0] == Reply("Two years.", (-0.1, -0.1))


def test_missing_probabilities_are_left_out() -> None:
    model = ScriptedModel([[Token("Two", None), Token(" years.", -0.3)]], adapters=("new",))
    assert Answering(model, "new", None, 40)(DOMAIN, "candidate") == Reply("Two years.", (-0.3,))


def test_what_the_model_cannot_do_is_a_failed_answer() -> None:
    late = ScriptedModel([ModelTimeout("a deadline passed.")], adapters=("new",))
    with pytest.raises(AnswerFailed, match="deadline"):
        Answering(late, "new", None, 40)(DOMAIN, "base")
    short = ScriptedModel(adapters=("new",), context_tokens=41)
    with pytest.raises(AnswerFailed, match="do not fit"):
        Answering(short, "new", None, 40)(DOMAIN, "base")
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(AnswerFailed, match="cancelled"):
        Answering(ScriptedModel(adapters=("new",)), "new", None, 40, stopped)(DOMAIN, "base")


def test_adapters_that_are_not_loaded_or_the_same_are_refused() -> None:
    with pytest.raises(BadGate, match="no adapter other loaded"):
        Answering(ScriptedModel(adapters=("new",)), "other", None, 40)
    with pytest.raises(BadGate, match="itself"):
        Answering(ScriptedModel(adapters=("new",)), "new", "new", 40)


def test_grading_and_declining_are_those_of_the_assistant() -> None:
    assert JUDGE.right(DOMAIN, "It lasts two years.") and not JUDGE.right(DOMAIN, "It lasts long.")
    wordy = "It lasts two years. " + "And so on. " * 40
    assert not JUDGE.right(DOMAIN, wordy) and JUDGE.holds(DOMAIN, wordy)
    assert JUDGE.declines("Sorry, I don’t know.") and not JUDGE.declines("Two years.")


def test_golden_rows_become_questions_over_what_serving_would_show() -> None:
    rows = (
        GoldenRow("a", "How long?", (Earlier("user", "Hi"),), "answer", ("two years",), ("a.md",)),
        GoldenRow("not found", "How far?", (), "answer", ("a mile",), ("b.md",)),
        GoldenRow("d", "Who is king?", (), "decline"),
        GoldenRow("any", "Hello", (), "any"),
    )

    def shown(question: Question) -> Sequence[Sentence]:
        return [sentence("The warranty lasts two years.")]

    made = list(golden_questions(rows, shown))
    assert [(question.id, question.check) for question in made] == [
        ("domain:golden:a", "domain"),
        ("declining:golden:d", "declining"),
    ]
    assert made[0].passages == (Passage("The warranty lasts two years.", "Warranty", "a.md"),)
    assert made[0].history == (Turn("user", "Hi"),)


def test_keys_of_kept_answers_name_all_that_they_depend_on() -> None:
    model = ScriptedModel(adapters=("new",))
    keys = Answering(model, "new", None, 40).keys({"candidate": "abc"})
    assert set(keys) == {"base", "candidate"} and prompts.fingerprint() in keys["base"] and "abc" in keys["candidate"]
    assert keys["base"] != Answering(model, "new", None, 41).keys({})["base"]


def test_a_whole_gate_runs_on_a_model() -> None:
    model = ScriptedModel(lambda messages: "Two years. Paris.", adapters=("new",))
    *_, last = run((DOMAIN, GENERAL, MEMORY), Answering(model, "new", None, 40), JUDGE)
    assert isinstance(last, GateResult) and last.report.verdict == "too_little_evidence"
    assert {check.name: check.base for check in last.report.checks}["domain"] == 1.0


@pytest.mark.engine
def test_a_gate_runs_on_the_embedded_model_with_an_adapter(weights: Path, tmp_path: Path) -> None:
    hidden = 576  # of the embedded model
    numbers = np.random.default_rng(1)
    made = {
        half("self_attn.o_proj", letter, layer): (numbers.normal(size=shape) * 0.1).astype(np.float32)
        for layer in range(30)
        for letter, shape in (("A", (RANK, hidden)), ("B", (hidden, RANK)))
    }
    folder = adapter(tmp_path / "peft", config={"target_modules": ["o_proj"]}, made=made)
    options = EngineOptions(weights, adapters={"new": export(folder, tmp_path / "new.gguf", weights)})
    with closing(EmbeddedModel(options, "test")) as model:
        answering = Answering(model, "new", None, 24)
        replies = {(q.id, side): answering(q, side) for q in (DOMAIN, GENERAL) for side in ("base", "candidate")}  # type: ignore[arg-type]
        assert all(reply.logprobs and max(reply.logprobs) <= 0 for reply in replies.values())
        assert "paris" in replies["g", "base"].text.lower()
        assert replies["d", "base"] != replies["d", "candidate"]
        *_, last = run((DOMAIN, GENERAL), answering, JUDGE)
    assert isinstance(last, GateResult) and last.report.verdict == "too_little_evidence"
