"""Is the requantised model worth making? Perplexity and speed of the prepared Q8_0 file beside the shipped Q4_1.

Perplexity: both files dequantised under transformers, over the first pages of the handbook in windows of 1,024 tokens
(the weights' effect alone, exact). Speed: the embedded engine reading 900 words and writing 100 tokens, rounds
interleaved, medians. Run it on a quiet machine: `python -m bench.requantised [ROUNDS]`.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
import time
import warnings
from pathlib import Path

from assistant.models.embedded import EmbeddedModel
from assistant.models.engine import EngineOptions
from assistant.models.weights import prepare, shipped_weights
from assistant.types import Message, Token
from bench.cancelling import prompt, reading_speed

WINDOW_TOKENS, WINDOWS = 1024, 8
HANDBOOK = Path(__file__).resolve().parents[1] / "knowledge" / "handbook"


def perplexity(weights: Path, text: str) -> tuple[float, int]:
    """Perplexity of `text` under the weights, and over how many tokens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_pretrained(
            weights.parent, gguf_file=weights.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
        ).eval()
        tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"][0][: WINDOW_TOKENS * WINDOWS]
    total = count = 0.0
    with torch.no_grad():
        for window in ids.split(WINDOW_TOKENS):
            logits = model(window[None]).logits[0, :-1].float()
            total += torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum").item()
            count += len(window) - 1
    return math.exp(total / count), int(count)


def writing_speed(model: EmbeddedModel) -> float:
    """Generated tokens per second."""
    messages = [Message("system", "You are a storyteller."), *prompt(10)[1:]]
    messages[-1] = Message("user", f"Tell a long story about {random.random()} rivers.")
    times = [time.perf_counter() for item in model.stream(messages, max_tokens=100) if isinstance(item, Token)]
    return (len(times) - 1) / (times[-1] - times[0])


def main() -> None:
    """Print one line per file."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    files = {"shipped Q4_1": shipped_weights(), "prepared Q8_0": prepare(Path(".rungs"))}
    reads: dict[str, list[float]] = {name: [] for name in files}
    writes: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(rounds):
        for name, path in files.items():
            model = EmbeddedModel(EngineOptions(path), "bench")
            reads[name].append(reading_speed(model))
            writes[name].append(writing_speed(model))
            model.close()
    text = "\n\n".join(page.read_text("utf-8") for page in sorted(HANDBOOK.glob("*.md")))
    print("file            perplexity  tokens   reads tok/s   writes tok/s")
    for name, path in files.items():
        figure, tokens = perplexity(path, text)
        read, write = statistics.median(reads[name]), statistics.median(writes[name])
        print(f"{name:14s}  {figure:10.3f}  {tokens:6d}  {read:12.0f}  {write:13.1f}")


if __name__ == "__main__":
    main()
