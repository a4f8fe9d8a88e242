"""What is taken for an adapter, and that nothing hostile is: refused in words, and never run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.checks import BaseModel, check_folder, check_name, check_revision
from adapters.errors import AdapterError
from adapters.strict_json import parse
from tests.adapters import hostile
from tests.adapters.samples import BASE, RANK, SHAPES, TARGETS, adapter, safetensors, tensors

ROOT = Path(__file__).resolve().parents[2]
PWNED = Path(hostile.__file__).parent / "pwned"


def test_an_adapter_that_fits_is_taken(tmp_path: Path) -> None:
    checked = check_folder(adapter(tmp_path / "a"), BASE)
    assert (checked.lora.rank, checked.lora.alpha, checked.lora.targets) == (RANK, 8.0, TARGETS)
    assert sorted(checked.files) == ["adapter_config.json", "adapter_model.safetensors"]
    assert check_revision(checked.revision)


def test_what_peft_writes_is_taken(tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    class Attention(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q_proj = torch.nn.Linear(8, 8, bias=False)

        def prepare_inputs_for_generation(self) -> None:
            """PEFT looks for it in a causal model."""

    model: Any = get_peft_model(Attention(), LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    model.save_pretrained(str(tmp_path / "a"))
    assert (tmp_path / "a" / "README.md").exists()
    assert check_folder(tmp_path / "a", BaseModel("one", ("0" * 12,), {"q_proj": (8, 8)})).lora.rank == 2


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_half_precision_is_taken(tmp_path: Path, kind: str) -> None:
    made = {
        name: values.astype(np.float16) if kind == "F16" else (values.view(np.uint32) >> 16).astype(np.uint16)
        for name, values in tensors().items()
    }
    assert check_folder(adapter(tmp_path / "a", made=made), BASE)


@pytest.mark.parametrize(
    "config",
    [
        {"base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct"},
        {"target_modules": "all-linear"},
        {"target_modules": sorted(SHAPES)},
        {"use_rslora": True},
        {"alora_invocation_tokens": [1, 520, 9531, 198]},
        {"init_lora_weights": "gaussian"},
        {"peft_version": "0.21.2.dev0@unknown"},
        {"something_new": None},
        {"something_new": {}},
    ],
)
def test_what_changes_nothing_may_be_said(tmp_path: Path, config: dict[str, Any]) -> None:
    assert check_folder(adapter(tmp_path / "a", config=config), BASE).lora.rank == RANK


@pytest.mark.parametrize("kind", hostile.KINDS)
def test_a_hostile_folder_is_refused_in_words(tmp_path: Path, kind: str) -> None:
    damage, says = hostile.KINDS[kind]
    folder = adapter(tmp_path / "a")
    damage(folder)
    with pytest.raises(AdapterError, match=says) as refusal:
        check_folder(folder, BASE)
    assert len(str(refusal.value)) < 600 and str(refusal.value).isprintable()
    assert not PWNED.exists()


def test_there_are_many_kinds_of_hostile_folders() -> None:
    assert len(hostile.KINDS) >= 30


def test_nothing_is_imported_run_or_opened_elsewhere_while_hostile_folders_are_read(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.adapters.hostile", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert {name: outcome for name, (outcome, _) in told["outcomes"].items() if outcome != "refused"} == {}
    assert told["events"] == []
    assert max(seconds for _, seconds in told["outcomes"].values()) < 5
    assert not PWNED.exists()


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a")
    path = folder / "adapter_model.safetensors"
    whole = path.read_bytes()
    for keep in (*range(0, 64), *range(64, len(whole), 97), len(whole) - 1):
        path.write_bytes(whole[:keep])
        with pytest.raises(AdapterError):
            check_folder(folder, BASE)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 3000), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_harmless(tmp_path: Path, place: int, value: int) -> None:
    folder = tmp_path / "a"
    if not folder.exists():
        adapter(folder)
    whole = bytearray(safetensors(tensors()))
    whole[place] = value
    (folder / "adapter_model.safetensors").write_bytes(bytes(whole))
    try:
        check_folder(folder, BASE)
    except AdapterError as refusal:
        assert str(refusal).isprintable()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")))
def test_any_configuration_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "a"
    if not folder.exists():
        adapter(folder)
    (folder / "adapter_config.json").write_bytes(content)
    with pytest.raises(AdapterError):
        check_folder(folder, BASE)


@pytest.mark.parametrize(
    "text", ["[" * 4_000_000, '"' + '\\"' * 2_000_000 + "\\", '{"' + "a" * 4_000_000, '"\\' * 2_000_000]
)
def test_no_json_takes_long(text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(AdapterError):
        parse(text.encode(), "it", 4)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("name", ["a", "support", "site-2_b", "x" * 64])
def test_plain_names_are_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "a/b", "../a", "/a", "a\\b", "A", "support\n", " support", "-a", "a-", "x" * 65, "none", "a.b",
        "\u0430dapter", "ad\u200bapter", "\u202eretpada", "\uff41", "a\0b", ".incoming-1", "__base__", "~a", "a b", "é",
    ],
)  # fmt: skip
def test_names_that_trick_are_refused(name: str) -> None:
    with pytest.raises(AdapterError, match="no name"):
        check_name(name)


@pytest.mark.parametrize(
    "revision", ["", "..", "0123456789a", "0123456789abc", "0123456789AB", "01234567/9ab", "٠" * 12]
)
def test_what_is_no_revision_is_refused(revision: str) -> None:
    with pytest.raises(AdapterError, match="no revision"):
        check_revision(revision)


def test_a_rank_that_a_matrix_cannot_have_is_refused(tmp_path: Path) -> None:
    rank = 20
    with pytest.raises(AdapterError, match="more than"):
        check_folder(adapter(tmp_path / "a", config={"r": rank}, made=tensors(rank=rank)), BASE)


def test_a_link_to_a_good_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(adapter(tmp_path / "a"))
    for place in (tmp_path / "link", tmp_path / "missing", tmp_path / "a" / "adapter_config.json"):
        with pytest.raises(AdapterError, match="no folder"):
            check_folder(place, BASE)
