"""The public data sets as golden rows and folders of documents, and their splits: by article or document, never by row.

The one file that knows the sets' own field names. Only documents are ever ingested, never a questions file. Rows of
`train` may shape anything, rows of `calibrate` only thresholds and confidence, rows of `report` only figures.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from assistant.evaluation.golden import GoldenRow, read_golden, row_of

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
HANDBOOK = Path(__file__).resolve().parents[1] / "knowledge" / "handbook"
GOLDEN = HANDBOOK.parent / "golden" / "handbook.jsonl"
SEED = 20261122
ANSWERS_ROWS, ANSWERS_DOCUMENTS = 40, 150
Row = TypeVar("Row")
Split = Literal["train", "calibrate", "report"]

SQUAD_ARTICLES: dict[Split, tuple[str, ...]] = {
    "train": (
        "Computational complexity theory",
        "European Union law",
        "Force",
        "French and Indian War",
    ),
    "calibrate": ("Harvard University", "Imperialism"),
    "report": ("Packet switching", "Yuan dynasty"),
}
NEEDS_NO_DOCUMENT = frozenset(
    "greeting goodbye thank_you how_old_are_you what_is_your_name are_you_a_bot who_made_you tell_joke fun_fact "
    "do_you_have_pets where_are_you_from what_are_your_hobbies meaning_of_life who_do_you_work_for what_can_i_ask_you "
    "translate definition spelling calculator".split()
)
"""Intents of clinc-oos that a base model may answer alone."""
SMALL_TALK = frozenset(
    "greeting goodbye thank_you how_old_are_you what_is_your_name are_you_a_bot who_made_you tell_joke fun_fact "
    "do_you_have_pets where_are_you_from what_are_your_hobbies meaning_of_life what_can_i_ask_you".split()
)
"""Of those, the ones where any friendly answer will do."""


def jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def squad_rows(split: Split) -> list[GoldenRow]:
    """`squad2`: questions on the articles of a split; the gold document is the paragraph's file."""
    titles = {row["id"]: row["title"] for row in jsonl(DATA / "squad2" / "contexts.jsonl")}
    chosen = [row for row in jsonl(DATA / "squad2" / "dev.jsonl") if titles[row["context"]] in SQUAD_ARTICLES[split]]
    return [row_of({**row, "gold_doc": f"{row['context']}.md" if row["answerable"] else None}) for row in chosen]


def write_squad(folder: Path) -> Path:
    """Write each paragraph as a file, titled by its article; what the bench ingests."""
    folder.mkdir(parents=True, exist_ok=True)
    for row in jsonl(DATA / "squad2" / "contexts.jsonl"):
        (folder / f"{row['id']}.md").write_text(f"# {row['title']}\n\n{row['text']}\n", encoding="utf-8")
    return folder


def docs_rows(name: Literal["tidb-docs", "arduino-help"], split: Split) -> list[GoldenRow]:
    """`tidb-docs` and `arduino-help`: two thirds of the training documents train, one third calibrates, dev reports."""
    folder = DATA / name
    if split == "report":
        return [row_of(row) for row in jsonl(folder / "questions-dev.jsonl")]
    rows = [row_of(row) for row in jsonl(folder / "questions-train.jsonl")]
    return [row for row in rows if (_third(row.gold_docs[0]) == 2) == (split == "calibrate")]


def answers_rows(name: str, split: Split) -> list[GoldenRow]:
    """`medquad` and `bitext-support`: report rows, half of `ANSWERS_ROWS` each where some have no answer.

    A `medquad` row's gold document is its own answer, a `bitext-support` row's that of its intent.
    """
    if split != "report":
        raise ValueError(f"{name} has report rows only; bench/bundled_rows.py and bench/style.py draw the others")
    rows = draw(jsonl(DATA / name / "dev.jsonl"), ANSWERS_ROWS)
    golden = [row_of({**row, "gold_doc": f"{row['intent'] if 'intent' in row else row['id']}.md"}) for row in rows]
    unanswered = DATA / name / "no-answer.jsonl"
    if not unanswered.exists():
        return golden
    none = draw(jsonl(unanswered), ANSWERS_ROWS // 2)
    return [*golden[: ANSWERS_ROWS // 2], *(row_of({**row, "expect": "decline"}) for row in none)]


def write_answers(name: str, folder: Path) -> Path:
    """Write answers as files: of `medquad` some of the report part, of `bitext-support` one of train for each intent.

    A desk has one text for an intent, and the answer of the very row that asks would be found word for word.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if name == "medquad":
        rows = jsonl(DATA / name / "dev.jsonl")
        told = {row["id"]: row for row in (*draw(rows, ANSWERS_DOCUMENTS), *draw(rows, ANSWERS_ROWS))}
    else:
        told = {row["intent"]: row for row in jsonl(DATA / name / "train.jsonl")}
    for name, row in told.items():
        title = row.get("focus") or row["intent"].replace("_", " ").capitalize()
        (folder / f"{name}.md").write_text(f"# {title}\n\n{row['answer']}\n", encoding="utf-8")
    return folder


def foreign_rows(split: Split, count: int) -> list[GoldenRow]:
    """Questions that nothing loaded answers: half `clinc-oos` out of scope, half `banking77`; declining is right."""
    part = "dev" if split == "report" else "train"
    oos = [row for row in jsonl(DATA / "clinc-oos" / f"{part}.jsonl") if not row["in_scope"]]
    bank = jsonl(DATA / "banking77" / f"{part}.jsonl")
    if part == "train":
        wanted = split == "calibrate"
        oos = [row for row in oos if (_third(row["id"], 5) == 0) == wanted]
        bank = [row for row in bank if (_third(row["id"], 5) == 0) == wanted]
    rows = [*draw(oos, count // 2), *draw(bank, count - min(count // 2, len(oos)))]
    return [row_of({**row, "expect": "decline"}) for row in rows]


def small_talk_rows(split: Split, count: int) -> list[GoldenRow]:
    """Small talk of `clinc-oos`: any answer by the base model is right, a quotation from a document is not."""
    part = "dev" if split == "report" else "train"
    rows = [row for row in jsonl(DATA / "clinc-oos" / f"{part}.jsonl") if row["intent"] in SMALL_TALK]
    if part == "train":
        rows = [row for row in rows if (_third(row["id"], 5) == 0) == (split == "calibrate")]
    return [row_of({**row, "expect": "any"}) for row in draw(rows, count)]


def general_rows(split: Split, count: int) -> list[GoldenRow]:
    """General knowledge of `nq-open`, short golds: what a small model knows by itself, and what it makes up."""
    part = "dev" if split == "report" else "train"
    rows = jsonl(DATA / "nq-open" / f"{part}.jsonl")
    if part == "train":
        rows = [row for row in rows if (_third(row["id"]) == 2) == (split == "calibrate")]
    return [row_of(row) for row in draw(rows, count)]


def demo_rows(split: Split) -> list[GoldenRow]:
    """The handbook's golden set: one half calibrates, the other reports; nothing of it trains."""
    rows = read_golden(GOLDEN)
    return [row for row in rows if (_third(row.id, 2) == 0) == (split == "calibrate")] if split != "train" else []


def written_out(rows: Sequence[GoldenRow]) -> list[GoldenRow]:
    """The two-turn rows as the same questions standing alone."""
    return [
        replace(row, id=f"{row.id}-alone", question=row.extra["written_out"], history=()) for row in rows if row.history
    ]


def draw(rows: Sequence[Row], count: int) -> list[Row]:
    """`count` rows at random, the same every time, in their order."""
    if count >= len(rows):
        return list(rows)
    kept = sorted(random.Random(SEED).sample(range(len(rows)), count))
    return [rows[i] for i in kept]


def halves(rows: Sequence[GoldenRow], each: int) -> Iterator[GoldenRow]:
    """`each` rows that expect an answer and as many that expect declining."""
    yield from draw([row for row in rows if row.expect == "answer"], each)
    yield from draw([row for row in rows if row.expect == "decline"], each)


def is_trained_on(key: str) -> bool:
    """Whether a document of a set whose dev part reports is one of the four fifths that train."""
    return _third(key, 5) != 0


def _third(key: str, parts: int = 3) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % parts
