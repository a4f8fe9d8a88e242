"""Markdown to sections by heading; also the last step of every format that is turned into Markdown first.

Follows CommonMark where it matters to a reader of plain text: headings (ATX, setext and HTML ones), fences, front
matter, links, images, tables. Renders nothing and resolves no link. Called through `LOADERS`, and by the HTML and
DOCX loaders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from knowledge.errors import UnreadableDocument
from knowledge.loaders.cleaning import clean, tidy
from knowledge.loaders.inline import plain, plain_line
from knowledge.loaders.reading import read_text
from knowledge.types import Document, Section

_FRONT = re.compile(
    r"\A\s*(?:---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)|\+\+\+[ \t]*\n(.*?)\n\+\+\+[ \t]*(?:\n|\Z))", re.S
)
_FIELD = re.compile(r"^[\w-]+[ \t]*[:=]", re.M)
_TITLE = re.compile(r"^title[ \t]*[:=][ \t]*(?:[>|][+-]?[ \t]*\n[ \t]+)?(.*)$", re.M | re.I)
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})(.*)$")
_QUOTE = re.compile(r"^[ \t]{0,3}(?:>[ \t]?)+")
_NO_PARAGRAPH = re.compile(r"[ \t]*(?:[-*+>|#]|\d+[.)][ \t]|$)")
_HTML_HEADING = re.compile(r"[ \t]*<h([1-6])\b[^<>]*>(.*?)</h\1\s*>[ \t]*$", re.I)
_ANCHOR = re.compile(r"[ \t]*\{[#.:][^{}]*\}$")
TITLE_CHARACTERS = 300


class MarkdownLoader:
    """Markdown with or without front matter."""

    suffixes: tuple[str, ...] = (".md", ".markdown", ".mdown", ".mdx")

    def load(self, path: Path) -> Document:
        """Read the file.

        Raises:
            UnreadableDocument: it is no text, or holds none beside its mark-up.
        """
        return document(read_text(path), name=path.name)


def document(text: str, *, name: str, title: str = "") -> Document:
    """Markdown text as a document.

    Args:
        text: the Markdown.
        name: the file's name: the title where the text has none, and what a refusal names.
        title: a title known from elsewhere; front matter and a first heading stand above it.

    Raises:
        UnreadableDocument: nothing is left beside mark-up.
    """
    text = clean(text)
    front, body = _front_matter(text)
    parts = list(_parts(body))
    tops = [heading for level, heading, _ in parts if level == 1]
    opens = bool(tops) and (len(tops) == 1 or not parts[0][2]) and tops[0] == next(h for level, h, _ in parts if level)
    known = front or (tops[0] if opens else "") or title
    known = " ".join(known.split())[:TITLE_CHARACTERS] or title_from_name(name)
    sections = tuple(_sections(parts, root="" if tops else known))
    if not sections:
        raise UnreadableDocument(f"{name}: holds no text.")
    return Document(known, sections)


def title_from_name(name: str) -> str:
    """`how-to_pay.md` as `how to pay`."""
    return tidy(re.sub(r"[-_\s]+", " ", Path(name).stem)) or name


def _front_matter(text: str) -> tuple[str, str]:
    """(title or nothing, the text without its front matter)."""
    found = _FRONT.match(text)
    if not found:
        return "", text
    fields = found[1] if found[1] is not None else found[2]
    if fields.strip() and not _FIELD.search(fields):
        return "", text
    title = _TITLE.search(fields)
    value = title[1].strip() if title else ""
    quoted = re.match(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^']|'')*)'", value)
    if quoted:
        value = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted[1] is not None else quoted[2].replace("''", "'")
    else:
        value = re.sub(r"\s+#.*$", "", value)
    return plain_line(value), text[found.end() :]


def _parts(text: str) -> Iterator[tuple[int, str, str]]:
    """(heading level or 0, heading, text below it) in order; code blocks untouched, all else as plain text."""
    level, heading = 0, ""
    blocks: list[str] = []
    prose: list[str] = []

    def flush() -> None:
        if prose:
            blocks.append(plain("\n".join(prose)))
            prose.clear()

    for kind, depth, content in _lines(text):
        if kind == "prose":
            prose.append(content)
            continue
        flush()
        if kind == "code":
            blocks.append(content)
        else:
            yield level, heading, tidy("\n".join(blocks))
            blocks = []
            level, heading = depth, plain_line(_ANCHOR.sub("", content))
    flush()
    yield level, heading, tidy("\n".join(blocks))


def _lines(text: str) -> Iterator[tuple[str, int, str]]:
    """Each line as ("prose" | "code" | "heading", heading level, content)."""
    fence, quoted, before, alone = "", False, "", False
    for line in text.split("\n"):
        if fence:
            line = _QUOTE.sub("", line) if quoted else line
            mark = _FENCE.match(line)
            if mark and mark[1].startswith(fence) and not mark[2].strip():
                fence = ""
            yield "code", 0, line
            continue
        quote = _QUOTE.match(line)
        bare = line[quote.end() :] if quote else line
        mark = _FENCE.match(bare)
        atx = None if quote else _ATX.match(line) or _HTML_HEADING.match(line)
        setext = None if quote else _SETEXT.match(line)
        if mark and "`" not in mark[2]:
            yield from _as_prose(before)
            fence, quoted, before, alone = mark[1], bool(quote), "", False
            yield "code", 0, bare
        elif atx or (setext and alone and before.strip()):
            if atx:
                yield from _as_prose(before)
                depth = len(atx[1]) if atx[1][0] == "#" else int(atx[1])
                yield "heading", depth, atx[2] or ""
            else:
                yield "heading", 1 if "=" in line else 2, before.strip()
            before, alone = "", False
        else:
            yield from _as_prose(before)
            alone = not before.strip() and not quote and not _NO_PARAGRAPH.match(bare)
            before = bare + "\n"
    yield from _as_prose(before)


def _as_prose(line: str) -> Iterator[tuple[str, int, str]]:
    if line:
        yield "prose", 0, line[:-1]


def _sections(parts: list[tuple[int, str, str]], root: str) -> Iterator[Section]:
    """Sections with their heading paths; a heading with nothing below it survives as its own text."""
    path: list[tuple[int, str]] = [(0, root)] if root and any(level for level, _, _ in parts) else []
    for i, (level, heading, text) in enumerate(parts):
        if level:
            while path and path[-1][0] >= level:
                path.pop()
            if heading:
                path.append((level, heading))
        follows = parts[i + 1][0] if i + 1 < len(parts) else 0
        if not text and level and heading and follows <= level:
            text = heading
        if text:
            yield Section(text, tuple(name for _, name in path))
