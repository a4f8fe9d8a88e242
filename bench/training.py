"""Training speed against stock `trl`: `python -m bench.training ROWS.jsonl [STEPS] [ROUNDS]`.

The same rows and the same number of rows a step, every side in a process of its own, taking turns. The peer is
`trl.SFTTrainer` as it comes (its defaults, which recompute activations and shuffle), and once more set well: nothing
recomputed, and our batches, of rows of like length, in our order. Tokens count prompts and answers, not padding; the
first step, which is slower, is counted on no side. Beside seconds stands processor time, which other work on the
machine disturbs less. The held-out loss after as many rows is printed, too: a speed counts only where it is equal, and
after so few rows it is where the batches are the same. Only rows of at most `TOKENS_MAX` tokens, so that it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from adapters import job
from adapters.job import Job, Recipe, Row
from adapters.reading import Unsaid, read_rows
from adapters.train import in_order
from adapters.weights import trainable
from assistant.adapting.planning import row_of
from assistant.prompts import DECLINE
from bench.homes import HOMES, open_model

BATCH = 4
HELD_OUT = 12
TOKENS_MAX = 320
STEPS = 6
ROUNDS = 1
SIDES = ("rungs", "stock", "stock set well")
CLOCKS = ("seconds", "processor")


def main() -> None:
    """Print tokens a second of each side, and the ratios."""
    if len(sys.argv) > 2 and sys.argv[1] in SIDES:
        folder = Path(sys.argv[2])
        told = ours(folder) if sys.argv[1] == SIDES[0] else stock(folder, sys.argv[1] == SIDES[1])
        print(json.dumps(told))
        return
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else STEPS
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else ROUNDS
    folder = HOMES / "training"
    shutil.rmtree(folder, ignore_errors=True)
    prepare(Path(sys.argv[1]), folder, steps)
    measured: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            one = in_its_own_process(side, folder)
            measured[side].append(one)
            speeds = [one["tokens"] / one[clock] for clock in CLOCKS]
            print(f"{side:<28} {speeds[0]:7.1f} tokens/s   {speeds[1]:7.1f} tokens/processor second   "
                  f"held-out loss {one['loss']:.4f}", flush=True)  # fmt: skip
    for side in SIDES[1:]:
        for clock in CLOCKS:
            own, other = (median(one["tokens"] / one[clock] for one in measured[name]) for name in (SIDES[0], side))
            print(f"ratio to {side}, by {clock}: {own / other:.2f}")


def in_its_own_process(side: str, folder: Path) -> dict[str, float]:
    """Train, and what came of it."""
    command = [sys.executable, "-m", "bench.training", side, str(folder)]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=offline)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def prepare(path: Path, folder: Path, steps: int) -> None:
    """A job of the first rows that the recipe would see, spread over all lengths."""
    model = open_model()
    given = read_rows(path, Unsaid(DECLINE, approved_by="bench", consent=True))
    rows = [row for example in given if len(row := row_of(model, example)) <= TOKENS_MAX]  # type: ignore[arg-type]
    recipe = Recipe(batch=BATCH, save_every=10_000)
    chosen = in_order(rows[HELD_OUT:], recipe)[: steps * BATCH]
    the = Job("bench", model.weights, HOMES / "models" / "training", recipe)  # type: ignore[attr-defined]
    job.write(folder, the, chosen, rows[:HELD_OUT])
    model.close()


@dataclass
class Clock:
    """Seconds, processor seconds and tokens at the end of each step."""

    marks: list[tuple[float, float, int]] = field(default_factory=list)

    def mark(self, tokens: int) -> None:
        """A step ended; so many tokens were seen so far."""
        self.marks.append((time.monotonic(), time.process_time(), tokens))

    def measured(self, loss: float) -> dict[str, float]:
        """Of all steps but the first."""
        seconds, processor, tokens = (last - first for first, last in zip(self.marks[0], self.marks[-1], strict=True))
        return {"seconds": seconds, "processor": processor, "tokens": tokens, "loss": loss}


def ours(folder: Path) -> dict[str, float]:
    """Our recipe on the job. It does not step aside for others here: neither does the peer."""
    from adapters import train, trainer

    clock = Clock()

    class Timed(trainer.Watch):
        def on_step_end(self, *given: Any, **named: Any) -> None:
            super().on_step_end(*given, **named)
            clock.mark(self.tokens)  # begins anew with the first step

    trainer.Watch = Timed  # type: ignore[misc]
    afresh(folder)
    train.train(folder)
    return clock.measured((job.result(folder) or {})["loss_held_out"])


def afresh(folder: Path) -> None:
    """Forget what an earlier run of this job came to: it would be gone on with."""
    for name in (job.RESULT, job.PROGRESS):
        (folder / name).unlink(missing_ok=True)
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


def stock(folder: Path, as_it_comes: bool) -> dict[str, float]:
    """The peer's process: SFTTrainer and LoraConfig with the same numbers, all else as it comes, or set well."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    the = job.read(folder)
    recipe = the.recipe
    weights = trainable(the.weights, the.cache)
    clock = Clock()

    class Marks(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock.mark(state.num_input_tokens_seen)

    def dataset(rows: list[Row]) -> Dataset:
        ids = [[*row.prompt, *row.completion] for row in rows]
        labels = [[-100] * len(row.prompt) + list(row.completion) for row in rows]
        return Dataset.from_dict({"input_ids": ids, "labels": labels})

    rows = job.rows(folder, job.TRAIN)
    rows = rows if as_it_comes else in_order(rows, recipe)
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32),
        args=SFTConfig(
            output_dir=str(folder / "stock"),
            per_device_train_batch_size=recipe.batch,
            per_device_eval_batch_size=recipe.batch,  # a batch's loss is its tokens' mean: other batches, another loss
            num_train_epochs=1,
            learning_rate=recipe.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=round(len(rows) / recipe.batch * recipe.warmup),
            gradient_checkpointing=as_it_comes,
            train_sampling_strategy="random" if as_it_comes else "sequential",
            include_num_input_tokens_seen="non_padding",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            bf16=False,
        ),
        train_dataset=dataset(rows),
        eval_dataset=dataset(job.rows(folder, job.VALIDATION)),
        processing_class=AutoTokenizer.from_pretrained(weights),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM", r=recipe.rank, lora_alpha=recipe.alpha, target_modules=list(recipe.targets)
        ),
        callbacks=[Marks()],
    )
    trainer.train()
    return clock.measured(trainer.evaluate()["eval_loss"])


if __name__ == "__main__":
    main()
