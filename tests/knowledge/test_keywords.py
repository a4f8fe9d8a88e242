"""Keyword search: stemming, weights, questions as data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Connection, Engine

from knowledge import keywords
from knowledge.database import migrate, open_engine, writing
from knowledge.store import MIGRATIONS, VERSION_TABLE
from tests import postgres

HANDBOOK = Path(keywords.__file__).parent / "handbook"


@pytest.fixture
def connection(engine_of_each: Engine) -> Iterator[Connection]:
    migrate(engine_of_each, MIGRATIONS, VERSION_TABLE)
    with writing(engine_of_each) as connection:
        yield connection


def numbers(connection: Connection, query: str) -> list[int]:
    return [number for number, _ in keywords.find(connection, query, 10)]


def test_forms_of_a_word_meet(connection: Connection) -> None:
    keywords.add(connection, [(1, "", "Backups are restored nightly."), (2, "", "Nothing of the kind.")])
    assert numbers(connection, "restoring a backup") == [1]


def test_a_title_weighs_more_than_the_text(connection: Connection) -> None:
    filler = " ".join(f"w{i}" for i in range(4))
    keywords.add(connection, [(1, filler, f"valve {filler}"), (2, f"valve {filler}", filler)])
    assert numbers(connection, "valve") == [2, 1]
    scores = [score for _, score in keywords.find(connection, "valve", 10)]
    assert scores[0] > scores[1]


def test_rare_words_decide_and_function_words_do_not(connection: Connection) -> None:
    keywords.add(connection, [(n, "", f"how do you do the thing {n}") for n in range(1, 8)])
    keywords.add(connection, [(9, "", "zircon is mentioned here")])
    assert numbers(connection, "how do you do zircon") == [9]
    assert len(numbers(connection, "how do you")) == 7


def test_accents_and_other_scripts_are_found(connection: Connection) -> None:
    keywords.add(connection, [(1, "", "Le café est fermé"), (2, "", "Привет мир"), (3, "", "“Quoted” text")])
    assert numbers(connection, "cafe") == [1]
    assert numbers(connection, "мир") == [2]
    assert numbers(connection, "‘quoted’") == [3]


def test_removed_passages_are_not_found(connection: Connection) -> None:
    keywords.add(connection, [(1, "a", "pear"), (2, "b", "pear")])
    keywords.remove(connection, [1])
    assert numbers(connection, "pear") == [2]
    keywords.clear(connection)
    assert numbers(connection, "pear") == []


def test_a_question_is_cut_to_a_bounded_number_of_terms(connection: Connection) -> None:
    keywords.add(connection, [(1, "", "early"), (2, "", "late")])
    query = "early " + " ".join(f"w{i}" for i in range(5000)) + " late"
    assert numbers(connection, query) == [1]


def test_both_databases_rank_alike(tmp_path: Path, postgresql: postgres.Server) -> None:
    """Confidence is calibrated on BM25 of one of them: the numbers must be those of the other, too."""
    rows = [(part.number, f"{part.title} {part.heading}", part.text) for part in _handbook()]
    asked = ["How do I restore a backup?", "which port does it serve on", "LoRA adapter rollback", "café settings"]
    found = []
    for url in (f"sqlite:///{tmp_path / 'rungs.db'}", url_of_server := postgresql.make(postgres.TEMPLATE)):
        engine = open_engine(url)
        migrate(engine, MIGRATIONS, VERSION_TABLE)
        with writing(engine) as connection:
            keywords.add(connection, rows)
            found.append([keywords.find(connection, query, 10) for query in asked])
        engine.dispose()
    postgresql.drop(url_of_server)
    for file, server in zip(*found, strict=True):
        assert len(server) == len(file) > 0
        assert [number for number, _ in server] == [number for number, _ in file]
        assert [score for _, score in server] == pytest.approx([score for _, score in file], rel=1e-6)


def _handbook() -> list[SimpleNamespace]:
    texts = [path.read_text(encoding="utf-8") for path in sorted(HANDBOOK.glob("*.md"))]
    parts = [part for text in texts for part in text.split("\n\n") if part.strip()]
    return [SimpleNamespace(number=n, title=p[:30], heading="", text=p) for n, p in enumerate(parts, 1)]
