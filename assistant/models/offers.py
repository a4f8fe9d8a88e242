"""What an OpenAI-compatible server offers: its base model and its adapters, as it lists them itself.

vLLM lists an adapter as a model whose `parent` is the base, and the adapter's name is then the model's name. llama.cpp
lists them at `/lora-adapters`; there every request states every adapter's scale, because one that is not named stays
on (llama.cpp #28674). Elsewhere each model listed besides the base can be named. Used by `served.py` alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import openai

log = logging.getLogger(__name__)
ROOT_PATH = "lora-adapters"


@dataclass(frozen=True, slots=True)
class Offers:
    """The answer of `/v1/models`, read."""

    base: str = ""
    adapters: tuple[str, ...] = ()
    lora_ids: Mapping[str, int] = field(default_factory=dict)
    """llama.cpp's numbers of its adapters; empty elsewhere."""

    def request(self, model: str, adapter: str | None) -> tuple[str, dict[str, Any]]:
        """The model name to ask for, and what else belongs into the request's body."""
        if self.lora_ids:
            scales = [{"id": number, "scale": float(name == adapter)} for name, number in self.lora_ids.items()]
            return model, {"lora": scales}
        return adapter or model, {}


async def read_offers(client: openai.AsyncOpenAI, base: str) -> Offers:
    """Ask the server; a server that lists nothing (404, other JSON) offers its base alone.

    Args:
        client: talks to the server.
        base: the configured model name; empty takes the first model listed.

    Raises:
        openai.APIError: the server is not there or refuses the key.
    """
    try:
        listed = _records(await client.get("/models", cast_to=object), "data")
    except openai.APIStatusError as error:
        if error.status_code in (401, 403) or error.status_code >= 500:
            raise
        log.info("no list of models: status %s", error.status_code)
        listed = []
    except ValueError:
        listed = []
    names = [str(model["id"]) for model in listed if model.get("id")]
    base = base or next((str(model["id"]) for model in listed if model.get("id") and not model.get("parent")), "")
    if any(model.get("owned_by") == "llamacpp" for model in listed):
        ids = await _lora_ids(client)
        return Offers(base, tuple(ids), ids)
    if any(model.get("parent") for model in listed):
        names = [str(model["id"]) for model in listed if model.get("id") and model.get("parent") == base]
    return Offers(base, tuple(name for name in names if name != base))


async def _lora_ids(client: openai.AsyncOpenAI) -> dict[str, int]:
    root = str(client.base_url).rstrip("/").removesuffix("/v1")
    try:
        listed = _records(await client.get(f"{root}/{ROOT_PATH}", cast_to=object), "data")
    except openai.APIStatusError as error:
        log.info("llama.cpp lists no adapters: status %s", error.status_code)
        return {}
    return {PurePath(str(entry.get("path", entry["id"]))).stem: int(entry["id"]) for entry in listed if "id" in entry}


def _records(answer: object, key: str) -> Sequence[Mapping[str, Any]]:
    found = answer.get(key) if isinstance(answer, Mapping) else answer
    return [record for record in found if isinstance(record, Mapping)] if isinstance(found, list) else []
