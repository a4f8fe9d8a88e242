"""The owner's tab of people and keys (Gradio): who may log in and as what, which programs may do what.

The door of the console lets owners alone in; what must not happen (no owner left) is refused by `access/people.py`. A
secret is shown once. Mounted by `page.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ui import present
from ui.access.people import ROLES, SCOPES, People
from ui.console.adapting import person
from ui.control import EXPECTED
from ui.present.people import SCOPE_WORDS, accounts_html, keys_html, secret_html
from ui.present.tables import told

if TYPE_CHECKING:
    from assistant.build import Rungs

PASSWORD_BYTES = 12
ONCE = "It is shown this once."
QUIET: Mapping[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


@dataclass(frozen=True, slots=True)
class PeopleDesk:
    """The tab's handlers."""

    people: People

    def listed(self) -> tuple[str, Any, str, Any, Any]:
        """Accounts and keys, and what can be chosen of them."""
        accounts, keys = self.people.accounts(), self.people.all_keys()
        names = [one.name for one in accounts]
        ids = [(f"{one.name} ({one.id})", one.id) for one in keys]
        return (
            accounts_html(accounts),
            gr.Dropdown(names, value=None, interactive=bool(names)),
            keys_html(keys),
            gr.Dropdown(ids, value=None, interactive=bool(ids)),
            gr.skip() if accounts else gr.Dropdown(value="owner"),  # the first account must be one
        )

    def added(self, name: str, role: str) -> str:
        """Make an account with a password of its own, to be handed over."""
        first = not self.people.any
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        try:
            made = self.people.add(name, role, password)  # type: ignore[arg-type]
        except EXPECTED as error:
            return present.problem_html(str(error))
        after = f"{ONCE} {made.name} logs in with it at /login."
        if first:
            after += " From now on everybody logs in, you too: copy it, then open /login?next=/console/."
        return secret_html(f"The password of {made.name} ({made.role}):", password, after)

    def reset(self, name: str | None) -> str:
        """A new password; whoever is logged in with the old one is logged out."""
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        try:
            self.people.set_password(name or "", password)
        except EXPECTED as error:
            return present.problem_html(_chosen(name) or str(error))
        return secret_html(f"The new password of {name}:", password, f"{ONCE} Every session of theirs has ended.")

    def changed(self, name: str | None, role: str) -> str:
        """Another role."""
        try:
            self.people.set_role(name or "", role)  # type: ignore[arg-type]
        except EXPECTED as error:
            return present.problem_html(_chosen(name) or str(error))
        return told(f"{name} is {'an' if role[0] in 'aeiou' else 'a'} {role} from now on.")

    def removed(self, name: str | None) -> str:
        """Remove an account."""
        try:
            self.people.remove(name or "")
        except EXPECTED as error:
            return present.problem_html(_chosen(name) or str(error))
        return told(f"{name} is removed, and logged out.")

    def key_made(self, name: str, scopes: list[str], by: str) -> str:
        """Make a key."""
        try:
            key, secret = self.people.add_key(name, scopes, by)  # type: ignore[arg-type]
        except EXPECTED as error:
            return present.problem_html(str(error))
        return secret_html(f"The key {key.name}:", secret, f"{ONCE} Send it as: Authorization: Bearer …")

    def key_revoked(self, id: str | None) -> str:
        """Take a key back."""
        if not id:
            return present.problem_html("Choose a key first.")
        try:
            self.people.revoke(id)
        except EXPECTED as error:
            return present.problem_html(str(error))
        return told("Revoked: whoever shows it is turned away from now on.")


def _chosen(name: str | None) -> str:
    return "" if name else "Choose an account first."


def build_tab(rungs: Rungs) -> list[dict[str, Any]]:
    """The tab's components; returns what fills them when the tab is opened."""
    desk = PeopleDesk(People(rungs.engine))
    with gr.Tab("Accounts"):
        accounts, name, role, account_work = _accounts(desk)
    with gr.Tab("Keys"):
        keys, key, key_work = _keys(desk)
    filling: dict[str, Any] = {"fn": desk.listed, "inputs": None, "outputs": [accounts, name, keys, key, role], **QUIET}
    for work in (*account_work, *key_work):
        work.then(**filling)
    return [filling]


def _accounts(desk: PeopleDesk) -> tuple[Any, Any, Any, list[Any]]:
    shown = gr.HTML(elem_id="accounts")
    said = gr.HTML(elem_id="accounts-said")
    with gr.Row(elem_classes="halves"):
        with gr.Column(elem_classes="card"):
            gr.HTML("<h2>A new account</h2>")
            fresh = gr.Textbox(label="Name", max_length=64, elem_id="account-name")
            role = gr.Dropdown(list(ROLES[1:]), value="agent", label="Role", elem_id="account-role")
            add = gr.Button("Make the account", size="sm", variant="primary", elem_id="account-add")
        with gr.Column(elem_classes="card"):
            gr.HTML("<h2>Change an account</h2>")
            name = gr.Dropdown([], value=None, label="Account", elem_id="account-chosen")
            other = gr.Dropdown(list(ROLES[1:]), value="user", label="New role", elem_id="account-other-role")
            with gr.Row(elem_classes="box-buttons left"):
                change = gr.Button("Change the role", size="sm", elem_id="account-change")
                reset = gr.Button("New password", size="sm", elem_id="account-reset")
                remove = gr.Button("Remove …", size="sm", elem_id="account-remove")
            yes, asking = _confirmed(remove, "Remove this account? It is logged out at once.", "account")
    work = [
        add.click(desk.added, [fresh, role], said, **QUIET),
        change.click(desk.changed, [name, other], said, **QUIET),
        reset.click(desk.reset, name, said, **QUIET),
        yes.click(desk.removed, name, said, **QUIET),
    ]
    yes.click(lambda: gr.Column(visible=False), None, asking, **QUIET)
    return shown, name, role, work


def _keys(desk: PeopleDesk) -> tuple[Any, Any, list[Any]]:
    shown = gr.HTML(elem_id="keys")
    said = gr.HTML(elem_id="keys-said")
    with gr.Row(elem_classes="halves"):
        with gr.Column(elem_classes="card"):
            gr.HTML("<h2>A new key</h2>")
            name = gr.Textbox(label="What it is for", max_length=100, elem_id="key-name")
            scopes = gr.CheckboxGroup(
                [(SCOPE_WORDS[scope], scope) for scope in SCOPES], value=["ask"], label="It may", elem_id="key-scopes"
            )
            make = gr.Button("Make the key", size="sm", variant="primary", elem_id="key-make")
        with gr.Column(elem_classes="card"):
            gr.HTML("<h2>Take a key back</h2>")
            key = gr.Dropdown([], value=None, label="Key", elem_id="key-chosen")
            with gr.Row(elem_classes="box-buttons left"):
                revoke = gr.Button("Revoke …", size="sm", elem_id="key-revoke")
            yes, asking = _confirmed(revoke, "Revoke this key? Its program stops working at once.", "key")

    def makes(name: str, scopes: list[str], request: gr.Request) -> str:
        return desk.key_made(name, scopes, person(request))

    work = [
        make.click(makes, [name, scopes], said, **QUIET),
        yes.click(desk.key_revoked, key, said, **QUIET),
    ]
    yes.click(lambda: gr.Column(visible=False), None, asking, **QUIET)
    return shown, key, work


def _confirmed(button: Any, question: str, name: str) -> tuple[Any, Any]:
    """A question that a button asks first; returns the button that says yes, and the group to close."""
    with gr.Column(visible=False, elem_classes="confirm") as asking:
        gr.HTML(f"<p>{present.escaped(question)}</p>")
        with gr.Row(elem_classes="box-buttons"):
            no = gr.Button("No", size="sm", elem_id=f"{name}-no")
            yes = gr.Button("Yes", size="sm", variant="stop", elem_id=f"{name}-yes")
    button.click(lambda: gr.Column(visible=True), None, asking, **QUIET)
    no.click(lambda: gr.Column(visible=False), None, asking, **QUIET)
    return yes, asking
