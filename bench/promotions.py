"""A hundred promotions and roll-backs while questions are answered: `python -m bench.promotions [EXCHANGES]`.

The real engine with two revisions of one adapter: the one that ships, and the same at half its strength. Each question
is first answered by each revision alone, undisturbed, and then by each under load, since questions that are decoded
side by side round differently, and a near tie tips over: what is not to the letter while revisions are exchanged must
not be more than without. Several minutes on two cores.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from rich.progress import track

from adapters.card import AdapterCard
from adapters.export import CONFIG, TENSORS
from assistant.build import Rungs, build
from assistant.bundled import NAME
from assistant.settings import Settings
from assistant.types import Finished, Question
from bench import sets
from bench.homes import HOMES
from knowledge.ingest import ingest

EXCHANGES, ASKERS = 100, 3
QUESTIONS = 12
ANSWER_TOKENS = 24
WEAKER = 0.5
STILL_SECONDS = 60
BY = "bench"


@dataclass
class Seen:
    """What the askers saw. Appending to a list is atomic."""

    told: list[tuple[str, str, str]] = field(default_factory=list)
    """(question, revision that the trace names, text)."""
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)


def main() -> None:
    """Promote and roll back under load, count, print."""
    exchanges = int(sys.argv[1]) if len(sys.argv) > 1 else EXCHANGES
    rungs = build(Settings(home=HOMES / "promotions", demo=False, answer_tokens=ANSWER_TOKENS))
    try:
        list(ingest(rungs.store, [sets.HANDBOOK]))
        asked = [row.question for row in sets.demo_rows("calibrate") if row.answers and not row.history][:QUESTIONS]
        full, weak = revisions(rungs)
        alone: dict[tuple[str, str], str] = {}
        for revision in (weak, full):
            promote(rungs, revision)
            for text in track(asked, f"{revision} alone", transient=True):
                question, version, said = ask(rungs, text)
                alone[question, version] = said
        different = sum(alone[text, f"{NAME}@{full}"] != alone[text, f"{NAME}@{weak}"] for text in asked)
        print(f"the revisions differ on {different} of {len(asked)} questions", flush=True)
        for revision in (weak, full):
            promote(rungs, revision)
            with asking(rungs, asked) as seen:
                time.sleep(STILL_SECONDS)
            report(f"{revision} under load, nothing exchanged", seen, alone)
        seconds = list[float]()
        with asking(rungs, asked) as seen:
            for number in track(range(exchanges), "exchanging", transient=True):
                started = time.monotonic()
                if number % 2:
                    rungs.registry.rollback(NAME, BY, "bench")
                    rungs.renew()
                else:
                    promote(rungs, weak)
                seconds.append(time.monotonic() - started)
        report(f"{exchanges} exchanges", seen, alone)
        if seconds:
            print(f"an exchange took {median(seconds):.2f} s, at most {max(seconds):.2f} s")
    finally:
        rungs.close()


def revisions(rungs: Rungs) -> tuple[str, str]:
    """The adapter that ships, and a weaker one made of it."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    registry = rungs.registry
    shipped = next(card for card in registry.list(NAME).cards if card.gate is not None)
    folder = registry.load(NAME, shipped.revision).folder
    with tempfile.TemporaryDirectory() as made:
        out = Path(made)
        (out / CONFIG).write_bytes((folder / CONFIG).read_bytes())
        tensors = load_file(folder / TENSORS)
        save_file(
            {n: (t * np.float16(WEAKER) if ".lora_B." in n else t) for n, t in tensors.items()}, out / TENSORS
        )  # fmt: skip
        card: AdapterCard = replace(shipped, revision="", files={}, gate=None, gate_elsewhere=None, history=())
        weaker = registry.add(out, card)
    return shipped.revision, weaker.revision


def promote(rungs: Rungs, revision: str) -> None:
    """Make a revision live and let it serve."""
    rungs.registry.promote(NAME, revision, BY, "bench")
    rungs.renew()


def ask(rungs: Rungs, text: str) -> tuple[str, str, str]:
    """(question, revision, answer) of level lora."""
    conversation = rungs.traces.open_conversation(BY, "cli")
    *_, last = rungs.assistant.stream(Question(text, conversation, level="lora"))
    assert isinstance(last, Finished)
    (attempt,) = [attempt for attempt in last.trace.attempts if attempt.skipped_because is None]
    if attempt.failure or attempt.draft is None:
        raise RuntimeError(attempt.failure or "no draft")
    return text, last.trace.versions["adapter"], attempt.draft.text


@contextmanager
def asking(rungs: Rungs, asked: list[str]) -> Iterator[Seen]:
    """Several who ask for as long as the block runs."""
    seen = Seen()
    threads = [threading.Thread(target=keep_asking, args=(rungs, asked, n, seen)) for n in range(ASKERS)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        seen.stop.set()
        for thread in threads:
            thread.join()


def keep_asking(rungs: Rungs, asked: list[str], first: int, seen: Seen) -> None:
    """Ask one question after the other until it is enough."""
    number = first
    while not seen.stop.is_set():
        try:
            seen.told.append(ask(rungs, asked[number % len(asked)]))
        except Exception as error:  # a failure is what this looks for
            seen.failures.append(f"{type(error).__name__}: {error}")
        number += 1


def report(what: str, seen: Seen, alone: Mapping[tuple[str, str], str]) -> None:
    """Print the figures."""
    by = {version: sum(one[1] == version for one in seen.told) for version in {one[1] for one in seen.told}}
    print(f"{what}: {len(seen.told)} answers ({by}), {len(seen.failures)} failed")
    for why in sorted(set(seen.failures)):
        print(f"  {why}")
    strange = [one for one in seen.told if alone.get(one[:2]) != one[2]]
    crossed = [
        one for one in strange if any((q, v) != one[:2] and q == one[0] and s == one[2] for (q, v), s in alone.items())
    ]
    print(f"  not to the letter what their revision says alone: {len(strange)}, what the other says: {len(crossed)}")
    for question, version, text in (*crossed[:3], *strange[:3]):
        print(f"  {version} {question!r}: {text!r}, alone {alone.get((question, version))!r}")


if __name__ == "__main__":
    main()
