"""Documents that an ingestion has to survive: each behaves as its manifest says."""

import json
import unicodedata
from pathlib import Path

import pytest

from knowledge.errors import UnreadableDocument
from knowledge.loaders import load

ROOT = Path(__file__).resolve().parents[3]
OWN = ROOT / "tests" / "data" / "awkward"
SHARED = ROOT / ".." / "shared" / "data" / "awkward-docs"
REASONS = {
    "no-text": ("no text layer", "has no text"),
    "empty": ("is empty",),
    "password": ("password",),
    "broken": ("damaged", "is not a"),
    "unsupported": ("no loader for this kind of file",),
}
SAID = {
    "shift-jis.csv": "名前: 佐藤太郎",
    "utf-16-le-no-bom.txt": "This is a test document",
    "cp1252.html": "CP1252",
    "rotated.pdf": "Rotated page fixture",
    "no-styles.docx": "Some Body",
    "latin-1.md": "können",
    "header-footer.docx": "header",
    "corrupted.pdf": "Beautiful is better than ugly",
    "two-columns.pdf": "Dense Passage Retrieval",
    "japanese.pdf": "宇宙塵",
    "novel-3MB.txt": "so Genoa and Lucca",
    "law-in-pre.htm": "Public Law",
    "encyclopedia.html": "Bill Gates",
    "utf-16.csv": "Blues",
    "semicolon.csv": "Lorem, ipsum: consectetur",
}


def rows(folder: Path) -> list[dict[str, str]]:
    manifest = folder / "manifest.jsonl"
    return [json.loads(line) for line in manifest.read_text().splitlines()] if manifest.exists() else []


def check(path: Path, expect: str) -> None:
    if expect != "text":
        with pytest.raises(UnreadableDocument) as caught:
            load(path)
        assert any(reason in str(caught.value) for reason in REASONS[expect]), str(caught.value)
        return
    document = load(path)
    text = "\n".join((*document.sections[0].heading, *(section.text for section in document.sections)))
    assert document.title.strip()
    assert any(character.isalpha() for character in text)
    assert SAID.get(path.name, "") in text
    assert not any(unicodedata.category(character) in ("Cs", "Cc") and character not in "\n\t" for character in text)


@pytest.mark.parametrize("row", rows(OWN), ids=lambda row: row["file"])
def test_the_own_copies_behave_as_expected(row: dict[str, str]) -> None:
    check(OWN / row["file"], row["expect"])


@pytest.mark.skipif(
    not SHARED.is_dir(), reason="the data set awkward-docs lies beside the checkout only for developers"
)
@pytest.mark.parametrize("row", rows(SHARED), ids=lambda row: row["file"])
def test_the_whole_set_behaves_as_expected(row: dict[str, str]) -> None:
    check(SHARED / row["file"], row["expect"])
