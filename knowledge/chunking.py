"""Documents to passages: by headings, then by tokens of the embedder, never inside a sentence where that can be helped.

A passage and its address are embedded together (`embedding.embedded_text`) and MiniLM reads 256 tokens, so both have to
fit. Every character of a section that is no white space lands in exactly one passage; fences are closed and opened
again where a long code block has to be cut. Loads and embeds nothing. Called by `ingest.py`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from knowledge.sentences import FENCE, sentences
from knowledge.types import Document, Embedder, Passage, Section

VERSION = "2"
"""Part of every document's fingerprint: raise it when loaders or this file make other passages of the same bytes."""
TOKENS_MAX = 230
"""Address and text together; MiniLM reads 256, two special tokens and restored fences among them."""
ROOM_LEAST = 80
"""Tokens left for the text however long its address is."""
CHARACTERS_PER_TOKEN_MAX = 8
"""What counts as few tokens but is long (unknown words, base64) is measured by its characters instead."""
TINY_TOKENS = 20
"""A section of fewer tokens, heading included, is merged with tiny neighbours under the same parent."""
MERGED_TOKENS_MAX = 120
SEPARATOR = " > "


@dataclass(frozen=True, slots=True)
class _Atom:
    """A stretch that is not cut further: text[start:end], with what a cut before or after it has to restore."""

    start: int
    end: int
    tokens: int
    opens: str = ""
    closes: str = ""


class _Counter:
    """Counts what a text costs: its tokens, or its length where that is out of proportion."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def __call__(self, text: str) -> int:
        return max(self._embedder.count_tokens(text), len(text) // CHARACTERS_PER_TOKEN_MAX)


def split(document: Document, *, source: str, path: str, uri: str, embedder: Embedder) -> tuple[Passage, ...]:
    """The passages of a document, in reading order.

    Args:
        document: from a loader. Of question-answer pairs each section becomes exactly one passage.
        source: what was ingested.
        path: the document within it.
        uri: where a person can open it.
        embedder: its tokens are what is counted.
    """
    count = _Counter(embedder)
    if document.pairs:
        sections = list(document.sections)
    else:
        merged = _merged(document.sections, count)
        sections = [piece for section in merged for piece in _cut(section, document.title, count)]
    return tuple(
        Passage(
            id=_id(source, path, position, section.text),
            source=source,
            document=path,
            title=document.title,
            heading=SEPARATOR.join(section.heading),
            text=section.text,
            position=position,
            page=section.page,
            uri=uri,
        )
        for position, section in enumerate(sections)
    )


def _id(source: str, path: str, position: int, text: str) -> str:
    content = "\0".join((source, path, str(position), text))
    return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:32]


# sections that are too small


def _merged(sections: Sequence[Section], count: _Counter) -> Iterator[Section]:
    """Runs of tiny neighbours become one section under their parent, with their headings as lead-ins."""
    run: list[Section] = []
    spent = 0
    for section in sections:
        cost = _tiny(section, count)
        fits = run and _siblings(run[-1], section) and spent + cost <= MERGED_TOKENS_MAX
        if run and not (cost and fits):
            yield _merge(run)
            run, spent = [], 0
        if cost:
            run.append(section)
            spent += cost
        else:
            yield section
    if run:
        yield _merge(run)


def _tiny(section: Section, count: _Counter) -> int:
    """Its tokens where it is tiny, else 0. A question keeps its own passage: its heading is what will be searched."""
    if len(section.heading) < 2 or section.heading[-1].endswith("?") or len(section.text) > 8 * TINY_TOKENS:
        return 0
    cost = count(section.text) + count(section.heading[-1])
    return cost if cost <= TINY_TOKENS else 0


def _siblings(one: Section, other: Section) -> bool:
    return one.heading[:-1] == other.heading[:-1] and one.page == other.page


def _merge(run: Sequence[Section]) -> Section:
    if len(run) == 1:
        return run[0]
    texts = []
    for section in run:
        heading = section.heading[-1]
        lead = heading if heading[-1:] in ".:!?" else f"{heading}:"
        texts.append(section.text if section.text == heading else f"{lead}\n{section.text}")
    return Section("\n\n".join(texts), run[0].heading[:-1], run[0].page)


# sections that are too large


def _cut(section: Section, title: str, count: _Counter) -> Iterator[Section]:
    address = SEPARATOR.join(section.heading) or title
    room = max(ROOM_LEAST, TOKENS_MAX - count(address))
    text = section.text
    if len(text) <= room * CHARACTERS_PER_TOKEN_MAX and count(text) <= room:
        yield section
        return
    for first, last in _packed(text, list(_atoms(text, room, count)), room):
        piece = text[first.start : last.end].strip("\n").rstrip()
        piece = f"{first.opens}\n{piece}" if first.opens else piece
        piece = f"{piece}\n{last.closes}" if last.closes else piece
        if piece.strip():
            yield replace(section, text=piece)


def _packed(text: str, atoms: Sequence[_Atom], room: int) -> Iterator[tuple[_Atom, _Atom]]:
    """(first, last) atom of each passage: as few as possible, of similar size, a lead-in with what it leads to."""
    total = sum(atom.tokens for atom in atoms)
    aim = total / max(1, -(-total // room))
    chosen: list[_Atom] = []
    spent = 0
    for atom in atoms:
        if chosen and (spent + atom.tokens > room or spent >= aim):
            carried: list[_Atom] = []
            lead = chosen[-1]
            leads = text[lead.start : lead.end].rstrip().endswith(":")
            if len(chosen) > 1 and leads and lead.tokens + atom.tokens <= room:
                carried = [chosen.pop()]
            yield chosen[0], chosen[-1]
            chosen, spent = carried, sum(each.tokens for each in carried)
        chosen.append(atom)
        spent += atom.tokens
    if chosen:
        yield chosen[0], chosen[-1]


def _atoms(text: str, room: int, count: _Counter) -> Iterator[_Atom]:
    """Blocks that fit, else their lines of code or sentences, else halves of those. They cover the text."""
    for start, end in _blocks(text):
        tokens = count(text[start:end])
        if tokens <= room:
            yield _Atom(start, end, tokens)
            continue
        fence = FENCE.match(text, start, end)
        if fence:
            yield from _code(text, start, end, room, count)
            continue
        for first, last in _sentence_spans(text, start, end):
            yield from _halves(text, first, last, room, count)


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Paragraphs, lists and whole code blocks, each with the white space after it."""
    fence, begin, start, blank = "", 0, 0, False
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        mark = FENCE.match(text, start, end)
        closes = bool(fence and mark and mark[1].startswith(fence))
        opens = bool(mark) and not fence
        if not fence and (opens or (blank and text[start:end].strip())) and start > begin:
            yield begin, start
            begin = start
        if opens and mark:
            fence = mark[1]
        elif closes:
            fence = ""
            yield begin, end
            begin = end
        blank = not text[start:end].strip()
        start = end
    if begin < len(text):
        yield begin, len(text)


def _sentence_spans(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Sentences of a block stretched to cover it; a bullet or table border stays with what follows it."""
    block = text[start:end]
    begins = [0]
    for first, _ in sentences(block)[1:]:
        line = block.rfind("\n", 0, first) + 1
        begins.append(first if re.search(r"\w", block[line:first]) else max(line, begins[-1]))
    for a, b in pairwise([*begins, len(block)]):
        if a < b:
            yield start + a, start + b


def _code(text: str, start: int, end: int, room: int, count: _Counter) -> Iterator[_Atom]:
    """Lines of a code block; each knows the fences that a cut beside it needs."""
    opening = text[start : text.find("\n", start)].strip()
    mark = FENCE.match(opening)
    closing = mark[1] if mark else "```"
    room -= count(opening) + count(closing)
    body = text.find("\n", start) + 1
    ends = text[start:end].rstrip()
    last = start + ends.rfind("\n") + 1 if ends.endswith(closing) else end
    begin = start
    while begin < end:
        stop = text.find("\n", max(begin, body)) + 1 or end
        stop = end if stop >= last else stop
        atoms = list(_halves(text, begin, stop, room, count))
        for i, atom in enumerate(atoms):
            first, final = begin == start and i == 0, stop == end and i == len(atoms) - 1
            yield replace(atom, opens="" if first else opening, closes="" if final else closing)
        begin = stop


def _halves(text: str, start: int, end: int, room: int, count: _Counter) -> Iterator[_Atom]:
    """The stretch if it fits, else cut near its middle, at white space where there is some."""
    tokens = count(text[start:end])
    if tokens <= room or end - start < 2:
        yield _Atom(start, end, tokens)
        return
    middle = (start + end) // 2
    reach = (end - start) // 4
    before = max(text.rfind(mark, middle - reach, middle) for mark in (" ", "\n"))
    cut = before + 1 if before >= 0 else middle
    yield from _halves(text, start, cut, room, count)
    yield from _halves(text, cut, end, room, count)
