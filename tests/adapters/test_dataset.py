"""The whole way from rows to a training set, and what its preview says."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.dataset import ROWS_MIN, TrainingSet, build, check, fingerprint
from adapters.errors import BadTrainingSet
from adapters.overlap import Golden
from adapters.preview import ANSWER_TOKENS_MAX, preview
from adapters.types import Example, Passage, Room
from tests.adapters.rows import DECLINE, example, examples


def words(text: str) -> int:
    return len(text.split())


def tokens(row: Example) -> int:
    return words(row.question) + words(row.answer)


def warnings(data: TrainingSet) -> str:
    return "\n".join(preview(data, tokens, words).warnings)


def grounded(rows: Sequence[Example], declines: int) -> list[Example]:
    """The rows with passages, and twins that decline for the first of them."""
    shown = [replace(row, passages=(Passage(row.answer),), expect="grounded") for row in rows]
    twins = [
        replace(row, id=f"{row.id}-twin", answer=DECLINE, passages=(Passage("Rain."),), expect="decline")
        for row in shown[:declines]
    ]
    return shown + twins


def test_only_approved_rows_with_consent_are_used_and_the_rest_is_named() -> None:
    rows = examples(20)
    rows[3] = replace(rows[3], approved_by="")
    rows[5] = replace(rows[5], consent=False)
    rows[7] = replace(rows[7], approved_by="", consent=False)
    data = build(rows)
    assert {row.id for row in data.rows} == {row.id for row in rows} - {"row-3", "row-5", "row-7"}
    assert data.left_out["not approved"] == ("row-3", "row-7")
    assert data.left_out["no consent"] == ("row-5",)


def test_every_row_is_used_or_accounted_for() -> None:
    rows = examples(40)
    rows[0] = replace(rows[0], approved_by="")
    rows[1] = replace(rows[2], id="row-1")
    rows[4] = replace(rows[4], answer="It costs 49 euros.")
    rows[6] = replace(rows[6], answer="word " * 500)
    data = build(rows, room=Room(tokens, 100))
    gone = [id for ids in data.left_out.values() for id in ids]
    assert sorted([*gone, *(row.id for row in (*data.rows, *data.facts))]) == sorted(row.id for row in rows)
    assert data.left_out == {
        "not approved": ("row-0",),
        "no consent": (),
        "duplicate": ("row-2",),
        "too long": ("row-6",),
    }
    assert [row.id for row in data.facts] == ["row-4"]


def test_personal_data_reaches_no_part() -> None:
    rows = examples(12)
    rows[0] = replace(rows[0], question="Can joe@example.com have the lamp?", rejected="Ring +49 171 2345678.")
    rows[1] = replace(rows[1], answer="Yes, we wrote to joe@example.com about it.")
    data = build(rows)
    assert data.masked == {"email": 2, "phone": 1}
    assert "joe@" not in str(data)
    assert "2345678" not in str(data)


def test_a_golden_row_is_refused_even_where_it_is_held_out() -> None:
    rows = examples(60)
    for row in (build(rows).train[0], build(rows).test[0]):
        with pytest.raises(BadTrainingSet, match=rf"{row.id} \(golden row g\)"):
            build(rows, Golden({"g": row.question.upper()}))


def test_a_golden_row_that_is_not_approved_is_no_overlap() -> None:
    rows = examples(30)
    rows[2] = replace(rows[2], approved_by="")
    assert build(rows, Golden({"g": rows[2].question})).left_out["not approved"] == ("row-2",)


def test_ids_that_stand_twice_and_empty_texts_are_refused_by_name() -> None:
    with pytest.raises(BadTrainingSet, match="ids that stand twice: row-1"):
        build([*examples(10), examples(2)[1]])
    with pytest.raises(BadTrainingSet, match="without an answer: a, b"):
        check([replace(example("a"), answer=" "), replace(example("b"), question="")])


def test_too_few_rows_are_refused_with_what_became_of_the_others() -> None:
    rows = [*examples(ROWS_MIN - 1), example("x", approved_by=""), example("y", answer="It costs 49 euros.")]
    with pytest.raises(BadTrainingSet, match=r"7 of 9 rows are left .*1 not approved, 1 hold facts.*at least 8"):
        build(rows)
    with pytest.raises(BadTrainingSet, match="0 of 0 rows"):
        build([])


@settings(max_examples=25)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_part(random: Random) -> None:
    rows = examples(50)
    shuffled = list(rows)
    random.shuffle(shuffled)
    one, other = build(rows), build(shuffled)
    assert [set(one.part(name)) for name in ("train", "validation", "test")] == [
        set(other.part(name)) for name in ("train", "validation", "test")
    ]
    assert fingerprint(one.train) == fingerprint(other.train)


def test_a_fingerprint_changes_with_every_word() -> None:
    rows = examples(10)
    changed = [*rows[:-1], replace(rows[-1], passages=(Passage("New."),))]
    assert len({fingerprint(rows), fingerprint(rows[:-1]), fingerprint(changed)}) == 3


def test_a_preview_counts_kinds_lengths_and_what_was_left_out() -> None:
    rows = grounded(examples(100), 20)
    rows[0] = replace(rows[0], approved_by="")
    rows[1] = replace(rows[1], rejected="Something else entirely.", distance=0.9)
    data = build(rows)
    seen = preview(data, tokens, words)
    assert sum(sum(kinds.values()) for kinds in seen.counts.values()) == 119
    assert sum(kinds["decline"] for kinds in seen.counts.values()) == 20
    assert seen.left_out == {"not approved": 1}
    assert seen.preferences == sum(row.id == "row-1" for row in data.train)
    lengths = sorted(tokens(row) for row in data.rows)
    assert (seen.lengths.total, seen.lengths.longest) == (sum(lengths), lengths[-1])
    assert lengths[0] <= seen.lengths.median <= seen.lengths.p95 <= lengths[-1]
    assert [row.expect for row in seen.samples] == ["grounded", "grounded", "decline", "decline"]
    assert seen.samples == preview(data, tokens, words).samples


def test_few_rows_are_said_to_change_nothing() -> None:
    data = build(examples(10))
    assert f"{len(data.train)} rows will not change anything" in warnings(data)


@pytest.mark.parametrize(
    ("declines", "warning"), [(0, "0% of the rows teach declining"), (25, ""), (100, "learn to do nothing else")]
)
def test_too_few_and_too_many_unanswerable_rows_are_warned_of(declines: int, warning: str) -> None:
    said = warnings(build(grounded(examples(100), declines)))
    assert warning in said
    assert bool(warning) == ("teach declining" in said)


def test_rows_of_style_alone_need_not_decline() -> None:
    assert "declining" not in warnings(build(examples(100)))


def test_long_answers_facts_and_unproved_parts_are_warned_of() -> None:
    rows = [replace(row, document="one.md") for row in examples(20)]
    rows += [example(f"fact-{i}", f"What is the price of number {i}?", f"It costs {i + 20} euros.") for i in range(3)]
    rows[0] = replace(rows[0], answer="word " * (ANSWER_TOKENS_MAX + 1))
    said = warnings(build(rows))
    assert "1 answers have more than" in said
    assert "3 rows say numbers, names or addresses" in said
    assert "No row fell into the validation part" in said
    assert "100% of the rows hang together" in said


def test_placeholders_in_answers_and_passages_shown_twice_are_warned_of() -> None:
    rows = [replace(row, passages=(Passage("The same for all."),), expect="grounded") for row in examples(60)]
    rows[0] = replace(rows[0], answer="We wrote to joe@example.com.")
    said = warnings(build(rows))
    assert ("1 answers hold a placeholder" in said) == (rows[0].id in {row.id for row in build(rows).train})
    assert "1 passages are shown in rows to train on and in held-out rows" in said
    assert "placeholder" not in warnings(build(examples(60)))
    assert "passages are shown" not in warnings(build(grounded(examples(60), 0)))


def test_one_answer_for_all_and_torn_questions_are_warned_of() -> None:
    same = [replace(row, answer="Please ask at the desk.") for row in examples(60)]
    assert "rows have the same answer" in warnings(build(same))
    torn = [replace(row, id=f"{row.id}-again", answer="No, never, under no condition.") for row in examples(60)]
    assert "questions have different answers" in warnings(build([*examples(60), *torn]))
