"""The rows that the bundled adapter learns from: `python -m bench.bundled_rows OUT.jsonl [SET=ROWS...]`.

Train rows of the public sets, each with the evidence that serving would show for it, found in a home that holds only
documents of the train split. An answer is the gold span, or the one to three shown sentences that answer; a question
of another home is declined. Mostly answers: with half of the rows unanswerable, a small model learned to decline all.
Two or more sets can be named, with fewer rows, where a bench needs some soon.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.progress import track

from assistant.evaluation.golden import GoldenRow, row_of
from assistant.evaluation.grading import grade, is_short, normalise
from assistant.finding import EvidenceFinder
from assistant.levels.rag import shown_to_a_model
from assistant.prompts import DECLINE, address_of
from assistant.types import Answer, ChatModel, Question
from bench import sets
from bench.homes import HOMES, open_model
from knowledge.database import open_engine
from knowledge.embedding import make_embedder
from knowledge.ingest import ingest
from knowledge.store import KnowledgeStore
from knowledge.types import Sentence

LICENCES = {
    "squad2": "CC BY-SA 4.0",
    "tidb-docs": "Apache-2.0",
    "arduino-help": "CC BY-SA 4.0",
    "medquad": "CC BY 4.0",
    "bitext-support": "CDLA-Sharing-1.0",
    "clinc-oos": "CC BY 3.0",
    "banking77": "CC BY 4.0",
}
ROWS = {"squad2": 800, "tidb-docs": 120, "arduino-help": 110, "medquad": 260, "bitext-support": 80}
DECLINED = 0.14
"""Share of rows that the evidence does not answer."""
TWINS = 0.25
"""Of those, the share whose evidence is that of its own home with every sentence that answers taken out."""
SENTENCES_MAX = 3
ANSWER_WORDS_MAX = 80
EVIDENCE_TOKENS = 220
DISTRACTING_PAGES = 150


def main() -> None:
    """Write the file."""
    out = Path(sys.argv[1])
    model = open_model()
    answered: list[dict[str, Any]] = []
    declined: list[dict[str, Any]] = []
    counts = {name: int(rows) for name, _, rows in (given.partition("=") for given in sys.argv[2:])} or ROWS
    homes = {name: _open(name) for name in counts}
    for name, find in homes.items():
        for row in track(sets.draw(_rows(name), counts[name]), name):
            answered += _answered(name, row, find, model)
    wanted = round(len(answered) * DECLINED / (1 - DECLINED))
    names = list(homes)
    for row in sets.draw(answered, round(wanted * TWINS)):
        declined += _twin(row)
    foreign = [_foreign_to(names, i, row) for i, row in enumerate(_foreign(names, wanted - len(declined)))]
    for source, name, row in track(foreign, "declined"):
        declined.append(_declined(source, name, row, homes[name], model))
    with out.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in (*answered, *declined))
    print(f"{out}: {len(answered)} answered, {len(declined)} declined")


def _rows(name: str) -> list[GoldenRow]:
    if name == "squad2":
        return [row for row in sets.squad_rows("train") if row.expect == "answer"]
    if name in ("tidb-docs", "arduino-help"):
        return sets.docs_rows(name, "train")  # type: ignore[arg-type]
    rows = sets.draw(_kept(name), 500)
    return [row_of({**row, "gold_doc": f"{row['id']}.md"}) for row in rows]


def _kept(name: str) -> list[dict[str, Any]]:
    """Train rows of a set whose dev part reports; a fifth is left for calibrating."""
    rows = sets.jsonl(sets.DATA / name / "train.jsonl")
    return [row for row in rows if sets.is_trained_on(row.get("doc", row["id"]))]


def _open(name: str) -> EvidenceFinder:
    """A home with documents of the train split and no others."""
    home = HOMES / "train" / name
    documents = home / "documents"
    if not documents.is_dir():
        partial = home / "documents.part"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for path, text in _documents(name):
            target = partial / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        partial.rename(documents)
    engine = open_engine(f"sqlite:///{home / 'rungs.db'}")
    store = KnowledgeStore(engine, home / "chroma", make_embedder("minilm", HOMES / "models"))
    for _ in track(ingest(store, [documents]), f"{name}: ingesting", transient=True):
        pass
    return EvidenceFinder(store, 8, None)


def _documents(name: str) -> Iterator[tuple[str, str]]:
    if name == "squad2":
        for row in sets.jsonl(sets.DATA / "squad2" / "contexts.jsonl"):
            if row["title"] in sets.SQUAD_ARTICLES["train"]:
                yield f"{row['id']}.md", f"# {row['title']}\n\n{row['text']}\n"
    elif name in ("tidb-docs", "arduino-help"):
        folder = sets.DATA / name / "docs"
        held_out = {d for s in ("calibrate", "report") for row in sets.docs_rows(name, s) for d in row.gold_docs}  # type: ignore[arg-type]
        gold = {d for row in sets.docs_rows(name, "train") for d in row.gold_docs} - held_out  # type: ignore[arg-type]
        others = [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*.md"))]
        for path in sorted(gold | set(sets.draw([p for p in others if p not in gold | held_out], DISTRACTING_PAGES))):
            yield path, (folder / path).read_text(encoding="utf-8")
    else:
        for row in sets.draw(_kept(name), 500):
            title = row.get("focus") or row["intent"].replace("_", " ").capitalize()
            yield f"{row['id']}.md", f"# {title}\n\n{row['answer']}\n"


def _answered(name: str, row: GoldenRow, find: EvidenceFinder, model: ChatModel) -> list[dict[str, Any]]:
    """The row with its evidence and answer; nothing where no shown sentence answers."""
    shown = _shown(row.question, find, model)
    golds = [gold for gold in row.answers if gold]
    if is_short(golds[0]):
        span = max(golds, key=golds.count)
        if not any(_holds(sentence.text, golds) for sentence in shown):
            return []
        span = next((g for g in (span, *golds) if any(_holds(s.text, [g]) for s in shown)), span)
        return [_example(name, row, shown, _tidy(span), "grounded")]
    answer = _quoted(row, shown, find)
    return [_example(name, row, shown, answer, "grounded")] if 0 < len(answer.split()) <= ANSWER_WORDS_MAX else []


def _quoted(row: GoldenRow, shown: Sequence[Sentence], find: EvidenceFinder) -> str:
    """The fewest shown sentences that are graded right, in their order; of equally many, those with the best F1."""
    own = [sentence for sentence in shown if sentence.passage.document in row.gold_docs] or list(shown)
    for number in range(1, SENTENCES_MAX + 1):
        right = []
        for chosen in combinations(own, number):
            text = " ".join(sentence.text for sentence in chosen)
            graded = grade(row, Answer(text, "answered", "rag"), find.store.embedder)
            if graded.correct:
                right.append((graded.token_f1, text))
        if right:
            return max(right)[1]
    return ""


def _twin(row: dict[str, Any]) -> list[dict[str, Any]]:
    told = row["answer"].rstrip(".")
    left = [p for p in row["passages"] if not _holds(p["text"], [told]) and p["text"] not in row["answer"]]
    if len(left) < 2:
        return []
    return [{**row, "id": f"{row['id']}-twin", "passages": left, "answer": DECLINE, "expect": "decline"}]


def _foreign(names: Sequence[str], count: int) -> list[tuple[str, GoldenRow]]:
    """Questions of no home: half from out of scope and banking, half of the sets for one another's homes."""
    rows = [("banking77" if "bank" in row.id else "clinc-oos", row) for row in sets.foreign_rows("train", count // 2)]
    each = (count - len(rows)) // len(names) + 1
    for name in names:
        rows += [(name, row) for row in sets.draw(_rows(name)[::-1], each)]
    return rows[:count]


def _foreign_to(names: Sequence[str], number: int, row: tuple[str, GoldenRow]) -> tuple[str, str, GoldenRow]:
    """(source, home, row): a home that the question is not of."""
    others = [name for name in names if name != row[0]]
    return row[0], others[number % len(others)], row[1]


def _declined(source: str, home: str, row: GoldenRow, find: EvidenceFinder, model: ChatModel) -> dict[str, Any]:
    row = replace(row, id=f"{row.id}-in-{home}")
    return _example(source, row, _shown(row.question, find, model), DECLINE, "decline")


def _shown(question: str, find: EvidenceFinder, model: ChatModel) -> Sequence[Sentence]:
    evidence = find(Question(question, "bench", (), "bench"))
    return shown_to_a_model(evidence, model, EVIDENCE_TOKENS)


def _example(name: str, row: GoldenRow, shown: Sequence[Sentence], answer: str, expect: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "question": row.question,
        "answer": answer,
        "passages": [{"text": s.text, "address": address_of(s), "document": s.passage.document} for s in shown],
        "expect": expect,
        "document": row.gold_docs[0] if row.gold_docs else row.id,
        "source": name,
        "licence": LICENCES[name],
        "approved_by": "bench",
        "consent": True,
    }


def _holds(text: str, golds: Sequence[str]) -> bool:
    return any(f" {normalise(gold)} " in f" {normalise(text)} " for gold in golds if normalise(gold))


def _tidy(span: str) -> str:
    """A span as an answer: a capital first, a full stop last."""
    span = span.strip()
    span = span[0].upper() + span[1:]
    return span if span.endswith((".", "!", "?")) else f"{span}."


if __name__ == "__main__":
    main()
