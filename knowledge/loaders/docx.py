"""DOCX to sections: markitdown makes Markdown of the body, headers and footers are read beside it.

The archive is checked before anything is unpacked: sizes, number of parts, no document type in any XML. Macros, links
and pictures are left alone. `DocxLoader` is called through `LOADERS`; `parse` runs in the sandbox.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from knowledge.errors import UnreadableDocument
from knowledge.loaders.cleaning import tidy
from knowledge.loaders.markdown import document
from knowledge.loaders.reading import read_bytes
from knowledge.loaders.sandbox import run
from knowledge.types import Document

UNPACKED_BYTES_MAX = 256 * 1024 * 1024
XML_BYTES_MAX = 64 * 1024 * 1024
PARTS_MAX = 5000
_WORDS = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MARGIN = re.compile(r"word/(?:header|footer)\d*\.xml")
_FIELD_NOISE = re.compile(r"\W*(?:page)?\W*\d*\W*(?:of)?\W*\d*\W*", re.I)


class DocxLoader:
    """Word documents (Office Open XML)."""

    suffixes: tuple[str, ...] = (".docx",)

    def load(self, path: Path) -> Document:
        """Read the file in the sandbox.

        Raises:
            UnreadableDocument: it is no DOCX, is encrypted, is damaged, is a bomb, or holds no text.
        """
        head = read_bytes(path)[:8]
        if head.startswith(b"\xd0\xcf\x11\xe0"):
            raise UnreadableDocument(
                f"{path.name}: is encrypted, or an old .doc under another name. Save it as .docx without a password."
            )
        if not head.startswith(b"PK"):
            raise UnreadableDocument(f"{path.name}: is not a DOCX file, whatever its name says.")
        return run("docx", path)


def warm_up() -> None:
    """Import what parsing needs, before memory is limited."""
    from markitdown.converters import DocxConverter

    DocxConverter()


def parse(path: Path) -> Document:
    """The document's body by heading, then what stands in its headers and footers.

    Raises:
        UnreadableDocument: it is damaged, is a bomb, or holds no text.
    """
    from markitdown import StreamInfo
    from markitdown.converters import DocxConverter

    data = read_bytes(path)
    try:
        margins = _checked(data, path.name)
    except (zipfile.BadZipFile, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
        raise UnreadableDocument(f"{path.name}: is a damaged DOCX file ({error}).") from error
    result = DocxConverter().convert(io.BytesIO(data), StreamInfo(extension=".docx"))
    body = re.sub(r"!\[[^\]\n]*\]\(data:[^)\s]*\)", "", result.markdown)
    text = "\n\n".join(filter(None, (body.strip(), margins)))
    if not re.search(r"\w", text):
        raise UnreadableDocument(f"{path.name}: has no text (pictures only). Run it through OCR, then ingest it again.")
    return document(text, name=path.name, title=tidy(result.title or ""))


def _checked(data: bytes, name: str) -> str:
    """Refuse a bomb; the text of headers and footers, each once."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = archive.infolist()
        if "word/document.xml" not in {part.filename for part in parts}:
            raise UnreadableDocument(f"{name}: is a ZIP file but no Word document.")
        if len(parts) > PARTS_MAX or sum(part.file_size for part in parts) > UNPACKED_BYTES_MAX:
            raise UnreadableDocument(
                f"{name}: would unpack to more than {UNPACKED_BYTES_MAX // 1_000_000} MB; it may be built to do harm."
            )
        margins: list[str] = []
        for part in parts:
            if not part.filename.endswith((".xml", ".rels")):
                continue
            if part.file_size > XML_BYTES_MAX:
                raise UnreadableDocument(f"{name}: {part.filename} in it is too large; it may be built to do harm.")
            xml = archive.read(part)
            if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml or b"<\0!\0D\0O\0C" in xml or b"\0<\0!\0D\0O\0C" in xml:
                raise UnreadableDocument(f"{name}: {part.filename} in it declares a document type; that is refused.")
            if _MARGIN.fullmatch(part.filename):
                margins += _paragraphs(xml)
    return "\n\n".join(dict.fromkeys(text for text in margins if not _FIELD_NOISE.fullmatch(text)))


def _paragraphs(xml: bytes) -> Iterator[str]:
    from defusedxml.ElementTree import fromstring

    for paragraph in fromstring(xml).iter(f"{_WORDS}p"):
        text = "".join(
            node.text or "" if node.tag == f"{_WORDS}t" else " " for node in paragraph.iter() if _says(node.tag)
        )
        yield tidy(re.sub(r"\s+", " ", text))


def _says(tag: str) -> bool:
    return tag in (f"{_WORDS}t", f"{_WORDS}tab", f"{_WORDS}br")
