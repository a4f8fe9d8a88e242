"""PDF to one section a page, by pypdfium2.

Reads the text layer only: a scan without one is refused, as is a file that needs a password. Lines that repeat on most
pages (running heads) are left out. `PdfLoader` is called through `LOADERS`; `parse` runs in the sandbox.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from knowledge.errors import UnreadableDocument
from knowledge.loaders.cleaning import tidy
from knowledge.loaders.markdown import title_from_name
from knowledge.loaders.reading import read_bytes
from knowledge.loaders.sandbox import run
from knowledge.types import Document, Section

PAGES_MAX = 5000
NESTED_MAX = 10
"""Forms within forms; deeper ones are taken to contain themselves."""
REPEATED = 0.6
"""Share of the pages on which a first or last line is a running head or foot."""
EDGE_LINES = 2
_HYPHENATED = re.compile("(?<=[^\\W\\d_])(?:\ufffe|\u00ad|\u0002)[ \\t]*\\r?\\n?")
_BROKEN_WORD = re.compile(r"(?<=[a-z]{2})-\n(?=[a-z]{2})")
_UNFINISHED = re.compile(r"[\w,;-]\s*\Z")
_CONTINUATION = re.compile(r"\A[a-z][^\n]*(?:\n[^\n]+){0,12}?[.!?][\"”)]?(?=\s)")


class PdfLoader:
    """PDF with a text layer."""

    suffixes: tuple[str, ...] = (".pdf",)

    def load(self, path: Path) -> Document:
        """Read the file in the sandbox.

        Raises:
            UnreadableDocument: it is no PDF, is encrypted, is damaged, or has no text layer.
        """
        if b"%PDF-" not in read_bytes(path)[:1024]:
            raise UnreadableDocument(f"{path.name}: is not a PDF file, whatever its name says.")
        return run("pdf", path)


def warm_up() -> None:
    """Import what parsing needs, before memory is limited."""
    import pypdfium2  # noqa: F401


def parse(path: Path) -> Document:
    """The pages of the file that hold text.

    Raises:
        UnreadableDocument: it is encrypted, is damaged, or has no text layer.
    """
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == 4 or "assword" in str(error):
            raise UnreadableDocument(
                f"{path.name}: is encrypted and needs a password. Save it without one, then ingest it again."
            ) from error
        raise UnreadableDocument(f"{path.name}: is a damaged PDF ({error}).") from error
    try:
        if len(pdf) > PAGES_MAX:
            raise UnreadableDocument(f"{path.name}: has {len(pdf):,} pages, at most {PAGES_MAX:,} are read. Split it.")
        if not _is_complete(path) and _is_circular(pdf):
            raise UnreadableDocument(f"{path.name}: is a damaged PDF whose objects contain themselves.")
        texts = _page_texts(pdf)
        title = tidy(pdf.get_metadata_value("Title"))
    finally:
        pdf.close()
    if not any(re.search(r"\w", text) for text in texts):
        raise UnreadableDocument(
            f"{path.name}: has no text layer (a scan or pictures only). Run it through OCR, then ingest it again."
        )
    pages = _joined(_without_running_lines(texts))
    sections = tuple(Section(text, (), number) for number, text in enumerate(pages, start=1) if text)
    meant = bool(title) and not re.search(
        r"\.(?:docx?|indd|tex|pdf|txt|xlsx?|pptx?)$|^untitled|^microsoft word", title, re.I
    )
    return Document(title if meant else title_from_name(path.name), sections)


def _is_complete(path: Path) -> bool:
    """Whether the file ends as a PDF should; else the reader had to guess at its objects."""
    return b"startxref" in path.read_bytes()[-2048:]


def _is_circular(pdf: Any) -> bool:
    from pypdfium2.raw import FPDF_PAGEOBJ_FORM

    for page in pdf:
        forms = page.get_objects(filter=[FPDF_PAGEOBJ_FORM], max_depth=NESTED_MAX + 1)
        if any(form.level >= NESTED_MAX for form in forms):
            return True
    return False


def _page_texts(pdf: Any) -> list[str]:
    texts = []
    for page in pdf:
        text_page = page.get_textpage()
        text = text_page.get_text_range(errors="ignore")
        text_page.close()
        page.close()
        text = tidy(_HYPHENATED.sub("", text))
        texts.append(_BROKEN_WORD.sub("", text))
    return texts


def _without_running_lines(texts: Sequence[str]) -> list[str]:
    """Pages without the first and last lines that most of them share, page numbers aside."""
    if len(texts) < 4:
        return list(texts)
    pages = [text.split("\n") for text in texts]

    def key(line: str) -> str:
        return re.sub(r"\d+", "0", line.strip())

    seen = Counter(k for lines in pages for k in {key(line) for line in lines[:EDGE_LINES] + lines[-EDGE_LINES:]})
    often = {k for k, n in seen.items() if n >= REPEATED * len(pages)}
    kept = []
    for lines in pages:
        edge = {*range(EDGE_LINES), *range(len(lines) - EDGE_LINES, len(lines))}
        kept.append(tidy("\n".join(line for i, line in enumerate(lines) if i not in edge or key(line) not in often)))
    return kept


def _joined(pages: Sequence[str]) -> list[str]:
    """A sentence that runs over a page's end stays whole, on the page where it begins."""
    joined = list(pages)
    for i in range(len(joined) - 1):
        rest = _CONTINUATION.match(joined[i + 1])
        if rest and len(rest[0]) <= 600 and _UNFINISHED.search(joined[i]):
            joined[i] = f"{joined[i]}\n{rest[0]}"
            joined[i + 1] = joined[i + 1][rest.end() :].strip()
    return joined
