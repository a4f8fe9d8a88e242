"""What every loader in the table promises."""

import os
import random
from pathlib import Path

import pytest

from knowledge.errors import UnreadableDocument
from knowledge.loaders import LOADERS, load, loader_for
from knowledge.loaders.reading import BYTES_MAX

SUFFIXES = [suffix for loader in LOADERS for suffix in loader.suffixes]


@pytest.fixture(params=SUFFIXES)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"page{request.param}"


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableDocument) as caught:
        load(path)
    message = str(caught.value)
    assert path.name in message
    return message


def test_a_suffix_has_one_loader_and_is_lower_case() -> None:
    assert len(SUFFIXES) == len(set(SUFFIXES))
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in SUFFIXES)


def test_the_case_of_a_suffix_does_not_matter(file: Path) -> None:
    assert loader_for(file.with_suffix(file.suffix.upper())) is loader_for(file)


def test_an_empty_file_is_refused(file: Path) -> None:
    for content in (b"", b"\n\n  \n", b"\xef\xbb\xbf", b"\0\0\0\0"):
        file.write_bytes(content)
        refusal(file)


def test_random_bytes_are_refused(file: Path) -> None:
    file.write_bytes(random.Random(7).randbytes(5000))
    refusal(file)


def test_a_file_that_is_something_else_is_refused(file: Path) -> None:
    for magic in (b"%PDF-1.7\n", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"\x89PNG\r\n\x1a\n"):
        file.write_bytes(magic + random.Random(7).randbytes(500))
        refusal(file)


def test_what_is_no_file_is_refused(file: Path) -> None:
    refusal(file)
    file.mkdir()
    refusal(file)
    file.rmdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(file)
        refusal(file)


def test_a_huge_file_is_refused_without_being_read(file: Path) -> None:
    with file.open("wb") as handle:
        handle.truncate(BYTES_MAX + 1)
    assert "too large" in refusal(file)


def test_an_unknown_suffix_is_refused_and_the_known_ones_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mail.msg"
    path.write_text("text")
    message = refusal(path)
    assert all(suffix in message for suffix in SUFFIXES)
