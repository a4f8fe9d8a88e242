"""How many users a machine holds: `python -m bench.users` (about a quarter of an hour on two cores).

Simulated users ask, read the answer to its end, think for 20 seconds and ask again. The most of them that still see a
first token within 5 seconds (95th percentile) are looked for, on Rungs and on the engine's own server in turn, with
the same weights, slots, context and prompts. The cascade itself, which quotes where it can, is measured beside them.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from assistant import prompts
from assistant.models.engine import available_cores
from assistant.models.weights import prepare
from assistant.types import Question
from bench import sets
from bench.homes import HOMES, RUNGS

THINK_SECONDS, FIRST_SECONDS, RUN_SECONDS = 20.0, 5.0, 75.0
ANSWER_TOKENS = 64
SLOTS, CONTEXT = 2, 4096
STEPS, CASCADE_STEPS = (24, 30, 36, 42, 45, 48, 51, 54, 57, 60, 64, 68, 72, 80), (64, 128)
Body = Callable[[str], dict[str, Any]]


def bare(weights: str) -> None:
    """The engine's own server with its own defaults, until it is killed. Prints its address."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.n_parallel, params.n_ctx = SLOTS, CONTEXT * SLOTS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = available_cores()
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.verbosity = -1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


@contextmanager
def bare_server() -> Iterator[str]:
    """Its address."""
    command = [sys.executable, "-m", "bench.users", "bare", str(prepare(HOMES))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as run:
        try:
            assert run.stdout
            yield next(line.strip() for line in run.stdout if line.startswith("http"))
        finally:
            run.kill()


@contextmanager
def rungs_server() -> Iterator[str]:
    """`rungs serve` over the handbook."""
    home = HOMES / "users-home"
    settings = {"RUNGS_ANSWER_TOKENS": str(ANSWER_TOKENS), "RUNGS_SLOTS": str(SLOTS)}
    settings["RUNGS_VISITOR_QUESTIONS_PER_MINUTE"] = "0"  # all of them come from one address
    command = [*RUNGS, "serve", "--port", "0", "--home", str(home)]
    log = HOMES / "users.log"
    HOMES.mkdir(exist_ok=True)
    with log.open("w") as out, subprocess.Popen(command, env={**os.environ, **settings}, stdout=out, stderr=out) as run:
        try:
            while "ready" not in log.read_text():
                assert run.poll() is None, log.read_text()
                time.sleep(0.2)
            yield json.loads((home / "server.json").read_text())["url"]
        finally:
            run.send_signal(signal.SIGTERM)
            run.wait(60)


async def user(client: httpx.AsyncClient, url: str, body: Body, until: float, seen: list[float], seed: int) -> None:
    """One user, until time is up. What they waited for first tokens is added to `seen`."""
    draw = random.Random(seed)
    await asyncio.sleep(draw.uniform(0, THINK_SECONDS))
    questions = [row.question for row in sets.draw(sets.squad_rows("train"), 200)]
    while time.monotonic() < until:
        started, first = time.perf_counter(), 0.0
        async with client.stream("POST", f"{url}/v1/chat/completions", json=body(draw.choice(questions))) as answer:
            if answer.status_code != 200:
                seen.append(60.0)
            async for line in answer.aiter_lines():
                told = line.startswith("data: {") and json.loads(line[6:])
                if not first and told and told["choices"] and told["choices"][0]["delta"].get("content"):
                    first = time.perf_counter() - started
        if first:
            seen.append(first)
        await asyncio.sleep(draw.uniform(0.75, 1.25) * THINK_SECONDS)


async def held(url: str, body: Body, users: int) -> float:
    """The 95th percentile of what so many users wait for their first token, in seconds."""
    until, seen = time.monotonic() + RUN_SECONDS, []
    async with httpx.AsyncClient(timeout=180, trust_env=False, limits=httpx.Limits(max_connections=None)) as client:
        await asyncio.gather(*(user(client, url, body, until, seen, number) for number in range(users)))
    seen.sort()
    return seen[min(len(seen) - 1, int(len(seen) * 0.95))]


def most(name: str, url: str, body: Body, steps: Sequence[int], about: int = 0) -> int:
    """The most users that are held, looked for from `about` on; downwards where so many are not."""
    start = max((number for number, users in enumerate(steps) if users <= about), default=0)

    def holds(users: int) -> bool:
        waited = asyncio.run(held(url, body, users))
        print(f"{name}: {users} users wait {waited:.2f} s", flush=True)
        return waited <= FIRST_SECONDS

    upwards = list(itertools.takewhile(holds, steps[start:]))
    return upwards[-1] if upwards else next(filter(holds, reversed(steps[:start])), 0)


def to_rungs(model: str) -> Body:
    """A question for Rungs."""
    return lambda text: {"model": model, "stream": True, "messages": [{"role": "user", "content": text}]}


def to_bare(text: str) -> dict[str, Any]:
    """The very messages that level prompting sends, to the engine itself."""
    messages = [{"role": m.role, "content": m.content} for m in prompts.alone(Question(text, "bench"))]
    told = {"messages": messages, "max_tokens": ANSWER_TOKENS, "stream": True, "temperature": 0.0}
    return {**told, "cache_prompt": True, "logprobs": True, "top_logprobs": 2}


def main() -> None:
    """Both, and the cascade."""
    with bare_server() as url:
        peer = most("bare engine", url, to_bare, STEPS)
    with rungs_server() as url:
        ours = most("rungs, level prompting", url, to_rungs("rungs/prompting"), STEPS, peer)
        cascade = most("rungs, the cascade", url, to_rungs("rungs"), CASCADE_STEPS)
    print(f"held at {FIRST_SECONDS:.0f} s: rungs {ours}, bare engine {peer}, ratio {ours / peer:.2f} (at least 0.9)")
    print(f"the cascade holds {cascade}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        bare(sys.argv[2])
    else:
        main()
