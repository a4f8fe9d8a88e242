"""A small base model, adapters that fit it, and their cards: what the tests of checks, registry and bundle share."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from adapters.card import AdapterCard, DataSource, GateCheck, GateReport, Lineage, TrainingSettings
from adapters.checks import BaseModel
from adapters.registry import Registry

HIDDEN, KV, INNER, RANK, LAYERS = 32, 16, 48, 4, 2
MODULES = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (KV, HIDDEN),
    "self_attn.v_proj": (KV, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
SHAPES = {f"model.layers.{layer}.{module}": shape for layer in range(LAYERS) for module, shape in MODULES.items()}
BASE = BaseModel("tiny", ("0123456789abcdef",), SHAPES)
TARGETS = tuple(sorted(module.rsplit(".", 1)[1] for module in MODULES))
CONFIG: dict[str, Any] = {
    "alora_invocation_tokens": None,
    "alpha_pattern": {},
    "arrow_config": None,
    "auto_mapping": None,
    "base_model_name_or_path": None,
    "bias": "none",
    "corda_config": None,
    "ensure_weight_tying": False,
    "eva_config": None,
    "exclude_modules": None,
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": True,
    "layer_replication": None,
    "layers_pattern": None,
    "layers_to_transform": None,
    "loftq_config": {},
    "lora_alpha": 8,
    "lora_bias": False,
    "lora_dropout": 0.0,
    "megatron_config": None,
    "megatron_core": "megatron.core",
    "modules_to_save": None,
    "peft_type": "LORA",
    "peft_version": "0.21.2",
    "qalora_group_size": 16,
    "r": RANK,
    "rank_pattern": {},
    "revision": None,
    "target_modules": list(TARGETS),
    "target_parameters": None,
    "task_type": "CAUSAL_LM",
    "trainable_token_indices": None,
    "use_dora": False,
    "use_qalora": False,
    "use_rslora": False,
}
"""What PEFT 0.21 writes."""
ACCEPTED = GateReport(
    "accept",
    ("It gains on the domain and loses nowhere.",),
    (GateCheck("domain", 200, 0.4, 0.6, 0.2, 0.1, 0.3, True), GateCheck("twins", 50, 0.2, 0.1, -0.1, -0.2, 0.0, None)),
)
REFUSED = GateReport(
    "refuse",
    ("It forgot to decline.",),
    (GateCheck("declining", 100, 0.8, 0.1, -0.7, -0.8, -0.6, False),),
)


def half(module: str, letter: str, layer: int = 0) -> str:
    return f"base_model.model.model.layers.{layer}.{module}.lora_{letter}.weight"


def tensors(seed: int = 1, rank: int = RANK) -> dict[str, Any]:
    numbers = np.random.default_rng(seed)
    made = {}
    for layer in range(LAYERS):
        for module, (out, inner) in MODULES.items():
            made[half(module, "A", layer)] = numbers.normal(size=(rank, inner)).astype(np.float32)
            made[half(module, "B", layer)] = numbers.normal(size=(out, rank)).astype(np.float32)
    return made


def safetensors(made: dict[str, Any], metadata: dict[str, str] | None = None) -> bytes:
    """The file's bytes, as the library writes them for float32 and float16."""
    header: dict[str, Any] = {"__metadata__": metadata or {"format": "pt"}}
    data = b""
    for name, values in made.items():
        kind = {"float32": "F32", "float16": "F16", "uint16": "BF16"}[values.dtype.name]
        raw = values.tobytes()
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    return with_header(json.dumps(header).encode(), data)


def with_header(header: bytes, data: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def adapter(
    path: Path, seed: int = 1, config: dict[str, Any] | None = None, made: dict[str, Any] | None = None
) -> Path:
    path.mkdir(parents=True)
    (path / "adapter_config.json").write_text(json.dumps({**CONFIG, **(config or {})}))
    (path / "adapter_model.safetensors").write_bytes(safetensors(tensors(seed) if made is None else made))
    return path


def card(name: str = "support", created_at: str = "2026-11-23T10:00:00+00:00") -> AdapterCard:
    return AdapterCard(
        name=name,
        created_at=created_at,
        base_name="tiny",
        base_hash="0123456789abcdef",
        lineage=Lineage("a" * 64, (DataSource("squad2", 700, "CC BY-SA 4.0"), DataSource("corrections", 12, "own"))),
        settings=TrainingSettings(RANK, 8.0, TARGETS, 3e-4, 1.0, 7),
        versions={"peft": "0.21.2", "torch": "2.13"},
        loss_first=2.5,
        loss_last=1.25,
    )


def registry(path: Path) -> Registry:
    return Registry(path / "home", BASE)


def added(path: Path, seed: int = 1, name: str = "support", *, gate: GateReport | None = None) -> str:
    """The revision of an adapter that was trained and taken in."""
    source = path / f"trained-{name}-{seed}"
    if not source.exists():
        adapter(source, seed)
    revision = registry(path).add(source, card(name)).revision
    if gate is not None:
        registry(path).record_gate(name, revision, gate)
    return revision
