"""Indexes on a Chroma server (`chroma run`), so that several processes search one and the same.

The server has no door of its own: it belongs on loopback or behind the owner's proxy, which may want a token. Several
installations may share a server: each names its collections by an id of its own and touches no others. Called by
`store.py`.
"""

from __future__ import annotations

import secrets
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from knowledge.errors import IndexUnreachable, KnowledgeError
from knowledge.index import Manifest, VectorIndex, explained, find_collection, make_collection

CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 30.0
PORTS = {"http": 8000, "https": 443}


class IndexServer:
    """Indexes as collections of a server. Not thread-safe; the store holds a lock around it."""

    def __init__(self, url: str, key: str, installation: str) -> None:
        """Connect when first needed.

        Args:
            url: of the server, `http://host:port`.
            key: sent as a bearer token; empty sends none.
            installation: whose collections these are.

        Raises:
            KnowledgeError: the URL is none.
        """
        self._host, self._port, self._tls = _parts(url)
        self._url, self._key = url, key
        self._prefix = f"rungs-{installation}-"

    def new_name(self) -> str:
        """A name that no collection has yet."""
        return self._prefix + secrets.token_hex(4)

    def create(self, name: str, manifest: Manifest) -> VectorIndex:
        """Make an empty index.

        Raises:
            IndexUnreachable, StorageFull, IndexDamaged: it could not be made.
        """
        with explained("create"):
            return self._index(make_collection(self._client, name, manifest))

    def open(self, name: str, manifest: Manifest, sealed: str) -> VectorIndex:
        """Open the one that the catalogue names. A server's files are its own affair: nothing is sealed.

        Raises:
            IndexUnreachable: the server does not answer.
            IndexDamaged: it is not there, or another one than the catalogue's.
        """
        with explained("open"):
            return self._index(find_collection(self._client, name, manifest))

    def seal(self, name: str) -> str:
        """Nothing: see `open`."""
        return ""

    def remove(self, name: str) -> None:
        """Remove one that serves nobody; where that fails, the next sweep does it."""
        try:
            with explained("remove"):
                self._client.delete_collection(name)
        except KnowledgeError:
            return

    def sweep(self, keep: str) -> None:
        """Remove what killed rebuilds of this installation left behind."""
        with explained("list"):
            left = [collection.name for collection in self._client.list_collections()]
        for name in left:
            if name.startswith(self._prefix) and name != keep:
                self.remove(name)

    def version(self) -> str:
        """What the server says it is.

        Raises:
            IndexUnreachable: it does not answer.
        """
        with explained("version"):
            return str(self._client.get_version())

    def close(self) -> None:
        """Give the connections back. Idempotent; needed again, they are made again."""
        client = self.__dict__.pop("_client", None)
        if client is not None:
            client.close()
            for part in (client, client._admin_client):  # whose connections Chroma's own close leaves open
                part._server._session.close()

    def _index(self, collection: Any) -> VectorIndex:
        return VectorIndex(collection, self._client.get_max_batch_size(), lambda: None)

    @cached_property
    def _client(self) -> Any:
        import chromadb
        import httpx
        from chromadb.config import Settings

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._answers(headers)
        settings = Settings(anonymized_telemetry=False)
        client = chromadb.HttpClient(self._host, self._port, self._tls, headers=headers, settings=settings)
        # Chroma's client waits for ever, and the store's lock with it
        for part in (client, client._admin_client):
            part._server._session.timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        return client

    def _answers(self, headers: dict[str, str]) -> None:
        """Whether a Chroma server answers us: making Chroma's client asks without a deadline.

        Raises:
            IndexUnreachable: it does not, or the proxy before it lets us in no further.
        """
        import httpx

        url = f"{'https' if self._tls else 'http'}://{self._host}:{self._port}/api/v2/heartbeat"
        try:
            answer = httpx.get(url, headers=headers, timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS))
        except httpx.HTTPError as error:
            raise IndexUnreachable(f"The Chroma server {self._url} does not answer ({error}).") from error
        if answer.status_code in (401, 403):
            raise IndexUnreachable(f"The Chroma server {self._url} lets us not in. Mend the setting `chroma_key`.")
        if answer.status_code != 200:
            raise IndexUnreachable(f"The Chroma server {self._url} answers with status {answer.status_code}.")


def _parts(url: str) -> tuple[str, int, bool]:
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError):
        parts, port = urlsplit(""), 0
    if not parts.hostname or parts.path.strip("/") or parts.username:
        raise KnowledgeError(
            "the setting `chroma` is no URL of a server: write http://host:8000; a token belongs in `chroma_key`."
        )
    return parts.hostname, port, parts.scheme == "https"
