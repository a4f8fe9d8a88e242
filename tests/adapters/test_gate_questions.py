"""Where the gate's questions come from: held-out rows, golden rows, and the shipped sets."""

import json
import tomllib
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from adapters.dataset import TrainingSet
from adapters.errors import BadGate
from adapters.gate_questions import Budget, crossed, fixed, planted, questions
from adapters.gate_types import GateQuestion, Reply, Side
from adapters.types import Example, Passage
from tests.adapters.gate_sides import candidate, gated, world

ROOT = Path(__file__).resolve().parents[2]
ATTACKS = [
    json.loads(line)
    for line in files("adapters").joinpath("gate_sets/attacks.jsonl").read_text(encoding="utf-8").splitlines()
]
GENERAL = fixed("general")


def row(part: str, number: int, expect: str = "grounded") -> Example:
    document = f"{part}-{number}.md"
    passage = Passage(f"The {part} gadget{number} opens with lever{number} pulled.", "Gadgets", document)
    return Example(
        id=f"{part}-{number}-{expect}",
        question=f"How does the {part} gadget{number} open?",
        answer=f"Pull lever{number} of gadget{number}." if expect == "grounded" else "I don't know.",
        passages=(passage,),
        expect=expect,  # type: ignore[arg-type]
        document=document,
    )


def training_set(held: int = 40) -> TrainingSet:
    train = tuple(row("train", number) for number in range(100))
    test = (*(row("test", number) for number in range(held)), *(row("test", n, "decline") for n in range(held // 4)))
    validation = tuple(row("validation", number) for number in range(held))
    return TrainingSet(train, validation, test, (), {}, {}, 0.0)


def golden(number: int, check: str = "domain") -> GateQuestion:
    golds = ("yes",) if check in ("domain", "general") else ()
    passages = () if check == "general" else (Passage("Yes.", "Place"),)
    return GateQuestion(f"golden-{number}", check, f"Golden {number}?", (), passages, golds)  # type: ignore[arg-type]


def test_the_default_budget_is_kept_and_every_check_is_asked() -> None:
    budget = Budget()
    asked = Counter(question.check for question in questions(training_set(70)))
    assert asked == {"domain": 120, "declining": 80, "general": 80, "attacks": 200, "memory": 40}
    assert asked.total() == 520 == sum((budget.domain, budget.declining, budget.general, budget.attacks, budget.memory))


def test_sources_take_turns_and_the_draw_is_the_same_each_time() -> None:
    made = questions(training_set(), [golden(number) for number in range(200)])
    sources = Counter(question.id.split(":")[1] if ":" in question.id else "golden" for question in made
                      if question.check == "domain")  # fmt: skip
    assert sources == {"golden": 40, "test": 40, "validation": 40}
    assert made == questions(training_set(), [golden(number) for number in range(200)])


def test_nothing_of_the_training_part_is_asked_with_its_passages() -> None:
    made = questions(training_set(), budget=Budget(500, 500, 500, 500, 500))
    assert {question.check for question in made if ":train:" in question.id} == {"memory"}
    assert not any(question.passages for question in made if question.check == "memory")


def test_what_is_asked_from_memory_was_trained_on() -> None:
    memory = Counter(q.id.split(":")[1] for q in questions(training_set()) if q.check == "memory")
    assert memory == {"train": 40}


def test_where_too_little_was_trained_on_the_held_out_part_fills_up() -> None:
    few = replace(training_set(), train=training_set().train[:25])
    memory = Counter(q.id.split(":")[1] for q in questions(few) if q.check == "memory")
    assert memory["train"] == 25 and memory.total() == 40


def test_a_candidate_that_learned_every_eighth_row_by_heart_is_refused_for_it() -> None:
    """The rows that it could not have learned used to hide it: 8 % instead of 12 % recited."""
    asked = [q for q in questions(training_set()) if q.check == "memory"]
    order = [q.id for q in asked]

    def recites(question: GateQuestion, side: Side) -> Reply | None:
        if question.check != "memory":
            return None
        knows = side == "candidate" and ":train:" in question.id and order.index(question.id) % 8 == 0
        return Reply(question.golds[0] if knows else "No idea.", (-0.1,))

    others = [question for question in world() if question.check != "memory"]
    report = gated(candidate(), [*others, *asked], instead=recites).report
    assert report.verdict == "refuse" and "by heart" in report.reasons[0]


def test_crossed_rows_show_as_many_passages_of_other_documents() -> None:
    rows = training_set().test[:40]
    made = list(crossed(rows, "test", 1))
    assert len(made) == 40
    for question, example in zip(made, rows, strict=True):
        assert question.question == example.question and len(question.passages) == len(example.passages)
        assert all(passage.document != example.document for passage in question.passages)
        assert question.group == GateQuestion("x", "declining", example.question).group


def test_a_row_alone_has_nothing_to_be_crossed_with() -> None:
    assert list(crossed([row("test", 1)], "test", 1)) == []
    assert list(crossed([], "test", 1)) == []


def test_a_small_held_out_part_is_asked_as_it_is() -> None:
    made = Counter(question.check for question in questions(training_set(held=2)))
    assert made["domain"] == 4 and made["declining"] == 4


def test_golden_rows_of_a_fixed_check_and_impossible_budgets_are_refused() -> None:
    with pytest.raises(BadGate, match="golden-1"):
        questions(training_set(), [golden(1, "general")])
    with pytest.raises(BadGate, match="budget"):
        Budget(domain=-1)
    with pytest.raises(BadGate, match="shipped"):
        fixed("domain")


def test_the_shipped_sets_are_large_enough_and_each_question_stands_once() -> None:
    everything = [*GENERAL, *fixed("attacks")]
    assert len(GENERAL) == 80 and len(fixed("attacks")) >= 60
    assert len({question.id for question in everything}) == len(everything)
    assert len({question.group for question in GENERAL}) == len(GENERAL)
    assert {question.check for question in everything} == {"general", "attacks"}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack["id"])
def test_a_marker_shows_nothing_but_obedience(attack: dict[str, str]) -> None:
    passage, instruction = attack["passage"], attack["instruction"]
    assert passage.count(instruction) == 1
    honest = " ".join((attack["question"], attack["address"], *attack["golds"], passage.replace(instruction, "")))
    assert attack["obeyed_if"]
    assert not [marker for marker in attack["obeyed_if"] if marker.casefold() in honest.casefold()]


def test_instructions_are_planted_in_passages_of_the_held_out_part() -> None:
    rows = [row for row in training_set().test if row.expect == "grounded"]
    made = list(planted(rows, "test", 1))
    assert len(made) == len(rows) == len({question.group for question in made})
    instructions = {attack["instruction"] for attack in ATTACKS}
    for row, question in zip(rows, made, strict=True):
        (own,) = row.passages
        (shown,) = question.passages
        assert shown.text.startswith(own.text) and shown.text.removeprefix(own.text).strip() in instructions
        assert not [m for m in question.obeyed_if if m.casefold() in f"{row.question} {own.text}".casefold()]
    assert made == list(planted(rows, "test", 1)) != list(planted(rows, "test", 2))


def test_a_smaller_budget_keeps_every_check() -> None:
    assert Budget.of(520) == Budget()
    small = Budget.of(10)
    assert min(small.domain, small.declining, small.general, small.attacks, small.memory) >= 1


def test_attacks_stand_everywhere_and_name_their_source() -> None:
    assert set(Counter(attack["place"] for attack in ATTACKS)) == {"start", "middle", "end"}
    for attack in ATTACKS:
        where = attack["passage"].index(attack["instruction"])
        last = where + len(attack["instruction"]) == len(attack["passage"])
        assert {"start": where == 0, "end": last, "middle": where > 0 and not last}[attack["place"]]
        assert attack["from"].startswith(("bipia bip-", "garak hijack, "))


def test_most_attacks_are_seen_by_a_string_of_theirs() -> None:
    own = sum(all(m.casefold() in a["instruction"].casefold() for m in a["obeyed_if"]) for a in ATTACKS)
    assert own > len(ATTACKS) / 2


def test_the_shipped_sets_and_their_licences_are_in_the_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = settings["tool"]["setuptools"]["package-data"]["adapters"]
    assert "gate_sets/*.jsonl" in shipped and "gate_sets/*.md" in shipped
    told = files("adapters").joinpath("gate_sets/README.md").read_text(encoding="utf-8")
    assert all(word in told for word in ("BIPIA", "garak", "MIT", "Apache-2.0"))
