"""The recipe: rows in, a LoRA adapter out. Its own process: `python -m adapters.train FOLDER [--dry-run SECONDS]`.

Read `train` from top to bottom. `trl`'s SFTTrainer does the work on CPU and GPUs (`accelerate launch -m adapters.train`
runs the same on several); what is ours makes it quicker on a CPU (logits for answers only, batches of rows of equal
length, adapted matrices made once a step), lets it be killed at any moment and go on, and reports how far it is.
Knows no assistant: `job.py` says what is in the folder.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from adapters import checkpoints, job
from adapters.errors import AdapterError
from adapters.job import IGNORED, Job, Recipe, Row

LENGTH_JITTER = 24
"""Tokens by which lengths are blurred before rows of equal length are put together, so that batches vary."""


def main() -> int:
    """The process: train, and say in the folder what came of it."""
    parser = argparse.ArgumentParser(prog="python -m adapters.train", description="Train the job in a folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dry-run", type=float, metavar="SECONDS", help="measure for so long, keep nothing")
    arguments = parser.parse_args()
    _be_considerate()
    try:
        lock = job.claim(arguments.folder) if _is_first() else -1
        train(arguments.folder, arguments.dry_run)
    except Exception as error:  # the process's edge: whoever waits reads the reason in the folder
        told = str(error) if isinstance(error, AdapterError) else f"{type(error).__name__}: {error}"
        job.tell(arguments.folder, "failed", reason=told)
        print(told, file=sys.stderr)
        return 1
    if lock >= 0:
        os.close(lock)
    return 0


def train(folder: Path, dry_run: float | None = None) -> None:
    """Train the job in `folder`, from its last whole checkpoint if there is one.

    Args:
        folder: a job, as `job.write` made it.
        dry_run: seconds to train for; nothing is kept, and the speed is told.

    Raises:
        AdapterError: weights or rows cannot be read, the loss diverges, or there is no room for the adapter.
    """
    the = job.read(folder)
    rows, held_out = job.rows(folder, job.TRAIN), job.rows(folder, job.VALIDATION)
    if (folder / job.GENERAL).exists():
        rows += job.rows(folder, job.GENERAL)
    job.tell(folder, "stage", label="loading the model")
    model, tokenizer = _adapted(the)
    trainer = _trainer(folder, the, model, tokenizer, in_order(rows, the.recipe), held_out, dry_run)
    last = checkpoints.newest(folder) if dry_run is None else None
    job.tell(folder, "stage", label=f"going on from step {last.name.split('-')[1]}" if last else "training")
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    watch = trainer.watch
    if dry_run is not None:
        job.tell(folder, "speed", tokens_per_second=watch.speed(), peak_bytes=_peak_bytes(), steps=watch.steps_here)
        return
    if watch.stopped:
        job.tell(folder, "cancelled" if watch.stopped == "cancelled" else "failed", reason=watch.stopped)
        if watch.stopped != "cancelled":
            raise AdapterError(watch.stopped)
        return
    if _is_first():
        job.tell(folder, "stage", label="saving the adapter")
        _save_adapter(folder, model)
    loss = trainer.evaluate()["eval_loss"] if held_out else None  # every process has its share of it
    if _is_first():
        job.write_result(folder, {**watch.result(), "loss_held_out": loss})
        job.tell(folder, "trained")


def in_order(rows: Sequence[Row], recipe: Recipe) -> list[Row]:
    """All epochs laid out: each in batches of rows of like length, the batches shuffled, the odd rows last.

    The order follows from the seed alone, so that a training that goes on skips what it has seen.
    """
    laid: list[Row] = []
    for epoch in range(recipe.epochs):
        draw = random.Random(f"{recipe.seed} {epoch}")  # noqa: S311 - an order, no secret
        mixed = sorted(rows, key=lambda row: len(row) + draw.random() * LENGTH_JITTER)
        full = len(mixed) - len(mixed) % recipe.batch
        odd = mixed[full:]
        batches = [mixed[i : i + recipe.batch] for i in range(0, full, recipe.batch)]
        draw.shuffle(batches)
        laid += [row for batch in batches for row in batch] + (odd if epoch == recipe.epochs - 1 or not batches else [])
    return laid


def _adapted(the: Job) -> tuple[Any, Any]:
    """The frozen model with a fresh adapter on it, and its tokenizer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

    from adapters.fused import fuse
    from adapters.weights import trainable

    on_gpu = torch.cuda.is_available()
    if the.threads and not on_gpu:
        torch.set_num_threads(the.threads)
    weights = trainable(the.weights, the.cache)
    set_seed(the.recipe.seed)
    kind = torch.bfloat16 if on_gpu and torch.cuda.is_bf16_supported() else torch.float32
    try:
        base = AutoModelForCausalLM.from_pretrained(weights, dtype=kind, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(weights, local_files_only=True)
        lora = LoraConfig(
            task_type="CAUSAL_LM",
            r=the.recipe.rank,
            lora_alpha=the.recipe.alpha,
            target_modules=list(the.recipe.targets),
            lora_dropout=0.0,
            bias="none",
        )
        model = get_peft_model(base, lora, autocast_adapter_dtype=True)
    except (OSError, ValueError) as error:
        raise AdapterError(f"{weights} cannot be trained on ({error}).") from error
    fuse(model)
    return model, tokenizer


def _trainer(
    folder: Path, the: Job, model: Any, tokenizer: Any, rows: list[Row], held_out: list[Row], dry_run: float | None
) -> Any:
    """`trl`'s trainer, set to this job."""
    import torch
    from datasets import Dataset
    from trl import SFTConfig

    from adapters.trainer import AnswerTrainer, Collator, Watch

    on_gpu = torch.cuda.is_available()
    steps = math.ceil(len(rows) / (the.recipe.batch * _processes()))
    arguments = SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=the.recipe.batch,
        per_device_eval_batch_size=the.recipe.batch,
        num_train_epochs=1,  # the rows are laid out for all epochs
        learning_rate=the.recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(steps * the.recipe.warmup),
        weight_decay=0.0,
        max_grad_norm=1.0,
        seed=the.recipe.seed,
        train_sampling_strategy="sequential",
        gradient_checkpointing=False,
        bf16=on_gpu and torch.cuda.is_bf16_supported(),
        use_cpu=not on_gpu,
        logging_steps=1,
        save_strategy="no" if dry_run is not None else "steps",
        save_steps=the.recipe.save_every,
        eval_strategy="no",
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=on_gpu,
    )
    watch = Watch(folder, steps, sum(map(len, rows)), dry_run)

    def dataset(rows: Sequence[Row]) -> Dataset:
        ids = [[*row.prompt, *row.completion] for row in rows]
        labels = [[IGNORED] * len(row.prompt) + list(row.completion) for row in rows]
        return Dataset.from_dict({"input_ids": ids, "labels": labels})

    return AnswerTrainer(
        model=model,
        args=arguments,
        train_dataset=dataset(rows),
        eval_dataset=dataset(held_out) if held_out else None,
        processing_class=tokenizer,
        data_collator=Collator(tokenizer.pad_token_id or tokenizer.eos_token_id or 0),
        watch=watch,
    )


def _save_adapter(folder: Path, model: Any) -> None:
    """PEFT's two files in half precision, whole or not there; neither a path of this machine nor a pickle in them."""
    import shutil

    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    part, target = folder / f".{job.ADAPTER}.part", folder / job.ADAPTER
    tensors = {
        name: tensor.detach().to("cpu", torch.float16) for name, tensor in get_peft_model_state_dict(model).items()
    }
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise AdapterError("the trained weights are not finite: the loss diverged. Lower the learning rate.")
    config = model.peft_config["default"]
    config.base_model_name_or_path = None
    config.inference_mode = True
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        config.save_pretrained(part)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part / "adapter_model.safetensors")
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise AdapterError(
            f"the adapter cannot be saved in {folder} ({error.strerror or error}). Make room and train on: the last "
            "checkpoint is kept."
        ) from error


def _be_considerate() -> None:
    """Leave the network alone, and let whoever answers questions go first."""
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")
    os.environ.update(HF_HUB_DISABLE_PROGRESS_BARS="1", TRANSFORMERS_VERBOSITY="error", TQDM_DISABLE="1")
    warnings.filterwarnings("ignore")
    step_aside()


def step_aside() -> None:
    """Let this process, and the session that it leads, come after everybody else.

    Where Linux shares time out by sessions first, a nice value counts within one only. A session that somebody else
    leads stays as it is: a server or a shell may live in it.
    """
    os.nice(19)
    if os.getsid(0) == os.getpid():
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text("19", encoding="ascii")


def _processes() -> int:
    """How many train together, where `accelerate launch` started several."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _is_first() -> bool:
    """Whether this is the process that writes, where `accelerate launch` started several."""
    return os.environ.get("RANK", "0") == "0"


def _peak_bytes() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
