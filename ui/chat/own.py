"""What is the visitor's own on the chat page: documents they attach, their data to take away or erase, their account.

Every handler works out whose it is from the request itself; a conversation of somebody else counts as none. Nothing of
it has an address that could be guessed: what is downloaded goes through the page. Wired by `wiring.py`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import gradio as gr

from assistant import erasure
from assistant.attachments import BYTES_MAX
from assistant.errors import AssistantError
from assistant.export import as_json, as_markdown
from assistant.moving import move_conversations
from knowledge.errors import KnowledgeError
from ui import present
from ui.access.visitors import secret_of_browser, visitor_of, who_asks
from ui.present.people import account_html

if TYPE_CHECKING:
    from assistant.build import Rungs

log = logging.getLogger(__name__)

UNREADABLE = "That file could not be read. Nothing of it was kept."
SURE = "Tick the box first: what is deleted cannot be brought back."
ERASED = "Deleted: {number} conversations with everything in them. Nothing of it is kept here."
LATER = " Its last traces on the disk are overwritten with the next deletion."


class Page(Protocol):
    """What is needed of the chat page."""

    def load(self, visitor: str, conversation: str | None) -> tuple[Any, ...]:
        """The page's outputs for one of the visitor's conversations."""
        ...

    def opened(self, visitor: str, conversation: str | None, request: gr.Request) -> str:
        """The visitor's conversation to go on with, or a new one."""
        ...


@dataclass(frozen=True, slots=True)
class OwnData:
    """The handlers."""

    rungs: Rungs
    page: Page

    # documents

    def attach(
        self, file: str | None, visitor: str, conversation: str | None, request: gr.Request
    ) -> tuple[Any, str, str]:
        """Read an uploaded file into the conversation. Returns the conversation, the list and what to tell."""
        if not file:
            return conversation, self.attached(visitor, conversation, request), ""
        path = Path(file)
        try:
            content = path.read_bytes() if path.stat().st_size <= BYTES_MAX else b"\0" * (BYTES_MAX + 1)
            conversation = self.page.opened(visitor, conversation, request)
            attachment = self.rungs.attachments.add(conversation, path.name, content)
            told = f"{attachment.name} is read: your questions in this conversation look into it, and nobody else's do."
        except (AssistantError, KnowledgeError) as error:
            told = str(error)
        except Exception:  # the page's edge: a hostile file is told as unreadable, and the log keeps why
            log.exception("an attached file could not be read")
            told = UNREADABLE
        finally:
            with suppress(OSError):  # the copy that came over the wire
                path.unlink()
        return conversation, self.attached(visitor, conversation, request), present.escaped(told)

    def attached(self, visitor: str, conversation: str | None, request: gr.Request) -> Any:
        """The documents of the conversation, as choices to remove."""
        mine = self._mine(visitor, conversation, request)
        choices = [(one.name, one.id) for one in self.rungs.attachments.of(mine)] if mine else []
        return gr.update(choices=choices, value=[id for _, id in choices], visible=bool(choices))

    def keep(self, kept: list[str], visitor: str, conversation: str | None, request: gr.Request) -> tuple[Any, str]:
        """Remove the documents that are no longer ticked."""
        mine = self._mine(visitor, conversation, request)
        told = ""
        for one in self.rungs.attachments.of(mine) if mine else ():
            if mine and one.id not in kept:
                self.rungs.attachments.remove(mine, one.id)
                told = f"{one.name} is removed. Answers that quoted it stay in this conversation."
        return self.attached(visitor, conversation, request), present.escaped(told)

    # data

    def exported(self, form: str, visitor: str, conversation: str | None, request: gr.Request) -> tuple[str, str]:
        """A conversation as one file. Returns JSON with its name and text for the page's script, and what to tell."""
        mine = self._mine(visitor, conversation, request)
        if not mine:
            return "", "There is nothing to download yet: ask something first."
        make: Callable[[Rungs, str], str] = as_markdown if form == "md" else as_json
        file = {"name": f"conversation.{form}", "text": make(self.rungs, mine)}
        return json.dumps(file), "Your download has started."

    def erased(
        self, everything: bool, sure: bool, visitor: str, conversation: str | None, request: gr.Request
    ) -> tuple[Any, ...]:
        """Delete a conversation, or all of the visitor's. Returns the page's outputs and what to tell."""
        who = self._who(visitor, request)
        if not sure:
            return (gr.skip(),) * 5 + (SURE,)
        mine = self._mine(visitor, conversation, request)
        try:
            if everything:
                done = erasure.erase_visitor(self.rungs.engine, who)
            elif mine:
                done = erasure.erase_conversation(self.rungs.engine, mine)
            else:
                return (gr.skip(),) * 5 + ("There is nothing to delete yet.",)
        except (AssistantError, KnowledgeError) as error:
            return (gr.skip(),) * 5 + (present.escaped(str(error)),)
        told = ERASED.format(number=done.conversations) + ("" if done.wiped else LATER)
        return *self.page.load(who, None), told

    # account

    def account(self, visitor: str, request: gr.Request) -> tuple[str, Any]:
        """Who is logged in, and whether this browser has conversations from before."""
        who = who_asks(request)
        if who is None:
            return account_html(None, self._has_people(), "/"), gr.update(visible=False)
        secret = secret_of_browser(visitor)
        earlier = bool(secret) and bool(self.rungs.traces.conversations(secret))
        return account_html(who, True, "/"), gr.update(visible=earlier)

    def taken_along(self, visitor: str, conversation: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Give this browser's conversations to the account that is logged in. Returns the page's outputs."""
        who, secret = who_asks(request), secret_of_browser(visitor)
        if who is None or not secret:
            return (gr.skip(),) * 5 + (gr.update(visible=False), "Log in first.")
        number = move_conversations(self.rungs.engine, secret, visitor_of(who, None))
        told = f"{number} conversations of this browser are in your account now."
        return *self.page.load(visitor_of(who, None), conversation), gr.update(visible=False), told

    # parts

    def _who(self, visitor: str, request: gr.Request) -> str:
        return visitor_of(who_asks(request), visitor)

    def _mine(self, visitor: str, conversation: str | None, request: gr.Request) -> str | None:
        try:
            who = self._who(visitor, request)
            return self.rungs.traces.open_conversation(who, "chat", conversation) if conversation and who else None
        except AssistantError:
            return None

    def _has_people(self) -> bool:
        from ui.access.people import People

        return People(self.rungs.engine).any
