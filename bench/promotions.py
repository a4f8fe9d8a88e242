"""A hundred promotions and roll-backs while questions are answered: `python -m bench.promotions [EXCHANGES]`.

The real engine with two revisions of one adapter: the one that ships, and the same at half its strength. Each question
is first answered by each revision alone, undisturbed. Under load every answer must then be, to the letter, what the
one revision that its trace names says: a token of the other would show. Several minutes on two cores.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Mapping
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
        seen, seconds = Seen(), list[float]()
        threads = [threading.Thread(target=keep_asking, args=(rungs, asked, n, seen)) for n in range(ASKERS)]
        for thread in threads:
            thread.start()
        for number in track(range(exchanges), "exchanging", transient=True):
            started = time.monotonic()
            if number % 2:
                rungs.registry.rollback(NAME, BY, "bench")
                rungs.renew()
            else:
                promote(rungs, weak)
            seconds.append(time.monotonic() - started)
        seen.stop.set()
        for thread in threads:
            thread.join()
        report(seen, alone, seconds)
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


def keep_asking(rungs: Rungs, asked: list[str], first: int, seen: Seen) -> None:
    """Ask one question after the other until it is enough."""
    number = first
    while not seen.stop.is_set():
        try:
            seen.told.append(ask(rungs, asked[number % len(asked)]))
        except Exception as error:  # a failure is what this looks for
            seen.failures.append(f"{type(error).__name__}: {error}")
        number += 1


def report(seen: Seen, alone: Mapping[tuple[str, str], str], seconds: list[float]) -> None:
    """Print the figures."""
    strange = [one for one in seen.told if alone.get(one[:2]) != one[2]]
    by = {version: sum(one[1] == version for one in seen.told) for version in {one[1] for one in seen.told}}
    print(f"{len(seconds)} exchanges, {len(seen.told)} answers ({by}), {len(seen.failures)} failed")
    for why in sorted(set(seen.failures)):
        print(f"  {why}")
    other = {version: next(v for v in by if v != version) for version in by} if len(by) == 2 else {}
    crossed = sum(alone.get((one[0], other.get(one[1], ""))) == one[2] for one in strange)
    print(f"answers that are not to the letter what their revision says alone: {len(strange)}, of the other: {crossed}")
    for question, version, text in strange[:5]:
        print(f"  {version} {question!r}: {text!r}, alone {alone.get((question, version))!r}")
    print(f"an exchange took {median(seconds):.2f} s, at most {max(seconds):.2f} s")


if __name__ == "__main__":
    main()
