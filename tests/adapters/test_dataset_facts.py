"""What is particular and stands nowhere is a fact for the knowledge base; the rest is style."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.facts import as_pairs, invented, style_or_fact, unsaid, unsupported
from adapters.rendering import write_jsonl
from adapters.types import Passage, Turn
from knowledge.loaders import load
from tests.adapters.rows import DECLINE, example

GERMAN = (
    "Bitte öffnen Sie die Seite mit der Liste, wählen Sie dort die Lampe und den Knopf für die Rückgabe, "
    "und warten Sie auf die Bestätigung mit der Nummer für den Versand."
)


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        ("Happy to help! Please tell me a little more about it.", set()),
        ("It costs 49 euros.", {"49"}),
        ("It costs 1,299 euros, and v7.5.1 is the last.", {"1299", "7.5.1"}),
        ("Write to Anna Berg about it.", {"anna", "berg"}),
        ("See https://shop.example/returns.", {"shop.example/returns"}),
        ("We use LoRA with an iPhone.", {"lora", "iphone"}),
        ('Go to "Cash" and press “Pay”.', {"cash", "pay"}),
        ("1. Open the page.\n2. Press the button [1].\n- Step 3 is to wait.", set()),
        ("1. Open the page.\n2.", set()),
        ("12.", {"12"}),
        ("Your order {{Order Number 12}} is at [email], I'm afraid. OK?", set()),
        ("Anna helps. Berg does not.", set()),
        ("We are here 24/7.", set()),
    ],
)
def test_numbers_names_and_addresses_are_particular(answer: str, facts: set[str]) -> None:
    assert unsupported(example(answer=answer)) == facts


@pytest.mark.parametrize(
    ("answer", "passage"),
    [
        ("It takes 3 days.", "Delivery takes three days."),
        ("It costs 1299 euros.", "The price is 1,299 euros."),
        ("It holds 10 GB.", "Storage: 10GB."),
        ("Use 7.5.", "Since v7.5 it works."),
        ("Ask Anna's team at www.shop.example.", "Anna leads support (https://shop.example/)."),
        ("The Lamps are cleaned.", "Lamp care."),
        ('Press "Cancel" there.', "You can cancel it in the list."),
    ],
)
def test_what_the_passages_say_is_supported_however_it_is_written(answer: str, passage: str) -> None:
    assert unsupported(example(answer=answer, passages=(Passage(passage),))) == set()


def test_what_the_asker_said_and_what_a_passage_is_called_support_too() -> None:
    row = example(
        question="Where is order 4711?",
        answer="Order 4711 is with Ann, says Care.",
        history=(Turn("user", "I am Ann"),),
        passages=(Passage("It is there.", "Lamps > Care"),),
    )
    assert unsupported(row) == set()


def test_a_row_that_declines_holds_no_fact() -> None:
    assert unsupported(example(answer="I don't know. Ask Ann at 12.", expect="decline")) == set()


def test_rows_are_parted_into_style_and_facts() -> None:
    style, fact = example("style"), example("fact", answer="It costs 49 euros.")
    assert style_or_fact([style, fact]) == ([style], [fact])


def test_capitals_name_nothing_where_every_noun_has_one() -> None:
    german = example(answer=GERMAN)
    number = replace(german, answer=f"{german.answer} Das kostet 49 Euro.")
    assert style_or_fact([german, number]) == ([german], [number])


def test_what_one_text_says_and_no_other_is_named() -> None:
    assert unsaid("Ask Anna by 5 pm", ["ask her", "by 5 pm"]) == {"anna"}
    assert unsaid("Ask Anna by 5 pm", ["ask her"], names=False) == {"5"}


@pytest.mark.parametrize(
    ("draft", "told", "found"),
    [
        ("Call Anna at 9.", ["How do I reach you?", "Anna is there from nine on."], set()),
        ("Call Anna at 9.", ["How do I reach you?", "We are there every day."], {"anna", "9"}),
        ("See shop.example.", ["It is written on the page of the shop."], set()),
        ("See www.shop.example.", ["It is written on the page of the shop."], {"shop.example"}),
        ("I'm sorry about {{Order Number}}. Please look again tomorrow.", ["Where is it?"], set()),
        ("Das kostet 49 Euro.", ["Was kostet die Lampe?", GERMAN], {"49"}),
        (
            GERMAN,
            ["How do I send it back?", "Open the list, choose the lamp and press the button to return it."],
            set(),
        ),
        ("", ["Where is it?"], set()),
    ],
)
def test_what_a_draft_says_and_its_writer_was_not_told_is_invented(
    draft: str, told: list[str], found: set[str]
) -> None:
    assert invented(draft, told) == found


def test_facts_are_a_file_that_the_knowledge_base_takes_in(tmp_path: Path) -> None:
    rows = [
        example(question="What does it cost?", answer="It costs 49 euros."),
        example(question="And Sunday?", answer="From 9 to 12.", history=(Turn("user", "When is it open?"),)),
    ]
    path = tmp_path / "facts.jsonl"
    assert write_jsonl(path, as_pairs(rows)) == 2
    document = load(path)
    assert document.pairs
    assert [(section.heading[-1], section.text) for section in document.sections] == [
        ("What does it cost?", "It costs 49 euros."),
        ("When is it open? And Sunday?", "From 9 to 12."),
    ]
    assert json.loads(path.read_text().splitlines()[0]) == {"question": rows[0].question, "answer": rows[0].answer}


@given(st.text(max_size=200))
def test_an_answer_that_is_its_passage_holds_no_fact(text: str) -> None:
    assert unsupported(example(answer=text or DECLINE, passages=(Passage(text or DECLINE),))) == set()
