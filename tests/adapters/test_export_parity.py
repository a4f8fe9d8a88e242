"""The exported adapter computes what PEFT computes: its next-token log-probabilities, on the real engine."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters import export as exporting
from adapters.export import export
from assistant.models.embedded import EmbeddedModel
from assistant.models.engine import EngineOptions
from assistant.types import Message, Token
from tests.assistant.models import alike

pytestmark = [
    pytest.mark.engine,
    # peft 0.21 asks transformers 5 for a name that it renamed
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
QUESTIONS = (
    "How do I install the software?",
    "What is the capital of France?",
    "Why is the sky blue?",
    "Write one line about rivers.",
    "My order has not arrived yet.",
    "Explain what a token is.",
)


def messages(question: str) -> list[Message]:
    return [Message("system", "You are a helpful assistant."), Message("user", question)]


@pytest.fixture(scope="module")
def reference(weights: Path) -> Any:
    """The same weights under transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    torch.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_pretrained(
            weights.parent, gguf_file=weights.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
    return model.eval(), tokenizer


@pytest.fixture(scope="module")
def adapted(reference: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A PEFT adapter on every linear layer with random weights in both halves, saved; and the model that carries it."""
    import torch
    from peft import LoraConfig, get_peft_model

    model, _ = reference
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    peft = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(3)
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.06)
    folder = tmp_path_factory.mktemp("adapter")
    peft.save_pretrained(folder, save_embedding_layers=False)
    return peft.eval(), folder


def reference_logprobs(model: Any, tokenizer: Any, question: str) -> Any:
    """Log-probabilities of the first token of the reply, over the whole vocabulary."""
    import torch

    text = "".join(f"<|im_start|>{m.role}\n{m.content}<|im_end|>\n" for m in messages(question))
    ids = tokenizer(f"{text}<|im_start|>assistant\n", return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        return torch.log_softmax(model(ids).logits[0, -1].float(), -1).numpy()


def engine_logprobs(model: EmbeddedModel, question: str, adapter: str | None) -> dict[int, float]:
    """The engine's ten likeliest first tokens."""
    chunks: list[dict[str, Any]] = []
    request = {
        "prompt": model._tokens.of(messages(question)),
        "max_tokens": 1,
        "temperature": 0.0,
        "logprobs": 10,
        "cache_prompt": False,
        "lora": [{"id": i, "scale": float(name == adapter)} for i, name in enumerate(model.adapters)],
    }
    model._engine.complete(request, lambda chunk: bool(chunks.append(chunk)))
    top = chunks[0]["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    return {entry["id"]: entry["logprob"] for entry in top}


def distance(model: EmbeddedModel, adapter: str | None, expected: Sequence[Any]) -> float:
    """Mean absolute difference in nats over the engine's ten likeliest tokens of every question."""
    gaps = []
    for question, logprobs in zip(QUESTIONS, expected, strict=True):
        gaps += [abs(value - logprobs[token]) for token, value in engine_logprobs(model, question, adapter).items()]
    return float(np.mean(gaps))


@pytest.fixture(scope="module")
def adapted_engine(adapted: tuple[Any, Path], weights: Path, tmp_path_factory: Any) -> Iterator[EmbeddedModel]:
    """The engine with the exported adapter, and with the same one exported without the rotary order."""
    folder = tmp_path_factory.mktemp("gguf")
    right = export(adapted[1], folder / "right.gguf", weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "_in_rotary_order", lambda module, up, base: up)
        wrong = export(adapted[1], folder / "wrong.gguf", weights)
    model = EmbeddedModel(EngineOptions(weights, adapters={"right": right, "wrong": wrong}), "test")
    yield model
    model.close()


def test_an_exported_adapter_computes_what_peft_computes(
    reference: Any, adapted: tuple[Any, Path], adapted_engine: EmbeddedModel, record_property: Any
) -> None:
    peft, _ = adapted
    _, tokenizer = reference
    with peft.disable_adapter():
        base = [reference_logprobs(peft, tokenizer, question) for question in QUESTIONS]
    lora = [reference_logprobs(peft, tokenizer, question) for question in QUESTIONS]
    noise = distance(adapted_engine, None, base)
    exported = distance(adapted_engine, "right", lora)
    without = distance(adapted_engine, None, lora)
    unordered = distance(adapted_engine, "wrong", lora)
    figures = {"noise": noise, "exported": exported, "without": without, "unordered": unordered}
    print(figures)
    assert exported < 2 * noise + 0.05, figures
    assert without > 3 * exported, figures
    assert unordered > 2 * exported, figures


def test_a_request_without_an_adapter_gets_the_base_weights_after_one_with_it(
    adapted_engine: EmbeddedModel, engine: EmbeddedModel
) -> None:
    def reply(model: EmbeddedModel, adapter: str | None) -> list[Token]:
        stream = model.stream(messages(QUESTIONS[0]), max_tokens=12, adapter=adapter, conversation="same")
        return [item for item in stream if isinstance(item, Token)]

    alone = reply(engine, None)
    with_adapter = reply(adapted_engine, "right")
    assert not alike(with_adapter, alone)
    assert alike(reply(adapted_engine, None), alone)
    assert alike(reply(adapted_engine, "right"), with_adapter)
