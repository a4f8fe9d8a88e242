"""Is this folder a LoRA adapter that fits our base model, and nothing else?

Every file is opened as a plain file without following links, read within bounds, and compared with an allow-list that
the base model's own shapes give. Executes nothing, unpickles nothing, imports nothing that a file names and opens
nothing that it points to. Knows nothing of stages. Called by the registry whenever an adapter enters and whenever
one is loaded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from adapters.card import AdapterCard
from adapters.disk import copy, entries, opened
from adapters.errors import AdapterError
from adapters.export import CONFIG, PICKLES, TENSORS
from adapters.peft_config import ALL_LINEAR, CONFIG_BYTES_MAX, RANK_MAX, PlainLora, read_config
from adapters.safetensors_header import HEADER_BYTES_MAX, Tensor, read_header
from adapters.strict_json import shown

CARD = "card.json"
TENSOR_BYTES_MAX = 2 * 1024**3
"""Rank 256 on every matrix of a model of 8 billion parameters takes 1.3 GB in half precision."""
LEFT_BEHIND = frozenset(
    "README.md LICENSE LICENSE.md .gitattributes tokenizer.json tokenizer_config.json tokenizer.model vocab.json "
    "merges.txt special_tokens_map.json added_tokens.json chat_template.jinja".split()
)
"""What trainers lay beside an adapter; never opened and never copied."""
NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?", re.ASCII)
NAMES_TAKEN = frozenset({"none"})
"""A trace says none where no adapter answered."""
REVISION = re.compile(r"[0-9a-f]{12}", re.ASCII)
TENSOR_NAME = re.compile(r"base_model\.model\.([A-Za-z0-9_.]{1,200})\.lora_([AB])\.weight", re.ASCII)
NOT_FINITE = {"F32": (np.uint32, 0x7F800000), "F16": (np.uint16, 0x7C00), "BF16": (np.uint16, 0x7F80)}
"""A number whose exponent bits are all set is an infinity or NaN (IEEE 754); so without converting anything."""
PIECE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class BaseModel:
    """What an adapter must fit."""

    name: str
    hashes: tuple[str, ...]
    """Of every weights file that this deployment counts as the same model; 12 hexadecimal digits or more each."""
    shapes: Mapping[str, tuple[int, int]]
    """(out, in) of every matrix that may be adapted, by module path: `model.layers.0.self_attn.q_proj`."""

    def is_named(self, base_hash: str) -> bool:
        """Whether a hash, short or long, is one of this model's."""
        return len(base_hash) >= 12 and any(known[:12] == base_hash[:12] for known in self.hashes)


@dataclass(frozen=True, slots=True)
class CheckedAdapter:
    """What is known of a folder that passed."""

    lora: PlainLora
    files: Mapping[str, str]
    """SHA-256 by file name, of the very bytes that were checked."""

    @property
    def revision(self) -> str:
        """The adapter's own name for its content: the same files are the same revision everywhere."""
        return hashlib.sha256(
            "\n".join(f"{name} {self.files[name]}" for name in sorted(self.files)).encode()
        ).hexdigest()[:12]


def check_name(name: str) -> str:
    """An adapter's name, which becomes a folder and a model's name.

    Raises:
        AdapterError: it is more than small letters, digits and hyphens.
    """
    if NAME.fullmatch(name) is None or name in NAMES_TAKEN:
        raise AdapterError(
            f"{shown(name)} is no name for an adapter. Use 1 to 64 small letters (a-z), digits, - and _, "
            "beginning and ending with a letter or digit; none is taken."
        )
    return name


def check_revision(revision: str) -> str:
    """A revision as the registry names it.

    Raises:
        AdapterError: it is not 12 hexadecimal digits.
    """
    if REVISION.fullmatch(revision) is None:
        raise AdapterError(f"{shown(revision)} is no revision. It has 12 digits, as `rungs adapters list` shows them.")
    return revision


def check_folder(folder: Path, base: BaseModel) -> CheckedAdapter:
    """Read a PEFT folder whole and trust nothing in it.

    Args:
        folder: holds `adapter_config.json` and `adapter_model.safetensors`; at most a card and a trainer's usual files
            beside them, which are not opened.
        base: decides which modules, shapes and ranks may be.

    Raises:
        AdapterError: says what is wrong, with which file, and what to do.
    """
    check_entries(folder)
    with opened(folder, CONFIG, CONFIG_BYTES_MAX) as file:
        raw = file.read(CONFIG_BYTES_MAX + 1)
        lora = read_config(raw, CONFIG)
    with opened(folder, TENSORS, tensor_bytes_max(base)) as file:
        size = file.seek(0, 2)
        file.seek(0)
        tensors = read_header(file, size, TENSORS)
        _check_fit(lora, tensors, base)
        for tensor in tensors:
            _check_finite(file, tensor)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return CheckedAdapter(lora, {CONFIG: hashlib.sha256(raw).hexdigest(), TENSORS: digest})


def check_entries(folder: Path) -> None:
    """Refuse a folder that holds what no adapter needs.

    Raises:
        AdapterError: names the first files that must go, or those that are missing.
    """
    names = entries(folder)
    pickles = [name for name in names if Path(name).suffix.lower() in PICKLES]
    if pickles:
        raise AdapterError(
            f"{folder} holds {_listed(pickles)}: pickles can run code when read. Delete them; {TENSORS} is enough."
        )
    strangers = [name for name in names if name not in LEFT_BEHIND | {CONFIG, TENSORS, CARD}]
    if strangers:
        raise AdapterError(f"{folder} holds {_listed(strangers)}, which no adapter needs. Delete it.")
    missing = [name for name in (CONFIG, TENSORS) if name not in names]
    if missing:
        raise AdapterError(f"{folder} holds no {' and no '.join(missing)}. PEFT's save_pretrained writes them.")


def check_card(card: AdapterCard, checked: CheckedAdapter, base: BaseModel) -> None:
    """Refuse a card that says anything else than its files are.

    Raises:
        AdapterError: the files differ from the hashes, the base model is another, or the settings are not theirs.
    """
    if card.files != checked.files or card.revision != checked.revision:
        raise AdapterError(
            f"{card.name} {card.revision}: its files are not those whose hashes are on its card: damaged or exchanged. "
            "Remove it, then add or import it again."
        )
    if not base.is_named(card.base_hash):
        raise AdapterError(
            f"{card.name} {card.revision} was made for {shown(card.base_name)} ({card.base_hash[:12]}); "
            f"this deployment runs {base.name}. Train one for it."
        )
    lora, settings = checked.lora, card.settings
    if (settings.rank, settings.alpha, tuple(sorted(settings.targets))) != (lora.rank, lora.alpha, lora.targets):
        raise AdapterError(
            f"{card.name} {card.revision}: its card says rank {settings.rank}, alpha {settings.alpha:g} on "
            f"{shown(', '.join(settings.targets))}; its files say {lora.rank}, {lora.alpha:g} on "
            f"{shown(', '.join(lora.targets))}."
        )


def copy_adapter(folder: Path, target: Path, base: BaseModel) -> None:
    """Copy the two files that an adapter consists of to an empty folder, so that what is checked is what is kept.

    Raises:
        AdapterError: a file is missing, too large or no plain file, or the folder holds what no adapter needs.
    """
    check_entries(folder)
    for name, most in ((CONFIG, CONFIG_BYTES_MAX), (TENSORS, tensor_bytes_max(base))):
        with opened(folder, name, most) as file:
            copy(file, target / name, most)


def tensor_bytes_max(base: BaseModel) -> int:
    """The largest file that an adapter of the highest rank on every matrix of `base` can be."""
    numbers = RANK_MAX * sum(out + inner for out, inner in base.shapes.values())
    return min(TENSOR_BYTES_MAX, HEADER_BYTES_MAX + 4 * numbers)


def _check_fit(lora: PlainLora, tensors: tuple[Tensor, ...], base: BaseModel) -> None:
    """Exactly the matrices that the configuration names, each with its partner, of shapes that the base model has."""
    wanted = _targeted(lora.targets, base)
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for tensor in tensors:
        match = TENSOR_NAME.fullmatch(tensor.name)
        if match is None or match[1] not in base.shapes:
            raise AdapterError(f"{TENSORS}: {shown(tensor.name)} adapts nothing that {base.name} has.")
        shapes.setdefault(match[1], {})[match[2]] = tensor.shape
    odd = sorted(wanted.symmetric_difference(shapes))
    if odd:
        raise AdapterError(
            f"{CONFIG} and {TENSORS} disagree about {len(odd)} modules ({shown(odd[0])} first): "
            "one of the two is not of this adapter, or not whole. Save it again."
        )
    for module, halves in shapes.items():
        out, inner = base.shapes[module]
        if halves != {"A": (lora.rank, inner), "B": (out, lora.rank)}:
            raise AdapterError(
                f"{TENSORS}: {module} has {halves}; rank {lora.rank} on {base.name} is A {(lora.rank, inner)} and "
                f"B {(out, lora.rank)}. It was trained for another model, or is not whole."
            )
        if lora.rank > min(out, inner):
            raise AdapterError(f"{CONFIG}: rank {lora.rank} is more than {module} has ({min(out, inner)}).")


def _targeted(targets: tuple[str, ...], base: BaseModel) -> set[str]:
    """Modules that PEFT would adapt: a target is a whole path or the end of one."""
    if targets == (ALL_LINEAR,):
        return set(base.shapes)
    found = set()
    for target in targets:
        named = {module for module in base.shapes if module == target or module.endswith(f".{target}")}
        if not named:
            raise AdapterError(f"{CONFIG}: {base.name} has no module {shown(target)} that may be adapted.")
        found |= named
    return found


def _check_finite(file: BinaryIO, tensor: Tensor) -> None:
    kind, mask = NOT_FINITE[tensor.type]
    file.seek(tensor.begin)
    left = tensor.size
    while left:
        piece = file.read(min(left, PIECE_BYTES))
        left -= len(piece)
        if not piece:
            raise AdapterError(f"{TENSORS} became shorter while it was read. Wait until it is written, then try again.")
        if ((np.frombuffer(piece, kind) & kind(mask)) == mask).any():
            raise AdapterError(
                f"{TENSORS}: {shown(tensor.name)} holds infinities or NaN: the training broke down. Train it again."
            )


def _listed(names: list[str]) -> str:
    return ", ".join(map(shown, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
