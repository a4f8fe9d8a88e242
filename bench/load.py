"""Many users at once on the scripted model: `python -m bench.load [USERS]` (200; about a minute).

Each asks over the OpenAI-compatible door, reads the stream to its end, and asks again, three times; beside them the
health check is asked ten times a second. Bars: only 200, 429 and 503; health p99 under 100 ms; refusals under 300 ms;
memory grows by at most a fifth from the first round's end to the last's.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

ROUNDS = 3
SECONDS_PER_TOKEN = 0.02
SERVE = f"""
from assistant.models import MODELS
from assistant.models.scripted import ScriptedModel
MODELS["scripted"] = lambda settings, adapters=None: ScriptedModel(seconds_per_token={SECONDS_PER_TOKEN})
from ui.cli import main
main()
"""


@contextmanager
def server(home: Path) -> Iterator[tuple[str, psutil.Process]]:
    """`rungs serve` on a free port, on a model that takes its time for each word."""
    settings = {"RUNGS_MODEL": "scripted", "RUNGS_EMBEDDER": "hash", "RUNGS_DEMO": "false"}
    settings |= {"RUNGS_VISITOR_QUESTIONS_PER_MINUTE": "0"}
    command = [sys.executable, "-c", SERVE, "serve", "--port", "0", "--home", str(home)]
    log = home.parent / "log"
    with log.open("w") as out, subprocess.Popen(command, env={**os.environ, **settings}, stdout=out, stderr=out) as run:
        try:
            while "ready" not in log.read_text():
                assert run.poll() is None, log.read_text()
                time.sleep(0.2)
            yield json.loads((home / "server.json").read_text())["url"], psutil.Process(run.pid)
        finally:
            run.send_signal(signal.SIGTERM)
            run.wait(60)


async def user(client: httpx.AsyncClient, url: str, number: int) -> tuple[int, float, float]:
    """One question: status, seconds to its first byte, seconds in all."""
    body = {"model": "rungs/prompting", "stream": True, "messages": [{"role": "user", "content": f"Hello, {number}!"}]}
    started, first = time.perf_counter(), 0.0
    async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
        async for _ in answer.aiter_bytes():
            first = first or time.perf_counter() - started
    return answer.status_code, first, time.perf_counter() - started


async def health(client: httpx.AsyncClient, url: str, over: asyncio.Event) -> list[float]:
    """Seconds of a health check, ten times a second, until it is over."""
    seconds = []
    while not over.is_set():
        started = time.perf_counter()
        (await client.get(f"{url}/healthz")).raise_for_status()
        seconds.append(time.perf_counter() - started)
        await asyncio.sleep(0.1)
    return seconds


async def measure(url: str, users: int, process: psutil.Process) -> None:
    """Ask, watch, print."""
    limits = httpx.Limits(max_connections=users + 10)
    over, seen, memory = asyncio.Event(), [], []
    async with (
        httpx.AsyncClient(limits=limits, timeout=120, trust_env=False) as client,
        httpx.AsyncClient(timeout=30, trust_env=False) as checker,
    ):
        checking = asyncio.create_task(health(checker, url, over))
        for _ in range(ROUNDS):
            seen += await asyncio.gather(*(user(client, url, number) for number in range(users)))
            memory.append(process.memory_info().rss / 2**20)
        over.set()
        healthy = sorted(await checking)
    statuses = Counter(status for status, *_ in seen)
    refused = sorted(whole for status, _, whole in seen if status != 200)
    answered = [whole for status, _, whole in seen if status == 200]
    print(f"{users} users, {ROUNDS} rounds: {dict(statuses)} (only 200, 429, 503)")
    print(f"answered in {statistics.median(answered):.2f} s (median)")
    print(f"health: p99 {healthy[int(len(healthy) * 0.99)] * 1000:.0f} ms of {len(healthy)} (under 100)")
    if refused:
        print(
            f"refused: p95 {refused[int(len(refused) * 0.95)] * 1000:.0f} ms, "
            f"longest {refused[-1] * 1000:.0f} ms (under 300)"
        )
    print(f"memory: {memory[0]:.0f} MB after the first round, {memory[-1]:.0f} MB after the last (at most 1.2 times)")


def main() -> None:
    """Serve, measure."""
    users = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as folder, server(Path(folder) / "home") as (url, process):
        asyncio.run(measure(url, users, process))


if __name__ == "__main__":
    main()
