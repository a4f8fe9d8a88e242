"""What an adapter must fit: the model that the settings name, as the adapter registry describes a base model.

Reads headers alone, so that a start stays quick. Called by `build.py`, `serving.py` and `adapting.py`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from adapters.checks import BaseModel
from adapters.errors import AdapterError
from adapters.export import PERMUTES, Base, module_shapes
from assistant.models.gguf_header import read_header
from assistant.models.weights import fingerprint, prepare, shipped_weights
from assistant.settings import Settings


def base_model_of(settings: Settings) -> BaseModel:
    """The base model that adapters of this deployment are made for.

    The shipped weights and those prepared of them count as one model: they are the same values in other roundings.

    Raises:
        AdapterError: the weights are not at hand, or are of a kind whose adapters cannot be checked.
        ModelUnavailable: the embedded model's weights are not there.
    """
    if settings.model == "embedded":
        weights = settings.model_file or prepare(settings.home)
        hashes = [fingerprint(weights, settings.home)]
        if settings.model_file is None:  # first, since it is the same on every machine: cards name it
            hashes.insert(0, fingerprint(shipped_weights(), settings.home))
        return BaseModel(weights.stem, tuple(hashes), shapes_of(weights))
    if settings.model == "local" and Path(settings.model_name).is_dir():
        folder = Path(settings.model_name)
        return BaseModel(folder.name, (_hash_of_folder(folder),), shapes_of(folder))
    raise AdapterError(
        f'adapters for model = "{settings.model}" are not kept here: its weights are elsewhere. Rungs keeps and '
        'trains adapters for model = "embedded", and for model = "local" with a folder as model_name.'
    )


def shapes_of(weights: Path) -> dict[str, tuple[int, int]]:
    """(out, in) of every matrix that may be adapted, by module path.

    Raises:
        AdapterError: the weights are of a kind whose adapters cannot be checked.
    """
    return _shapes_of_gguf(weights) if weights.is_file() else _shapes_of_folder(weights)


def _shapes_of_gguf(path: Path) -> dict[str, tuple[int, int]]:
    header = read_header(path)
    architecture = header.text("general.architecture")
    if architecture not in PERMUTES:
        raise AdapterError(f"adapters for {architecture} models cannot be exported (only {', '.join(PERMUTES)}).")
    heads = header.number(f"{architecture}.attention.head_count")
    return module_shapes(
        Base(
            architecture=architecture,
            blocks=header.number(f"{architecture}.block_count"),
            heads=heads,
            heads_kv=header.number(f"{architecture}.attention.head_count_kv", heads),
            shapes={t.name: (t.shape[1], t.shape[0]) for t in header.tensors if len(t.shape) == 2},
        )
    )


def _shapes_of_folder(folder: Path) -> dict[str, tuple[int, int]]:
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, tuple[int, int]] = {}
    try:
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, "np") as file:
                for name in file.keys():  # noqa: SIM118 - no mapping
                    shape = file.get_slice(name).get_shape()
                    if name.startswith("model.layers.") and name.endswith(".weight") and len(shape) == 2:
                        shapes[name.removesuffix(".weight")] = (int(shape[0]), int(shape[1]))
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{folder} cannot be read as a base model ({error}).") from error
    if not shapes:
        raise AdapterError(f"{folder} holds no layers that can be adapted.")
    return shapes


def _hash_of_folder(folder: Path) -> str:
    """Over the headers of the weights, which name every tensor with its place, and the configuration."""
    digest = hashlib.sha256()
    for path in sorted((*folder.glob("*.safetensors"), folder / "config.json")):
        try:
            with path.open("rb") as file:
                digest.update(f"{path.name} {path.stat().st_size}\n".encode())
                digest.update(file.read(1 << 20))
                file.seek(max(0, path.stat().st_size - (1 << 20)))
                digest.update(file.read())
        except OSError as error:
            raise AdapterError(f"{path} cannot be read ({error.strerror}).") from error
    return digest.hexdigest()
