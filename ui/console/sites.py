"""The owner's tab of sites (Gradio): where the widget may stand, how it looks there, its script tag, a live preview.

What happens is what `rungs sites` does. Mounted by `page.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ui import present
from ui.commands.sites import address_of
from ui.console.adapting import person
from ui.control import EXPECTED
from ui.widget.sites import Look, Site, Sites, snippet

if TYPE_CHECKING:
    from assistant.build import Rungs

COLUMNS = ("Site", "Pages", "Served", "Made")
NONE = '<p class="empty">No site yet. Name one below, with the addresses of the pages that may show the widget.</p>'
CHOOSE = '<p class="empty">Choose a site to see its script tag and a preview.</p>'
FORM_HELP = "One field a line: name, label, type (text or email). Asked before the chat begins."
TEXTS_HELP = "One text a line: key = words. Replaces the widget's own words."


@dataclass(frozen=True, slots=True)
class SitesTab:
    """The tab's handlers."""

    rungs: Rungs
    sites: Sites

    def listed(self) -> tuple[list[list[str]], list[str], str]:
        """Rows, their keys, and a word where there is none."""
        found = self.sites.all()
        rows = [
            [site.name, ", ".join(site.origins) or "no page yet", "yes" if site.open else "no", site.made_at[:16]]
            for site in found
        ]
        return rows, [site.key for site in found], "" if found else NONE

    def chosen(self, keys: Sequence[str], event: gr.SelectData) -> tuple[Any, ...]:
        """A site's fields, its script tag and its preview."""
        row = event.index[0] if isinstance(event.index, (list, tuple)) else event.index
        site = self.sites.find(keys[row]) if row < len(keys) else None
        return (*self._fields(site), self._shown(site))

    def blank(self) -> tuple[Any, ...]:
        """The fields of a new site."""
        return (*self._fields(None), CHOOSE)

    def kept(self, key: str, request: gr.Request, *fields: Any) -> tuple[Any, ...]:
        """Make or change a site; says what is wrong with what was typed."""
        (
            name,
            origins,
            open,
            title,
            greeting,
            seconds,
            speaks,
            suggestions,
            form,
            position,
            color,
            theme,
            language,
            texts,
        ) = fields
        try:
            look: dict[str, Any] = {
                "title": title,
                "greeting": greeting,
                "suggestions": _lines(suggestions),
                "form": [_field(line) for line in _lines(form)],
                "position": position,
                "color": color,
                "theme": theme,
                "language": language,
                "texts": dict(_pair(line) for line in _lines(texts)),
            }
            if (speaks or "").strip():
                look["proactive"] = {"seconds": int(seconds), "text": speaks.strip()}
            named = _lines(origins)
            if key:
                site = self.sites.change(key, name=name, origins=named, look=look, open=bool(open))
            else:
                site = self.sites.add(name or "", named, person(request), look)
        except (*EXPECTED, ValueError) as error:
            return (gr.skip(), present.problem_html(str(error)), *([gr.skip()] * 3))
        return (site.key, self._shown(site, "Kept."), *self.listed())

    def removed(self, key: str) -> tuple[Any, ...]:
        """Remove what is shown."""
        if key:
            self.sites.remove(key)
        return (
            "",
            '<p class="told" role="status">Removed. The widget is silent there from now on.</p>',
            *self.listed(),
        )

    def identity(self, key: str) -> str:
        """A key by which the site's own server proves who a visitor is; its secret is shown this once."""
        if not key:
            return present.problem_html("Choose a site first.")
        made = self.sites.add_identity_key(key)
        return (
            '<div class="told" role="status"><p>Sign a JWT (HS256) on the site\'s server. '
            "The secret is shown this once.</p>"
            + present.facts({"kid": made.id, "secret": made.material, "aud": made.site, "claims": "sub, jti, exp"})
            + "</div>"
        )

    def _fields(self, site: Site | None) -> tuple[Any, ...]:
        look = site.look if site else Look()  # type: ignore[call-arg]
        proactive = look.proactive
        return (
            site.key if site else "",
            site.name if site else "",
            "\n".join(site.origins) if site else "",
            site.open if site else True,
            look.title,
            look.greeting,
            proactive.seconds if proactive else 15,
            proactive.text if proactive else "",
            "\n".join(look.suggestions),
            "\n".join(f"{field.name}, {field.label}, {field.type}" for field in look.form),
            look.position,
            look.color,
            look.theme,
            look.language,
            "\n".join(f"{key} = {words}" for key, words in look.texts.items()),
        )

    def _shown(self, site: Site | None, told: str = "") -> str:
        if site is None:
            return CHOOSE
        tag = present.escaped(snippet(site, address_of(self.rungs)))
        key = present.escaped(site.key)
        word = f'<p class="told" role="status">{present.escaped(told)}</p>' if told else ""
        return (
            f"{word}<p>Put this on every page that shall show the widget:</p>"
            f'<pre class="snippet"><code>{tag}</code></pre>'
            f"<p>A page that takes no scripts may frame <code>/widget/frame/{key}</code> instead.</p>"
            f'<iframe class="preview" title="Preview of the widget" src="/widget/preview/{key}"></iframe>'
        )


def build_tab(rungs: Rungs, blocks: gr.Blocks) -> None:
    """The tab's components and what they do. Called inside the console's blocks."""
    tab = SitesTab(rungs, Sites(rungs.engine))
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
    empty = gr.HTML()
    table = gr.Dataframe(
        headers=list(COLUMNS), interactive=False, wrap=True, max_height=260, elem_id="sites", datatype="str"
    )
    keys, key = gr.State([]), gr.State("")
    with gr.Row():
        with gr.Column(scale=1):
            fields = _form()
            with gr.Row(elem_classes="box-buttons"):
                new = gr.Button("New site", size="sm", elem_id="site-new")
                remove = gr.Button("Remove", size="sm", variant="stop", elem_id="site-remove")
                proof = gr.Button("New identity key", size="sm", elem_id="site-identity")
                keep = gr.Button("Keep", size="sm", variant="primary", elem_id="site-keep")
            proved = gr.HTML(elem_id="site-proved")
        with gr.Column(scale=1):
            shown = gr.HTML(CHOOSE, elem_id="site-shown")
    listing = [table, keys, empty]
    table.select(tab.chosen, keys, [key, *fields, shown], **quiet)
    new.click(tab.blank, None, [key, *fields, shown], **quiet)
    keep.click(tab.kept, [key, *fields], [key, shown, *listing], **quiet)
    remove.click(
        tab.removed, key, [key, shown, *listing], js="(key) => confirm('Remove this site?') ? key : ''", **quiet
    )
    proof.click(tab.identity, key, proved, **quiet)
    blocks.load(tab.listed, None, listing, **quiet)


def _form() -> list[Any]:
    """The fields of a site, in the order of `SitesTab.kept`."""
    name = gr.Textbox(label="Name", max_length=60, elem_id="site-name")
    origins = gr.Textbox(
        label="Pages that may show it",
        lines=2,
        info="One origin a line: https://www.example.com",
        elem_id="site-origins",
    )
    open = gr.Checkbox(label="Served", value=True)
    title = gr.Textbox(label="Title", value="Support", max_length=60)
    greeting = gr.Textbox(label="Greeting", max_length=300, placeholder="The widget's own, in the site's language")
    with gr.Accordion("More: looks, greeting by itself, form, words", open=False):
        seconds = gr.Number(label="Greets by itself after seconds", value=15, precision=0, minimum=1, maximum=3600)
        speaks = gr.Textbox(label="... with these words (empty: never)", max_length=200)
        suggestions = gr.Textbox(label="Suggested questions", lines=3, info="One a line; empty: out of the documents.")
        form = gr.Textbox(label="Form before the chat", lines=2, info=FORM_HELP)
        position = gr.Radio(["right", "left"], value="right", label="Corner")
        color = gr.ColorPicker(label="Colour", value="#0f766e")
        theme = gr.Radio(["auto", "light", "dark"], value="auto", label="Light or dark")
        language = gr.Textbox(label="Language of its words", value="en", info="en, de, fr, es")
        texts = gr.Textbox(label="Words of your own", lines=2, info=TEXTS_HELP)
    return [
        name,
        origins,
        open,
        title,
        greeting,
        seconds,
        speaks,
        suggestions,
        form,
        position,
        color,
        theme,
        language,
        texts,
    ]


def _lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def _field(line: str) -> dict[str, Any]:
    name, _, rest = line.partition(",")
    label, _, kind = rest.rpartition(",")
    return {"name": name.strip(), "label": label.strip() or rest.strip(), "type": kind.strip() if label else "text"}


def _pair(line: str) -> tuple[str, str]:
    key, equals, words = line.partition("=")
    if not equals:
        raise ValueError(f"{line[:60]!r}: write key = words.")
    return key.strip(), words.strip()
