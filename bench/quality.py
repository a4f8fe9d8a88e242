"""The quality table: each level alone, the cascade, and naive RAG on report rows only: `python -m bench.quality`.

Level `writing` is level rag with the base model writing from the same evidence: what level lora is without its adapter.

Writes every result to `.bench/quality.jsonl` (a row that stands there already is not asked again; `--fresh` starts
over) and prints the table and its checks as Markdown. `python -m bench.curve` draws the risk-coverage curve from it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from assistant.build import Rungs
from assistant.conversation import searched
from assistant.evaluation.evaluate import EvaluationReport, Result, evaluate, summary
from assistant.types import Question
from bench import sets
from bench.homes import ANSWERS, HOMES, NAMES, open_home, open_model, rows_of
from bench.naive import build_naive

RESULTS = HOMES / "quality.jsonl"
LEVELS = ("prompting", "rag", "writing", "lora", "auto", "naive")
WRITING_TOKENS = 96
"""A right answer has at most 60 words; what follows would only cost time."""
WRITTEN_OUT = ("rag", "auto")
"""Levels that also answer the follow-ups as questions that stand alone."""
FOREIGN = 100
FIRST = 5
COLUMNS = (
    "n right contains answered abstained wrong_accepted gold_in_5 token_f1 words tokens_in tokens_out p50 p95".split()
)


def report_rows(name: str) -> dict[str, list[sets.GoldenRow]]:
    """The report rows asked in a home, by block: its own, its share of the foreign ones, and those written out."""
    own = rows_of(name, "report")
    blocks = {name: own}
    if name in NAMES:
        blocks["foreign"] = sets.foreign_rows("report", FOREIGN)[NAMES.index(name) :: len(NAMES)]
    if name == "demo":
        blocks["written out"] = sets.written_out(own)
    return blocks


def measure(
    name: str, levels: Sequence[str], limit: int | None, done: set[tuple[str, ...]]
) -> Iterable[dict[str, Any]]:
    """Ask what was not asked yet; one record per row and level, as soon as it is known."""
    model = open_model()
    for level in levels:
        answers_by = "generating" if level == "writing" else "auto"
        limits = {} if level in ("rag", "auto") else {"answer_tokens": WRITING_TOKENS}
        with open_home(name, model, answers_by, **limits) as rungs:
            naive = build_naive(name, rungs.store.embedder, model) if level == "naive" else None
            for block, rows in report_rows(name).items():
                for row in sets.draw(rows, limit or len(rows)):
                    if (name, block, level, row.id) in done or (block == "written out" and level not in WRITTEN_OUT):
                        continue
                    result = naive.ask(row) if naive else asked(rungs, row, level)
                    ranks = _first_ranks(rungs, row) if level == "rag" else {}
                    yield {**record(result), **ranks, "home": name, "block": block, "level": level}
    model.close()


def asked(rungs: Rungs, row: sets.GoldenRow, level: str) -> Result:
    """A row through one level, or through the cascade."""
    *_, report = evaluate(rungs, [row], ["rag" if level == "writing" else level])
    assert isinstance(report, EvaluationReport)
    return report.results[0]


def record(result: Result) -> dict[str, Any]:
    """What the table and the curve need of a result."""
    last = next((a for a in reversed(result.attempts) if a.confidence is not None), None)
    return {
        **result.as_json(),
        "question": result.row.question,
        "golds": result.row.answers[:2],
        "expect": result.row.expect,
        "documented": bool(result.row.gold_docs),
        "follow_up": bool(result.row.history),
        "draft_confidence": last.confidence if last else None,
        **summary([result]),
    }


def _first_ranks(rungs: Any, row: sets.GoldenRow) -> dict[str, bool]:
    """Is the gold document among the first five passages: by dense alone, by keywords alone, fused."""
    if not row.gold_docs:
        return {}
    hits = rungs.store.retrieve(searched(Question(row.question, "bench", row.history)), 200)
    dense = sorted((h for h in hits if h.dense_rank is not None), key=lambda h: h.dense_rank)
    words = sorted((h for h in hits if h.keyword_rank is not None), key=lambda h: h.keyword_rank)
    lists = {"dense": dense, "keywords": words, "fused": hits}
    return {
        f"gold_by_{way}": any(h.passage.document in row.gold_docs for h in found[:FIRST])
        for way, found in lists.items()
    }


def table(records: Sequence[dict[str, Any]]) -> str:
    """Markdown: a line per block and level."""
    lines = ["| set | level | " + " | ".join(COLUMNS) + " |", "|" + " --- |" * (len(COLUMNS) + 2)]
    blocks = list(dict.fromkeys(r["block"] for r in records))
    for block in [*blocks, "all but written out"]:
        for level in LEVELS:
            chosen = [
                r
                for r in records
                if r["level"] == level
                and (r["block"] == block or (block not in blocks and r["block"] != "written out"))
            ]
            if chosen:
                lines.append(f"| {block} | {level} | " + " | ".join(_cells(chosen)) + " |")
    return "\n".join(lines)


def _cells(chosen: Sequence[dict[str, Any]]) -> list[str]:
    told = [r for r in chosen if r["answered"]]
    seconds = sorted(r["seconds_p50"] for r in chosen)
    golds = [r for r in told if r["golds"]]
    numbers = [
        len(chosen),
        *(sum(r[key] for r in chosen) for key in ("correct", "contains", "answered", "abstained", "wrong_accepted")),
        sum(r["gold_retrieved"] for r in chosen),
        round(sum(r["token_f1"] for r in golds) / max(1, len(golds)), 2),
        round(sum(r["words"] for r in told) / max(1, len(told))),
        sum(r["tokens_in"] for r in chosen),
        sum(r["tokens_out"] for r in chosen),
        round(seconds[len(seconds) // 2], 2),
        round(seconds[int(len(seconds) * 0.95)], 2),
    ]
    return [str(number) for number in numbers]


def checks(records: Sequence[dict[str, Any]]) -> str:
    """The issue's bars beside what was seen."""
    main = [r for r in records if r["block"] != "written out"]

    def total(level: str, key: str, **where: Any) -> int:
        return sum(r[key] for r in main if r["level"] == level and all(r[k] == v for k, v in where.items()))

    squad = [r for r in main if r["block"] == "squad2" and r["level"] == "rag" and r["expect"] == "answer"]
    demo = [r for r in main if r["block"] == "demo" and r["level"] == "auto" and r["documented"]]
    turns = [r for r in main if r["block"] == "demo" and r["follow_up"] and r["level"] == "auto"]
    alone = [r for r in records if r["block"] == "written out" and r["level"] == "auto"]
    lines = [
        f"- wrong accepted: cascade {total('auto', 'wrong_accepted')}, naive {total('naive', 'wrong_accepted')}"
        " (at most half)",
        f"- right on answerable rows: cascade {total('auto', 'correct', expect='answer')}, "
        f"naive {total('naive', 'correct', expect='answer')} (no fewer)",
        f"- demo answerable answered: {sum(r['answered'] for r in demo)} of {len(demo)} (at least 80 %)",
        f"- squad2, level rag alone: {sum(r['correct'] for r in squad)} of {len(squad)} right (at least 60 %)",
        f"- follow-ups right {sum(r['correct'] for r in turns)} of {len(turns)}, written out "
        f"{sum(r['correct'] for r in alone)} of {len(alone)} (at least three quarters as often)",
    ]
    for block in NAMES:
        rows = [r for r in main if r["block"] == block and "gold_by_fused" in r]
        if rows:
            found = {way: sum(r[f"gold_by_{way}"] for r in rows) for way in ("fused", "dense", "keywords")}
            lines.append(f"- gold document in the first five, {block} ({len(rows)}): {found}")
    return "\n".join(lines)


def read(path: Path = RESULTS) -> list[dict[str, Any]]:
    """The records so far."""
    return sets.jsonl(path) if path.exists() else []


def main() -> None:
    """Measure what is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default=",".join((*NAMES, *ANSWERS)))
    parser.add_argument("--levels", default=",".join(LEVELS))
    parser.add_argument("--rows", type=int, help="at most so many of each block")
    parser.add_argument("--fresh", action="store_true", help="ask everything again (of the chosen sets and levels)")
    options = parser.parse_args()
    chosen, levels = options.sets.split(","), options.levels.split(",")
    records = read()
    if options.fresh:
        records = [r for r in records if r["home"] not in chosen or r["level"] not in levels]
        RESULTS.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    done = {(r["home"], r["block"], r["level"], r["id"]) for r in records}
    HOMES.mkdir(exist_ok=True)
    for name in chosen:
        with RESULTS.open("a", encoding="utf-8") as out:
            for line in measure(name, levels, options.rows, done):
                out.write(json.dumps(line) + "\n")
                out.flush()
    records = read()
    print(table(records), "\n", checks(records), sep="\n")


if __name__ == "__main__":
    main()
