"""A Chroma server instead of a folder: the same honesty, and a server that is away is neither believed nor rebuilt."""

from __future__ import annotations

import http.server
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from knowledge import dense
from knowledge.database import open_engine
from knowledge.errors import KnowledgeError
from knowledge.index_server import IndexServer
from knowledge.store import KnowledgeStore
from tests.chroma import ChromaServer
from tests.knowledge.storing import HASH, database, fill, finds_everything, found, put, text_of


@contextmanager
def opened(home: Path, url: str, key: str = "", database_url: str = "") -> Iterator[KnowledgeStore]:
    engine = open_engine(database_url) if database_url else database(home)
    store = KnowledgeStore(engine, home / "chroma", HASH, url, key)
    try:
        yield store
    finally:
        store.close()
        engine.dispose()


def names(url: str) -> set[str]:
    place = IndexServer(url, "", "anybody")
    found = {collection.name for collection in place._client.list_collections()}
    place.close()
    return found


def client_of(store: KnowledgeStore) -> Any:
    place = store._dense._place
    assert isinstance(place, IndexServer)
    return place._client


def test_what_is_put_is_found_on_the_server_and_after_it(tmp_path: Path, chroma_of_session: ChromaServer) -> None:
    url = chroma_of_session.url
    with opened(tmp_path, url) as store:
        fill(store, 6)
        assert finds_everything(store, range(18)) and store.degraded is None
        assert store._dense._index is not None and store._dense._index.count() == 18
        store.remove("manual", ["d0.md"])
        assert store._dense._index.count() == 15
        before = store._dense._name
    assert not (tmp_path / "chroma").exists()
    with opened(tmp_path, url) as store:
        assert store._dense._name == before and finds_everything(store, range(3, 18))


def test_a_reindex_leaves_one_collection_and_those_of_others_alone(
    tmp_path: Path, chroma_of_session: ChromaServer
) -> None:
    url = chroma_of_session.url
    with opened(tmp_path / "other", url) as other, opened(tmp_path / "mine", url) as store:
        fill(other, 2)
        fill(store, 2)
        assert finds_everything(other, range(6)) and finds_everything(store, range(6))
        client_of(store).create_collection("somebody-elses")
        client_of(store).create_collection(store._dense._place.new_name(), embedding_function=None)
        list(store.reindex())
        prefix = store._dense._name.rsplit("-", 1)[0]
        assert {name for name in names(url) if name.startswith(prefix)} == {store._dense._name}
        assert {"somebody-elses", other._dense._name} <= names(url)
        assert finds_everything(other, range(6)) and finds_everything(store, range(6))
        client_of(store).delete_collection("somebody-elses")


def _lose_the_collection(store: KnowledgeStore) -> None:
    client_of(store).delete_collection(store._dense._name)


def _lose_some(store: KnowledgeStore) -> None:
    collection = client_of(store).get_collection(store._dense._name, embedding_function=None)
    collection.delete(ids=collection.get(limit=5, include=[])["ids"])


def _shuffle(store: KnowledgeStore) -> None:
    collection = client_of(store).get_collection(store._dense._name, embedding_function=None)
    held = collection.get(include=["embeddings"])
    collection.upsert(ids=held["ids"], embeddings=held["embeddings"][::-1])


@pytest.mark.parametrize("damage", [_lose_the_collection, _lose_some, _shuffle])
def test_a_collection_that_lies_is_found_out_and_rebuilt(
    tmp_path: Path, chroma_of_session: ChromaServer, damage: Any
) -> None:
    with opened(tmp_path, chroma_of_session.url) as store:
        fill(store, 10)
        assert finds_everything(store, range(30))
        before = store._dense._name
        damage(store)
    with opened(tmp_path, chroma_of_session.url) as store:
        assert store.degraded is None and store._dense._name != before
        assert store._dense._index is not None and store._dense._index.count() == 30
        assert finds_everything(store, range(30))


def test_a_server_that_goes_away_is_said_and_looked_for_again(
    tmp_path: Path, chroma_of_its_own: ChromaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense, "RETRY_SECONDS", 0.0)
    with opened(tmp_path, chroma_of_its_own.url) as store:
        fill(store, 5)
        assert finds_everything(store, range(15))
        before = store._dense._name
        chroma_of_its_own.stop()
        assert finds_everything(store, range(15))
        assert "does not answer" in (store.degraded or "")
        put(store, "new.md", ["marzipan while it was away"])
        assert found(store, "marzipan", 1) == ["marzipan while it was away"]
        chroma_of_its_own.start()
        assert finds_everything(store, range(15)) and store.degraded is None
        assert store._dense._name == before
        assert store._dense._index is not None and store._dense._index.count() == 16
    chroma_of_its_own.stop()
    with opened(tmp_path, chroma_of_its_own.url) as store:
        assert "does not answer" in (store.degraded or "") and finds_everything(store, range(15))
        chroma_of_its_own.start()
        assert found(store, text_of(3), 1) == [text_of(3)]
        assert store.degraded is None and store._dense._name == before


def test_a_server_that_hangs_is_given_up(
    tmp_path: Path, chroma_of_session: ChromaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket
    import time

    from knowledge import index_server

    monkeypatch.setattr(index_server, "ANSWER_SECONDS", 0.5)
    with opened(tmp_path, chroma_of_session.url) as store:
        fill(store, 2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        with opened(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}") as store:
            assert "does not answer" in (store.degraded or "")
            assert finds_everything(store, range(6))
        assert time.monotonic() - started < 20


@pytest.mark.parametrize("url", ["nonsense", "ftp://host", "http://", "http://user:s3cret@host:1", "http://h:x"])
def test_a_url_that_is_none_is_refused_without_printing_a_secret(url: str) -> None:
    with pytest.raises(KnowledgeError, match="setting `chroma`") as caught:
        IndexServer(url, "", "x")
    assert "s3cret" not in str(caught.value)


def test_the_token_of_the_owners_proxy_is_sent(tmp_path: Path, chroma_of_session: ChromaServer) -> None:
    with proxy(chroma_of_session.url, "let-me-in") as url:
        with opened(tmp_path, url, "let-me-in") as store:
            fill(store, 2)
            assert finds_everything(store, range(6)) and store.degraded is None
        with opened(tmp_path, url, "wrong") as store:
            assert store.degraded is not None and "let-me-in" not in store.degraded
            assert finds_everything(store, range(6))


@contextmanager
def proxy(target: str, token: str) -> Iterator[str]:
    """What an owner puts before the server: it lets nobody in without the token."""

    class Door(http.server.BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
            status, content = 401, b'{"error": "Unauthorized", "message": "who are you?"}'
            if self.headers.get("Authorization") == f"Bearer {token}":
                asked = urllib.request.Request(target + self.path, body, method=self.command)
                asked.add_header("Content-Type", "application/json")
                try:
                    with urllib.request.urlopen(asked) as answer:
                        status, content = answer.status, answer.read()
                except urllib.error.HTTPError as error:
                    status, content = error.code, error.read()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = do_PUT = _pass_on  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
