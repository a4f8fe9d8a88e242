"""A PEFT LoRA folder to a GGUF adapter, with nothing but `gguf`, `safetensors` and numpy.

Reads `adapter_config.json` and `adapter_model.safetensors` and nothing else; never a pickle, never what the
configuration points to. Refuses every variant of LoRA that a GGUF adapter cannot say (DoRA, changed base weights,
trained embeddings, per-module ranks), tensors that the base model does not have, and shapes that do not fit it. Called
by the assistant's model factory and by the registry.
"""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.errors import AdapterError

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
CONFIG_BYTES_MAX = 1024 * 1024
TENSOR_BYTES_MAX = 4 * 1024**3
RANK_MAX = 512
MODULES = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"})
ATTENTION = frozenset({"q_proj", "k_proj", "v_proj", "o_proj"})
PERMUTES = {"llama": True, "qwen2": False, "qwen3": False}
"""Base architectures, and whether GGUF stores their query and key rows in llama.cpp's rotary order."""
HARMLESS_INIT = (True, False, None, "gaussian", "eva", "orthogonal")
"""`init_lora_weights` that leave the base weights as they are; pissa, olora, corda and loftq change them."""
PLAIN_KEYS = frozenset(
    "task_type peft_type auto_mapping peft_version base_model_name_or_path revision inference_mode r target_modules "
    "exclude_modules lora_alpha lora_dropout init_lora_weights layers_to_transform layers_pattern megatron_core "
    "use_rslora eva_config qalora_group_size bias ensure_weight_tying".split()
)
"""Configuration keys that a plain LoRA may set; any other one that is set changes what the adapter computes."""
TENSOR = re.compile(r"base_model\.model\.(model\.layers\.\d{1,4}\.(?:self_attn|mlp)\.(\w+))\.lora_([AB])\.weight")

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Base:
    """What an adapter must fit: the base model as its GGUF header describes it."""

    architecture: str
    blocks: int
    heads: int
    heads_kv: int
    shapes: dict[str, tuple[int, int]]
    """(out, in) of every matrix, by GGUF tensor name."""


def export(folder: Path, out: Path, base: Path) -> Path:
    """Write the adapter in `folder` as a GGUF file.

    Args:
        folder: holds `adapter_config.json` and `adapter_model.safetensors`, as `save_pretrained` of PEFT writes them.
        out: the GGUF file; appears whole or not at all.
        base: GGUF file of the model that the adapter was trained for; every shape is checked against it.

    Returns:
        `out`.

    Raises:
        AdapterError: with what is wrong and what to do.
    """
    alpha = read_alpha(folder)
    fits = read_base(base)
    pairs = _pairs(folder, _read_tensors(folder / TENSORS))
    renamed = {}
    for module, (down, up) in pairs.items():
        name = _gguf_name(module, fits)
        _check_shapes(module, down, up, fits.shapes[name])
        renamed[name] = (down, _in_rotary_order(module, up, fits))
    ranks = {down.shape[0] for down, _ in renamed.values()}
    if ranks != {alpha.rank}:
        raise AdapterError(f"{folder}: tensors of rank {sorted(ranks)}, the configuration says {alpha.rank}.")
    try:
        _write(out, fits.architecture, alpha.value, renamed)
    except OSError as error:
        raise AdapterError(
            f"{out} cannot be written ({error.strerror or error}). Make room or permit writing, then try again."
        ) from error
    return out


@dataclass(frozen=True, slots=True)
class Alpha:
    """How strongly an adapter acts: GGUF engines multiply by value / rank."""

    value: float
    rank: int


def read_alpha(folder: Path) -> Alpha:
    """Rank and strength out of a folder's configuration, once it is known to describe a plain LoRA.

    Raises:
        AdapterError: no configuration, a pickle beside it, or a variant that cannot be exported.
    """
    _refuse_pickles(folder)
    config = _read_config(folder / CONFIG)
    if config.get("peft_type") != "LORA":
        raise AdapterError(f"{folder}: a {config.get('peft_type')} adapter; only LORA can be served.")
    odd = sorted(key for key, value in config.items() if value and key not in PLAIN_KEYS)
    if config.get("bias") not in ("none", None):
        odd.append("bias")
    if config.get("init_lora_weights", True) not in HARMLESS_INIT:
        odd.append("init_lora_weights")
    if odd:
        raise AdapterError(f"{folder}: uses {', '.join(odd)}, which a GGUF adapter cannot express. Train a plain LoRA.")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= RANK_MAX:
        raise AdapterError(f"{folder}: rank {rank!r}; it must be 1 to {RANK_MAX}.")
    if not isinstance(alpha, (int, float)) or not math.isfinite(alpha) or not 0 < alpha <= 100 * RANK_MAX:
        raise AdapterError(f"{folder}: lora_alpha {alpha!r}; it must be a positive number.")
    # rank-stabilised LoRA divides by the root of the rank instead of the rank
    return Alpha(float(alpha) * (math.sqrt(rank) if config.get("use_rslora") else 1.0), rank)


def read_base(path: Path) -> Base:
    """What the base model's GGUF header says about shapes and heads.

    Raises:
        AdapterError: it cannot be read, or is of an architecture whose adapters cannot be exported.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        architecture = str(reader.fields["general.architecture"].contents())
        if architecture not in PERMUTES:
            known = ", ".join(PERMUTES)
            raise AdapterError(f"{path}: adapters for {architecture} models cannot be exported (only {known}).")
        heads = int(reader.fields[f"{architecture}.attention.head_count"].contents())
        heads_kv = reader.fields.get(f"{architecture}.attention.head_count_kv")
        return Base(
            architecture=architecture,
            blocks=int(reader.fields[f"{architecture}.block_count"].contents()),
            heads=heads,
            heads_kv=int(heads_kv.contents()) if heads_kv else heads,
            shapes={t.name: (int(t.shape[1]), int(t.shape[0])) for t in reader.tensors if len(t.shape) == 2},
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise AdapterError(f"{path} cannot be read as a base model ({error}). Is it a whole GGUF file?") from error


def module_shapes(base: Base) -> dict[str, tuple[int, int]]:
    """(out, in) of every matrix that may be adapted, by module path: `model.layers.0.self_attn.q_proj`."""
    paths = [
        f"model.layers.{block}.{'self_attn' if module in ATTENTION else 'mlp'}.{module}"
        for block in range(base.blocks)
        for module in sorted(MODULES)
    ]
    return {path: base.shapes[_gguf_name(path, base)] for path in paths}


def _refuse_pickles(folder: Path) -> None:
    if not folder.is_dir():
        raise AdapterError(f"{folder} is no folder. An adapter is a folder with {CONFIG} and {TENSORS}.")
    pickles = sorted(entry.name for entry in folder.iterdir() if entry.suffix.lower() in PICKLES)
    if pickles:
        raise AdapterError(
            f"{folder} holds {', '.join(pickles)}: pickles can run code when read. Delete them; {TENSORS} is enough."
        )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > CONFIG_BYTES_MAX:
            raise AdapterError(f"{path} has more than {CONFIG_BYTES_MAX} bytes; that is no adapter configuration.")
        config = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise AdapterError(f"{path} cannot be read ({error.strerror}). PEFT's save_pretrained writes it.") from error
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{path} is no JSON ({error}).") from error
    if not isinstance(config, dict):
        raise AdapterError(f"{path} is no JSON object.")
    return config


def _read_tensors(path: Path) -> dict[str, Matrix]:
    """All tensors of a safetensors file as float32; bfloat16, too, which numpy does not know."""
    from safetensors import SafetensorError, deserialize

    try:
        if path.stat().st_size > TENSOR_BYTES_MAX:
            raise AdapterError(f"{path} has more than {TENSOR_BYTES_MAX // 1024**3} GiB; that is no adapter.")
        entries = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except OSError as error:
        raise AdapterError(f"{path} cannot be read ({error.strerror}). PEFT's save_pretrained writes it.") from error
    except SafetensorError as error:
        raise AdapterError(f"{path} is no whole safetensors file ({error}). Get it again.") from error
    return {name: _as_float32(f"{path}: {name[:100]}", entry) for name, entry in entries}


def _as_float32(where: str, entry: dict[str, Any]) -> Matrix:
    raw, kind = entry["data"], entry["dtype"]
    if kind == "BF16":
        values = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
    elif kind in ("F32", "F16"):
        values = np.frombuffer(raw, np.float32 if kind == "F32" else np.float16).astype(np.float32)
    else:
        raise AdapterError(f"{where} is of type {kind}; only F32, F16 and BF16 are adapters' types.")
    if not np.isfinite(values).all():
        raise AdapterError(f"{where} holds infinities or NaN: the training broke down. Train it again.")
    return values.reshape(entry["shape"])


def _pairs(folder: Path, tensors: dict[str, Matrix]) -> dict[str, tuple[Matrix, Matrix]]:
    """(lora_A, lora_B) by module path.

    Raises:
        AdapterError: a tensor that is no LoRA matrix of a known module, or one without its partner.
    """
    halves: dict[str, dict[str, Matrix]] = {}
    for name, tensor in tensors.items():
        match = TENSOR.fullmatch(name)
        if match is None or match[2] not in MODULES:
            raise AdapterError(
                f"{folder}: tensor {name[:120]} is none of a module that can be adapted: {', '.join(sorted(MODULES))}."
            )
        halves.setdefault(match[1], {})[match[3]] = tensor
    lonely = sorted(module for module, half in halves.items() if len(half) != 2)
    if lonely or not halves:
        raise AdapterError(f"{folder}: lora_A and lora_B must come in pairs; see {lonely[:3] or 'the empty file'}.")
    return {module: (half["A"], half["B"]) for module, half in halves.items()}


def _gguf_name(module: str, base: Base) -> str:
    """The base tensor's name in GGUF, for example `blk.0.attn_q.weight`."""
    name = _name_map(base.architecture, base.blocks).get_name(module)
    if name is None or f"{name}.weight" not in base.shapes:
        raise AdapterError(f"the base model has no {module}: the adapter was trained for another model.")
    return f"{name}.weight"


@cache
def _name_map(architecture: str, blocks: int) -> Any:
    """Takes 10 ms to make, and every tensor asks for it."""
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

    return get_tensor_name_map(next(arch for arch in MODEL_ARCH if MODEL_ARCH_NAMES[arch] == architecture), blocks)


def _check_shapes(module: str, down: Matrix, up: Matrix, shape: tuple[int, int]) -> None:
    """`down` is (rank, in) and `up` is (out, rank) for a base matrix of shape (out, in)."""
    fits = down.ndim == up.ndim == 2 and down.shape[0] == up.shape[1] and (up.shape[0], down.shape[1]) == shape
    if not fits or down.shape[0] > min(*shape, RANK_MAX):
        raise AdapterError(
            f"{module}: lora_A {down.shape} and lora_B {up.shape} do not fit the base model's {shape}: "
            "the adapter was trained for another model."
        )


def _in_rotary_order(module: str, up: Matrix, base: Base) -> Matrix:
    """Rows of a query or key matrix as GGUF orders them: a head's two rotary halves interleaved."""
    heads = {"q_proj": base.heads, "k_proj": base.heads_kv}.get(module.rsplit(".", 1)[1])
    if heads is None or not PERMUTES[base.architecture]:
        return up
    rows = up.shape[0]
    return up.reshape(heads, 2, rows // heads // 2, up.shape[1]).swapaxes(1, 2).reshape(up.shape)


def _write(out: Path, architecture: str, alpha: float, tensors: dict[str, tuple[Matrix, Matrix]]) -> None:
    from gguf import GGUFType, GGUFWriter, Keys

    out.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    os.close(handle)
    part = Path(name)
    try:
        writer = GGUFWriter(part, architecture)
        writer.add_type(GGUFType.ADAPTER)
        writer.add_string(Keys.Adapter.TYPE, "lora")
        writer.add_float32(Keys.Adapter.LORA_ALPHA, alpha)
        for tensor, (down, up) in sorted(tensors.items()):
            writer.add_tensor(f"{tensor}.lora_a", np.ascontiguousarray(down))
            writer.add_tensor(f"{tensor}.lora_b", np.ascontiguousarray(up))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
