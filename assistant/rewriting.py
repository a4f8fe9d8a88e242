"""What a model does to an agent's own words: shorter, friendlier, more formal, in another language; and summaries.

Never trusts it: a text that came out empty, cut off, or without a number, an address or a name that was in it (or with
one that was not) is thrown away, and the agent's own stays. These prompts are no level's: calibration does not depend
on them. Called by the copilot.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from adapters.facts import unsaid
from assistant.settings import Settings
from assistant.thread import Entry
from assistant.types import ChatModel, Completed, Message
from knowledge.words import coverage, terms

Change = Literal["shorter", "friendlier", "formal"]
LANGUAGES: Mapping[str, str] = {
    "en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese",
    "nl": "Dutch", "pl": "Polish", "tr": "Turkish", "uk": "Ukrainian", "ja": "Japanese", "zh": "Chinese",
}  # fmt: skip
"""What can be translated to, by code."""
ROOM = 3
"""Tokens of a rewritten text for each of the text's own, at most."""
TOKENS_LEAST = 48
KEEPS, SHORTER_KEEPS, OWN_WORDS = 0.75, 0.5, 0.5
"""Shares of telling words: of the agent's that a rewritten text must keep, and of its own that must be the agent's.
A small model drifts off: of twelve rewritings by the one that ships, five said something else."""
SUMMARY_TOKENS = 120
SUMMARY_SHARE = 0.8
"""Of what was said: a longer summary is none."""
TOLD_SHARE = 0.6
"""Of the context window, for the conversation that is summarised."""

_REWRITE = (
    "You rewrite messages of a support agent. {wanted} Keep every fact, number, name and web address. "
    "Add nothing. Reply with the rewritten message alone."
)
_WANTED: Mapping[Change, str] = {
    "shorter": "Make the message shorter.",
    "friendlier": "Make the message friendlier and warmer.",
    "formal": "Make the message formal and polite.",
}
_EXAMPLES: Mapping[Change, tuple[tuple[str, str], ...]] = {
    "shorter": (
        (
            "If you would like to change your password, what you need to do is to open Settings first, and after "
            "that you can press Change password.",
            "Open Settings and press Change password.",
        ),
        (
            "I just wanted to let you know that your order will in all likelihood reach you within 3 days from today.",
            "Your order should arrive within 3 days.",
        ),
    ),
    "friendlier": (
        (
            "Open Settings and press Change password.",
            "Happy to help! Just open Settings and press Change password.",
        ),
        (
            "Your order arrives within 3 days.",
            "Good news: your order arrives within 3 days. Please let me know if there is anything else!",
        ),
    ),
    "formal": (
        (
            "Just open Settings and hit Change password.",
            "Please open Settings and select Change password.",
        ),
        (
            "Hey, your stuff gets there in 3 days.",
            "We would like to inform you that your order will arrive within 3 days.",
        ),
    ),
}
_TRANSLATE = (
    "Translate the support agent's message into {language}. Keep every number, name and web address. "
    "Reply with the translation alone."
)
_SUMMARISE = (
    "Summarise the support conversation in two or three short sentences for a colleague: what the visitor wants, what "
    "was answered, what is open. Say only what stands in it."
)

_SPEAKS = re.compile(r"^(visitor|assistant|agent):", re.I | re.M)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """How a rewriting ended: the text to go on with, and what to tell the agent (empty: it worked)."""

    text: str
    warning: str = ""


def cannot_write(settings: Settings, language: str) -> str:
    """Why the model at hand cannot be asked for a language; empty where it can."""
    known = settings.answered_in
    if not known or language in known:
        return ""
    named = ", ".join(LANGUAGES.get(code, code) for code in known)
    return (
        f"The model at hand writes {named} only, so a translation into {LANGUAGES.get(language, language)} would not "
        "be worth sending. A larger model can be connected by the setting model, and its languages named by languages."
    )


def rewrite(
    model: ChatModel, text: str, change: Change, cancel: threading.Event | None = None
) -> Iterator[str | Rewritten]:
    """Change a message's tone or length. Yields the text as it grows, then exactly one `Rewritten`.

    Raises:
        ModelError: the model is not there, or the text is too long for it.
    """
    messages = [Message("system", _REWRITE.format(wanted=_WANTED[change]))]
    for before, after in _EXAMPLES[change]:
        messages += [Message("user", before), Message("assistant", after)]
    yield from _written(model, [*messages, Message("user", text)], text, change == "shorter", True, cancel)


def translate(
    model: ChatModel, text: str, language: str, cancel: threading.Event | None = None
) -> Iterator[str | Rewritten]:
    """Translate a message into a language of `LANGUAGES`. Yields as `rewrite` does.

    Raises:
        ModelError: the model is not there, or the text is too long for it.
    """
    wanted = _TRANSLATE.format(language=LANGUAGES.get(language, language))
    yield from _written(model, [Message("system", wanted), Message("user", text)], text, False, False, cancel)


def summarise(
    model: ChatModel, entries: Sequence[Entry], cancel: threading.Event | None = None
) -> Iterator[str | Rewritten]:
    """A conversation in a few sentences. The `Rewritten` at the end is empty where the model's words cannot be trusted.

    Raises:
        ModelError: the model is not there.
    """
    told = _transcript(model, entries)
    written, finish = "", ""
    messages = [Message("system", _SUMMARISE), Message("user", told)]
    for item in model.stream(messages, max_tokens=SUMMARY_TOKENS, cancel=cancel):
        if isinstance(item, Completed):
            finish = item.finish
        else:
            written += item.text
            yield written.strip()
    made_up = unsaid(written, [told])
    if not written.strip() or finish == "cancelled":
        yield Rewritten("", "The model wrote no summary.")
    elif len(written) > SUMMARY_SHARE * len(told) or _SPEAKS.search(written):
        yield Rewritten("", "The model repeated the conversation instead of summarising it.")
    elif made_up:
        yield Rewritten("", f"The model's summary was thrown away: it says {_listed(made_up)}, which nobody said.")
    else:
        yield Rewritten(written.strip() if finish == "stop" else _whole_sentences(written))


def _written(
    model: ChatModel, messages: Sequence[Message], text: str, shorter: bool, names: bool,
    cancel: threading.Event | None,
) -> Iterator[str | Rewritten]:  # fmt: skip
    written, finish = "", ""
    room = max(TOKENS_LEAST, ROOM * model.count_tokens(text))
    for item in model.stream(messages, max_tokens=room, cancel=cancel):
        if isinstance(item, Completed):
            finish = item.finish
        else:
            written += item.text
            yield written.strip()
    problem = _problem(text, _bare(written), finish, shorter, names)
    yield Rewritten(text, f"{problem} Your text was kept.") if problem else Rewritten(_bare(written))


def _problem(text: str, written: str, finish: str, shorter: bool, names: bool) -> str:
    """What is wrong with what the model wrote; empty where nothing is."""
    if finish == "cancelled":
        return "Stopped."
    if not written:
        return "The model wrote nothing."
    if finish == "length":
        return "The model did not come to an end."
    gone = unsaid(text, [written], names)
    if gone:
        return f"The model's version left out {_listed(gone)}."
    fresh = unsaid(written, [text], names)
    if fresh:
        return f"The model's version added {_listed(fresh)}."
    if shorter and len(written) >= len(text):
        return "The model's version was no shorter."
    said, kept = terms(text), terms(written)
    if names and (coverage(said, kept) < (SHORTER_KEEPS if shorter else KEEPS) or coverage(kept, said) < OWN_WORDS):
        return "The model's version said something else."
    return ""


def _bare(written: str) -> str:
    """Without the quotation marks that a model puts around the whole."""
    written = written.strip()
    inner = written[1:-1]
    return inner.strip() if written[:1] == written[-1:] == '"' and inner and '"' not in inner else written


def _listed(words: frozenset[str]) -> str:
    return ", ".join(sorted(words)[:4])


def _transcript(model: ChatModel, entries: Sequence[Entry]) -> str:
    """The conversation as lines, the oldest left out where it is longer than the model reads."""
    room = int(model.context_tokens * TOLD_SHARE)
    lines: list[str] = []
    for entry in reversed(entries):
        if entry.speaker not in ("visitor", "assistant", "agent") or not entry.text:
            continue
        line = f"{entry.speaker.capitalize()}: {' '.join(entry.text.split())}"
        room -= model.count_tokens(line)
        if room < 0:
            break
        lines.append(line)
    return "\n".join(reversed(lines))


def _whole_sentences(text: str) -> str:
    """Up to the last full stop of what was cut off."""
    ends = max(text.rfind(mark) for mark in ".!?")
    return text[: ends + 1].strip() if ends > 0 else text.strip()
