"""The engine's own listener is a door, too: who may knock, and what answers."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from assistant.models.embedded import EmbeddedModel
from assistant.models.engine import available_cores

pytestmark = pytest.mark.engine
GETS = (
    "/",
    "/metrics",
    "/props",
    "/models",
    "/v1/models",
    "/slots",
    "/lora-adapters",
    "/v1/stream",
    "/tools",
    "/cors-proxy",
)
POSTS = (
    "/props /completion /completions /v1/completions /chat/completions /v1/chat/completions "
    "/v1/chat/completions/control /v1/responses /responses /v1/audio/transcriptions /v1/messages /infill /embedding "
    "/embeddings /v1/embeddings /rerank /reranking /v1/rerank /tokenize /detokenize /apply-template /lora-adapters "
    "/slots/0 /v1/streams/lookup /v1/messages/count_tokens /tools /cors-proxy"
).split()
EVIL = "https://evil.example"


@pytest.fixture
def stranger(engine: EmbeddedModel) -> Iterator[httpx.Client]:
    """Somebody who found the socket but has no key."""
    path = engine._engine.address.removeprefix("unix://")
    with httpx.Client(transport=httpx.HTTPTransport(uds=path), base_url="http://engine") as client:
        yield client


def test_the_listener_is_no_network_port_and_no_other_user_can_reach_it(engine: EmbeddedModel) -> None:
    assert engine._engine.address.startswith("unix://")
    folder = Path(engine._engine.address.removeprefix("unix://")).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    inodes = {os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()}  # noqa: PTH115
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            assert not (fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes), line


@pytest.mark.parametrize("path", GETS)
def test_reading_without_the_key_is_refused(stranger: httpx.Client, path: str) -> None:
    assert stranger.get(path).status_code in (401, 404), path
    assert stranger.get(path, headers={"Authorization": "Bearer wrong"}).status_code in (401, 404), path


@pytest.mark.parametrize("path", POSTS)
def test_asking_without_the_key_is_refused(stranger: httpx.Client, path: str) -> None:
    assert stranger.post(path, json={"prompt": "x"}).status_code in (401, 404), path


def test_health_needs_no_key_and_says_nothing_but_that(stranger: httpx.Client) -> None:
    assert stranger.get("/health").json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/lora-adapters"])
def test_a_foreign_origin_is_given_no_leave(stranger: httpx.Client, path: str) -> None:
    for response in (
        stranger.get(path, headers={"Origin": EVIL}),
        stranger.options(path, headers={"Origin": EVIL, "Access-Control-Request-Method": "POST"}),
    ):
        assert response.headers.get("access-control-allow-origin") not in ("*", EVIL)
        assert response.headers.get("access-control-allow-credentials") != "true"


@pytest.mark.parametrize("path", ["/metrics", "/slots"])
def test_what_is_not_used_is_off_even_with_the_key(engine: EmbeddedModel, path: str) -> None:
    assert engine._engine._client is not None
    assert engine._engine._client.get(path).status_code in (404, 501)


def test_every_start_has_another_key(engine: EmbeddedModel) -> None:
    assert len(engine._engine._key) >= 40


SIGNALS = """
import os, signal, sys, threading
from pathlib import Path
from assistant.models.engine import Engine, EngineOptions
seen = []
signal.signal(signal.SIGTERM, lambda *_: seen.append("term"))
engine = Engine(EngineOptions(Path(sys.argv[1]), slots=1, context_tokens=512))
os.kill(os.getpid(), signal.SIGTERM)
try:
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(5)
except KeyboardInterrupt:
    seen.append("int")
assert engine.tokenise("still alive")
print(*seen)
"""


def test_signals_reach_the_handlers_that_were_there_before_the_engine(weights: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALS, str(weights)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "term int\n", "")


def test_the_engine_prints_nothing(weights: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from assistant.models.embedded import EmbeddedModel\n"
        "from assistant.models.engine import EngineOptions; from assistant.types import Message\n"
        "m = EmbeddedModel(EngineOptions(Path(sys.argv[1]), slots=1, context_tokens=512), 'x')\n"
        "list(m.stream([Message('system', 'a'), Message('user', 'b')], max_tokens=3))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(weights)], capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_threads_are_no_more_than_this_process_may_use() -> None:
    assert 1 <= available_cores() <= len(os.sched_getaffinity(0))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
