"""The local model: any causal language model in Hugging Face format, by `transformers` and `peft`, on CPU or GPU.

Greedy, with token log-probabilities, stopping within one token or one small piece of the prompt. A folder is read from
disk and nothing else; a hub is asked only where the owner's `model_name` is a hub name. Code and pickles that come with
a model or an adapter are never run: safetensors alone. Made by `assistant/models/__init__.py`.

One lock guards the shared weights and their active adapter, for one step at a time: each step switches to the adapter
of its own request first, so that streams side by side take turns and none sees another's.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from assistant.errors import BadSettings, ModelError, ModelUnavailable, PromptTooLong
from assistant.models.local_text import LocalText, Spelling
from assistant.settings import Settings
from assistant.types import ChatModel, Completed, Message, Token

log = logging.getLogger(__name__)
PROMPT_PIECE_TOKENS = 128
"""The prompt is read in pieces of this size, so that a request can be cancelled while it is read."""
HASHED_BYTES = 1024 * 1024
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_TENSORS = "adapter_model.safetensors"
CONFIG_BYTES_MAX = 1024 * 1024
CHANGES_THE_BASE = ("pissa", "olora", "corda", "loftq")
"""`init_lora_weights` under which PEFT alters the base weights when it loads an adapter."""


class LocalModel:
    """A `ChatModel` on a transformers model. Any number of threads may stream."""

    def __init__(
        self, name: str, adapters: Mapping[str, Path] | None = None, *, context_tokens: int = 4096, device: str = ""
    ) -> None:
        """Load model, tokenizer and adapters.

        Args:
            name: a folder, or a model's name on the hub.
            adapters: PEFT folders by the name that `stream(adapter=)` takes.
            context_tokens: the model's own limit is kept where it is lower.
            device: as torch names them; empty takes a GPU where there is one.

        Raises:
            ModelUnavailable: model or adapter are missing, damaged, unfit or not to be trusted.
        """
        folder = _folder(name)
        self._model, tokenizer = _load(name, folder, device)
        self._text = LocalText(tokenizer, name)
        self._end = tokenizer.eos_token_id
        self.weights = folder or Path(self._model.config._name_or_path)
        self._device = self._model.device
        self._stops = _stops(self._model, tokenizer)
        limit = getattr(self._model.config, "max_position_embeddings", None) or context_tokens
        self._tuner = _with_adapters(self._model, adapters or {})
        self._active: str | None = None
        self._lock = threading.Lock()
        self._closed = False
        self.name = folder.name if folder else name
        self.fingerprint = _fingerprint(name, folder, self._model.config)
        self.context_tokens = min(context_tokens, int(limit))
        self.adapters = tuple(adapters or {})
        if self._tuner is not None:
            self._tuner.disable_adapter_layers()

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        adapter: str | None = None,
        conversation: str | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Token | Completed]:
        """See `ChatModel.stream`. `conversation` is not used: every prompt is read from its start."""
        if adapter is not None and adapter not in self.adapters:
            raise ModelError(f"{self.name} has no adapter {adapter!r}; it has {', '.join(self.adapters) or 'none'}.")
        cancel = cancel or threading.Event()
        prompt = self._text.prompt(messages)
        if len(prompt) + max_tokens > self.context_tokens:
            raise PromptTooLong(
                f"{len(prompt)} prompt tokens and {max_tokens} for the answer do not fit the {self.context_tokens} of "
                f"{self.name}. Shorten the question, or raise context_tokens if the model has more."
            )
        steps = self._steps(prompt, adapter, cancel)
        spelling = Spelling(self._text)
        tokens_out = 0
        for token, logprob, runner_up in steps:
            if token in self._stops:
                break
            tokens_out += 1
            last = tokens_out == max_tokens
            text = spelling.add(token)
            yield Token(text + spelling.rest() if last and not text else text, logprob, runner_up)
            if last or cancel.is_set():
                break
        if cancel.is_set():
            yield Completed("cancelled", len(prompt), tokens_out)
        else:
            yield Completed("length" if tokens_out == max_tokens else "stop", len(prompt), tokens_out)

    def count_tokens(self, text: str) -> int:
        """Tokens of `text`, exactly."""
        return len(self._text.content(text))

    def as_trained(self, messages: Sequence[Message], answer: str) -> tuple[list[int], list[int]]:
        """See `TrainableModel.as_trained`."""
        return self._text.prompt(messages), [*self._text.content(answer), self._end]

    def close(self) -> None:
        """Let go of the weights. Idempotent; streams that still run end with ModelUnavailable."""
        with self._lock:
            self._closed = True
            self._model = self._tuner = None

    def _steps(
        self, prompt: Sequence[int], adapter: str | None, cancel: threading.Event
    ) -> Iterator[tuple[int, float, float]]:
        """Greedy decoding without end: token, its log-probability, that of the next best. Ends only when cancelled."""
        from transformers import DynamicCache

        cache: Any = None
        unread = list(prompt)
        while not cancel.is_set():
            piece, unread = unread[:PROMPT_PIECE_TOKENS], unread[PROMPT_PIECE_TOKENS:]
            with self._lock:
                self._switch_to(adapter)
                cache = cache if cache is not None else DynamicCache(config=self._model.config)
                best, found = self._forward(piece, cache)
            if not unread:
                yield best, found[0], found[1]
                unread = [best]

    def _switch_to(self, adapter: str | None) -> None:
        if self._closed:
            raise ModelUnavailable(f"{self.name} was closed. Make a new model.")
        if adapter == self._active:
            return
        if adapter is None:
            self._tuner.disable_adapter_layers()
        else:
            self._tuner.enable_adapter_layers()
            self._tuner.set_adapter(adapter, inference_mode=True)
        self._active = adapter

    def _forward(self, piece: Sequence[int], cache: Any) -> tuple[int, tuple[float, float]]:
        """Read `piece` after what `cache` holds; the most likely next token, and the two best log-probabilities."""
        import torch

        try:
            with torch.inference_mode():
                ids = torch.tensor([list(piece)], device=self._device)
                logits = self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
                best = torch.log_softmax(logits[0, -1].float(), dim=-1).topk(2)
        except torch.OutOfMemoryError as error:
            raise ModelUnavailable(
                f"{self.name}: the accelerator is out of memory. Lower context_tokens, or choose a smaller model."
            ) from error
        first, second = best.values.tolist()
        return int(best.indices[0]), (first, second)


def make_local(settings: Settings, adapters: Mapping[str, Path]) -> ChatModel:
    """The local model that `model_name` names.

    Raises:
        BadSettings: `model_name` is empty.
        ModelUnavailable: model or adapter cannot be used; the message says why.
    """
    if not settings.model_name:
        raise BadSettings("model_name is empty. Set it to a folder or to a model's name on the hub (model = local).")
    return LocalModel(settings.model_name, adapters, context_tokens=settings.context_tokens)


def _folder(name: str) -> Path | None:
    """The folder that `name` is, or None for a hub name; what looks like a path must exist."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or "\\" in name:
        raise ModelUnavailable(f"there is no folder {name}. Set model_name to a model's folder or its hub name.")
    return None


def _load(name: str, folder: Path | None, device: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = device or ("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    where = str(folder) if folder else name
    trusted = {"local_files_only": folder is not None, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, **trusted)
        model = AutoModelForCausalLM.from_pretrained(
            where, use_safetensors=True, dtype=torch.float32 if device == "cpu" else "auto", **trusted
        )
        return model.to(device).eval(), tokenizer
    except Exception as error:
        # Other people's files fail in other people's ways (OSError, ValueError, SafetensorError, KeyError, ...).
        log.warning("loading %s failed", where, exc_info=True)
        reason = " ".join(str(error).split())[:300]
        raise ModelUnavailable(
            f"{where} cannot be loaded ({type(error).__name__}: {reason}). It must hold config.json, "
            "tokenizer.json and a causal model's weights as safetensors; a hub name needs the network once."
        ) from error


def _stops(model: Any, tokenizer: Any) -> frozenset[int]:
    ends = (getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id)
    return frozenset(
        number for end in ends for number in (end if isinstance(end, list) else [end]) if number is not None
    )


def _with_adapters(model: Any, adapters: Mapping[str, Path]) -> Any:
    """Load the adapters into the model's modules; returns PEFT's tuner, which switches them, or None without any."""
    wrapped: Any = None
    for name, folder in adapters.items():
        _check_adapter(folder)
        from peft import LoraConfig, PeftModel

        try:
            config = LoraConfig.from_pretrained(str(folder))
            config.base_model_name_or_path, config.auto_mapping, config.inference_mode = None, None, True
            if wrapped is None:
                wrapped = PeftModel.from_pretrained(model, str(folder), adapter_name=name, config=config)
            else:
                wrapped.load_adapter(str(folder), adapter_name=name)
        except Exception as error:
            log.warning("loading adapter %s failed", folder, exc_info=True)
            reason = " ".join(str(error).split())[:300]
            raise ModelUnavailable(
                f"adapter {name} in {folder} does not fit this model ({type(error).__name__}: {reason}). "
                "Train it for this model, or unset adapter."
            ) from error
    return None if wrapped is None else wrapped.eval().base_model


def _check_adapter(folder: Path) -> None:
    """Refuse what is no LoRA in safetensors, or would change the base weights."""
    config = folder / ADAPTER_CONFIG
    if not config.is_file() or not (folder / ADAPTER_TENSORS).is_file():
        raise ModelUnavailable(
            f"{folder} holds no adapter: {ADAPTER_CONFIG} and {ADAPTER_TENSORS} are needed (pickles are not read). "
            "Save it with PEFT's save_pretrained."
        )
    try:
        said = json.loads(config.read_bytes()[:CONFIG_BYTES_MAX])
    except ValueError as error:
        raise ModelUnavailable(f"{config} is not valid JSON ({error}). Save the adapter again.") from error
    kind = said.get("peft_type") if isinstance(said, dict) else None
    if kind != "LORA":
        raise ModelUnavailable(f"{folder}: a {kind} adapter; only LORA is served. Train a LoRA.")
    start = said.get("init_lora_weights")
    if said.get("bias", "none") != "none" or (isinstance(start, str) and start.lower().startswith(CHANGES_THE_BASE)):
        raise ModelUnavailable(f"{folder}: this LoRA changes the base model's own weights. Train one with bias none.")


def _fingerprint(name: str, folder: Path | None, config: Any) -> str:
    """The hub's commit, or a hash over the folder's file names, sizes and the ends of each file."""
    if folder is None:
        return f"local:{name}@{getattr(config, '_commit_hash', None) or 'unknown'}"
    digest = hashlib.sha256()
    for path in sorted((*folder.glob("*.safetensors"), *folder.glob("*.json"), *folder.glob("*.jinja"))):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(HASHED_BYTES))
            file.seek(max(0, size - HASHED_BYTES))
            digest.update(file.read())
    return f"local:{digest.hexdigest()[:16]}"
