"""Passages: small enough to be read whole, never less than the document."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.chunking import CHARACTERS_PER_TOKEN_MAX, ROOM_LEAST, TOKENS_MAX, split
from knowledge.embedding import HashEmbedder, embedded_text
from knowledge.loaders.markdown import document as markdown
from knowledge.sentences import sentences
from knowledge.types import Document, Passage, Section

EMBEDDER = HashEmbedder()


def passages(document: Document) -> tuple[Passage, ...]:
    return split(document, source="s", path="d.md", uri="file:///d.md", embedder=EMBEDDER)


def of(text: str, heading: tuple[str, ...] = ("Top", "Part")) -> tuple[Passage, ...]:
    return passages(Document("Title", (Section(text, heading),)))


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


PROSE = " ".join(f"Sentence number {i} says something about topic {i % 7} in a few words." for i in range(120))


def test_address_and_text_fit_the_embedder() -> None:
    for passage in of(PROSE):
        assert EMBEDDER.count_tokens(embedded_text(passage)) <= TOKENS_MAX


def test_a_long_address_leaves_room_for_text() -> None:
    found = of(PROSE, ("word " * 400,))
    assert all(EMBEDDER.count_tokens(passage.text) <= ROOM_LEAST for passage in found)
    assert max(EMBEDDER.count_tokens(passage.text) for passage in found) > ROOM_LEAST / 2


def test_passages_end_where_sentences_end() -> None:
    found = of(PROSE)
    assert len(found) > 3
    assert all(passage.text.endswith(".") and passage.text.startswith("Sentence") for passage in found)


def test_passages_are_of_similar_size() -> None:
    sizes = [EMBEDDER.count_tokens(passage.text) for passage in of(PROSE)]
    assert min(sizes) > max(sizes) / 3


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                PROSE[:900],
                "- item one\n- item two",
                "a: b",
                "x" * 3000,
                "```\nline one\n# two\n```",
                "| a | b |\n| c | d |",
                "日本語。" * 400,
            ]
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(["\n\n", "\n"]),
)
def test_no_character_is_lost_or_doubled(parts: list[str], glue: str) -> None:
    text = glue.join(parts)
    together = "".join(squeezed(passage.text) for passage in of(text))
    assert together.replace("`", "") == squeezed(text).replace("`", "")


def test_every_word_of_a_document_is_somewhere() -> None:
    text = "# A\n\nalpha\n\n## B\n\n### C\n\nbeta\n\n## D\n"
    found = passages(markdown(text, name="d.md"))
    everything = " ".join(f"{passage.heading} {passage.text}" for passage in found)
    assert all(word in everything.split() for word in "A alpha B C beta D".split())


def test_text_that_counts_as_few_tokens_is_cut_by_its_length() -> None:
    assert all(len(p.text) <= TOKENS_MAX * (CHARACTERS_PER_TOKEN_MAX + 1) for p in of("x" * 50_000))


def test_code_stays_in_one_piece_where_it_fits_and_keeps_its_fences_where_it_does_not() -> None:
    small = "```py\n" + "\n".join(f"a{i} = {i}" for i in range(40)) + "\n```"
    assert any(small in passage.text for passage in of(f"{PROSE[:2000]}\n\n{small}\n\n{PROSE[:2000]}"))
    large = "```py\n" + "\n".join(f"call_number(a{i}, b{i}, c{i})" for i in range(300)) + "\n```"
    found = of(f"{large}\n\nAfter. " + PROSE[:1500])
    assert len(found) > 3
    for passage in found:
        assert passage.text.count("```") % 2 == 0
        if "call_number" in passage.text:
            assert passage.text.startswith("```py\n")
            assert all(
                re.fullmatch(r"call_number\(a(\d+), b\1, c\1\)", line) for line in re.findall(r"call.*", passage.text)
            )


def test_a_lead_in_is_not_parted_from_what_it_leads_to() -> None:
    for words in range(60, 225, 5):
        text = "word " * words + ".\n\nDo the following:\n\n- first thing to do " + "now " * 100
        for passage in of(text):
            assert not passage.text.rstrip().endswith("following:")


def test_list_items_keep_their_bullets_where_a_list_is_cut() -> None:
    text = "\n".join(f"- Item {i} explains a little thing. It has two sentences." for i in range(100))
    found = of(text)
    assert len(found) > 2
    assert all(passage.text.startswith("- Item") for passage in found)


def test_tiny_neighbours_under_one_parent_share_a_passage() -> None:
    text = "# T\n\n## Colour\n\nRed.\n\n## Size\n\nLarge.\n\n## Why?\n\nBecause.\n\n# U\n\n## Other\n\nx"
    found = passages(markdown(text, name="d.md"))
    assert [(p.heading, p.text) for p in found] == [
        ("T", "Colour:\nRed.\n\nSize:\nLarge."),
        ("T > Why?", "Because."),
        ("U > Other", "x"),
    ]


def test_a_pair_is_one_passage_however_long() -> None:
    document = Document("faq", (Section(PROSE, ("How?",)), Section("Yes.", ("Really?",))), pairs=True)
    assert [(p.heading, p.text) for p in passages(document)] == [("How?", PROSE), ("Really?", "Yes.")]


def test_ids_are_unique_and_the_same_every_time() -> None:
    document = Document("t", tuple(Section("The same text.", ("A?",), page=i) for i in range(1, 4)))
    found = passages(document)
    assert len({passage.id for passage in found}) == 3
    assert found == passages(document)
    assert [(p.position, p.page, p.uri, p.document, p.source) for p in found][1] == (1, 2, "file:///d.md", "d.md", "s")


def test_a_page_number_is_kept_on_every_piece() -> None:
    found = passages(Document("t", (Section(PROSE, (), 4), Section("End.", (), 5))))
    assert [passage.page for passage in found][-2:] == [4, 5]


@pytest.mark.parametrize("text", ["", " \n "])
def test_nothing_gives_nothing_that_can_be_quoted(text: str) -> None:
    assert not any(sentences(passage.text) for passage in of(text))
