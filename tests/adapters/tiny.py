"""A language model of a few thousand weights in Hugging Face format, for tests of training; and rows for it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from adapters.job import Row

WORDS = 60
END = 1


def write_model(folder: Path) -> Path:
    """A random llama with two blocks and a word-level tokenizer."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,  # a frozen head of tiny weights could say nothing with certainty
        bos_token_id=0,
        eos_token_id=END,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words = {"<s>": 0, "</s>": END} | {f"w{number}": number for number in range(2, WORDS)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="w2"))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    ).save_pretrained(folder)
    return folder


def rows(count: int, seed: int = 1) -> list[Row]:
    """Prompts of random words, each with the same short answer: quick to learn."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        prompt = tuple(draw.randrange(2, WORDS) for _ in range(draw.randrange(4, 30)))
        made.append(Row(prompt, (7, 9, END)))
    return made


def own_answers(folder: Path, given: Sequence[Row]) -> list[Row]:
    """The same prompts with what the model in a folder answers by itself: nothing is left to learn."""
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(folder)
    made = []
    for row in given:
        said = model.generate(torch.tensor([row.prompt]), max_new_tokens=3, min_new_tokens=3, do_sample=False)
        made.append(Row(row.prompt, tuple(said[0, len(row.prompt) :].tolist())))
    return made
