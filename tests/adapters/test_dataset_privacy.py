"""Personal data never reaches training; what is no personal data does."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.privacy import mask, mask_example, values
from adapters.types import Passage, Turn
from tests.adapters.rows import example


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to jane.doe+shop@mail.example.co.uk, please.", "Write to [email], please."),
        ("<o'brien_7@x-y.io>", "<[email]>"),
        ("müller@straße.de!", "[email]!"),
        ("mailto:joe@example.com?subject=hi", "mailto:[email]?subject=hi"),
        ("My card is 4111 1111 1111 1111 12/27.", "My card is [card] 12/27."),
        ("order 12 5500-0000-0000-0004 and 378282246310005", "order 12 [card] and [card]"),
        ("4111111111111111 5555555555554444", "[card] [card]"),
        ("IBAN DE89 3704 0044 0532 0130 00 BIC COBADEFF", "IBAN [iban] BIC COBADEFF"),
        ("gb82west12345698765432", "[iban]"),
        ("NO9386011117947, NO93 8601 1117 947", "[iban], [iban]"),
        ("ID12 names DE89370400440532013000", "ID12 names [iban]"),
        ("from 203.0.113.77 and 10.20.30.40:8080", "from [ip] and [ip]:8080"),
        ("2001:db8:85a3::8a2e:370:7334 or fe80::1", "[ip] or [ip]"),
        ("Call +49 30 1234567 or +1 (555) 123-4567.", "Call [phone] or [phone]."),
        ("(555) 234-5678, 555-234-5678, 1-800-273-8255", "[phone], [phone], [phone]"),
        ("0171 2345678 / 030-1234567 / 01 23 45 67 89", "[phone] / [phone] / [phone]"),
        ("0044 20 7946 0958", "[phone]"),
        ("my phone: 612 345 678", "my phone: [phone]"),
        ("since 2024-12-01 0171 2345678 rings", "since 2024-12-01 [phone] rings"),
        ("٠١٧١ ٢٣٤٥٦٧٨", "[phone]"),
    ],
)
def test_personal_data_becomes_a_typed_placeholder(text: str, masked: str) -> None:
    assert mask(text)[0] == masked


@pytest.mark.parametrize(
    "text",
    [
        "It listens on 127.0.0.1:7860 or 0.0.0.0, and on ::1.",
        "Version 7.5.0.1 follows v7.1.0.2 and 1.2.3.4.5.",
        "On 2024-12-01 10:30:45, then 01-02-2024 12:30.",
        "Order 732201349959 of 1700000000000 rows, 20241201103000.",
        "4111 1111 1111 1112 fails its check digit.",
        "DE88370400440532013000 fails its checksum.",
        "ISBN 978-3-16-148410-0, 3.14159265358, 100 000 000 people, 1,234,567.",
        "std::vector, a::b, 10:20:30, 00:1A:2B:3C:4D:5E",
        "Ask {{Customer Support Phone Number}} or @support; 5 < 7 @ 3.",
        "https://example.com/articles/4402764401554-Title",
        "The table: 0 1 2 3 4 5 6 7 8 9 10 11 12",
    ],
)
def test_what_names_nobody_stays(text: str) -> None:
    assert mask(text)[0] == text


@given(st.lists(st.sampled_from(["joe@x.example.com", "4111 1111 1111 1111", "DE89370400440532013000", "203.0.113.7",
                                 "+49 171 2345678", "please call", "12", "order", "2024-12-01", "v1.2", "\n", "é"]),
                min_size=1, max_size=8), st.sampled_from([" ", ", ", "; ", " - ", "\n"]))  # fmt: skip
def test_nothing_personal_survives_among_other_things(parts: list[str], between: str) -> None:
    masked = mask(between.join(parts))[0]
    assert "@" not in masked
    assert "1111" not in masked
    assert "0532" not in masked
    assert "203.0.113.7" not in masked
    assert "2345678" not in masked


@given(st.text(max_size=300))
def test_any_text_can_be_masked(text: str) -> None:
    masked, counts = mask(text)
    assert (masked == text) == (not counts)


@pytest.mark.parametrize(
    "piece",
    ["a", "a@", "a.", "1", "1 ", "1-", "1.", "+1 (", "4111 ", ":", "a:", "ab12 ", "'a", "a@b.", "0171 23", "DE89 ",
     "((", "192.168.", "phone 1", "x@y.z ", "41111111111111111 "],
)  # fmt: skip
def test_masking_takes_time_linear_in_the_text(piece: str) -> None:
    start = time.perf_counter()
    mask(piece * (150_000 // len(piece)))
    assert time.perf_counter() - start < 3


def test_what_the_passages_publish_stays_in_question_and_answer() -> None:
    row = example(
        question="Is help@shop.example yours? I am joe@home.example.",
        answer="Yes, write to help@shop.example; we answer joe@home.example soon.",
        history=(Turn("user", "I am joe@home.example"),),
        passages=(Passage("Support: HELP@shop.example, +1 (555) 123-4567"),),
        rejected="Ring 0171 2345678.",
    )
    masked, counts = mask_example(row)
    assert masked.question == "Is help@shop.example yours? I am [email]."
    assert masked.answer == "Yes, write to help@shop.example; we answer [email] soon."
    assert masked.history == (Turn("user", "I am [email]"),)
    assert masked.rejected == "Ring [phone]."
    assert masked.passages == row.passages
    assert counts == {"email": 3, "phone": 1}


def test_a_published_number_is_known_however_it_is_written() -> None:
    public = values("Call (555) 234-5678")
    assert mask("555-234-5678", public)[0] == "555-234-5678"
