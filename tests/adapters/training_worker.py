"""Trains a job in a forked child again and again, each child killed where the line on standard input says.

The heavy imports happen once. A line is `FOLDER MOMENT NUMBER`: `step 7` kills with SIGKILL at the beginning of the
seventh step of that child, `disk 3` at its third disk operation while a checkpoint is saved, `full 0` leaves no room on
the disk, `none 0` lets it end.
Answers a line with the child's exit status.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import warnings
from pathlib import Path

import safetensors.torch
import torch
from transformers import TrainerCallback

import adapters.checkpoints
import adapters.trainer
from adapters import train


class Killer(TrainerCallback):
    """Kills this process at a step."""

    def __init__(self, at: int) -> None:
        self.left = at

    def on_step_begin(self, *_: object, **__: object) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_at_disk_operation(at: int) -> None:
    """Every write, sync and rename of a checkpoint counts; the process dies right before one."""
    left = [at]

    def counted(original):  # type: ignore[no-untyped-def]
        def call(*args, **kwargs):  # type: ignore[no-untyped-def]
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        return call

    adapters.trainer.save_file = counted(adapters.trainer.save_file)
    adapters.checkpoints.os.fsync = counted(os.fsync)
    adapters.checkpoints.sync = counted(adapters.checkpoints.sync)
    adapters.checkpoints.Path.rename = counted(Path.rename)


def fill_the_disk() -> None:
    """Neither a checkpoint nor the adapter finds room."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    adapters.trainer.save_file = full
    safetensors.torch.save_file = full


def child(folder: Path, moment: str, number: int) -> int:
    """Train, to the end or to the kill."""
    if moment == "disk":
        kill_at_disk_operation(number)
    if moment == "full":
        fill_the_disk()
    if moment == "step":
        original = adapters.trainer.AnswerTrainer.__init__

        def init(self, **settings):  # type: ignore[no-untyped-def]
            original(self, **settings)
            self.add_callback(Killer(number))

        adapters.trainer.AnswerTrainer.__init__ = init
    sys.argv = ["train", str(folder)]
    return train.main()


def main() -> None:
    """Serve lines until standard input ends."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        folder, moment, number = line.rsplit(" ", 2)
        pid = os.fork()
        if pid == 0:
            status = child(Path(folder), moment, int(number))
            sys.stdout.flush()
            os._exit(status)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
