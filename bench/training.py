"""Training speed against stock `trl`: `python -m bench.training ROWS.jsonl [STEPS] [ROUNDS]`.

The same rows and the same number of rows a step, both sides in processes of their own, taking turns. The peer is
`trl.SFTTrainer` as it comes (its defaults, which recompute activations), and once more without recomputing. Tokens a
second count prompts and answers, not padding. The held-out loss after as many rows is printed beside it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
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
HELD_OUT = 24
STEPS = 12
ROUNDS = 3


def main() -> None:
    """Print tokens a second of each side, and the ratios."""
    if len(sys.argv) > 2 and sys.argv[1] == "stock":
        stock(Path(sys.argv[2]), sys.argv[3] == "recompute")
        return
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else STEPS
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else ROUNDS
    folder = HOMES / "training"
    shutil.rmtree(folder, ignore_errors=True)
    prepare(Path(sys.argv[1]), folder, steps)
    sides = {
        "rungs": ours,
        "stock": lambda folder: peer(folder, "recompute"),
        "stock without recomputing": lambda folder: peer(folder, "keep"),
    }
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, train in sides.items():
            one = train(folder)
            measured[name].append(one["tokens_per_second"])
            print(f"{name:<28} {measured[name][-1]:7.1f} tokens/s   held-out loss {one['loss']:.4f}", flush=True)
    speeds = {name: median(rounds) for name, rounds in measured.items()}
    for name in list(sides)[1:]:
        print(f"ratio to {name}: {speeds['rungs'] / speeds[name]:.2f}")


def prepare(path: Path, folder: Path, steps: int) -> None:
    """A job of the first rows that the recipe would see, spread over all lengths."""
    model = open_model()
    rows = [row_of(model, example) for example in read_rows(path, Unsaid(DECLINE, approved_by="bench", consent=True))]
    recipe = Recipe(batch=BATCH, save_every=10_000)
    chosen = in_order(rows[HELD_OUT:], recipe)[: steps * BATCH]
    the = Job("bench", model.weights, HOMES / "models" / "training", recipe)  # type: ignore[attr-defined]
    job.write(folder, the, chosen, rows[:HELD_OUT])
    model.close()


def ours(folder: Path) -> dict[str, Any]:
    """Our recipe on the job."""
    for name in (job.RESULT, job.PROGRESS):
        (folder / name).unlink(missing_ok=True)
    subprocess.run([sys.executable, "-m", "adapters.train", str(folder)], check=True, stdout=subprocess.DEVNULL)
    result = job.result(folder) or {}
    return {"tokens_per_second": result["tokens_per_second"], "loss": result["loss_held_out"]}


def peer(folder: Path, how: str) -> dict[str, Any]:
    """Stock `trl` on the job."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.training", "stock", str(folder), how], check=True, capture_output=True, text=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def stock(folder: Path, recompute: bool) -> None:
    """The peer's process: SFTTrainer and LoraConfig with the same numbers, everything else as it comes."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    the = job.read(folder)
    recipe = the.recipe
    weights = trainable(the.weights, the.cache)
    clock: dict[str, float] = {}

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock.setdefault("first", time.monotonic())  # the first step is slower on both sides, and counted on none
            clock["last"] = time.monotonic()

    def dataset(rows: list[Row]) -> Dataset:
        ids = [[*row.prompt, *row.completion] for row in rows]
        labels = [[-100] * len(row.prompt) + list(row.completion) for row in rows]
        return Dataset.from_dict({"input_ids": ids, "labels": labels})

    rows = job.rows(folder, job.TRAIN)
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32),
        args=SFTConfig(
            output_dir=str(folder / "stock"),
            per_device_train_batch_size=recipe.batch,
            num_train_epochs=1,
            learning_rate=recipe.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=round(len(rows) / recipe.batch * recipe.warmup),
            gradient_checkpointing=recompute,
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
        callbacks=[Clock()],
    )
    trainer.train()
    tokens = sum(map(len, rows)) * (1 - recipe.batch / len(rows))
    speed = tokens / (clock["last"] - clock["first"])
    print(json.dumps({"tokens_per_second": speed, "loss": trainer.evaluate()["eval_loss"]}))


if __name__ == "__main__":
    main()
