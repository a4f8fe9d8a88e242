"""What is exported and what is refused, on a small base file with random weights."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.errors import AdapterError
from adapters.export import export

HIDDEN, KV, INNER, RANK = 64, 32, 96, 4
SHAPES = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (KV, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
CONFIG = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "bias": "none", "target_modules": ["q_proj"]}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    from gguf import GGUFWriter

    path = tmp_path / "base.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    names = {"attn_q": (HIDDEN, HIDDEN), "attn_k": (KV, HIDDEN), "ffn_down": (HIDDEN, INNER)}
    for name, shape in names.items():
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tensors(rank: int = RANK) -> dict[str, Any]:
    numbers = np.random.default_rng(1)
    made = {}
    for module, (out, inner) in SHAPES.items():
        where = f"base_model.model.model.layers.0.{module}"
        made[f"{where}.lora_A.weight"] = numbers.normal(size=(rank, inner)).astype(np.float32)
        made[f"{where}.lora_B.weight"] = numbers.normal(size=(out, rank)).astype(np.float32)
    return made


def peft_folder(path: Path, config: dict[str, Any] | None = None, made: dict[str, Any] | None = None) -> Path:
    from safetensors.numpy import save_file

    path.mkdir()
    (path / "adapter_config.json").write_text(json.dumps({**CONFIG, **(config or {})}))
    save_file(tensors() if made is None else made, path / "adapter_model.safetensors")
    return path


def test_every_pair_arrives_under_its_gguf_name_with_alpha(base: Path, tmp_path: Path) -> None:
    from gguf import GGUFReader

    made = tensors()
    out = export(peft_folder(tmp_path / "a"), tmp_path / "sub" / "out.gguf", base)
    reader = GGUFReader(out)
    assert reader.fields["general.type"].contents() == "adapter"
    assert reader.fields["adapter.type"].contents() == "lora"
    assert reader.fields["adapter.lora.alpha"].contents() == 8.0
    stored = {tensor.name: tensor.data for tensor in reader.tensors}
    assert len(stored) == 6
    down = "base_model.model.model.layers.0.mlp.down_proj"
    assert np.array_equal(stored["blk.0.ffn_down.weight.lora_a"], made[f"{down}.lora_A.weight"])
    assert np.array_equal(stored["blk.0.ffn_down.weight.lora_b"], made[f"{down}.lora_B.weight"])
    assert [entry.name for entry in out.parent.iterdir()] == ["out.gguf"]


def test_query_and_key_rows_take_the_rotary_order_of_their_heads(base: Path, tmp_path: Path) -> None:
    from gguf import GGUFReader

    made = tensors()
    stored = {
        t.name: t.data for t in GGUFReader(export(peft_folder(tmp_path / "a"), tmp_path / "o.gguf", base)).tensors
    }
    for short, gguf, heads in (("q_proj", "attn_q", 4), ("k_proj", "attn_k", 2)):
        before = made[f"base_model.model.model.layers.0.self_attn.{short}.lora_B.weight"]
        after = stored[f"blk.0.{gguf}.weight.lora_b"]
        size = before.shape[0] // heads
        for row in range(before.shape[0]):
            head, place = divmod(row, size)
            half, pair = divmod(place, size // 2)
            assert np.array_equal(after[head * size + 2 * pair + half], before[row])


def test_rank_stabilised_lora_keeps_its_strength(base: Path, tmp_path: Path) -> None:
    from gguf import GGUFReader

    folder = peft_folder(tmp_path / "a", {"use_rslora": True})
    alpha = GGUFReader(export(folder, tmp_path / "o.gguf", base)).fields["adapter.lora.alpha"].contents()
    assert alpha / RANK == pytest.approx(8 / math.sqrt(RANK))


def test_bfloat16_and_float16_are_read(base: Path, tmp_path: Path) -> None:
    import torch
    from gguf import GGUFReader
    from safetensors.torch import save_file

    for kind in (torch.bfloat16, torch.float16):
        folder = peft_folder(tmp_path / str(kind))
        made = {name: torch.from_numpy(value).to(kind) for name, value in tensors().items()}
        save_file(made, folder / "adapter_model.safetensors")
        stored = {t.name: t.data for t in GGUFReader(export(folder, tmp_path / f"{kind}.gguf", base)).tensors}
        expected = made["base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"].float().numpy()
        assert np.array_equal(stored["blk.0.ffn_down.weight.lora_a"], expected)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"peft_type": "IA3"}, "IA3"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 8}}, "alpha_pattern"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"something_new": {"x": 1}}, "something_new"),
        ({"r": 0}, "rank 0"),
        ({"r": 100_000}, "rank 100000"),
        ({"r": True}, "rank True"),
        ({"r": 8}, "rank"),
        ({"lora_alpha": "8"}, "lora_alpha"),
        ({"lora_alpha": -1}, "lora_alpha"),
    ],
)
def test_what_a_gguf_adapter_cannot_say_is_refused(
    base: Path, tmp_path: Path, config: dict[str, Any], says: str
) -> None:
    with pytest.raises(AdapterError, match=says):
        export(peft_folder(tmp_path / "a", config), tmp_path / "o.gguf", base)
    assert not (tmp_path / "o.gguf").exists()


WHERE = "base_model.model.model.layers.0"
DOWN = f"{WHERE}.mlp.down_proj.lora"
QUERY = f"{WHERE}.self_attn.q_proj.lora"
HOSTILE: dict[str, dict[str, Any]] = {
    "unknown module": {f"{WHERE}.self_attn.evil.lora_A.weight": np.zeros((RANK, HIDDEN), np.float32)},
    "embedding": {"base_model.model.model.embed_tokens.lora_embedding_A": np.zeros((RANK, HIDDEN), np.float32)},
    "lonely half": {f"{WHERE}.self_attn.o_proj.lora_A.weight": np.zeros((RANK, HIDDEN), np.float32)},
    "layer too many": {
        f"{WHERE[:-1]}7.self_attn.q_proj.lora_A.weight": np.zeros((RANK, HIDDEN), np.float32),
        f"{WHERE[:-1]}7.self_attn.q_proj.lora_B.weight": np.zeros((HIDDEN, RANK), np.float32),
    },
    "wrong shape": {f"{QUERY}_B.weight": np.zeros((HIDDEN * 2, RANK), np.float32)},
    "transposed": {f"{DOWN}_A.weight": np.zeros((INNER, RANK), np.float32)},
    "one dimension": {f"{DOWN}_A.weight": np.zeros(RANK, np.float32)},
    "not a number": {f"{DOWN}_A.weight": np.full((RANK, INNER), np.nan, np.float32)},
    "integers": {f"{DOWN}_A.weight": np.zeros((RANK, INNER), np.int32)},
    "another rank": {
        f"{DOWN}_A.weight": np.zeros((RANK * 2, INNER), np.float32),
        f"{DOWN}_B.weight": np.zeros((HIDDEN, RANK * 2), np.float32),
    },
}


@pytest.mark.parametrize("name", [*HOSTILE, "empty"])
def test_tensors_that_do_not_fit_are_refused(base: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(AdapterError):
        export(
            peft_folder(tmp_path / "a", made={**tensors(), **HOSTILE[name]} if name in HOSTILE else {}),
            tmp_path / "o.gguf",
            base,
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "base.gguf"]


@pytest.mark.parametrize("name", ["adapter_model.bin", "training_args.bin", "optimizer.pt", "x.PKL"])
def test_a_pickle_in_the_folder_is_refused_unread(base: Path, tmp_path: Path, name: str) -> None:
    folder = peft_folder(tmp_path / "a")
    (folder / name).write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(AdapterError, match="pickle"):
        export(folder, tmp_path / "o.gguf", base)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("adapter_config.json", b"{"),
        ("adapter_config.json", b"[" * 100_000),
        ("adapter_config.json", b"[]"),
        ("adapter_config.json", b" " * 2_000_000),
        ("adapter_model.safetensors", b""),
        ("adapter_model.safetensors", b"\xff" * 64),
        ("adapter_config.json", None),
        ("adapter_model.safetensors", None),
    ],
)
def test_damaged_and_missing_files_are_named(base: Path, tmp_path: Path, file: str, content: bytes | None) -> None:
    folder = peft_folder(tmp_path / "a")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(AdapterError, match=file):
        export(folder, tmp_path / "o.gguf", base)


def test_what_is_no_folder_and_what_is_no_base_model_are_named(base: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="no folder"):
        export(tmp_path / "missing", tmp_path / "o.gguf", base)
    base.write_bytes(b"nonsense")
    with pytest.raises(AdapterError, match="base model"):
        export(peft_folder(tmp_path / "a"), tmp_path / "o.gguf", base)
