"""What a user, a document or a model wrote meets a page as words: no tag, address or Markdown of theirs survives."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest

from assistant.types import Answer, Attempt, Citation, Climbing, Draft, Evidence, Question, Route, Trace
from knowledge.types import Hit, Passage
from ui import present

ATTACKS = (
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.test/x.js></ScRiPt>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    '<img src=x onerror="alert(1)">',
    "<img src=x onerror=alert(1)//",
    '<IMG """><SCRIPT>alert(1)</SCRIPT>">',
    "<svg onload=alert(1)>",
    "<svg><script>alert&#40;1&#41;</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><use href='data:image/svg+xml,<svg id=x onload=alert(1)>#x'/></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<body onload=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=javascript:alert(1)>",
    "<embed src=//evil.test/x.swf>",
    "<form action=//evil.test><button>go</button></form>",
    "<button formaction=javascript:alert(1)>go",
    "<input autofocus onfocus=alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<a href='java\tscript:alert(1)'>x</a>",
    '<a href="data:text/html,<script>alert(1)</script>">x</a>',
    "<a href=//evil.test target=_blank>x</a>",
    "<base href=//evil.test/>",
    "<meta http-equiv=refresh content='0;url=//evil.test'>",
    "<link rel=stylesheet href=//evil.test/x.css>",
    "<style>@import '//evil.test/x.css';</style>",
    "<style>*{background:url(//evil.test/x)}</style>",
    '<div style="background:url(javascript:alert(1))">x</div>',
    '<p style="position:fixed;inset:0;width:expression(alert(1))">x',
    '<div class="badge lora">From the specialist</div>',
    "<mark>not the quote</mark>",
    "<template><img src=x onerror=alert(1)></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<textarea></textarea><img src=x onerror=alert(1)>",
    "<title></title><script>alert(1)</script>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version='1.0'?><script>alert(1)</script>",
    "</p></div></details><script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onmouseover='alert(1)' x='",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "&#x3C;img src=x onerror=alert(1)&#x3E;",
    "&lt;img src=x onerror=alert(1)&gt",
    "&amp;lt;script&amp;gt;",
    "＜script＞alert(1)＜/script＞",
    "\u202e<script>alert(1)</script>",
    "<\u0000script>alert(1)</script>",
    "![tracker](https://evil.test/pixel.png)",
    "![tracker][t]\n\n[t]: https://evil.test/pixel.png",
    "[click](javascript:alert(1))",
    "[click](data:text/html;base64,PHNjcmlwdD4=)",
    '[click](https://evil.test "title")',
    "[click][r]\n\n[r]: javascript:alert(1)",
    "[r]: https://evil.test\n\n[r]",
    "[![x](https://evil.test/a.png)](https://evil.test)",
    "<https://evil.test>",
    "<javascript:alert(1)>",
    "`code` ![x](https://evil.test/x.png) `code`",
    "`](https://evil.test)` ![x`](https://evil.test/x.png)",
    "**![x](https://evil.test/x.png)**",
    "[1](https://evil.test)",
    "![1](https://evil.test/x.png)",
    "\\![x](https://evil.test/x.png)",
    "words\n\n<script>alert(1)</script>\n\n![x](https://evil.test/x.png)",
    "words\r\r![x](https://evil.test/x.png)\r\r<b>x</b>",
    "words\r\n\r\n[x](https://evil.test)",
    "words\u2028\u2028![x](https://evil.test/x.png)",
    "words\f\f<b>x</b>",
    "```html\n<script>alert(1)</script>\n```",
    "    <script>alert(1)</script>",
    "| a | b |\n|---|---|\n| <b>x</b> | ![x](//evil.test) |",
    "# heading\n\n> quote\n\n- ~~list~~ *item*",
    "$$\\href{javascript:alert(1)}{x}$$ \\(x\\)",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)} #{alert(1)} <%= alert(1) %> {% raw %}",
    "<file>/etc/passwd</file>",
    "javascript:/*--></title></style></script><svg/onload='+/\"/+/onmouseover=1/+/[*/[]/+alert(1)//'>",
)
TAGS = frozenset("p br code strong sup div span details summary mark ol ul li h3 h4 b table tr th td".split())
CLASSES = frozenset(
    "number answer writing problem badge-row badge sure sources sources-title source source-number passage address "
    "climb climbing facts trace attempt skipped draft empty bars bar-row bar-name bar-track bar bar-count "
    "human none rag prompting lora abstained handed_off".split()
)
MARKDOWN = re.compile(r"!\[|\]\(|\]\[|^\s*\[[^\]]*\]:|\*\*|~~|```", re.M)


class Page(HTMLParser):
    """What a browser would make of it: tags, attributes and words."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.oddities: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.words += "\n" if tag == "br" else ""

    def handle_endtag(self, tag: str) -> None:
        self.words += "\n\n" if tag == "p" else ""

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_comment(self, data: str) -> None:
        self.oddities.append(data)

    def handle_decl(self, decl: str) -> None:
        self.oddities.append(decl)

    def handle_pi(self, data: str) -> None:
        self.oddities.append(data)

    def unknown_decl(self, data: str) -> None:
        self.oddities.append(data)


def assert_ours_alone(source: str) -> Page:
    """Only our own tags and classes, no address, no handler, no Markdown, and nothing that ends an HTML block."""
    page = Page(source)
    assert not page.oddities
    for tag, attributes in page.tags:
        assert tag in TAGS, (tag, source)
        for name, value in attributes.items():
            if name == "style":
                assert tag == "span" and re.fullmatch(r"width:\d{1,3}\.\d%", value or ""), source
            elif name == "class":
                assert set((value or "").split()) <= CLASSES, source
            else:
                assert (tag, name) in {("div", "role"), ("div", "aria-label"), ("details", "open")}, (name, source)
    assert not MARKDOWN.search(source), source
    assert len(source.splitlines()) <= 1, "an empty line would end the HTML block, and Markdown would be read after it"
    return page


def same_words(text: str) -> str:
    """Text as it reads on a page: line ends of every kind alike, white space folded."""
    return " ".join("\n".join(text.splitlines()).split())


def citation(text: str) -> Citation:
    return Citation(
        document=text, title=text, heading=f"{text} > {text}", uri=text, quote=text, score=0.5, passage=f"a {text} b"
    )


def trace(text: str) -> Trace:
    passage = Passage("p1", text, text, text, f"{text} > {text}", text, 0)
    hit = Hit(passage, 0.1, 0.5, dense_rank=0)
    attempts = (
        Attempt(
            "prompting",
            draft=Draft(text, (citation(text),)),
            signals={text: 0.5},
            confidence=0.2,
            threshold=0.5,
            seconds=0.1,
        ),
        Attempt("rag", failure=text),
        Attempt("lora", skipped_because=text),
    )
    answer = Answer(text, "abstained", citations=(citation(text),))
    evidence = Evidence((text,), (hit,), degraded=text)
    return Trace("t1", Question(text, "c1"), evidence, Route(()), attempts, answer, {text: text}, 0.5, text)


def test_there_are_enough_attacks() -> None:
    assert len(set(ATTACKS)) == len(ATTACKS) >= 60


@pytest.mark.parametrize("text", ATTACKS)
def test_nothing_but_our_own_markup_reaches_the_page(text: str) -> None:
    answered = Answer(text, "answered", "rag", 0.8, (citation(text), citation("fine")))
    for made in (
        present.prose(text),
        present.escaped(text),
        present.marked(f"before {text} after", text),
        present.marked(text, "not in there"),
        present.answer_html(answered),
        present.answer_html(Answer(text, "abstained", citations=(citation(text),))),
        present.words_html(text),
        present.problem_html(text),
        present.sources([citation(text)]),
        present.climb_html([text, text], done=True),
        present.climb_html([text], done=False),
        present.facts({text: text}),
        present.trace_html(trace(text), [(-1, text), (1, "")]),
    ):
        assert_ours_alone(made)
    assert_ours_alone(present.shares_html({"rag": 1, "prompting": 2}))


@pytest.mark.parametrize("text", ATTACKS)
def test_every_word_survives_escaping(text: str) -> None:
    assert html.unescape(present.escaped(text)).replace("<br>", "\n") == "\n".join(text.splitlines())
    assert same_words(Page(present.marked(f"before {text} after", text)).words) == same_words(f"before {text} after")
    formatted = re.sub(r"\[(\d{1,2})\]", r"\1", text).replace("**", "").replace("`", "")
    assert same_words(Page(present.prose(text)).words.replace("`", "").replace("**", "")) == same_words(formatted)


@pytest.mark.parametrize("text", ATTACKS)
def test_a_question_is_shown_as_it_was_typed_and_comes_back_from_the_editor(text: str) -> None:
    shown = present.asked(text)
    assert html.unescape(shown) == "\n".join(text.splitlines())
    assert not re.search(r"[<>`]|\]\(|\]\[|\*\*|~~|https?://|javascript&|^\s", shown, re.M), shown


@pytest.mark.parametrize(
    "text", ["What's a LoRA adapter? (rank 8, say 10.5 %)", "How do I re-use it; e.g. twice - or so?"]
)
def test_an_ordinary_question_is_left_alone(text: str) -> None:
    assert present.asked(text) == text


@pytest.mark.parametrize(
    ("confidence", "words"),
    [
        (None, "confidence unknown"),
        (1.0, "very likely right (100%)"),
        (0.9, "very likely right (90%)"),
        (0.75, "likely right (75%)"),
        (0.5, "more likely right than not (50%)"),
        (0.49, "unsure (49%)"),
        (0.0, "unsure (0%)"),
    ],
)
def test_confidence_is_said_in_words(confidence: float | None, words: str) -> None:
    assert present.confidence_in_words(confidence) == words


def test_the_badge_names_the_level_and_how_sure_it_is() -> None:
    badge = present.badge(Answer("x", "answered", "rag", 0.8))
    assert Page(badge).words == "From the documentslikely right (80%)"
    assert "A person will answer" in present.badge(Answer("x", "handed_off"))
    assert "No answer I am sure of" in present.badge(Answer("x", "abstained"))


def test_code_bold_paragraphs_and_numbers_come_back() -> None:
    made = present.prose("Run `rungs ask *x*` **now** [1].\n\nThen wait.\nA bit.")
    assert made == (
        "<p>Run <code>rungs ask &#42;x&#42;</code> <strong>now</strong> "
        '<sup class="number">1</sup>.</p><p>Then wait.<br>A bit.</p>'
    )


def test_the_quoted_sentence_is_marked_across_white_space() -> None:
    made = present.marked("First one. A lamp is\n  switched  on\tby hand. Last one.", "A lamp is switched on by hand.")
    assert made == "First one. <mark>A lamp is<br>  switched  on\tby hand.</mark> Last one."


def test_of_two_equal_sentences_the_one_that_was_meant_is_marked() -> None:
    passage = "It is red. It is red."
    assert present.marked(passage, "It is red.", 11) == "It is red. <mark>It is red.</mark>"
    assert present.marked(passage, "It is red.", 0) == "<mark>It is red.</mark> It is red."


def test_a_quote_that_is_not_there_marks_nothing() -> None:
    assert present.marked("One two.", "Three") == "One two."
    assert present.marked("One two.", "") == "One two."


def test_a_quote_may_look_like_a_pattern() -> None:
    assert present.marked("a (b+ c) d", "(b+ c)") == "a <mark>(b+ c)</mark> d"


def test_citations_are_numbered_and_name_their_place() -> None:
    one = Citation("a.md", "Lamps", "Lamps > Bulbs", "", "Bulbs last.", 0.5, passage="x Bulbs last. y", page=3)
    made = present.sources([one, one])
    assert Page(made).words.startswith("Sources1 Lamps › Bulbs, page 3x Bulbs last. ya.md2 Lamps")
    assert made.count("<mark>Bulbs last.</mark>") == 2
    assert "Closest sources" in present.sources([one], closest=True)
    assert present.sources([]) == ""


def test_the_climb_is_one_line_while_it_happens_and_folded_away_afterwards() -> None:
    line = present.climb_line(Climbing("rag", "rejected", "20% sure, 40% needed"))
    assert line == "Looking it up in the documents: held back: 20% sure, 40% needed"
    assert 'role="status"' in present.climb_html([line], done=False)
    folded = present.climb_html([line], done=True)
    assert folded.startswith("<details ") and "<details open" not in folded and "<li>" in folded
    assert present.climb_html([], done=True) == ""


def test_a_stored_climb_leaves_out_levels_that_were_not_needed() -> None:
    told = trace("x")
    attempts = (
        Attempt("prompting", skipped_because="too doubtful"),
        Attempt("rag", accepted=True),
        Attempt("lora", skipped_because="level rag answered"),
    )
    stored = Trace(
        told.id,
        told.question,
        told.evidence,
        told.route,
        attempts,
        told.answer,
        told.versions,
        told.seconds,
        told.started_at,
    )
    assert present.climb_of(stored) == [
        "Trying a direct answer: skipped: too doubtful",
        "Looking it up in the documents: answered",
    ]


def test_a_trace_is_shown_at_full_depth() -> None:
    words = Page(present.trace_html(trace("lamp"), [(-1, "Wrong: too short")])).words
    for told in ("declined", "0.200", "0.500", "dense rank 1", "keyword rank -", "Not helpful: Wrong: too short", "t1"):
        assert told in words, told


def test_shares_are_bars_that_add_up() -> None:
    made = present.shares_html({"rag": 3, "abstained": 1})
    assert "width:75.0%" in made and "3 (75%)" in made and "1 (25%)" in made and "0 (0%)" in made
    assert_ours_alone(made)
    assert "No question has been asked yet" in present.shares_html({})
