"""Style or fact: rows whose answer says particular things that its passages do not say teach a model to invent.

What is particular: web addresses, numbers, names. Such rows are proposed as question-answer pairs for the knowledge
base, where a fact can be found, cited and corrected. By the same rule a draft that says such things is not shown.
Judges the wording only; whether a fact is true it cannot know. Called by `dataset.py` and by the levels that write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from adapters.duplicates import LEANS_BELOW
from adapters.types import Example

CAPITALS_MAX = 0.18
"""Share of words with a capital inside sentences above which capitals name nothing (German writes every noun
with one)."""
WORDS_ENOUGH = 20
"""Words inside sentences from which that share means something."""
NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())
}
EVERYDAY = frozenset("i i'm i'll i've i'd ok id ids faq pdf url urls am pm".split())
"""Written with capitals and naming nothing."""

_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"'`|\])}]+", re.I)
_HOLLOW = re.compile(
    r"\{\{[^{}\n]{0,200}\}\}|\[(?:email|phone|card|iban|ip|\d{1,3})\]"
    r"|^[ \t]*(?:\d{1,3}[.)]|[-*•])[ \t]+|\n[ \t]*\d{1,3}[.)]\s*\Z|\bsteps? \d{1,3}\b|\b24/7\b",
    re.I | re.M,
)
"""Placeholders, numbers of citations, lists and steps."""
_WORD = re.compile(r"[^\W_]+(?:['’_][^\W_]+)*(?:[.,:]\d+)*[+#]*")
_DIGIT = re.compile(r"\d")
_NUMBERED = re.compile(r"[vV]?\d")
_PIECE = re.compile(r"\d+|[^\W\d_]+")
_LEADING_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_OPENERS = frozenset(".!?:;\n(*#>|•-–—")


def style_or_fact(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Rows to train on, and rows whose facts belong into the knowledge base."""
    capitals, inside = _capitals(example.answer for example in examples)
    names = capitals <= CAPITALS_MAX * inside
    style: list[Example] = []
    facts: list[Example] = []
    for example in examples:
        (facts if unsupported(example, names) else style).append(example)
    return style, facts


def unsupported(example: Example, names: bool = True) -> frozenset[str]:
    """What the answer says in particular and neither its passages nor the conversation say.

    Args:
        example: one that teaches declining says nothing.
        names: whether a capital makes a name; not so in languages that write every noun with one.
    """
    if example.expect == "decline":
        return frozenset()
    said = [example.question, *(turn.text for turn in example.history)]
    shown = [text for passage in example.passages for text in (passage.text, passage.address)]
    return unsaid(example.answer, (*said, *shown), names)


def unsaid(text: str, told: Iterable[str], names: bool = True) -> frozenset[str]:
    """What a text says in particular and none of the others says: numbers, web addresses and (where `names`) names."""
    return _particulars(text, names) - _everything("\n".join(told))


def invented(draft: str, told: Sequence[str]) -> frozenset[str]:
    """What a draft says in particular and nothing says that its writer was told.

    Whether a capital makes a name in its language is seen in the draft, or where that is short, in what was told.
    """
    capitals, inside = _capitals([draft])
    if inside < WORDS_ENOUGH:
        capitals, inside = _capitals(told)
    return unsaid(draft, told, names=capitals <= CAPITALS_MAX * inside)


def as_pairs(facts: Sequence[Example]) -> Iterator[dict[str, str]]:
    """Question-answer pairs as the knowledge base takes them in: a JSONL file of objects with these two fields."""
    for example in facts:
        question = example.question
        if example.history and len(question.split()) < LEANS_BELOW:
            before = [turn.text for turn in example.history if turn.role == "user"][-1:]
            question = " ".join([*before, question])
        yield {"question": question, "answer": example.answer}


def _particulars(text: str, names: bool) -> frozenset[str]:
    found = {_bare(url) for url in _URL.findall(text)}
    text = _HOLLOW.sub("\n", _URL.sub(" ", text))
    for word, opens in _words(text):
        if _NUMBERED.match(word):
            found.add(_number(word))
        elif names and word.lower().replace("’", "'") not in EVERYDAY and _is_name(word, opens):
            found.add(_stem(word))
    return frozenset(found)


def _everything(text: str) -> frozenset[str]:
    """All that the text could support: its addresses, and each of its words as number and as name."""
    found = {_bare(url) for url in _URL.findall(text)}
    for match in _WORD.finditer(text):
        stem = _stem(match.group())
        found |= {stem, NUMBER_WORDS.get(stem, stem), _number(match.group())}
        found.update(_stem(piece) for piece in _PIECE.findall(match.group()))
    return frozenset(found)


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """(word, whether it opens a sentence or a line). What opens a quotation does not: it is often a button's name."""
    for match in _WORD.finditer(text):
        before = text[max(0, match.start() - 8) : match.start()].rstrip(" \t")
        yield match.group(), not before or before[-1] in _OPENERS


def _is_name(word: str, opens: bool) -> bool:
    inner = word[1:] != word[1:].lower() or _DIGIT.search(word) is not None
    return inner or (word[0].isupper() and not opens)


def _stem(word: str) -> str:
    word = word.lower().replace("’", "'").removesuffix("'s")
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def _number(word: str) -> str:
    """The number that a word starts with ("10GB" and "10 GB" meet), thousands without their commas."""
    match = _LEADING_NUMBER.match(word.lower().removeprefix("v"))
    return re.sub(r",(?=\d{3}(?!\d))", "", match.group()) if match else _stem(word)


def _bare(url: str) -> str:
    return re.sub(r"^(https?://)?(www\.)?", "", url.lower()).rstrip("/.,;:!?*_")


def _capitals(texts: Iterable[str]) -> tuple[int, int]:
    """Words inside sentences that begin with a capital, and all words there."""
    inside = capitals = 0
    for text in texts:
        for word, opens in _words(_HOLLOW.sub("\n", text)):
            if not opens and word[0].isalpha() and word.lower() not in EVERYDAY:
                inside += 1
                capitals += word[0].isupper()
    return capitals, inside
