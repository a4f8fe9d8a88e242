"""The llama.cpp engine in this process (`xllamacpp`): start it safely, tokenise, generate, stop.

Its listener is a Unix socket in a folder that only this user can enter, so no web page and no other machine can reach
it; on top of that it wants a random key, allows no foreign origin and has its extra endpoints off. (Where a system has
no Unix sockets it listens on a free loopback port instead.) Generating goes through function calls, not the listener;
only tokenising and the chat template do. Knows nothing of messages or conversations. Used by `embedded.py`.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.errors import ModelUnavailable

if TYPE_CHECKING:
    import httpx

BATCH_TOKENS = 64
"""Prompt tokens read in one go: a request that left is noticed after one or two of these (README, Decisions)."""
TOKENISE_SECONDS = 30.0
QUIET = -1
"""Log level: nothing; standard output belongs to whoever called the command."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to start the engine."""

    weights: Path
    adapters: Mapping[str, Path] = field(default_factory=dict)
    """GGUF LoRA adapters by name; their order gives the engine's adapter numbers."""
    context_tokens: int = 4096
    """Per slot."""
    slots: int = 2
    threads: int = 0
    """0 takes the cores that this process may use."""
    batch_tokens: int = BATCH_TOKENS


class Engine:
    """One loaded model. Thread-safe; `close` gives everything back."""

    def __init__(self, options: EngineOptions) -> None:
        """Load the model and start serving it.

        Raises:
            ModelUnavailable: the engine is not installed or refuses the files.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="rungs-"))
        self._key = secrets.token_urlsafe(32)
        self._closing = threading.Lock()
        self._server: Any = None
        self._client: httpx.Client | None = None
        handlers = _signal_handlers()
        try:
            self._server = _start(options, self._folder, self._key)
            self._client = _client(self.address, self._key)
        except BaseException:
            self.close()
            raise
        finally:
            _restore(handlers)

    @property
    def address(self) -> str:
        """Where the listener is: `unix://` and a path, or `http://127.0.0.1:port`."""
        return str(self._server.listening_address)

    def tokenise(self, text: str, *, special: bool = False, begin: bool = False) -> tuple[int, ...]:
        """Token ids of `text`.

        Args:
            text: any text without lone surrogates.
            special: whether strings such as `<|im_end|>` become control tokens; never for other people's text.
            begin: whether the tokens that open a prompt (BOS, where the model has one) are put in front.
        """
        answer = self._ask("/tokenize", {"content": text, "parse_special": special, "add_special": begin})
        return tuple(answer["tokens"])

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The model's own chat template applied, up to where its reply begins."""
        return str(self._ask("/apply-template", {"messages": list(messages)})["prompt"])

    def complete(self, request: Mapping[str, Any], take: Callable[[dict[str, Any]], bool]) -> None:
        """Run one completion; blocks. `take` gets every chunk and returns True to stop.

        Raises:
            ModelUnavailable: the engine was closed.
        """
        server = self._server
        if server is None:
            raise ModelUnavailable("the embedded engine was closed. Start Rungs again.")
        server.handle_completions(dict(request), take)

    def close(self) -> None:
        """Stop the engine and remove its socket. Idempotent; nothing may be generating any more."""
        with self._closing:
            if self._client is not None:
                self._client.close()
            self._client = None
            self._server = None  # its destructor joins the engine's threads
            shutil.rmtree(self._folder, ignore_errors=True)

    def _ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        import httpx

        client = self._client
        if client is None:
            raise ModelUnavailable("the embedded engine was closed. Start Rungs again.")
        try:
            response = client.post(path, json=body)
        except (httpx.HTTPError, RuntimeError) as error:
            raise ModelUnavailable(f"the embedded engine does not answer ({error}). Start Rungs again.") from error
        if response.status_code != 200:
            raise ModelUnavailable(f"the embedded engine refused {path}: {response.text[:200]}")
        return dict(response.json())


def available_cores() -> int:
    """Physical cores that this process may use: hyper-threads and a container's CPU quota taken into account."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = set()
    for cpu in allowed:
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text("ascii").strip())
        except OSError:
            cores.add(str(cpu))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        limit = max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):
        limit = len(cores)
    return max(1, min(len(cores), limit))


def _start(options: EngineOptions, folder: Path, key: str) -> Any:
    """The running server object of `xllamacpp`."""
    try:
        import xllamacpp
    except ImportError as error:
        raise ModelUnavailable(f"the embedded engine cannot be loaded ({error}). Run: pip install xllamacpp") from error
    params = xllamacpp.CommonParams()
    params.model.path = str(options.weights)
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(path), 0.0) for path in options.adapters.values()]
    params.n_parallel = options.slots
    params.n_ctx = options.context_tokens * options.slots
    params.n_batch = params.n_ubatch = max(options.batch_tokens, options.slots)
    threads = options.threads or available_cores()
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = 0  # a cache across slots would not know which adapter its tokens were read with
    params.cache_idle_slots = False
    params.verbosity = QUIET
    params.offline = True
    _shut_doors(params, folder, key)
    try:
        return xllamacpp.Server(params)
    except (RuntimeError, ValueError) as error:
        names = ", ".join(str(path) for path in (options.weights, *options.adapters.values()))
        raise ModelUnavailable(
            f"the embedded engine refuses {names} ({error}). Is the file a language model that llama.cpp can run, "
            "an adapter made for it, and is there memory for it?"
        ) from error


def _shut_doors(params: Any, folder: Path, key: str) -> None:
    """Make the listener reachable for this process only, and switch off what is not used."""
    unix = hasattr(socket, "AF_UNIX")
    params.hostnames = [str(folder / "engine.sock")] if unix else ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.cors_origins = "http://nowhere.invalid"
    params.cors_credentials = False
    params.ui = False
    params.endpoint_slots = params.endpoint_props = params.endpoint_metrics = False
    params.n_threads_http = 4


def _client(address: str, key: str) -> httpx.Client:
    import httpx

    headers = {"Authorization": f"Bearer {key}"}
    if address.startswith("unix://"):
        transport = httpx.HTTPTransport(uds=address.removeprefix("unix://"))
        return httpx.Client(transport=transport, base_url="http://engine", headers=headers, timeout=TOKENISE_SECONDS)
    return httpx.Client(base_url=address, headers=headers, timeout=TOKENISE_SECONDS, trust_env=False)


def _signal_handlers() -> dict[signal.Signals, Any]:
    """The handlers that the engine might take; empty outside the main thread, where Python lets nobody set any."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        if handler is not None:
            signal.signal(number, handler)
