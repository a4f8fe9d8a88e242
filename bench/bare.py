"""The bare engine as a peer: xllamacpp on a GGUF file with its own defaults, in a process of its own.

`python -m bench.bare WEIGHTS [THREADS SLOTS CONTEXT]` reads one request per line from standard input (JSON:
`messages`, `max_tokens`) and writes one line back: seconds in all, seconds to the first token, the text.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def serve(weights: str, threads: int, slots: int, context: int) -> None:
    """Answer requests until standard input ends."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.n_parallel, params.n_ctx = slots, context * slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.verbosity = -1
    server = xllamacpp.Server(params)
    for line in sys.stdin:
        request = json.loads(line)
        started, first, text = time.perf_counter(), 0.0, ""

        def take(chunk: dict[str, Any]) -> bool:
            nonlocal first, text
            delta = chunk["choices"][0]["delta"].get("content") if chunk.get("choices") else None
            if delta:
                first = first or time.perf_counter() - started  # noqa: B023
                text += delta
            return False

        body = {
            **request,
            "stream": True,
            "temperature": 0.0,
            "cache_prompt": True,
            "logprobs": True,
            "top_logprobs": 2,
        }
        server.handle_chat_completions(body, take)
        print(json.dumps({"seconds": time.perf_counter() - started, "first": first, "text": text}), flush=True)


class Bare:
    """The bare engine in its own process."""

    def __init__(self, weights: Path, threads: int, slots: int = 2, context: int = 4096) -> None:
        """Start it; the first request waits until it has loaded."""
        command = [sys.executable, "-m", "bench.bare", str(weights), str(threads), str(slots), str(context)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, messages: list[dict[str, str]], max_tokens: int) -> dict[str, Any]:
        """One request: seconds, first, text."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"messages": messages, "max_tokens": max_tokens}) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=30)


if __name__ == "__main__":
    serve(sys.argv[1], *(int(number) for number in (sys.argv[2:] or ["2", "2", "4096"])))
