"""What the engine's batch size buys and costs: the wait after a client left, and the speed of reading a prompt.

For every batch size: tokens per second over a prompt of 900 words, and the time to the first token of a short request
made in the moment in which a client gave up one of 2,600 words while it was read. Rounds are interleaved.
Run it on a quiet machine: `python -m bench.cancelling [ROUNDS]`. `assistant/models/engine.py` keeps what it decided.
"""

from __future__ import annotations

import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from assistant.models.embedded import EmbeddedModel
from assistant.models.engine import EngineOptions
from assistant.models.weights import prepare
from assistant.types import Completed, Message, Token

BATCHES = (64, 96, 128, 160, 2048)
LONG, MIDDLE = 2600, 900


def prompt(words: int) -> list[Message]:
    """A prompt that no slot has read before, one token a word and a bit."""
    text = " ".join(random.choices(VOCABULARY, k=words))
    return [Message("system", "Answer briefly."), Message("user", text)]


def first(stream: Iterator[Token | Completed]) -> float:
    """Seconds to the first item of a stream, which is then left."""
    start = time.perf_counter()
    next(stream)
    seconds = time.perf_counter() - start
    stream.close()  # type: ignore[attr-defined]
    return seconds


def reading_speed(model: EmbeddedModel) -> float:
    """Prompt tokens per second."""
    messages = prompt(MIDDLE)
    tokens = sum(model.count_tokens(message.content) for message in messages)
    return tokens / first(model.stream(messages, max_tokens=4, conversation=str(random.random())))


def wait_after_leaving(model: EmbeddedModel) -> float:
    """Seconds to a short request's first token after a long one was given up while its prompt was read."""
    cancel = threading.Event()
    long = model.stream(prompt(LONG), max_tokens=4, conversation="long", cancel=cancel)
    reader = threading.Thread(target=lambda: list(long))
    reader.start()
    time.sleep(1.0 + random.random())
    cancel.set()
    seconds = first(model.stream(prompt(12), max_tokens=4, conversation="short"))
    reader.join()
    return seconds


def main() -> None:
    """Print one line per batch size."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    weights = prepare(Path(".rungs"))
    speeds: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    waits: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    for _ in range(rounds):
        for batch in BATCHES:
            model = EmbeddedModel(EngineOptions(weights, slots=2, batch_tokens=batch), "bench")
            speeds[batch].append(reading_speed(model))
            waits[batch].append(wait_after_leaving(model))
            waits[batch].append(wait_after_leaving(model))
            model.close()
    print("batch  tokens/s (median)  wait s (median)  wait s (longest)")
    for batch in BATCHES:
        wait = waits[batch]
        print(
            f"{batch:5d}  {statistics.median(speeds[batch]):17.0f}  {statistics.median(wait):15.2f}  {max(wait):16.2f}"
        )


VOCABULARY = "time place order river house garden train paper window market letter animal colour number".split()

if __name__ == "__main__":
    main()
