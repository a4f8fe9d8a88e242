"""Nothing leaks from one part into another, and rows stay where they are."""

from collections import Counter
from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from adapters.duplicates import asked_in
from adapters.splits import Shares, Split, keys, part_of_document, split
from adapters.types import Example, Passage, Turn
from tests.adapters.rows import example, examples

WORDS = st.sampled_from(["", "a", "b", "c", "d", "e", "f"])
ROWS = st.lists(
    st.builds(
        lambda document, conversation, question, passage: example(
            question=f"How do I mend the thing {question}?",
            document=document,
            conversation=conversation,
            passages=(Passage(f"Text {passage}", document=""),) if passage else (),
        ),
        WORDS,
        WORDS,
        st.integers(0, 30).map(str),
        WORDS,
    ),
    max_size=40,
).map(lambda rows: [replace(row, id=str(i)) for i, row in enumerate(rows)])


def places(parts: Split) -> dict[str, str]:
    return {row.id: name for name in ("train", "validation", "test") for row in getattr(parts, name)}


@given(ROWS)
def test_no_document_conversation_passage_or_question_stands_in_two_parts(rows: list[Example]) -> None:
    where = places(split(rows, Shares(0.3, 0.3)))
    assert sorted(where) == sorted(row.id for row in rows)
    for same in (
        lambda row: row.document,
        lambda row: row.conversation,
        lambda row: not row.document and [passage.text for passage in row.passages],
        asked_in,
    ):
        found: dict[str, set[str]] = {}
        for row in rows:
            if same(row):
                found.setdefault(str(same(row)), set()).add(where[row.id])
        assert all(len(parts) == 1 for parts in found.values())


@given(ROWS, st.randoms())
def test_the_order_of_rows_changes_nothing(rows: list[Example], random: Random) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert places(split(rows)) == places(split(shuffled))


@given(ROWS)
def test_rows_of_new_documents_move_no_other_row(rows: list[Example]) -> None:
    known, new = examples(160)[:100], examples(160)[100:]
    before, after = split([*rows, *known]), split([*rows, *known, *new])
    assert places(before).items() <= places(after).items()


@given(ROWS)
def test_more_questions_on_known_documents_move_no_other_row(rows: list[Example]) -> None:
    rows = [*rows, *examples(100)]
    known = [row for row in rows if row.document]
    new = [replace(row, id=f"new-{row.id}", question=f"What costs {row.id} {row.document}?") for row in known]
    before, after = split(rows), split([*rows, *new])
    assert places(before).items() <= places(after).items()


def test_about_as_many_rows_are_held_out_as_wanted() -> None:
    rows = [example(str(i), f"How do I mend number {i} of them?", document=f"d{i}.md") for i in range(2000)]
    sizes = Counter(places(split(rows, Shares(validation=0.1, test=0.2))).values())
    assert 160 < sizes["validation"] < 240
    assert 340 < sizes["test"] < 460
    assert places(split(rows[:1])) == {"0": places(split(rows))["0"]} or split(rows[:1]).largest == 1


def test_a_document_falls_where_it_was_foretold() -> None:
    rows = examples(120)
    where = places(split(rows))
    assert len(set(where.values())) == 3
    assert all(where[row.id] == part_of_document(row.document) for row in rows)


def test_what_ties_most_rows_together_is_trained_on() -> None:
    rows = [
        example(str(i), f"Which part is number {i} of them?", document=f"d{i}", conversation="c") for i in range(30)
    ]
    parts = split([*rows, *examples(20)])
    assert {places(parts)[row.id] for row in rows} == {"train"}
    assert parts.largest == 30 / 50


def test_a_row_without_a_document_hangs_on_the_passage_that_answers_it() -> None:
    lamp = Passage("A lamp is cleaned with a soft cloth.", document="lamp.md")
    kettle = Passage("A kettle is cleaned with vinegar.", document="kettle.md")
    row = example(answer="With a soft cloth.", passages=(kettle, lamp))
    assert (0, "document lamp.md") in keys(row)
    assert (0, "document kettle.md") not in keys(row)


def test_a_short_question_alone_ties_no_conversations() -> None:
    one = example("1", "Why?", history=(Turn("user", "The lamp is dark."),))
    other = example("2", "Why?", history=(Turn("user", "The kettle is cold."),))
    assert not set(keys(one)) & set(keys(other))


def test_no_rows_split_into_no_rows() -> None:
    assert split([]) == Split((), (), (), 0.0)
