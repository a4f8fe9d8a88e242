"""Answering while an adapter is trained: `python -m bench.beside_training ROWS.jsonl`.

Answers of level lora, one after another as a person would ask them: without a training, beside a training of the same
home, and without it again, so that other work that comes or goes does not pass for the training's. The training
stands still while it is answered; what that costs the answers is what is measured.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median

from adapters import job
from adapters.reading import Unsaid, read_rows
from assistant.adapting import jobs, planning
from assistant.build import Rungs
from assistant.prompts import DECLINE
from assistant.types import Question
from bench import sets
from bench.homes import open_home, open_model

QUESTIONS = 12
THINKS_SECONDS = 1.5
"""Between two questions the training goes on."""
ROWS = 200


def main() -> None:
    """Print the medians and their ratio."""
    rows = read_rows(Path(sys.argv[1]), Unsaid(DECLINE, approved_by="bench", consent=True))
    model = open_model()
    with open_home("demo", model) as rungs:
        asked = [row.question for row in sets.demo_rows("calibrate") if row.answers and not row.history][
            : QUESTIONS + 4
        ]
        answer(rungs, asked[:4])
        idle = answer(rungs, asked[4:])
        folder = planning.plan(rungs, sets.draw(rows, ROWS), "beside").folder
        job.write_rows(folder, job.GENERAL, [])
        jobs.start(folder)
        while job.state(folder)["step"] < 3:
            if job.state(folder)["stage"] == "failed":
                raise SystemExit(job.state(folder)["reason"])
            time.sleep(1)
        before = job.state(folder)["step"]
        beside = answer(rungs, asked[4:])
        steps = job.state(folder)["step"] - before
        job.cancel(folder)
        while job.is_running(folder):
            time.sleep(1)
        jobs.discard(folder)
        idle += answer(rungs, asked[4:])
    model.close()
    print(f"idle {median(idle):.2f} s, beside a training {median(beside):.2f} s: {median(idle) / median(beside):.2f}")
    print(f"the training made {steps} steps meanwhile")


def answer(rungs: Rungs, questions: list[str]) -> list[float]:
    """Seconds of each answer."""
    seconds = []
    for number, text in enumerate(questions):
        seconds.append(rungs.assistant.ask(Question(text, f"bench-{number}", (), "bench", level="lora")).seconds)
        time.sleep(THINKS_SECONDS)
    return seconds


if __name__ == "__main__":
    main()
