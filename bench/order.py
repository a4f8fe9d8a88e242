"""Do batches of rows of like length cost anything in loss? `python -m bench.order ROWS.jsonl [STEPS] [SEEDS]`.

The recipe as it is, and the same with its rows shuffled, on the same rows from the same start; once for each seed,
which draws the rows, the start and both orders. Prints the held-out losses. Three minutes a training on two quiet
cores.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from adapters import job, train
from adapters.job import Recipe, Row
from adapters.reading import Unsaid, read_rows
from assistant.adapting.planning import row_of
from assistant.prompts import DECLINE
from bench.homes import HOMES, open_model
from bench.training import BATCH, afresh

STEPS, SEEDS, HELD_OUT = 18, 3, 40
TOKENS_MAX = 360
ORDERS = ("like length", "shuffled")


def main() -> None:
    """Print the losses of each order."""
    if len(sys.argv) > 2 and sys.argv[1] in ORDERS:
        print(json.dumps(trained(Path(sys.argv[2]), sys.argv[1])))
        return
    steps, seeds = (int(sys.argv[at]) if len(sys.argv) > at else usual for at, usual in ((2, STEPS), (3, SEEDS)))
    losses: dict[str, list[float]] = {order: [] for order in ORDERS}
    for folder in prepared(Path(sys.argv[1]), steps, seeds):
        for order in ORDERS:
            command = [sys.executable, "-m", "bench.order", order, str(folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            losses[order].append(float(json.loads(done.stdout.splitlines()[-1])))
        print("   ".join(f"{order}: {losses[order][-1]:.4f}" for order in ORDERS), flush=True)
    print("means: " + ", ".join(f"{order} {fmean(losses[order]):.4f}" for order in ORDERS))


def prepared(path: Path, steps: int, seeds: int) -> list[Path]:
    """A job for each seed."""
    model = open_model()
    given = read_rows(path, Unsaid(DECLINE, approved_by="bench", consent=True))
    rows = [row for example in given if len(row := row_of(model, example)) <= TOKENS_MAX]  # type: ignore[arg-type]
    folders = []
    for number in range(seeds):
        recipe = replace(Recipe(batch=BATCH, save_every=10_000), seed=number)
        mixed = shuffled(rows, recipe)
        the = job.Job("bench", model.weights, HOMES / "models" / "training", recipe)  # type: ignore[attr-defined]
        folders.append(HOMES / "order" / str(number))
        job.write(folders[-1], the, mixed[HELD_OUT:][: steps * BATCH], mixed[:HELD_OUT])
    model.close()
    return folders


def trained(folder: Path, order: str) -> float:
    """The held-out loss, nats a token."""
    if order == ORDERS[1]:
        train.in_order = shuffled  # type: ignore[assignment]
    afresh(folder)
    train.train(folder)
    return float((job.result(folder) or {})["loss_held_out"])


def shuffled(rows: Sequence[Row], recipe: Recipe) -> list[Row]:
    """The rows in an order that follows from the seed."""
    return random.Random(recipe.seed).sample(list(rows), len(rows))


if __name__ == "__main__":
    main()
