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
from ui.cli.main import main
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


async def user(port: int, number: int) -> tuple[int, float]:
    """One question over a socket of its own, read to its end: status, seconds in all."""
    asked = {"model": "rungs/prompting", "stream": True, "messages": [{"role": "user", "content": f"Hello, {number}!"}]}
    body = json.dumps(asked).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode() + body)
    answer = await reader.read(-1)
    seconds = time.perf_counter() - started
    writer.close()
    return int(answer.split(b" ", 2)[1]), seconds


def health(port: int) -> None:
    """Seconds of a health check, ten times a second, a line each, until it is killed. A process of its own."""
    with httpx.Client(timeout=30, trust_env=False) as client:
        while True:
            started = time.perf_counter()
            client.get(f"http://127.0.0.1:{port}/healthz").raise_for_status()
            print(time.perf_counter() - started, flush=True)
            time.sleep(0.1)


async def rounds(port: int, users: int, process: psutil.Process) -> tuple[list[tuple[int, float]], list[float]]:
    """What every user saw, and the server's memory after each round, in MB."""
    seen, memory = [], []
    for _ in range(ROUNDS):
        seen += await asyncio.gather(*(user(port, number) for number in range(users)))
        memory.append(process.memory_info().rss / 2**20)
    return seen, memory


def measure(port: int, users: int, process: psutil.Process) -> None:
    """Ask, watch, print."""
    command = [sys.executable, "-m", "bench.load", "health", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as checking:
        time.sleep(2)
        seen, memory = asyncio.run(rounds(port, users, process))
        checking.kill()
        healthy = sorted(float(line) for line in checking.stdout or () if line.endswith("\n"))
    refused = sorted(whole for status, whole in seen if status != 200)
    answered = [whole for status, whole in seen if status == 200]
    print(f"{users} users, {ROUNDS} rounds: {dict(Counter(status for status, _ in seen))} (only 200, 429, 503)")
    print(f"answered in {statistics.median(answered):.2f} s (median)")
    print(f"health: p99 {healthy[int(len(healthy) * 0.99)] * 1000:.0f} ms of {len(healthy)} (under 100)")
    if refused:
        late, last = refused[int(len(refused) * 0.95)] * 1000, refused[-1] * 1000
        print(f"refused: p95 {late:.0f} ms, longest {last:.0f} ms (under 300)")
    print(f"memory: {memory[0]:.0f} MB after the first round, {memory[-1]:.0f} MB after the last (at most 1.2 times)")


def main() -> None:
    """Serve, measure."""
    users = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as folder, server(Path(folder) / "home") as (url, process):
        measure(int(url.rpartition(":")[2]), users, process)


if __name__ == "__main__":
    if sys.argv[1:2] == ["health"]:
        health(int(sys.argv[2]))
    else:
        main()
