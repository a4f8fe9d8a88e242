"""DOCX: body by heading, headers and footers too; nothing built to do harm gets through."""

import zipfile
from pathlib import Path

import pytest

from knowledge.errors import UnreadableDocument
from knowledge.loaders import docx, load

WORDS = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
)
RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="word/document.xml"/></Relationships>'
)


def paragraph(text: str, style: str = "") -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r></w:p>"


def write(path: Path, body: str, prolog: str = "", **parts: str | bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", TYPES)
        archive.writestr("_rels/.rels", RELATIONS)
        document = f'<?xml version="1.0"?>{prolog}<w:document {WORDS}><w:body>{body}</w:body></w:document>'
        archive.writestr("word/document.xml", document)
        for name, content in parts.items():
            archive.writestr(f"word/{name}.xml", content)
    return path


def test_headings_text_and_margins_are_read(tmp_path: Path) -> None:
    body = paragraph("Guide", "Heading1") + paragraph("Press the *big* button.") + paragraph("More", "Heading2")
    header = f"<w:hdr {WORDS}>{paragraph('Kept in the header')}{paragraph('Page 3 of 4')}</w:hdr>"
    document = load(write(tmp_path / "a.docx", body + paragraph("Then wait."), header1=header, footer1=header))
    assert document.title == "Guide"
    assert [(s.heading, s.text) for s in document.sections] == [
        (("Guide",), "Press the *big* button."),
        (("Guide", "More"), "Then wait.\n\nKept in the header"),
    ]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    zeros = bytes(docx.UNPACKED_BYTES_MAX // 4 + 1)
    path = write(tmp_path / "bomb.docx", paragraph("x"), **{f"part{i}": zeros for i in range(4)})
    assert path.stat().st_size < 2_000_000
    with pytest.raises(UnreadableDocument, match="unpack"):
        load(path)


def test_a_large_part_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = write(tmp_path / "bomb.docx", paragraph("x"), styles=bytes(docx.XML_BYTES_MAX + 1))
    with pytest.raises(UnreadableDocument, match="too large"):
        load(path)


def test_entities_are_refused(tmp_path: Path) -> None:
    laughs = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
    with pytest.raises(UnreadableDocument, match="document type"):
        load(write(tmp_path / "laughs.docx", paragraph("&b;"), prolog=laughs))


def test_a_zip_that_is_no_word_document_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(UnreadableDocument, match="no Word document"):
        load(path)


def test_an_encrypted_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    with pytest.raises(UnreadableDocument, match="encrypted"):
        load(path)
