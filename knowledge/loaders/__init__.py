"""Files to documents: one loader per format, in the closed table `LOADERS`.

`load` picks by suffix; each loader checks that the content is what the name says. Untrusted binary formats are parsed
in a limited process of their own (`sandbox.py`). Nothing is fetched from anywhere. Called by `ingest.py`.
"""

from __future__ import annotations

from pathlib import Path

from knowledge.errors import UnreadableDocument
from knowledge.loaders.docx import DocxLoader
from knowledge.loaders.html import HtmlLoader
from knowledge.loaders.markdown import MarkdownLoader
from knowledge.loaders.pairs import CsvLoader, JsonlLoader
from knowledge.loaders.pdf import PdfLoader
from knowledge.loaders.text import TextLoader
from knowledge.types import Document, Loader

LOADERS: tuple[Loader, ...] = (
    MarkdownLoader(),
    TextLoader(),
    HtmlLoader(),
    PdfLoader(),
    DocxLoader(),
    CsvLoader(),
    JsonlLoader(),
)


def loader_for(path: Path) -> Loader | None:
    """The loader of a file's suffix, None where there is none."""
    suffix = path.suffix.lower()
    return next((loader for loader in LOADERS if suffix in loader.suffixes), None)


def load(path: Path) -> Document:
    """Read one file.

    Raises:
        UnreadableDocument: no loader takes its suffix, or its loader refuses it; the message says why.
    """
    loader = loader_for(path)
    if loader is None:
        known = " ".join(suffix for each in LOADERS for suffix in each.suffixes)
        raise UnreadableDocument(f"{path.name}: no loader for this kind of file. Those that can be read: {known}")
    return loader.load(path)
