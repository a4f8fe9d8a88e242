"""Markdown: headings to paths, mark-up to what a reader sees."""

import time
from pathlib import Path

import pytest

from knowledge.errors import UnreadableDocument
from knowledge.loaders.markdown import document
from knowledge.types import Document


def read(text: str, name: str = "a-page.md") -> Document:
    return document(text, name=name)


def only(text: str) -> str:
    sections = read(text).sections
    assert len(sections) == 1
    return sections[0].text


def test_headings_become_paths() -> None:
    text = "# Top\nintro\n## A #\none\n### B {#anchor}\ntwo\nC\n---\nthree\n\nTop 2\n=====\nfour\n#nospace"
    assert [(s.heading, s.text) for s in read(text).sections] == [
        (("Top",), "intro"),
        (("Top", "A"), "one"),
        (("Top", "A", "B"), "two\nC\n\nthree"),
        (("Top 2",), "four\n#nospace"),
    ]


def test_setext_headings_need_a_paragraph_of_one_line() -> None:
    assert [s.heading for s in read("# T\n\nSub\n---\n\ntext").sections] == [("T", "Sub")]


def test_a_hash_inside_a_fence_is_no_heading_and_code_is_untouched() -> None:
    text = "# Top\n\n```sh\n# comment\necho **hi** <b> [x](y)\n```\n\n~~~\n## no\n```\n~~~\nend"
    (section,) = read(text).sections
    assert "# comment\necho **hi** <b> [x](y)" in section.text
    assert "## no" in section.text
    assert section.text.endswith("end")


def test_the_title_comes_from_front_matter_then_the_first_heading_then_the_name() -> None:
    assert read('---\ntitle: "A \\"b\\": c"\nid: 5\n---\n# H\ntext').title == 'A "b": c'
    assert read("+++\ntitle = 'It''s'\n+++\ntext").title == "It's"
    assert read("# H `code`\ntext").title == "H code"
    assert read("text", name="how-to_pay.md").title == "how to pay"


def test_front_matter_is_no_text() -> None:
    assert only("---\ntitle: T\nsummary: secret\n---\n\ntext") == "text"


def test_a_rule_at_the_top_is_no_front_matter() -> None:
    assert "kept here" in only("---\nkept here\n\n---\nmore")


def test_without_a_top_heading_the_title_is_the_root() -> None:
    sections = read("---\ntitle: T\n---\nintro\n\n## A\none").sections
    assert [s.heading for s in sections] == [("T",), ("T", "A")]


@pytest.mark.parametrize(
    ("marked", "seen"),
    [
        ('a [link](http://x.y/z_(1) "t") b', "a link b"),
        ("[![alt](i.png)](url) x", "alt x"),
        ("[`code`](#x) and [text][ref]\n\n[ref]: http://x", "`code` and text"),
        ("<https://x.y/z>", "https://x.y/z"),
        ("**bold** _it_ *x* snake_case_name 2*3*4 ~~no~~", "bold it x snake_case_name 2*3*4 no"),
        ('a <!-- hidden --> b<br/>c <span class="v">New</span>', "a  b\nc New"),
        ("Use <your-key> and `<b>`", "Use <your-key> and `<b>`"),
        ('<CustomContent platform="x">in</CustomContent>', "in"),
        ("a &lt;b&gt; &amp; c\\*d", "a <b> & c*d"),
        ("> **Note:**\n>\n> Mind it.", "Note:\n\nMind it."),
        ('{{< copyable "x" >}}\ntext', "text"),
        ('a <div style="display: none">ignore all</div> b', "a  b"),
        ("a <script>alert(1)</script> b", "a  b"),
        ("a\u200bb\U000e0041c \ud800d\0e\ufeff", "abc de"),
        ("| a | b |\n|:--|--:|\n| 1   |  2 |", "| a | b |\n| 1 | 2 |"),
        ("e\u0301", "é"),
    ],
)
def test_mark_up_becomes_what_a_reader_sees(marked: str, seen: str) -> None:
    assert only(marked) == seen


def test_an_html_heading_is_a_heading() -> None:
    assert [s.heading for s in read('# T\n<h2 id="x">Set <b>up</b></h2>\ntext').sections] == [("T", "Set up")]


def test_a_heading_with_nothing_below_it_is_not_lost() -> None:
    assert [(s.heading, s.text) for s in read("# T\n## A\n## B\ntext\n### C").sections] == [
        (("T", "A"), "A"),
        (("T", "B"), "text"),
        (("T", "B", "C"), "C"),
    ]


def test_nothing_but_mark_up_is_refused() -> None:
    with pytest.raises(UnreadableDocument, match="holds no text"):
        read("<!-- only a comment -->\n\n---\n")


@pytest.mark.parametrize(
    "piece", ["<h1>", "<script>", "<a hidden>", "<!--", "[a](", "[[a]", "**a", "__a ", "~~a", "`a ", "-|"]
)
def test_hostile_mark_up_takes_linear_time(piece: str, tmp_path: Path) -> None:
    started = time.perf_counter()
    read("text\n\n" + piece * 50_000)
    assert time.perf_counter() - started < 10
