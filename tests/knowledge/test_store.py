"""The store: what was put is found, what was removed is gone, and nothing is ever half there."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from knowledge.database import is_sqlite, reading
from knowledge.embedding import HashEmbedder, embed_passages
from knowledge.errors import IndexDamaged, KnowledgeError, StorageFull
from knowledge.store import KnowledgeStore
from tests.knowledge.storing import (
    SOURCE,
    THINGS,
    database,
    fill,
    finds_everything,
    found,
    opened,
    passages,
    put,
    text_of,
)

pytestmark = pytest.mark.usefixtures("each_database")


def chroma_ids(store: KnowledgeStore) -> set[str]:
    index = store._dense._index
    return set(index._collection.get(include=[])["ids"]) if index else set()


def catalogue_ids(home: Path) -> set[str]:
    engine = database(home)
    with reading(engine) as connection:
        ids = set(connection.scalars(text("SELECT id FROM passages")))
    engine.dispose()
    return ids


def test_an_empty_store_finds_nothing_and_makes_no_index(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert store.retrieve(["anything"], 5) == ()
        assert store.sources() == () and store.headings() == () and store.count() == 0
        assert store.degraded is None
    assert not (tmp_path / "chroma").exists()


def test_a_passage_comes_back_as_it_was_put(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        (part,) = put(store, "guide.md", ["Turn the valve until it clicks."])
        assert store.passage(part.id) == part
        assert store.retrieve(["turn the valve"], 1)[0].passage == part
        assert store.passage("unknown") is None


def test_passages_are_read_in_their_order(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put(store, "b.md", ["First of b.", "Second of b."])
        put(store, "a.md", ["Only one of a."])
        assert [p.text for p in store.passages()] == ["Only one of a.", "First of b.", "Second of b."]
        assert [p.text for p in store.passages(SOURCE, "b.md")] == ["First of b.", "Second of b."]
        assert store.passages("elsewhere") == ()


def test_a_hit_carries_its_ranks_and_its_exact_similarity(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 20)
        query = text_of(17)
        hits = store.retrieve([query], 60)
        vectors = store.embedder.embed([query, *(f"{hit.passage.heading}\n{hit.passage.text}" for hit in hits)])
        assert [hit.similarity for hit in hits] == pytest.approx((vectors[1:] @ vectors[0]).tolist(), abs=1e-6)
        assert hits[0].dense_rank == 0 and hits[0].keyword_rank == 0 and (hits[0].bm25 or 0) > 0
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert hits[0].score == pytest.approx(2 / 61)


def test_a_hit_by_keywords_alone_has_a_similarity(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put(store, "far.md", ["zanzibar " + " ".join(f"filler{i}" for i in range(120))])
        for number in range(60):
            put(store, f"near{number}.md", [f"alpha beta gamma delta{number} {THINGS[number % 13]} theta{number * 3}"])
        hits = store.retrieve(["alpha beta gamma zanzibar"], 50)
        far = next(hit for hit in hits if hit.passage.document == "far.md")
        assert far.dense_rank is None and far.keyword_rank is not None
        assert 0 < far.similarity < hits[0].similarity


def test_other_wordings_add_to_the_first(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 30)
        hits = store.retrieve([text_of(5), text_of(80)], 10)
        assert {text_of(5), text_of(80)} <= {hit.passage.text for hit in hits}
        assert store.retrieve([text_of(5), text_of(5), "  "], 10) == store.retrieve([text_of(5)], 10)


def test_an_updated_document_is_replaced_whole(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 3)
        put(store, "d1.md", ["A wholly new paragraph about marmalade."], fingerprint="v2")
        assert store.known(SOURCE) == {"d0.md": "v1", "d1.md": "v2", "d2.md": "v1"}
        assert found(store, "marmalade", 1) == ["A wholly new paragraph about marmalade."]
        assert not {text_of(n) for n in (3, 4, 5)} & set(found(store, text_of(4), 20))
        assert store.count() == 7
        assert chroma_ids(store) == catalogue_ids(tmp_path)


def test_a_removed_document_is_gone_from_catalogue_keywords_and_index(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 5)
        found(store, "lamp")
        before = chroma_ids(store)
        assert store.remove(SOURCE, ["d2.md", "unknown.md"]) == 1
        assert len(before) == 15 and len(chroma_ids(store)) == 12
        assert chroma_ids(store) == catalogue_ids(tmp_path)
        with reading(store._engine) as connection:
            assert connection.execute(text("SELECT count(*) FROM passage_words")).scalar() == 12
            assert connection.execute(text("SELECT count(*) FROM passage_vectors")).scalar() == 12
        assert text_of(7) not in found(store, text_of(7), 20)


def test_a_removed_source_leaves_the_others(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 2)
        put(store, "d0.md", ["The same path in another source."], source="other")
        assert [(s.source, s.documents, s.passages) for s in store.sources()] == [("manual", 2, 6), ("other", 1, 1)]
        assert store.remove(SOURCE) == 2
        assert [s.source for s in store.sources()] == ["other"]
        assert [d.path for d in store.documents("other")] == ["d0.md"] and store.documents(SOURCE) == ()
        assert store.remove("other") == 1 and store.retrieve(["same path"], 3) == ()
    with opened(tmp_path) as store:
        fill(store, 1)
        assert finds_everything(store, range(3))


def test_headings_are_distinct_and_in_reading_order(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        parts = [replace(p, heading=h) for p, h in zip(passages("a.md", ["one", "two", "three"]), "XXY", strict=True)]
        store.put(SOURCE, "a.md", "v1", "A title", "", parts, *embed_passages(store.embedder, parts))
        assert store.headings() == (("a.md", "A title", "X"), ("a.md", "A title", "Y"))


def test_the_index_version_follows_the_content(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        empty = store.index_version
        put(store, "a.md", ["one"])
        first = store.index_version
        put(store, "a.md", ["two"], fingerprint="v2")
        second = store.index_version
        put(store, "a.md", ["one"], fingerprint="v1")
        assert len({empty, first, second}) == 3 and store.index_version == first
        for _ in store.reindex():
            pass
        assert store.index_version == first


def test_everything_is_still_there_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 20)
    with opened(tmp_path) as store:
        assert store.degraded is None and store.count() == 60
        assert finds_everything(store, range(60))


def test_bad_characters_are_cleaned_at_the_edge(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        (part,) = put(store, "odd\ud800.md", ["a\0b lone \udfff surrogate mooring"], source="so\0urce")
        stored = store.passage(part.id)
        assert stored is not None and stored.text == "a b lone \ufffd surrogate mooring"
        assert store.known("so\0urce") == {"odd\ufffd.md": "v1"}
        assert found(store, "mooring \0 \ud800", 1) == [stored.text]
        assert store.remove("so\0urce", ["odd\ud800.md"]) == 1


@pytest.mark.parametrize(
    "query", ["what's \"up", "NEAR(a b)", "title:x", "* - ^", "a AND", "-", '"""', "( ) OR", "{x}"]
)
def test_search_syntax_in_a_question_is_only_text(tmp_path: Path, query: str) -> None:
    with opened(tmp_path) as store:
        fill(store, 2)
        store.retrieve([query], 3)


def test_a_question_of_a_megabyte_is_answered(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 2)
        assert store.retrieve(["lamp " + " ".join(f"w{i}" for i in range(150_000))], 3)


def test_vectors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        parts = passages("a.md", ["one", "two"])
        good, sentences = embed_passages(store.embedder, parts)
        for vectors in (good[:1], good[:, :10], np.full_like(good, np.nan)):
            with pytest.raises(KnowledgeError, match=r"a\.md"):
                store.put(SOURCE, "a.md", "v1", "A", "", parts, vectors, sentences)
        with pytest.raises(KnowledgeError, match="1 groups"):
            store.put(SOURCE, "a.md", "v1", "A", "", parts, good, sentences[:1])
        with pytest.raises(KnowledgeError, match="same id"):
            store.put(SOURCE, "a.md", "v1", "A", "", [parts[0], parts[0]], good, sentences)
        assert store.count() == 0


def test_a_document_without_passages_is_known(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.put(SOURCE, "empty.md", "v1", "Empty", "", [], np.zeros((0, 256), np.float32), [])
        assert store.known(SOURCE) == {"empty.md": "v1"} and store.count() == 0


def test_a_full_disk_is_said_and_the_old_document_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 3)

        def limit(connection: sqlite3.Connection, _record: object) -> None:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={pages}")

        if not is_sqlite(store._engine):
            pytest.skip("test_postgres.py says how a full server is told")
        from sqlalchemy import event

        store._engine.dispose()
        event.listen(store._engine, "connect", limit)
        with pytest.raises(StorageFull, match="no room"):
            put(store, "d1.md", [f"{'long text ' * 300} {i}" for i in range(50)], fingerprint="v2")
        assert store.known(SOURCE)["d1.md"] == "v1"
        assert finds_everything(store, range(9))
        event.remove(store._engine, "connect", limit)
        store._engine.dispose()
        put(store, "d1.md", ["room again for marzipan"], fingerprint="v2")
        assert found(store, "marzipan", 1) == ["room again for marzipan"]


def test_readers_in_other_threads_never_see_half_a_document(tmp_path: Path) -> None:
    sizes: set[int] = set()
    failures: list[BaseException] = []
    with opened(tmp_path) as store:
        fill(store, 3)
        done = threading.Event()

        def read() -> None:
            try:
                while not done.is_set():
                    texts = [h.passage.text for h in store.retrieve(["shared marker"], 40)]
                    sizes.add(sum("shared marker" in t for t in texts))
            except BaseException as error:
                failures.append(error)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for turn in range(12):
            put(store, "big.md", [f"shared marker turn{turn} part{i}" for i in range(20)], fingerprint=str(turn))
        done.set()
        for reader in readers:
            reader.join()
    assert not failures
    assert sizes <= {0, 20} and 20 in sizes


class OtherEmbedder(HashEmbedder):
    """Of the same dimension, but another one."""

    fingerprint = "other-256"

    def embed(self, texts):  # type: ignore[no-untyped-def]
        return np.ascontiguousarray(super().embed(texts)[:, ::-1])


def test_an_index_of_another_embedder_is_refused_until_reindexed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 10)
        version = store.index_version
    other = OtherEmbedder()
    with opened(tmp_path, other) as store:
        assert store.degraded is not None and "rungs reindex" in store.degraded
        with pytest.raises(IndexDamaged, match="rungs reindex"):
            store.retrieve(["lamp"], 3)
        with pytest.raises(IndexDamaged, match="rungs reindex"):
            put(store, "new.md", ["something"])
        steps = list(store.reindex())
        assert [s.label for s in steps] == ["embedding passages", "writing the index"]
        assert steps[-1].done == steps[-1].total == 30
        assert store.degraded is None and finds_everything(store, range(30))
        assert store.index_version != version
    with opened(tmp_path, other) as store:
        assert store.degraded is None and finds_everything(store, range(30))
    with opened(tmp_path) as store:
        assert store.degraded is not None


def test_a_reindex_left_half_way_changes_nothing_and_can_be_run_again(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 10)
        steps = store.reindex()
        next(steps)
        with pytest.raises(KnowledgeError, match="running already"):
            list(store.reindex())
        steps.close()
        assert finds_everything(store, range(30))
        list(store.reindex())
        assert finds_everything(store, range(30))
        assert len(list((tmp_path / "chroma").iterdir())) == 1


def test_what_changes_during_a_reindex_is_in_the_new_index(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fill(store, 10)
        steps = store.reindex()
        next(steps)
        put(store, "late.md", ["a late word about rhubarb"])
        store.remove(SOURCE, ["d0.md"])
        list(steps)
        assert found(store, "rhubarb", 1) == ["a late word about rhubarb"]
        assert chroma_ids(store) == catalogue_ids(tmp_path)


def test_sentence_vectors_are_stored_and_made_up_for_where_an_older_rungs_stored_none(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        parts = put(store, "a.md", ["Turn the valve. The fox is red.", "One sentence only."])
        stored = store.sentence_vectors(parts)
        assert [len(rows) for rows in stored] == [2, 1]
        with store._engine.begin() as connection:
            connection.execute(text("UPDATE passage_vectors SET sentences = NULL"))
        again = store.sentence_vectors(parts)
        assert all((one * other).sum(axis=1).min() > 0.99 for one, other in zip(stored, again, strict=True))
        put(store, "b.md", ["Stays."])
        store.embedder.fingerprint = "another"
        assert len(store.sentence_vectors(parts)[0]) == 2
