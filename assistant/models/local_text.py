"""Text to tokens and back for `local.py`, such that no message can break out of its place in the chat template.

The template is the tokenizer's own. Its marks become control tokens; what people and documents wrote is tokenised by a
twin of the tokenizer that knows no added tokens, so it never does, whatever it says.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from typing import Any

from assistant.errors import ModelUnavailable
from assistant.models.estimate import clean
from assistant.types import Message

HALF = "\ufffd"
"""What a tokenizer decodes half a character to."""


class LocalText:
    """The tokenizer of one local model. Thread-safe: nothing here changes after it is made."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        """Raises ModelUnavailable where the tokenizer has no chat template, or is not of the fast kind."""
        if not getattr(tokenizer, "chat_template", None):
            raise ModelUnavailable(f"{name} has no chat template. Choose a model made for chat (often named Instruct).")
        if not getattr(tokenizer, "is_fast", False):
            raise ModelUnavailable(f"{name} has no tokenizer.json. Choose a model that has one, or serve it elsewhere.")
        from tokenizers import Tokenizer

        plan = json.loads(tokenizer.backend_tokenizer.to_str())
        plan.update(truncation=None, padding=None)
        self._marked = Tokenizer.from_str(json.dumps(plan))
        plan.update(added_tokens=[], post_processor=None)
        self._plain = Tokenizer.from_str(json.dumps(plan))
        self._tokenizer = tokenizer
        self._name = name
        self._marks = {token.content: number for number, token in tokenizer.added_tokens_decoder.items()}
        self._controls = frozenset(number for text, number in self._marks.items() if len(text.strip()) > 1)
        self._word = f"PLACE{secrets.token_hex(8)}"

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the whole prompt, up to where the model's reply begins."""
        contents = [clean(message.content) for message in messages]
        roles = [message.role for message in messages]
        ids: list[int] = []
        for position, part in enumerate(re.split(f"{self._word}N(\\d+)E", self._shape(roles))):
            if position % 2:
                ids.extend(self.content(contents[int(part)]))
            else:
                ids.extend(self._marked.encode(part, add_special_tokens=False).ids)
        return ids

    def content(self, text: str) -> list[int]:
        """Token ids of other people's text; none of them is a control token."""
        ids: list[int] = self._plain.encode(clean(text), add_special_tokens=False).ids
        if self._controls.isdisjoint(ids):
            return ids
        # This vocabulary holds its marks as ordinary words: take their first characters away from them.
        for mark in sorted(self._marks, key=len, reverse=True):
            if len(mark) > 1:
                text = text.replace(mark, f"{mark[:1]} {mark[1:]}")
        return [
            number
            for number in self._plain.encode(clean(text), add_special_tokens=False).ids
            if number not in self._controls
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated tokens, control tokens left out."""
        return str(self._marked.decode(list(ids), skip_special_tokens=True))

    def _shape(self, roles: Sequence[str]) -> str:
        """The template for these roles, with a place for each message."""
        from jinja2 import TemplateError

        turns = [{"role": role, "content": f"{self._word}N{number}E"} for number, role in enumerate(roles)]
        try:
            return self._render(turns)
        except TemplateError:
            if len(turns) < 2 or roles[0] != "system":
                raise
        # Some templates know no system role: its words open the first turn then.
        first = {"role": turns[1]["role"], "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
        return self._render([first, *turns[2:]])

    def _render(self, turns: Sequence[dict[str, str]]) -> str:
        return str(self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


class Spelling:
    """Turns a growing list of tokens into text, piece by piece, never half a character."""

    def __init__(self, text: LocalText) -> None:
        self._text = text
        self._ids: list[int] = []
        self._shown = 0
        """Tokens before this one are spelt out already; the last few stay in `_ids` as context for spaces."""

    def add(self, token: int) -> str:
        """What can be shown of the text now that `token` came; empty while a character is incomplete."""
        self._ids.append(token)
        before = self._text.decode(self._ids[: self._shown])
        whole = self._text.decode(self._ids)
        if whole.endswith(HALF):
            return ""
        self._ids = self._ids[self._shown :]
        self._shown = len(self._ids)
        return whole[len(before) :]

    def rest(self) -> str:
        """What is left at the end, an incomplete character included as a replacement mark."""
        before = self._text.decode(self._ids[: self._shown])
        return self._text.decode(self._ids)[len(before) :]
