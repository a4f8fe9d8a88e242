"""Where a passage can be quoted: the spans of its sentences, list items, table rows and lines of code.

Looks only at the text: lines tell blocks, punctuation tells sentences. Never changes or ranks anything (that is
`evidence.py`). Linear in the length of the text. Called by `embedding.py` and `evidence.py` to quote and by
`chunking.py` to cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby, pairwise
from operator import itemgetter

from knowledge.types import Span
from knowledge.words import WORD

ITEM_CHARACTERS = 240
"""A list item up to this long is one unit, however many sentences it holds; a longer one is cut into sentences."""
LEANING = frozenset("it its this that these those they them he she such however otherwise then also".split())
"""A sentence that opens with one of these is read together with the one before."""
JOINED_CHARACTERS = 400
PASSAGES_REMEMBERED = 1_000
"""Passages whose sentences are known already: the same ones are found again and again."""
NARROW_LINE = 45
"""Where no line of a paragraph is longer, its line breaks are taken as meant (addresses, verses, labels)."""

FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_BULLET = re.compile(r"[ \t]*(?:[-*+•‣▪◦–·][ \t]+|(?=(?:\d{1,3}|[a-zA-Z]|[ivx]{1,4})[.)][ \t]+\S))")
_ROW = re.compile(r"[ \t]*\|")
_RULER = re.compile(r"[ \t|]*\n[ \t]*\|?[ \t]*:?-[ \t:|-]*(?:\n|$)")
_MARKS = re.compile(r"[ \t>]*(?:#{1,6}[ \t]+)?")
_WORD = re.compile(r"\w")
_STOP = re.compile(r"(?:[.!?…]+[\"'”’»)\]*_`]*(?=\s))|[。！？]+[」』”’）]*")
_TOKEN = re.compile(r"[^\s(\[\"'“‘*_`]+$")
_OPENS = re.compile(r"\s+[\"'“‘«(\[*_`¿¡]*(\S)")
_FIRST = re.compile(r"[^\W\d_]+")
_INITIALS = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]?|[A-Z]")
_LABEL = re.compile(
    r"\W*(?:(?:step|section|chapter|part|figure|fig|table|note|item|no|article)\s+)?[\dIVX.]{1,6}\W*$", re.I
)

_NEVER_END = frozenset(
    "mr mrs ms dr prof rev hon st gen col lt sgt capt maj sen rep gov messrs vs e.g i.e eg ie viz cf ca approx incl "
    "excl resp esp fig figs eq eqs sec ch vol pp p ed eds trans dept est ph.d".split()
)
_BEFORE_A_NUMBER = frozenset("no nos nr art par jan feb mar apr jun jul aug sep sept oct nov dec".split())
_MAY_END = frozenset("etc inc ltd co corp bros jr sr al u.s u.k u.n e.u a.m p.m am pm d.c b.c a.d".split())
_STARTERS = frozenset(
    "a after all also although an and as at because before but by each even every finally first following for from he "
    "her here his how however if in instead it its later many most no now of on once one or our please she since so "
    "some such that the their then there these they this those though to today under unlike until we what when where "
    "which while with you your".split()
)


def sentences(text: str) -> tuple[Span, ...]:
    """The quotable units of a passage as (start, end) character offsets, in order, never overlapping.

    A unit is a sentence, a short list item, a table row, a line of code, or a line that stands alone (a label, a
    lead-in ending in a colon). Bullets, cell borders at the ends of a row and fences stay outside; every word of the
    text but a fence's own line lies in exactly one unit. A long sentence is never cut.
    """
    return tuple(span for block in _blocks(text) for span in _units(text, *block) if _WORD.search(text, *span))


@lru_cache(PASSAGES_REMEMBERED)
def quotable(text: str) -> tuple[Span, ...]:
    """What can be quoted by itself: sentences, one that leans on the one before with it, and short lists as a whole.

    A lead-in is joined with what it leads to, and the head of a table says nothing. Spans may overlap: the sentence
    before and each item stand alone, too. What is stored for a passage at ingest lies in this order (`embedding.py`).
    """
    units: list[Span] = []
    for start, end in sentences(text):
        if _RULER.match(text, end):
            continue
        first = WORD.search(text, start, end)
        leans = first is not None and first.group().lower() in LEANING
        led = bool(units) and text[slice(*units[-1])].endswith(":")
        if units and (leans or led) and end - units[-1][0] <= JOINED_CHARACTERS:
            if led:
                units[-1] = (units[-1][0], end)
            else:
                units.append((units[-1][0], end))
        else:
            units.append((start, end))
    return tuple(sorted({*units, *_lists(text)}))


def _lists(text: str) -> Iterator[Span]:
    """Lists of at least two items, each with its lead-in, that are short enough to be quoted whole."""
    for kind, blocks in groupby(_blocks(text), key=itemgetter(0)):
        items = list(blocks)
        if kind != "item" or len(items) < 2:
            continue
        start, end = items[0][1], items[-1][2]
        lead = max((span for span in sentences(text) if span[1] <= start), default=None)
        if lead and text[slice(*lead)].endswith(":"):
            start = lead[0]
        if end - start <= JOINED_CHARACTERS:
            yield start, end


def _lines(text: str) -> Iterator[Span]:
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield start, end
        start = end + 1


def _blocks(text: str) -> Iterator[tuple[str, int, int]]:
    """(kind, start, end): paragraphs, list items with their wrapped lines, table rows, lines of code."""
    kind, begin, finish = "", 0, 0
    fence = ""
    for start, end in _lines(text):
        mark = FENCE.match(text, start, end)
        if fence or mark:
            if kind:
                yield kind, begin, finish
                kind = ""
            closes = mark and fence and mark[1].startswith(fence) and not text[mark.end() : end].strip()
            if mark and not fence:
                fence = mark[1]
            elif closes:
                fence = ""
            else:
                yield "code", start, end
            continue
        line = text[start:end]
        row, bullet = _ROW.match(line), _BULLET.match(line)
        if kind and (not line.strip() or row or bullet):
            yield kind, begin, finish
            kind = ""
        if row:
            yield "row", start, end
        elif line.strip():
            if not kind:
                kind, begin = ("item", start + bullet.end()) if bullet else ("prose", start)
            finish = end
    if kind:
        yield kind, begin, finish


def _units(text: str, kind: str, start: int, end: int) -> Iterator[Span]:
    if kind == "row":
        yield _trimmed(text, start, end, " \t|")
    elif kind == "code" or (kind == "item" and end - start <= ITEM_CHARACTERS):
        yield _trimmed(text, start, end)
    else:
        for first, last in _meant_lines(text, start, end):
            yield from _split(text, first, last)


def _trimmed(text: str, start: int, end: int, marks: str = " \t\n") -> Span:
    while start < end and (text[start] in marks or text[start].isspace()):
        start += 1
    while end > start and (text[end - 1] in marks or text[end - 1].isspace()):
        end -= 1
    return start, end


def _meant_lines(text: str, start: int, end: int) -> Iterator[Span]:
    """A paragraph cut where a line break is more than a wrapped line."""
    lines = [(start + a, start + b) for a, b in _lines(text[start:end])]
    width = max(b - a for a, b in lines)
    begin = start
    for (a, b), (following, stop) in pairwise(lines):
        line, coming = text[a:b].strip(), text[following:stop].strip()
        word = len(coming.split(None, 1)[0]) if coming else 0
        short = width <= NARROW_LINE or len(line) + 1 + word < 0.75 * width
        opens = bool(coming) and not coming[0].islower() and line[-1:] not in ",;-–("
        if (line.endswith(":") and opens) or (short and opens):
            yield begin, b
            begin = following
    yield begin, end


def _split(text: str, start: int, end: int) -> Iterator[Span]:
    marks = _MARKS.match(text, start, end)
    start = begin = marks.end() if marks else start
    for stop in _STOP.finditer(text, start, end):
        if stop.end() < end and _ends(text, begin, stop, end):
            yield _trimmed(text, begin, stop.end())
            begin = stop.end()
    if begin < end:
        yield _trimmed(text, begin, end)


def _ends(text: str, begin: int, stop: re.Match[str], end: int) -> bool:
    """Does the sentence that began at `begin` end with this punctuation?"""
    if stop[0][0] in "。！？":
        return True
    opening = _OPENS.match(text, stop.end(), end)
    if opening is None:
        return False
    first = opening[1]
    if first.islower() and text[opening.start(1) - 1] != "`":
        return False
    if stop[0][0] != ".":
        return True
    if _LABEL.match(text[begin : stop.start()]):
        return False
    token = _TOKEN.search(text[max(begin, stop.start() - 40) : stop.start()])
    word = token[0].lower().rstrip(".") if token else ""
    if word in _NEVER_END:
        return False
    if word in _BEFORE_A_NUMBER:
        return not first.isdigit()
    if word in _MAY_END or (token and _INITIALS.fullmatch(token[0])):
        following = _FIRST.match(text, opening.start(1), end)
        return bool(following and following[0].lower() in _STARTERS)
    return True
