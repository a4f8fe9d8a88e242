"""Spans of quotable sentences."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.sentences import quotable, sentences


def units(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Use a flag, e.g. Verbose mode, to see more.",
        "It costs 3.50 dollars and runs on version 2.1.4 of the tool.",
        "Open config.toml and rungs.db in an editor.",
        "Dr. Smith met Mr. Jones of the U.S. Department of Justice.",
        "J. R. R. Tolkien wrote it.",
        "See Fig. 3 and No. 12 for details.",
        "Apple Inc. Headquarters moved.",
        "Step 1. Integrate with your key",
        "It arrived on Jan. 5 at 3 p.m. Eastern time.",
        "He said “Stop.” and left.",
        "See https://example.com/a.b?c=d. for more",
    ],
)
def test_a_full_stop_inside_a_sentence_does_not_split_it(text: str) -> None:
    assert units(text) == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One thing. Another thing! A third? Yes.", ["One thing.", "Another thing!", "A third?", "Yes."]),
        ("He lived in the U.S. The war began.", ["He lived in the U.S.", "The war began."]),
        ("He said “Stop.” Then he left.", ["He said “Stop.”", "Then he left."]),
        ("Install v1.2. Then run it.", ["Install v1.2.", "Then run it."]),
        ("Run it. `make` does the rest.", ["Run it.", "`make` does the rest."]),
        ("It ends (really.) The next begins.", ["It ends (really.)", "The next begins."]),
        ("Is it on? No. Switch it on.", ["Is it on?", "No.", "Switch it on."]),
        ("これは文です。次の文です。", ["これは文です。", "次の文です。"]),
        ("A wrapped sentence goes\non here. Next one.", ["A wrapped sentence goes\non here.", "Next one."]),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str]) -> None:
    assert units(text) == expected


def test_list_items_are_units_without_their_bullets_but_with_their_numbers() -> None:
    text = "Do this:\n\n- Open the page. Click Save.\n- Wait\n  a minute.\n\n1. First\n2. Second"
    assert units(text) == [
        "Do this:",
        "Open the page. Click Save.",
        "Wait\n  a minute.",
        "1. First",
        "2. Second",
    ]


def test_a_long_list_item_is_cut_into_sentences() -> None:
    text = "- " + "This sentence has quite a few words in it to be long enough here. " * 6
    assert len(units(text)) == 6


def test_table_rows_are_units_and_the_ruler_is_none() -> None:
    text = "| Name | Price |\n| --- | ---: |\n| Tea | 2.50 |\n| Milk. Fresh | 1 |"
    assert units(text) == ["Name | Price", "Tea | 2.50", "Milk. Fresh | 1"]


def test_code_lines_are_units_and_fences_are_none() -> None:
    text = "Run this:\n\n```sh\npip install x. Not a sentence\n- not a list\n)\n```\n\nDone. Good."
    assert units(text) == ["Run this:", "pip install x. Not a sentence", "- not a list", "Done.", "Good."]


def test_a_lead_in_line_is_a_unit() -> None:
    assert units("Before you begin:\nCheck the cable.") == ["Before you begin:", "Check the cable."]


def test_lines_that_are_broken_on_purpose_are_units() -> None:
    assert units("Name: Ann\nPhone: 123\nCity: Oslo") == ["Name: Ann", "Phone: 123", "City: Oslo"]


def test_a_very_long_sentence_stays_whole() -> None:
    text = "word " * 5000 + "end."
    assert units(text) == [text]


@given(st.text(alphabet=st.sampled_from(list("abA1 .\n!?:-*|`#>。e.g\t\"'()é")), max_size=300))
def test_spans_are_in_order_and_hold_every_word(text: str) -> None:
    spans = sentences(text)
    last = 0
    rest = ""
    for start, end in spans:
        assert last <= start < end <= len(text)
        rest += text[last:start]
        last = end
    rest += text[last:]
    without_fences = re.sub(r"(?m)^[ \t]*(`{3,}|~{3,}).*$", "", rest)
    assert not re.search(r"\w", without_fences)


def test_time_grows_with_length_not_faster() -> None:
    def seconds(text: str) -> float:
        started = time.perf_counter()
        sentences(text)
        return time.perf_counter() - started

    for piece in ("A short line. ", "- item\n", "word ", "a. ", "... ", "| a | b |\n", "\n", "(" * 10):
        assert seconds(piece * 40_000) < 5, piece


def quotes(text: str) -> list[str]:
    return [text[start:end] for start, end in quotable(text)]


def test_a_short_list_can_be_quoted_whole_with_its_lead_in_and_by_its_items() -> None:
    text = "Some words first.\n\nTo reset it:\n\n1. Unplug it.\n2. Wait a minute.\n3. Plug it in.\n\nThat is all."
    found = quotes(text)
    assert "To reset it:\n\n1. Unplug it.\n2. Wait a minute.\n3. Plug it in." in found
    assert "2. Wait a minute." in found and "Some words first." in found
    assert found == [text[start:end] for start, end in sorted(quotable(text))]


def test_a_long_list_is_quoted_by_its_items_only() -> None:
    text = "\n".join(f"- item number {i} of a list that is far too long to be quoted as a whole" for i in range(9))
    assert len(quotes(text)) == 9


def test_the_head_of_a_table_is_no_quote() -> None:
    assert quotes("| Name | Value |\n| --- | :-: |\n| port | 7860 |") == ["port | 7860"]
