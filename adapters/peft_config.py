"""Reads `adapter_config.json` by an allow-list: a plain LoRA on named modules, and nothing that a loader would follow.

PEFT imports classes that `auto_mapping` names, opens files that some initialisations name, and reads `target_modules`
as a regular expression if it is a string. What is not in the table below must be unset. Used by `checks.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adapters.errors import AdapterError
from adapters.strict_json import parse, shown

CONFIG_BYTES_MAX = 256 * 1024
DEPTH = 4
RANK_MAX = 256
TARGETS_MAX = 512
INVOCATION_TOKENS_MAX = 64
ALL_LINEAR = "all-linear"
WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,99}", re.ASCII)
HUB_NAME = re.compile(r"[A-Za-z0-9_-][\w.-]{0,95}(/[A-Za-z0-9_-][\w.-]{0,95})?", re.ASCII)
FOLLOWED = frozenset(
    "auto_map auto_mapping custom_modules _custom_modules runtime_config trust_remote_code megatron_config "
    "corda_config eva_config loftq_config lora_ga_config arrow_config".split()
)
"""Keys that make a loader import a module or open a file."""
VARIANTS = {
    "use_dora": "DoRA",
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "kasa_config": "KaSA",
    "velora_config": "VeLoRA",
    "monteclora_config": "MonteCLoRA",
    "rank_pattern": "a rank per module",
    "alpha_pattern": "a strength per module",
    "modules_to_save": "layers trained whole",
    "trainable_token_indices": "trained embeddings",
    "layer_replication": "copied layers",
    "target_parameters": "parameters instead of modules",
    "layers_to_transform": "some layers only",
    "exclude_modules": "excluded modules",
    "lora_bias": "trained biases",
    "fan_in_fan_out": "transposed weights",
    "ensure_weight_tying": "tied embeddings",
}
"""What cannot be served, by the key that asks for it."""


@dataclass(frozen=True, slots=True)
class PlainLora:
    """What an adapter computes: W + B A x strength, on the modules that `targets` name."""

    rank: int
    alpha: float
    targets: tuple[str, ...]
    """Last parts of module paths, or whole paths, or `all-linear` alone; sorted."""
    rank_stabilised: bool
    """The strength is alpha / sqrt(rank) instead of alpha / rank."""
    invocation_tokens: tuple[int, ...]
    """Tokens from which on an activated LoRA acts; empty for one that always acts."""


def read_config(raw: bytes, where: str) -> PlainLora:
    """The adapter that a configuration describes.

    Args:
        raw: content of `adapter_config.json`.
        where: its name, for messages.

    Raises:
        AdapterError: names the key that is refused and why.
    """
    config = parse(raw, where, DEPTH)
    if config.get("peft_type") != "LORA":
        kind = shown(str(config.get("peft_type")))
        raise AdapterError(f"{where}: an adapter of type {kind}; only LORA can be served. Train a LoRA.")
    for key, value in config.items():
        if key in RULES:
            if not RULES[key](value):
                raise AdapterError(
                    f"{where}: {key} is {shown(str(value))}. {HINTS.get(key, 'No plain LoRA says that.')}"
                )
        elif value:
            raise AdapterError(f"{where}: {_why_refused(key)}")
    for key in ("r", "lora_alpha", "target_modules"):
        if key not in config:
            raise AdapterError(f"{where} does not say {key}. Save the adapter with PEFT's save_pretrained.")
    targets = config["target_modules"]
    return PlainLora(
        rank=config["r"],
        alpha=float(config["lora_alpha"]),
        targets=(ALL_LINEAR,) if targets == ALL_LINEAR else tuple(sorted(targets)),
        rank_stabilised=bool(config.get("use_rslora")),
        invocation_tokens=tuple(config.get("alora_invocation_tokens") or ()),
    )


def _why_refused(key: str) -> str:
    if key in FOLLOWED:
        return f"{key} is set, which makes a loader import code or open files. Remove it."
    if key in VARIANTS:
        return f"{key} is set ({VARIANTS[key]}), which cannot be served. Train a plain LoRA."
    return f"{shown(key)} is set, which no plain LoRA needs. Remove it, or train a plain LoRA."


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, float) and math.isfinite(value) and low <= value <= high


def _word(value: Any) -> bool:
    return value is None or (isinstance(value, str) and WORD.fullmatch(value) is not None)


def _hub_name(value: Any) -> bool:
    return value is None or (isinstance(value, str) and HUB_NAME.fullmatch(value) is not None and ".." not in value)


def _module_names(value: Any) -> bool:
    if value == ALL_LINEAR:
        return True
    named = isinstance(value, list) and 1 <= len(value) <= TARGETS_MAX
    return named and all(isinstance(item, str) and WORD.fullmatch(item) for item in value)


def _tokens(value: Any) -> bool:
    listed = isinstance(value, list) and len(value) <= INVOCATION_TOKENS_MAX
    return value is None or (listed and all(_whole(0, 1 << 24)(item) for item in value))


def _one_of(*allowed: Any) -> Callable[[Any], bool]:
    return lambda value: any(value is item or (type(value) is str and value == item) for item in allowed)


RULES: dict[str, Callable[[Any], bool]] = {
    "peft_type": _one_of("LORA"),
    "task_type": _one_of("CAUSAL_LM", None),
    "peft_version": _word,
    "base_model_name_or_path": _hub_name,
    "revision": _word,
    "inference_mode": _one_of(True, False),
    "r": _whole(1, RANK_MAX),
    "lora_alpha": _number(1e-6, 100 * RANK_MAX),
    "lora_dropout": _number(0, 0.999),
    "target_modules": _module_names,
    "bias": _one_of("none"),
    "use_rslora": _one_of(True, False),
    "init_lora_weights": _one_of(True, False, "gaussian", "orthogonal"),
    "alora_invocation_tokens": _tokens,
    "megatron_core": _one_of("megatron.core", None),
    "qalora_group_size": _whole(1, 1 << 16),
}
"""The keys that may be set, and what they may say."""
HINTS = {
    "base_model_name_or_path": "Paths and addresses are refused, and it is never loaded: set it to null.",
    "r": f"The rank must be 1 to {RANK_MAX}.",
    "lora_alpha": "It must be a positive number.",
    "target_modules": "It must list modules by name; a pattern is refused.",
    "bias": "Trained biases cannot be served: train with bias none.",
    "init_lora_weights": "This start changes the base model's own weights: train a plain LoRA.",
}
