"""HTML to sections: the main content by trafilatura, all visible text where that finds too little.

Scripts, styles and whatever is hidden from a reader are taken out first. Loads nothing that the page refers to.
`HtmlLoader` is called through `LOADERS`; `parse` runs in the sandbox.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from knowledge.errors import UnreadableDocument
from knowledge.loaders.cleaning import clean, tidy
from knowledge.loaders.markdown import document
from knowledge.loaders.reading import decode, read_bytes
from knowledge.loaders.sandbox import run
from knowledge.types import Document

MAIN_SHARE = 0.25
"""Where the main content is less than this share of the visible text, all of that is taken."""
DEPTH_MAX = 1000
_CHARSET = re.compile(
    rb"<meta[^<>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{2,40})|<\?xml[^<>]{0,100}?encoding=[\"']([\w.:-]{2,40})", re.I
)
_MARKUP = re.compile(
    rb"<\s*(?:!doctype\s+html|html|head|body|div|p|h[1-6]|table|ul|ol|pre|article|section|span|a|br)\b", re.I
)
_HIDDEN_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?!\.?[1-9])|opacity\s*:\s*0(?!\.?[1-9])"
)
_LONG_PRE = re.compile(r"^```[^\n]*\n(.{10000,}?)\n```[ \t]*$", re.S | re.M)
"""A `pre` this long is typewritten prose (laws, RFCs), not code."""
_DROPPED = "script style template noscript svg iframe object embed canvas head nav".split()
_BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure footer form "
    "header hr legend li main ol p pre section summary table tbody td tfoot th thead title tr ul".split()
)


class HtmlLoader:
    """HTML pages."""

    suffixes: tuple[str, ...] = (".html", ".htm", ".xhtml")

    def load(self, path: Path) -> Document:
        """Read the file in the sandbox.

        Raises:
            UnreadableDocument: it is no HTML, or shows no text.
        """
        data = read_bytes(path)
        if not _MARKUP.search(data.replace(b"\0", b"")[:1_000_000]):
            raise UnreadableDocument(f"{path.name}: is not an HTML page, whatever its name says.")
        return run("html", path)


def warm_up() -> None:
    """Import what parsing needs, before memory is limited."""
    import trafilatura

    trafilatura.extract("<html><body><p>A page.</p></body></html>")


def parse(path: Path) -> Document:
    """The page's main content by heading.

    Raises:
        UnreadableDocument: it shows no text.
    """
    import trafilatura
    from lxml import html

    data = read_bytes(path)
    found = _CHARSET.search(data[:4096])
    declared = (found[1] or found[2]).decode("ascii", "replace") if found else ""
    text = clean(decode(data, declared))
    parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    tree = html.document_fromstring(text.encode() or b"<html/>", parser=parser)
    title = tidy(tree.findtext(".//title") or "")
    _remove_unseen(tree)
    visible = tidy("".join(_visible(tree)))
    main = trafilatura.extract(
        tree, output_format="markdown", include_comments=False, include_tables=True, favor_recall=True
    )
    main = _LONG_PRE.sub(r"\1", main) if main else ""
    taken = main if main and len(main) >= MAIN_SHARE * len(visible) else visible
    if not taken.strip():
        raise UnreadableDocument(f"{path.name}: shows no text.")
    return document(taken, name=path.name, title=title)


def _remove_unseen(tree: Any) -> None:
    """Take out what a reader does not see; the text after such an element stays."""
    for element in list(tree.iter()):
        if not isinstance(element.tag, str) or element.getparent() is None:
            continue
        hidden = (
            element.tag in _DROPPED
            or "hidden" in element.attrib
            or (element.tag == "input" and element.get("type") == "hidden")
            or _HIDDEN_STYLE.search(element.get("style", "").lower())
        )
        if hidden:
            element.drop_tree()


def _visible(tree: Any) -> Any:
    """All text as Markdown, block by block. Without recursion: pages can be nested deeper than Python's stack."""
    from lxml import etree

    for event, element in etree.iterwalk(tree, events=("start", "end")):
        tag = element.tag if isinstance(element.tag, str) else ""
        if event == "start":
            if re.fullmatch(r"h[1-6]", tag):
                yield f"\n\n{'#' * int(tag[1])} "
            elif tag in ("td", "th"):
                yield " | "
            elif tag == "li":
                yield "\n- "
            elif tag in ("br", "tr"):
                yield "\n"
            elif tag in _BLOCKS:
                yield "\n\n"
            yield _text_of(element.text, tag, element)
        else:
            if tag in _BLOCKS - {"td", "th", "li", "tr"} or re.fullmatch(r"h[1-6]", tag):
                yield "\n\n"
            if element is not tree:
                yield _text_of(element.tail, "", element.getparent())


def _text_of(text: str | None, tag: str, element: Any) -> str:
    if not text:
        return ""
    if tag == "pre" or element.tag == "pre":
        return text
    return re.sub(r"\s+", " ", text)
