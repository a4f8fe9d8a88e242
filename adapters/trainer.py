"""What the recipe changes in `trl`'s trainer: logits for answers only, checkpoints without pickles, a watch.

Imported by `train.py` alone, in the process that trains: it needs the extra `train`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTTrainer

from adapters import checkpoints, job
from adapters.job import IGNORED

ADAPTER_TENSORS, OPTIMIZER_TENSORS, SCHEDULE = "adapter.safetensors", "optimizer.safetensors", "schedule.json"
TRAINER_STATE = "trainer_state.json"
SMOOTHED = 20
"""Steps over which the loss is averaged before it is judged."""
DIVERGED = ((SMOOTHED, 1.0), (2, 2.0))
"""(first steps, nats above their mean loss at which training is stopped). Two tell little, hence the wider margin;
but where the loss leaps at the third, the mean of more would take the leap for the beginning."""


class Collator:
    """Rows to a batch, padded on the left: the answers then end together, and only the last columns need logits."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: Sequence[Mapping[str, list[int]]]) -> dict[str, Tensor]:
        """(rows, longest) tensors: input_ids, attention_mask, position_ids, labels."""
        longest = max(len(row["input_ids"]) for row in rows)

        def padded(name: str, pad: int) -> Tensor:
            return torch.tensor([[pad] * (longest - len(row[name])) + list(row[name]) for row in rows])

        mask = torch.tensor([[0] * (longest - len(r["input_ids"])) + [1] * len(r["input_ids"]) for r in rows])
        return {
            "input_ids": padded("input_ids", self.pad),
            "attention_mask": mask,
            "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
            "labels": padded("labels", IGNORED),
        }


class Watch(TrainerCallback):  # type: ignore[misc]
    """Reports every step, stops when asked to or when the loss diverges."""

    def __init__(self, folder: Path, steps: int, tokens: int, dry_run: float | None) -> None:
        self.folder, self.steps, self.dry_run = folder, steps, dry_run
        self.tokens_per_step = tokens / max(1, steps)
        self.losses: list[float] = []
        self.stopped: str = ""
        self.steps_here = 0
        self.tokens = 0
        self.tokens_before = 0
        self._started = self._measured_from = time.monotonic()
        self._seconds_before = 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Take up the losses of an earlier run."""
        seen = [line for line in job.told(self.folder) if line["kind"] == "step" and line["step"] <= state.global_step]
        if state.global_step and seen:
            by_step = {line["step"]: line for line in seen}
            self.losses = [by_step[step]["loss"] for step in sorted(by_step)]
            self._seconds_before = float(seen[-1]["seconds"])
            self.tokens_before = int(seen[-1]["tokens"])
        self._started = self._measured_from = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Notice a wish to stop; the first step, which is slower, is not counted as speed."""
        self.steps_here += 1
        if self.steps_here == 1:
            self._measured_from, self.tokens_before = time.monotonic(), self.tokens_before + self.tokens
            self.tokens = 0
        if self.dry_run is not None and _any(time.monotonic() - self._started >= self.dry_run, args):
            control.should_training_stop = True
        if _any((self.folder / job.CANCEL).exists(), args):
            control.should_training_stop = control.should_save = True
            self.stopped = "cancelled"

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Tell a step with its loss; judge the loss."""
        if not logs or "loss" not in logs:
            return
        self.losses.append(float(logs["loss"]))
        speed = self.speed()
        left = (self.steps - state.global_step) * self.tokens_per_step
        if state.is_world_process_zero and self.dry_run is None:
            job.tell(
                self.folder,
                "step",
                step=state.global_step,
                steps=self.steps,
                loss=round(self.losses[-1], 4),
                loss_smoothed=round(fmean(self.losses[-SMOOTHED:]), 4),
                learning_rate=logs.get("learning_rate"),
                tokens=self.tokens_before + self.tokens,
                tokens_per_second=round(speed, 1) if speed else None,
                seconds=round(self.seconds(), 1),
                seconds_left=round(left / speed) if speed else None,
            )
        if has_diverged(self.losses):
            control.should_training_stop = True
            self.stopped = (
                f"the loss diverged at step {state.global_step} (from {fmean(self.losses[:2]):.2f} to "
                f"{self.losses[-1]:.2f}). Lower the learning rate, or look at the rows; nothing was kept of it."
            )

    def speed(self) -> float | None:
        """Tokens per second since the first step of this run, prompts included, padding not."""
        seconds = time.monotonic() - self._measured_from
        return self.tokens / seconds if self.tokens and seconds > 0 else None

    def seconds(self) -> float:
        """Time spent training, earlier runs included."""
        return self._seconds_before + time.monotonic() - self._started

    def result(self) -> dict[str, Any]:
        """What a card says about the training."""
        return {
            "loss_first": round(fmean(self.losses[:SMOOTHED]), 4),
            "loss_last": round(fmean(self.losses[-SMOOTHED:]), 4),
            "seconds": round(self.seconds(), 1),
            "tokens": self.tokens_before + self.tokens,
            "tokens_per_second": round(self.speed() or 0.0, 1),
            "steps": self.steps,
        }


class AnswerTrainer(SFTTrainer):  # type: ignore[misc]
    """SFTTrainer that computes logits where answers stand, and whose checkpoints verify and hold no pickle."""

    def __init__(self, *, watch: Watch, **settings: Any) -> None:
        super().__init__(callbacks=[watch], **settings)
        self.remove_callback(PrinterCallback)
        self.watch = watch

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Mean negative log-likelihood of the answers' tokens, nats."""
        labels = inputs.pop("labels")
        if model.training:
            self.watch.tokens += int(inputs["attention_mask"].sum()) * self.accelerator.num_processes
        first = int((labels != IGNORED).any(0).int().argmax())
        kept = labels.shape[1] - first + 1  # the token before the first answer token predicts it
        outputs = model(**inputs, logits_to_keep=kept, use_cache=False)
        targets = labels[:, first:]
        learned = targets != IGNORED
        loss = cross_entropy(outputs.logits[:, :-1][learned].float(), targets[learned], reduction="sum")
        loss = loss / (learned.sum() if num_items_in_batch is None else num_items_in_batch)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if not self.args.should_save:
            return
        try:
            with checkpoints.making(self.watch.folder, self.state.global_step) as folder:
                save_file(_contiguous(get_peft_model_state_dict(self.model)), folder / ADAPTER_TENSORS)
                save_file(_contiguous(self._moments()), folder / OPTIMIZER_TENSORS)
                (folder / SCHEDULE).write_text(json.dumps(self.lr_scheduler.state_dict()), encoding="utf-8")
                self.state.save_to_json(str(folder / TRAINER_STATE))
        except OSError as error:
            job.tell(
                self.watch.folder,
                "warning",
                reason=f"the checkpoint of step {self.state.global_step} could not be saved "
                f"({error.strerror or error}); training goes on.",
            )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        tensors = load_file(Path(resume_from_checkpoint) / ADAPTER_TENSORS)
        set_peft_model_state_dict(self.model, tensors)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        moments = load_file(Path(checkpoint) / OPTIMIZER_TENSORS)
        for name, parameter in self._trained().items():
            self.optimizer.state[parameter] = {
                key: moments[f"{key}/{name}"].to("cpu" if key == "step" else parameter.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }
        self.lr_scheduler.load_state_dict(json.loads((Path(checkpoint) / SCHEDULE).read_text(encoding="utf-8")))
        for group, rate in zip(self.optimizer.param_groups, self.lr_scheduler.get_last_lr(), strict=True):
            group["lr"] = rate

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Nothing is drawn while training: no dropout, and the order of rows is laid out beforehand."""

    def _trained(self) -> dict[str, torch.nn.Parameter]:
        return {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}

    def _moments(self) -> dict[str, Tensor]:
        """Adam's state by parameter, named `exp_avg/NAME`."""
        state: Mapping[Any, Mapping[Literal["step", "exp_avg", "exp_avg_sq"], Any]] = self.optimizer.state
        return {
            f"{key}/{name}": torch.as_tensor(value)
            for name, parameter in self._trained().items()
            for key, value in state[parameter].items()
        }


def _any(here: bool, args: TrainingArguments) -> bool:
    """Whether it is so in any of the processes that train together: one that stopped alone would keep the others."""
    if args.world_size == 1:
        return here
    told = torch.tensor([int(here)], device=args.device)
    torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
    return bool(told.item())


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def has_diverged(losses: Sequence[float]) -> bool:
    """Whether a training can be given up: a loss that is no number, or well above where it began."""
    if losses and not math.isfinite(losses[-1]):
        return True
    return any(
        len(losses) >= first + SMOOTHED and fmean(losses[-SMOOTHED:]) > fmean(losses[:first]) + above
        for first, above in DIVERGED
    )
