"""What an agent does on the desk (Gradio): look, take over, write, give back, resolve, report, keep as knowledge.

Each handler ends in HTML; what the desk refuses is said on the page. Decides nothing: the desk does. Wired by
`page.py`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from assistant.answer_pairs import add_pair
from assistant.desk import HandOff
from assistant.drafting import REPORTED, AgentDraft, to_answer, tried
from assistant.errors import AssistantError
from assistant.inbox import Shelf, inbox
from assistant.messages import Author
from assistant.sources import is_internal
from assistant.thread import Entry, thread_of
from assistant.types import DRAFTING
from ui import present
from ui.console.adapting import person
from ui.control import EXPECTED
from ui.copilot.layout import SHELF_WORDS
from ui.present import desk as present_desk

if TYPE_CHECKING:
    from assistant.build import Rungs

QUESTION_WORDS = 500
HITS = 5
QUOTE_CHARACTERS = 600
SHOWN = ("shelf", "rows", "head", "acts", "take", "resolve", "back", "reopen", "thread", "write", "note_box", "summary")
"""What `Acts.look` renews, in its order."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What an agent was writing in a conversation that is not on the page now."""

    reply: str = ""
    used: str = ""
    undo: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Acts:
    """Handlers of the desk. One for the whole server."""

    rungs: Rungs

    # looking

    def look(
        self, shelf: Shelf, text: str, open_id: str, shown: Mapping[str, str], request: gr.Request
    ) -> tuple[Any, ...]:
        """The page as things stand; what has not changed is left alone, so that nobody loses their place."""
        agent = person(request)
        handoff = self._open(open_id)
        self.rungs.desk.here(agent, handoff.conversation_id if handoff else "")
        found = inbox(self.rungs.desk, self.rungs.traces, agent, shelf, text or "")
        labels = [(f"{words} ({found.counts[name]})", name) for name, words in SHELF_WORDS.items()]  # type: ignore[index]
        fresh = {"rows": present_desk.inbox_html(found.rows, shelf, open_id, bool((text or "").strip()))}
        fresh |= self._conversation(handoff, agent)
        told = {name: gr.skip() if shown.get(name) == _hash(html) else html for name, html in fresh.items()}
        state, mine = (handoff.state, handoff.agent == agent) if handoff else ("", False)
        visible = {
            "acts": bool(handoff),
            "take": state == "waiting",
            "resolve": state == "waiting" or (mine and state == "in_progress"),
            "back": mine and state == "in_progress",
            "reopen": state == "resolved",
            "write": mine and state == "in_progress",
            "note_box": bool(handoff),
        }
        told |= {name: gr.update(visible=seen) for name, seen in visible.items()}
        told["shelf"] = gr.update(choices=labels)
        return *(told[name] for name in SHOWN), {name: _hash(html) for name, html in fresh.items()}

    def open(
        self, chosen: str, open_id: str, kept: Mapping[str, Kept], reply: str, used: str, undo: tuple[str, ...]
    ) -> tuple[Any, ...]:
        """Another conversation: what was being written stays with the old one.

        Returns:
            What is open, what is kept, the answer, what it was made from, what Undo goes back to, its button, a key
            for the next message, and empty places for what was told, drafted and found.
        """
        wanted = chosen.split("#")[0]
        kept = {**kept, open_id: Kept(reply, used, undo)} if open_id else dict(kept)
        now = kept.pop(wanted, Kept())
        back = gr.update(visible=bool(now.undo))
        return wanted, kept, now.reply, now.used, now.undo, back, _key(), "", None, present_desk.NO_DRAFT, "", ""

    # acting

    def take(self, open_id: str, request: gr.Request) -> str:
        """Take over."""
        return self._done(lambda: self.rungs.desk.take(open_id, person(request)), "You have this conversation.")

    def give_back(self, open_id: str, request: gr.Request) -> str:
        """The assistant goes on."""
        told = "Given back: the assistant answers again."
        return self._done(lambda: self.rungs.desk.give_back(open_id, person(request)), told)

    def resolve(self, open_id: str, request: gr.Request) -> str:
        """Done."""
        return self._done(lambda: self.rungs.desk.resolve(open_id, person(request)), "Resolved.")

    def reopen(self, open_id: str, request: gr.Request) -> tuple[str, Any]:
        """A resolved conversation is this agent's again. Returns what is open then, and what to tell."""
        try:
            before = self.rungs.desk.find(open_id)
            fresh = self.rungs.desk.hand_off(before.conversation_id, before.kind)
            self.rungs.desk.take(fresh.id, person(request))
        except EXPECTED as error:
            return open_id, present.problem_html(str(error))
        return fresh.id, present_desk.told_html("Open again: you have this conversation.")

    def assign(self, open_id: str, to: str | None, request: gr.Request) -> str:
        """Give it to a certain agent, oneself included."""
        if not to:
            return present.problem_html("Choose who is to have it.")
        return self._done(lambda: self.rungs.desk.assign(open_id, to, person(request)), f"Assigned to {to}.")

    def send(
        self, open_id: str, reply: str, once: str, used: str, undo: tuple[str, ...], request: gr.Request
    ) -> tuple[Any, ...]:
        """Say it to the visitor, and keep how far it is from the draft that it was made from.

        Returns:
            The answer's box, the next message's key, what it was made from, what Undo goes back to, its button, and
            what to tell.
        """
        agent = person(request)
        try:
            handoff = self.rungs.desk.find(open_id)
            draft = used if self._is_draft_of(used, handoff) else None
            self.rungs.desk.say(handoff.conversation_id, "agent", agent, reply, draft=draft, once=once)
        except EXPECTED as error:
            stay = gr.skip()
            return stay, stay, stay, stay, stay, present.problem_html(str(error))
        told = self._kept(draft, reply, agent) if draft else "Sent."
        return "", _key(), "", (), gr.update(visible=False), present_desk.told_html(told)

    def note(self, open_id: str, text: str, request: gr.Request) -> tuple[Any, str]:
        """Write for other agents."""
        agent = person(request)

        def keep() -> None:
            self._say(open_id, "note", agent, text)

        told = self._done(keep, "Noted, for agents only.")
        return gr.skip() if "problem" in told else "", told

    def report(self, reported: str, open_id: str, request: gr.Request) -> str:
        """One of the assistant's answers was bad; the reason is one of a few."""
        trace_id, _, reason = reported.split("#")[0].partition(":")

        def keep() -> None:
            handoff = self.rungs.desk.find(open_id)
            if reason not in REPORTED or trace_id not in {e.id for e in self._entries(handoff)}:
                raise AssistantError("that is no answer of this conversation.")
            self.rungs.traces.add_feedback(trace_id, -1, f"agent: {reason}")

        return self._done(keep, f"Reported as {reason}.")

    # drafts and knowledge

    def use(self, draft: AgentDraft | None, reply: str, undo: tuple[str, ...]) -> tuple[Any, ...]:
        """Put the draft into the answer's box; what stood there can be had back."""
        if draft is None or not draft.text:
            told = present_desk.warning_html("There is no draft to use.")
            return gr.skip(), gr.skip(), gr.skip(), gr.skip(), told
        undo = (*undo, reply) if reply.strip() and reply != draft.text else undo
        told = "".join(present_desk.warning_html(warning) for warning in draft.warnings)
        return draft.text, draft.trace_id, undo, gr.update(visible=bool(undo)), told

    def undone(self, undo: tuple[str, ...]) -> tuple[Any, ...]:
        """The answer as it was before the last change."""
        if not undo:
            return gr.skip(), undo, gr.update(visible=False), ""
        return undo[-1], undo[:-1], gr.update(visible=len(undo) > 1), ""

    def search(self, query: str) -> str:
        """Passages for a text, internal ones marked."""
        if not query.strip():
            return '<p class="empty">Type what to look for.</p>'
        try:
            hits = self.rungs.store.retrieve([query], HITS)
        except EXPECTED as error:
            return present.problem_html(str(error))
        return present_desk.hits_html(hits, self.rungs.settings.internal_sources)

    def quote(self, quoted: str, reply: str) -> tuple[Any, str]:
        """Put a passage into the answer."""
        passage = self.rungs.store.passage(quoted.split("#")[0])
        if passage is None:
            return gr.skip(), present.problem_html("That passage is no longer known. Search again.")
        text = passage.text.strip()
        text = text if len(text) <= QUOTE_CHARACTERS else f"{text[:QUOTE_CHARACTERS].rsplit(' ', 1)[0]} …"
        secret = is_internal(passage.source, self.rungs.settings.internal_sources)
        warning = f"This source is internal: {passage.title}. Do not send it as it stands." if secret else ""
        return "\n\n".join(part for part in (reply.strip(), text) if part), present_desk.warning_html(warning)

    def pair(self, open_id: str, reply: str) -> tuple[str, str]:
        """A question and an answer to start from: the visitor's, and what the agent said or is about to say."""
        handoff = self._open(open_id)
        entries = self._entries(handoff) if handoff else ()
        asked = to_answer(entries)
        said = [entry.text for entry in entries if entry.speaker == "agent"]
        question = asked.text[:QUESTION_WORDS] if asked else ""
        return question, reply.strip() or (said[-1] if said else "")

    def keep_pair(self, question: str, answer: str, request: gr.Request) -> str:
        """Make it knowledge: the assistant can quote it from now on."""
        home = self.rungs.settings.home
        told = "Kept. The assistant can quote it from now on."
        return self._done(lambda: add_pair(self.rungs.store, home, question, answer, person(request)), told)

    # parts

    def _conversation(self, handoff: HandOff | None, agent: str) -> dict[str, str]:
        if handoff is None:
            return {"head": present_desk.NOTHING_OPEN, "thread": "", "summary": ""}
        others = [p.agent for p in self.rungs.desk.present() if p.conversation_id == handoff.conversation_id]
        entries = self._entries(handoff)
        disliked = {entry.id for entry in entries if entry.speaker == "assistant" and entry.rating < 0}
        reports = {id: _reported(self.rungs.traces.feedback(id)[-1].reason) for id in disliked}
        return {
            "head": present_desk.head_html(handoff, [name for name in others if name != agent], agent),
            "thread": present_desk.thread_html(entries, {id: told for id, told in reports.items() if told}),
            "summary": present_desk.summary_html(tried(self.rungs.traces, handoff), "As it happened."),
        }

    def _entries(self, handoff: HandOff) -> tuple[Entry, ...]:
        return thread_of(self.rungs.traces, self.rungs.desk, handoff.conversation_id, notes=True)

    def _open(self, open_id: str) -> HandOff | None:
        try:
            return self.rungs.desk.find(open_id) if open_id else None
        except AssistantError:  # deleted since
            return None

    def _say(self, open_id: str, role: Author, agent: str, text: str) -> None:
        self.rungs.desk.say(self.rungs.desk.find(open_id).conversation_id, role, agent, text)

    def _is_draft_of(self, trace_id: str, handoff: HandOff) -> bool:
        if not trace_id:
            return False
        question = self.rungs.traces.load(trace_id).question
        return question.surface == DRAFTING and question.conversation_id == handoff.conversation_id

    def _kept(self, draft: str, reply: str, agent: str) -> str:
        try:
            kept = self.rungs.corrections.add(draft, reply, agent, source="copilot")
        except EXPECTED as error:
            return f"Sent. What was changed could not be kept: {error}"
        return f"Sent. You changed {kept.distance:.0%} of the draft." if kept.distance else "Sent, as it was drafted."

    def _done(self, act: Callable[[], object], told: str) -> str:
        try:
            act()
        except EXPECTED as error:
            return present.problem_html(str(error))
        return present_desk.told_html(told)


def _reported(reason: str) -> str:
    return f"Reported by an {reason}" if reason.startswith("agent: ") else ""


def _key() -> str:
    return secrets.token_hex(8)


def _hash(html: str) -> str:
    return hashlib.sha256(html.encode("utf-8", "replace")).hexdigest()
