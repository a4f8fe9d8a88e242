"""What counts as said twice, and golden rows that must not be trained on."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.duplicates import NearTexts, asked, deduplicate, normalised
from adapters.errors import BadTrainingSet
from adapters.overlap import Golden, Overlap, overlaps, question_hash, refuse_overlap
from adapters.types import Passage, Turn
from tests.adapters.rows import DECLINE, example, examples


def kept(*rows: tuple[str, str]) -> list[int]:
    stay, _ = deduplicate([example(str(i), question, answer) for i, (question, answer) in enumerate(rows)])
    return [int(row.id) for row in stay]


ANSWER = "Open the settings, choose Password, and follow the link in the message that we send you."


def test_the_first_of_equal_rows_stays_whatever_case_and_punctuation() -> None:
    assert kept(("How do I reset it?", ANSWER), ("how do i RESET it", ANSWER.upper()), ("Other?", ANSWER)) == [0, 2]


def test_nearly_equal_rows_are_one() -> None:
    assert kept(
        ("How do I reset the password of my account?", ANSWER),
        ("How do I reset the password of my accounts?", ANSWER.replace("follow", "then follow")),
        ("How can I delete the account of my company?", ANSWER),
    ) == [0, 2]


def test_another_number_or_another_answer_is_another_row() -> None:
    assert kept(
        ("Is version 7.1 of the server still supported?", "Yes, for two more years."),
        ("Is version 7.5 of the server still supported?", "Yes, for two more years."),
        ("Is version 7.5 of the server still supported?", "No, only the one after it."),
    ) == [0, 1, 2]


def test_an_unanswerable_twin_is_no_duplicate() -> None:
    row = example(passages=(Passage("Lamps are cleaned with cloth."),), expect="grounded")
    twin = example("twin", answer=DECLINE, passages=(Passage("Kettles."),), expect="decline")
    assert deduplicate([row, twin]) == ([row, twin], [])


def test_a_short_question_is_itself_only_in_its_conversation() -> None:
    lamp = example("a", "And on Sunday?", history=(Turn("user", "Is the lamp shop open?"),))
    desk = example("b", "And on Sunday?", history=(Turn("user", "Is the help desk open?"),))
    assert deduplicate([lamp, desk]) == ([lamp, desk], [])
    assert asked("What is the price of the lamp?", ["Hello"]) == asked("what is the price of the lamp")


@pytest.mark.parametrize(("one", "other"), [("C++", "C#"), ("C", "C++"), ("你好", "再见"), ("👍", "👎"), ("?", "!")])
def test_normalising_keeps_apart_what_differs(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@given(st.text(max_size=60), st.text(max_size=60))
def test_near_is_symmetric_and_holds_for_itself(one: str, other: str) -> None:
    def near(indexed: str, looked_up: str) -> bool:
        texts = NearTexts()
        texts.add(indexed)
        return texts.find(looked_up) == [0]

    assert near(one, one)
    assert near(one, other) == near(other, one)


def test_near_texts_are_found_among_many() -> None:
    words = "alpha bravo carbon delta engine fabric garden harbor island jungle kernel ladder magnet needle".split()
    numbers = random.Random(3)
    texts = NearTexts()
    many = [" ".join(numbers.choices(words, k=14)) for _ in range(1500)]
    for text in many:
        texts.add(text)
    missed = [i for i, text in enumerate(many) if i not in texts.find(f"{text} indeed")]
    assert len(missed) <= 3


def test_many_equal_questions_and_giant_texts_take_no_square_of_time() -> None:
    same = [example(str(i), "How do I reset the password?", f"{THING * (i % 7)} {i}") for i in range(2500)]
    giant = [example(f"g{i}", "q" * 300_000 + str(i), "a" * 300_000 + str(i)) for i in range(4)]
    start = time.perf_counter()
    stay, gone = deduplicate(same + giant)
    assert time.perf_counter() - start < 20
    assert (len(stay), len(gone)) == (2504, 0)


THING = "one more thing "


def test_a_golden_row_among_the_rows_is_refused_with_both_ids() -> None:
    golden = Golden({"g1": "Where is the kettle kept?", "g2": "how do i CLEAN the lamp"})
    with pytest.raises(BadTrainingSet, match=r"1 of the rows .*: one \(golden row g2\)"):
        refuse_overlap([example()], golden)
    refuse_overlap([example(question="How do I mend the bridge?")], golden)


def test_a_golden_row_is_known_by_its_hash_alone() -> None:
    golden = Golden(hashes={"g": question_hash("How do I clean the lamp")})
    assert list(overlaps([example()], golden)) == [Overlap("one", "g")]
    assert question_hash("And on Sunday?", ["Is the shop open?"]) != question_hash("And on Sunday?")


def test_a_nearly_equal_golden_question_is_an_overlap_of_texts() -> None:
    row = example(question="How do I reset the password of my account?")
    golden = Golden({"g": "How do I reset the password of my accounts?"})
    assert list(overlaps([row], golden)) == [Overlap("one", "g", near=True)]
    hashed = Golden(hashes={"g": question_hash(golden.questions["g"])})
    assert list(overlaps([row], hashed)) == []


def test_personal_data_does_not_hide_a_golden_row() -> None:
    golden = Golden(hashes={"g": question_hash("Why was joe@example.com not sent the invoice?")})
    for address in ("ann@example.org", "[email]"):
        (found,) = overlaps([example(question=f"Why was {address} not sent the invoice?")], golden)
        assert found.golden == "g"


def test_a_long_list_of_overlaps_is_cut_short() -> None:
    rows = examples(40)
    with pytest.raises(BadTrainingSet, match=r"40 of the rows .* and 30 more"):
        refuse_overlap(rows, Golden({f"g-{row.id}": row.question for row in rows}))
