"""Is a house style learned? `python -m bench.style [REVISION]`: before and after an adapter of 120 rows.

Rows of `bitext-support`. Each answer is compared with the desk's own answer to that held-out question: cosine of their
embeddings and ROUGE-L (F1 of the longest common subsequence of words), as paired bootstrap intervals of the
difference. What is particular in an answer (numbers, names, addresses) and neither in its prompt nor a placeholder is
invented: the cascade holds such a draft back. All answers are kept in `answers.jsonl` of its home, to be read. With
the revision of an earlier run nothing is trained. Ten minutes on two quiet cores.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from rich.progress import track

from adapters.facts import invented
from adapters.gate_interval import paired
from adapters.job import Recipe
from adapters.reading import Unsaid, example_of
from adapters.types import Example
from assistant.adapting import jobs, planning
from assistant.build import Rungs, build
from assistant.prompts import DECLINE
from assistant.settings import Settings
from assistant.types import ChatModel, Completed
from bench import sets
from bench.homes import HOMES
from knowledge.ingest import ingest

ROWS, HELD_OUT = 120, 40
WORDS_MAX = 120
"""Longer answers are left out of the rows: serving asks for short ones."""
NAME = "desk-style"
ANSWER_TOKENS = 160
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Said:
    """One answer and how it compares."""

    text: str
    cosine: float
    rouge: float
    invented: tuple[str, ...]


def main() -> None:
    """Train, ask, print."""
    rungs = opened()
    try:
        report(rungs, sys.argv[1] if len(sys.argv) > 1 else trained(rungs))
    finally:
        rungs.close()


def trained(rungs: Rungs) -> str:
    """The revision of a new adapter."""
    rows = [example for example in examples("train") if len(example.answer.split()) <= WORDS_MAX]
    planned = planning.plan(rungs, sets.draw(rows, ROWS), NAME, Recipe(epochs=1))
    (planned.folder / jobs.GATE).unlink()  # what is asked here is asked below
    jobs.start(planned.folder)
    for _ in track(jobs.follow(planned.folder, threading.Event()), "training", total=None, transient=True):
        pass
    done = jobs.outcome(planned.folder)
    print(f"loss {done['loss_first']} to {done['loss_last']}, {done['seconds']:.0f} s", flush=True)
    return str(done["revision"])


def opened() -> Rungs:
    """A home whose documents are the desk's answers of the train part, one for each kind of question."""
    rungs = build(Settings(home=HOMES / "style", demo=False, answer_tokens=ANSWER_TOKENS))
    folder = HOMES / "style" / "documents"
    folder.mkdir(exist_ok=True)
    for row in sets.draw(sets.jsonl(sets.DATA / "bitext-support" / "train.jsonl")[1::2], 200):
        text = f"# {row['intent'].replace('_', ' ').capitalize()}\n\n{row['answer']}\n"
        (folder / f"{row['id']}.md").write_text(text, encoding="utf-8")
    list(ingest(rungs.store, [folder]))
    return rungs


def examples(part: str) -> list[Example]:
    """Rows of a part; of the train part those that are no document."""
    rows = sets.jsonl(sets.DATA / "bitext-support" / f"{part}.jsonl")
    unsaid = Unsaid(DECLINE, "bitext-support", approved_by="bench", consent=True)
    return [
        example_of({**row, "document": row["id"]}, row["id"], unsaid)
        for row in (rows[::2] if part == "train" else rows)
    ]


def report(rungs: Rungs, revision: str) -> None:
    """Both sides on the held-out rows."""
    from assistant.models import make_model

    rows = sets.draw(examples("dev"), HELD_OUT)
    sides: dict[str, list[Said]] = {"base": [], NAME: []}
    model = make_model(rungs.settings, {NAME: rungs.registry.load(NAME, revision).folder})
    for row in track(rows, "asking"):
        shown = planning.passages(rungs, planning.question_of(row))
        row = Example(row.id, row.question, row.answer, passages=shown)
        for side, said in sides.items():
            text = answer(model, row, None if side == "base" else side)
            one, other = rungs.store.embedder.embed([text or ".", row.answer])
            told = [message.content for message in planning.messages_of(row)]
            said.append(Said(text, float(one @ other), rouge_l(text, row.answer), tuple(sorted(invented(text, told)))))
    model.close()
    ids = [row.id for row in rows]
    for measure in ("cosine", "rouge"):
        before, after = ([getattr(one, measure) for one in sides[side]] for side in ("base", NAME))
        low, high = paired([a - b for a, b in zip(after, before, strict=True)], ids)
        print(f"{measure}: {fmean(before):.3f} to {fmean(after):.3f} (difference {low:+.3f} to {high:+.3f})")
    for side, said in sides.items():
        with_any = sum(bool(one.invented) for one in said)
        print(f"{side}: {with_any} of {len(said)} answers say something that nobody told them and are held back; mean "
              f"words {fmean(len(one.text.split()) for one in said):.0f}")  # fmt: skip
        print(f"  {', '.join(what for one in said for what in one.invented) or 'nothing'}")
    with (rungs.settings.home / "answers.jsonl").open("w", encoding="utf-8") as kept:
        for row, one, other in zip(rows, sides["base"], sides[NAME], strict=True):
            both = {"question": row.question, "desk": row.answer, "base": asdict(one), NAME: asdict(other)}
            kept.write(json.dumps(both, ensure_ascii=False) + "\n")
    for row, one, other in list(zip(rows, sides["base"], sides[NAME], strict=True))[:3]:
        print(f"\n{row.question}\n  base: {one.text[:300]}\n  {NAME}: {other.text[:300]}\n  desk: {row.answer[:300]}")


def answer(model: ChatModel, row: Example, adapter: str | None) -> str:
    """What a side says."""
    stream = model.stream(planning.messages_of(row), max_tokens=ANSWER_TOKENS, adapter=adapter)
    return "".join(item.text for item in stream if not isinstance(item, Completed)).strip()


def rouge_l(one: str, other: str) -> float:
    """F1 of the longest common subsequence of words (Lin 2004)."""
    a, b = (_WORD.findall(text.lower()) for text in (one, other))
    common = _common(a, b)
    return 2 * common / (len(a) + len(b)) if a and b else 0.0


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    row = [0] * (len(b) + 1)
    for word in a:
        before = 0
        for j, other in enumerate(b, start=1):
            before, row[j] = row[j], before + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]


if __name__ == "__main__":
    main()
