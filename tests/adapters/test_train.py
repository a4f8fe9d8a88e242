"""Training: the recipe learns, can be killed at any moment, stops when it should, and keeps nothing half."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters import checkpoints, job, train
from adapters.errors import AdapterError
from adapters.job import Job, Recipe
from tests.adapters import tiny

ROOT = Path(__file__).resolve().parents[2]
RECIPE = Recipe(rank=4, alpha=8, learning_rate=0.01, batch=4, save_every=5, epochs=2)
ROWS, HELD_OUT = 80, 12
KILLS_IN_STEPS = (3, 7, 1, 9, 2, 6, 4, 8, 5, 6)
KILLS_WHILE_SAVING = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
Trains = Callable[[Path, str, int], int]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def trains() -> Iterator[Trains]:
    """Train a folder in a process that imported everything already; returns the exit status."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.adapters.training_worker"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert worker.stdin and worker.stdout
    assert worker.stdout.readline() == "ready\n"

    def run(folder: Path, moment: str = "none", number: int = 0) -> int:
        assert worker.stdin and worker.stdout
        worker.stdin.write(f"{folder} {moment} {number}\n")
        worker.stdin.flush()
        return int(worker.stdout.readline())

    yield run
    worker.stdin.close()
    worker.wait(30)
    worker.stdout.close()


@pytest.fixture
def make(weights: Path, tmp_path: Path) -> Callable[..., Path]:
    def make(name: str = "job", recipe: Recipe = RECIPE, rows: int = ROWS) -> Path:
        folder = tmp_path / name
        job.write(folder, Job("tiny", weights, tmp_path / "cache", recipe), tiny.rows(rows), tiny.rows(HELD_OUT, 2))
        return folder

    return make


def test_an_adapter_is_learned_and_its_files_are_clean(make: Callable[..., Path], trains: Trains) -> None:
    folder = make(recipe=replace(RECIPE, learning_rate=0.02))
    assert trains(folder, "none", 0) == 0
    result = job.result(folder)
    assert result is not None
    assert result["loss_last"] < 0.8 * result["loss_first"]
    assert result["steps"] == 2 * ROWS / 4
    config = json.loads((folder / job.ADAPTER / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] is None
    assert config["task_type"] == "CAUSAL_LM"
    assert sorted(path.name for path in (folder / job.ADAPTER).iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    pickles = [path for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
    assert not pickles
    state = job.state(folder)
    assert state["stage"] == "trained"
    assert state["step"] == state["steps"] == result["steps"]
    assert len(state["curve"]) == result["steps"]
    assert state["tokens_per_second"] > 0
    assert not job.is_running(folder)


def test_twenty_kills_end_where_an_undisturbed_run_ends(make: Callable[..., Path], trains: Trains) -> None:
    calm, killed = make("calm"), make("killed")
    assert trains(calm, "none", 0) == 0
    for number in KILLS_IN_STEPS:
        assert trains(killed, "step", number) == -signal.SIGKILL
    before = checkpoints.newest(killed)
    assert before is not None
    for number in KILLS_WHILE_SAVING:
        assert trains(killed, "disk", number) == -signal.SIGKILL
        assert checkpoints.newest(killed) is not None
        assert not job.is_running(killed)
    assert trains(killed, "none", 0) == 0
    want, got = job.result(calm), job.result(killed)
    assert want is not None and got is not None
    assert got["loss_held_out"] == pytest.approx(want["loss_held_out"], rel=0.01)
    assert got["loss_last"] == pytest.approx(want["loss_last"], rel=0.01)
    assert got["steps"] == want["steps"]
    assert got["tokens"] == want["tokens"]


def test_a_damaged_checkpoint_is_passed_over(make: Callable[..., Path], trains: Trains) -> None:
    folder = make()
    assert trains(folder, "step", 12) == -signal.SIGKILL
    newest = checkpoints.newest(folder)
    assert newest is not None and newest.name == "checkpoint-10"
    tensors = newest / "optimizer.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-7])
    assert checkpoints.newest(folder) == folder / "checkpoint-5"
    assert trains(folder, "none", 0) == 0
    assert "going on from step 5" in [line.get("label") for line in job.told(folder)]


def test_a_wish_to_stop_keeps_a_checkpoint_to_go_on_from(make: Callable[..., Path], trains: Trains) -> None:
    folder = make()
    job.cancel(folder)
    assert trains(folder, "none", 0) == 0
    assert job.state(folder)["stage"] == "cancelled"
    assert job.result(folder) is None
    assert checkpoints.newest(folder) == folder / "checkpoint-1"
    (folder / job.CANCEL).unlink()
    assert trains(folder, "none", 0) == 0
    assert job.result(folder)


@pytest.mark.parametrize("wild", [{"warmup": 0.9}, {"alpha": 4000.0}], ids=["slowly", "at once"])
def test_a_loss_that_diverges_stops_the_training_and_is_said(
    wild: dict[str, float], weights: Path, tmp_path: Path, trains: Trains
) -> None:
    """Its rows are what the model says by itself: steps that are far too wide can only make it worse."""
    recipe = replace(RECIPE, learning_rate=0.1, epochs=4, **wild)
    folder, rows = tmp_path / "job", tiny.own_answers(weights, tiny.rows(ROWS))
    job.write(folder, Job("tiny", weights, tmp_path / "cache", recipe), rows, rows[:HELD_OUT])
    assert trains(folder, "none", 0) == 1
    state = job.state(folder)
    assert state["stage"] == "failed"
    assert "diverged" in state["reason"]
    assert "Lower the learning rate" in state["reason"]
    assert not (folder / job.ADAPTER).exists()


def test_a_full_disk_costs_checkpoints_and_is_said_and_the_training_goes_on_once_there_is_room(
    make: Callable[..., Path], trains: Trains
) -> None:
    folder = make()
    assert trains(folder, "full", 0) == 1
    state = job.state(folder)
    assert state["step"] == state["steps"], "the training itself went on"
    assert "No space left" in state["warning"]["reason"] and "training goes on" in state["warning"]["reason"]
    assert "Make room" in state["reason"] and "No space left" in state["reason"]
    assert job.result(folder) is None and not (folder / job.ADAPTER).exists()
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]
    assert trains(folder, "none", 0) == 0
    assert job.result(folder) is not None


def test_two_processes_train_together_by_the_same_recipe(make: Callable[..., Path]) -> None:
    """Each gets what `accelerate launch` tells the processes that it starts."""
    folder = make()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    together = [
        subprocess.Popen(
            [sys.executable, "-m", "adapters.train", str(folder)],
            cwd=ROOT,
            env={**os.environ, **told, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.DEVNULL,
        )
        for rank in ("0", "1")
    ]
    try:
        assert [process.wait(300) for process in together] == [0, 0]
    finally:
        for process in together:
            process.kill()
    result = job.result(folder)
    assert result is not None and result["steps"] == ROWS * RECIPE.epochs / (2 * RECIPE.batch)
    state = job.state(folder)
    assert state["step"] == result["steps"] == len(state["curve"])
    assert result["loss_held_out"] < state["curve"][0][1]


def test_a_training_steps_aside_without_the_session_that_it_was_started_in(tmp_path: Path) -> None:
    here = Path("/proc/self/autogroup")
    if not here.exists():
        pytest.skip("this system does not share time out by sessions")
    train_nothing = f"{sys.executable} -m adapters.train {tmp_path} 2> /dev/null; cat {here}"
    done = subprocess.run(["sh", "-c", train_nothing], cwd=ROOT, capture_output=True, text=True, start_new_session=True)
    assert done.stdout.strip().endswith("nice 0")


def test_one_job_is_trained_by_one_process(make: Callable[..., Path], trains: Trains) -> None:
    import os

    folder = make()
    descriptor = job.claim(folder)
    assert job.is_running(folder)
    assert trains(folder, "none", 0) == 1
    assert "is being trained already" in job.state(folder)["reason"]
    os.close(descriptor)
    assert not job.is_running(folder)


def test_epochs_are_laid_out_in_batches_of_like_length() -> None:
    rows = tiny.rows(40)
    laid = train.in_order(rows, RECIPE)
    assert len(laid) == 80
    assert sorted(map(repr, laid[:40])) == sorted(map(repr, rows))
    assert laid == train.in_order(list(rows), RECIPE)
    assert laid[:40] != laid[40:]
    padding = sum(
        max(map(len, batch)) - len(row) for i in range(0, 80, 4) for batch in [laid[i : i + 4]] for row in batch
    )
    unsorted = [*rows, *rows]
    plain = sum(
        max(map(len, batch)) - len(row) for i in range(0, 80, 4) for batch in [unsorted[i : i + 4]] for row in batch
    )
    assert padding < 0.8 * plain


def test_fewer_rows_than_a_batch_are_all_trained_on() -> None:
    assert len(train.in_order(tiny.rows(3), RECIPE)) == 6
    assert len(train.in_order(tiny.rows(5), replace(RECIPE, epochs=1))) == 5


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rank": 0}, "rank"),
        ({"learning_rate": 0.0}, "learning rate"),
        ({"epochs": 0}, "epochs"),
        ({"batch": 0}, "batch"),
        ({"warmup": 1.0}, "warmup"),
        ({"alpha": -1.0}, "alpha"),
        ({"save_every": 0}, "save_every"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(change: dict[str, float], named: str) -> None:
    with pytest.raises(AdapterError, match=named):
        replace(RECIPE, **change)


def test_a_job_without_rows_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="no row"):
        job.write(tmp_path / "job", Job("tiny", weights, tmp_path), [], [])


def test_a_folder_that_is_no_job_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="no training job"):
        job.read(tmp_path)


def test_progress_that_was_cut_off_is_read_without_its_last_line(tmp_path: Path) -> None:
    job.tell(tmp_path, "stage", label="training")
    with (tmp_path / job.PROGRESS).open("a") as file:
        file.write('{"kind": "st')
    assert [line["kind"] for line in job.told(tmp_path)] == ["stage"]


def test_adapted_layers_compute_what_peft_computes() -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from torch import nn

    from adapters.fused import fuse

    torch.manual_seed(0)
    model = get_peft_model(
        nn.Sequential(nn.Linear(24, 40, bias=False)), LoraConfig(r=4, lora_alpha=8, target_modules=["0"])
    )
    layer = model.base_model.model[0]
    nn.init.normal_(layer.lora_B["default"].weight)
    x = torch.randn(3, 7, 24, requires_grad=True)

    def results() -> list[torch.Tensor]:
        model.zero_grad()
        x.grad = None
        y = layer(x)
        (y * torch.arange(40.0)).sum().backward()
        assert x.grad is not None
        grads = [layer.lora_A["default"].weight.grad, layer.lora_B["default"].weight.grad]
        return [y.detach(), x.grad.clone(), *[g.clone() for g in grads]]

    plain = results()
    assert fuse(model) == 1
    for got, want in zip(results(), plain, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
