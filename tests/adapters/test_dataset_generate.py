"""Examples out of documents: answers from passages, distractors, honest twins; the same every time."""

import re

import pytest

from adapters.dataset import build
from adapters.errors import BadTrainingSet
from adapters.generate import Asked, Recipe, from_documents, generate, with_passages
from adapters.splits import part_of_document
from adapters.templates import best_sentence, first_sentences, question_of, sentences
from adapters.types import Example, Passage
from knowledge.embedding import HashEmbedder
from tests.adapters.rows import DECLINE, THINGS, example, handbook

RECIPE = Recipe(DECLINE, approved_by="owner")
SHELF = [Passage(f"The {thing} stands on shelf {i}.", thing, f"{thing}.md") for i, thing in enumerate(THINGS * 2)]


def made(**fields: object) -> tuple[Example, ...]:
    return generate(handbook(), from_documents(handbook()), Recipe(DECLINE, **{"approved_by": "owner", **fields}))  # type: ignore[arg-type]


def test_the_handbook_gives_questions_with_answers_from_their_passages() -> None:
    asked = from_documents(handbook())
    assert len(asked) > 60
    for one in asked:
        assert re.fullmatch(r"(?:How do I|What|Tell me|.*\?$).*[?.]", one.question), one.question
        words = set(re.findall(r"\w+", one.passage.text))
        assert set(re.findall(r"\w+", one.answer)) <= words
        assert 4 <= len(one.answer.split()) <= 60


def test_a_grounded_row_holds_its_passage_among_distractors() -> None:
    for row in made():
        gold = [
            passage for passage in row.passages if passage.document == row.document and row.answer[:20] in passage.text
        ]
        if row.expect == "grounded":
            assert gold or row.answer[:10] in " ".join(" ".join(passage.text.split()) for passage in row.passages)
            assert len(row.passages) <= 1 + RECIPE.distractors
        else:
            assert row.answer == DECLINE
            assert 1 <= len(row.passages) <= RECIPE.distractors


def test_the_right_passage_stands_at_every_place() -> None:
    places = set()
    gold = {one.question: one.passage.text for one in from_documents(handbook())}
    for row in made():
        if row.expect == "grounded":
            places.add([passage.text for passage in row.passages].index(gold[row.question]))
    assert places == {0, 1, 2, 3}


def test_a_twin_asks_the_same_and_never_shows_what_holds_the_answer() -> None:
    rows = {row.id: row for row in made(unanswerable=0.4)}
    twins = [row for row in rows.values() if row.expect == "decline"]
    assert twins
    for twin in twins:
        original = rows[twin.id.removesuffix("-unanswerable")]
        assert twin.question == original.question
        assert all(original.answer not in passage.text for passage in twin.passages)
        assert (twin.document, twin.consent, twin.approved_by) == (original.document, True, "owner")


@pytest.mark.parametrize("share", [0.0, 0.15, 0.4])
def test_as_many_rows_are_unanswerable_as_wanted(share: float) -> None:
    rows = made(unanswerable=share)
    assert abs(sum(row.expect == "decline" for row in rows) / len(rows) - share) < 0.02


def test_the_same_seed_gives_the_same_rows_and_another_one_others() -> None:
    assert made() == made()
    assert made() != made(seed=2)
    assert [row.id for row in made() if row.expect == "grounded"] == [
        row.id for row in made(seed=2) if row.expect == "grounded"
    ]


def test_no_passage_of_a_held_out_document_is_shown_in_training() -> None:
    data = build(made())
    shown = {
        name: {passage.text for row in data.part(name) for passage in row.passages}
        for name in ("train", "validation", "test")
    }
    assert not shown["train"] & (shown["validation"] | shown["test"])
    assert not shown["validation"] & shown["test"]


def test_made_rows_hold_no_facts_of_their_own() -> None:
    data = build(made())
    assert len(data.facts) <= len(data.rows) / 50


def test_an_embedder_brings_distractors_near_the_question() -> None:
    asked = [Asked("Where does the lamp stand?", Passage("The lamp stands on shelf 0.", "lamp", "lamp.md"))]
    documents = [
        name for name in (f"d{i}.md" for i in range(400)) if part_of_document(name) == part_of_document("lamp.md")
    ]
    far = [Passage(f"Rain fell on town {i} until dusk.", "weather", name) for i, name in enumerate(documents[:150])]
    near = [Passage(f"Where does lamp number {i} stand?", "lamps", name) for i, name in enumerate(documents[150:175])]
    (row, *_) = generate([*far, *near], asked, RECIPE, HashEmbedder().embed)
    assert {passage.address for passage in row.passages} == {"lamp", "lamps"}
    (anywhere, *_) = generate([*far, *near], asked, RECIPE)
    assert "weather" in {passage.address for passage in anywhere.passages}


def test_what_stands_in_several_documents_is_nobodys_passage() -> None:
    shared = Passage("Every page ends with this very sentence.", "Footer", "lamp.md")
    copy = Passage(shared.text, "Footer", "kettle.md")
    rows = generate([*SHELF, shared, copy], from_documents([shared, copy]), RECIPE)
    assert rows == ()
    rows = generate([shared, copy], [Asked("Where is it?", SHELF[0], "On shelf 0.")], RECIPE)
    assert [row.passages for row in rows] == [(SHELF[0],)]


def test_one_document_alone_gives_no_twins_without_a_distractor() -> None:
    passage = Passage("A lamp is cleaned with a soft cloth.", "Clean the lamp", "lamp.md")
    (row,) = generate([passage], from_documents([passage]), RECIPE)
    assert (row.question, row.expect, row.passages) == ("How do I clean the lamp?", "grounded", (passage,))
    assert generate([], [], RECIPE, HashEmbedder().embed) == ()


def test_a_given_question_is_answered_by_the_sentence_that_shares_most_words() -> None:
    passage = Passage("The shop opened in May. The kettle is mended for free. Ask at the desk.", "Care", "care.md")
    (row,) = generate([passage], [Asked("Who mends the kettle for free?", passage)], RECIPE)
    assert row.answer == "The kettle is mended for free."
    assert generate([passage], [Asked("Xyzzy?", passage)], RECIPE) == ()


def test_a_passage_without_a_document_and_impossible_shares_are_refused() -> None:
    with pytest.raises(BadTrainingSet, match="1 passages name no document"):
        generate([Passage("Some text.")], [], RECIPE)
    for share in (1.0, -0.1, float("nan")):
        with pytest.raises(BadTrainingSet, match="cannot be made"):
            Recipe(DECLINE, unanswerable=share)


@pytest.mark.parametrize(
    ("heading", "text", "question"),
    [
        ("How to reset your password", "x", "How do I reset my password?"),
        ("Guide > Install the server", "x", "How do I install the server?"),
        ("2. Connect the lamp.", "x", "How do I connect the lamp?"),
        ("Can I return it?", "x", "Can I return it?"),
        ("If your lamp stays dark", "x", "What can I do if my lamp stays dark?"),
        ("Opening hours", "x", "Tell me about opening hours."),
        ("Arduino Cloud", "x", "Tell me about Arduino Cloud."),
        ("Why it works", "x", "Tell me why it works."),
        ("Overview", "A golden set is a list of questions.", "What is a golden set?"),
        ("`rungs.toml`", "Rungs is a support assistant.", "What is Rungs?"),
        ("Examples", "It is a lamp.", ""),
        ("For most kits", "Do it.", ""),
        ("August 5, 2021", "Do it.", ""),
        ("", "", ""),
    ],
)
def test_headings_and_first_sentences_become_questions(heading: str, text: str, question: str) -> None:
    assert question_of(Passage(text, heading)) == question


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The lamp is dark. Turn it on. Wait.", "The lamp is dark. Turn it on."),
        ("To reset it:\n\n1. Open the page.\n2. Press Reset.", "To reset it: Open the page. Press Reset."),
        ("To reset it, press the button.\n\n```\nreset --now\n\nagain\n```\n", "To reset it, press the button."),
        ("Follow the steps below.", ""),
        ("This section describes the lamp in detail.", ""),
        ("Is it dark in your place?", ""),
        ("| a | b |\n|---|---|", ""),
        ("no full stop here", ""),
        ("To do:\n" + "\n".join(f"- this is thing number {i}" for i in range(40)), ""),
        ("", ""),
    ],
)
def test_an_answer_is_what_a_passage_opens_with_or_nothing(text: str, answer: str) -> None:
    assert first_sentences(text) == answer


def test_sentences_end_in_time_linear_in_the_text() -> None:
    for piece in ("```\n", "a. ", "1. a\n", "| a\n", "\n \n", "x\n\t", "~~~ ~~~\n"):
        assert len(sentences(piece * 20_000)) <= 20_000
    assert best_sentence("", "x") == ""


def test_rows_without_passages_get_what_retrieval_finds() -> None:
    found = (Passage("A lamp is cleaned with a cloth.", "Lamps", "lamp.md"),)
    bare, shown, declined = (
        example("bare"), example("shown", passages=(Passage("Own."),)), example("no", answer=DECLINE, expect="decline")
    )  # fmt: skip
    one, two, three = with_passages([bare, shown, declined], lambda example: found)
    assert (one.passages, one.expect) == (found, "grounded")
    assert two == shown
    assert (three.passages, three.expect) == (found, "decline")
    assert with_passages([bare], lambda example: ()) == (bare,)
