"""Tables, tiles, bars and columns as HTML that can be read aloud. Escapes; never decides. Called by `present_*`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ui.present import escaped

CHOOSES = """
element.addEventListener('click', (event) => {
  const row = event.target.closest('[data-id]');
  if (!row) return;
  element.querySelectorAll('[aria-current]').forEach((other) => other.removeAttribute('aria-current'));
  row.setAttribute('aria-current', 'true');
  trigger('click', {id: row.dataset.id});
});
"""
"""For `gr.HTML(js_on_load=)` around `choosable`: a chosen row is a click with its id."""


def table(caption: str, headers: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()) -> str:
    """A table; cells are escaped.

    Args:
        caption: read aloud, not shown.
        headers: of the columns.
        rows: cells, as many as headers.
        numbers: columns that hold figures and are set to the right.
    """
    kinds = [' class="number"' if column in numbers else "" for column in range(len(headers))]
    head = "".join(f'<th scope="col"{kind}>{escaped(name)}</th>' for name, kind in zip(headers, kinds, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{escaped(str(cell))}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scrolled" tabindex="0" role="region" aria-label="{escaped(caption)}"><table class="list">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def choosable(
    caption: str, headers: Sequence[str], rows: Iterable[tuple[str, Sequence[object]]], named: int, name: str = ""
) -> str:
    """A table whose rows can be chosen, by mouse or keyboard: what a click on one triggers is `CHOOSES`.

    Args:
        caption: read aloud, not shown.
        headers: of the columns.
        rows: (id, cells) of each.
        named: the column whose cell is the button.
        name: CSS class.
    """
    head = "".join(f'<th scope="col">{escaped(one)}</th>' for one in headers)
    body = "".join(
        f'<tr data-id="{escaped(id)}">'
        + "".join(
            f'<td><button type="button">{escaped(str(cell))}</button></td>'
            if column == named
            else f'<td data-label="{escaped(headers[column])}">{escaped(str(cell))}</td>'
            for column, cell in enumerate(cells)
        )
        + "</tr>"
        for id, cells in rows
    )
    return (
        f'<div class="scrolled" tabindex="0" role="region" aria-label="{escaped(caption)}">'
        f'<table class="list choosable {escaped(name)}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def tiles(values: Mapping[str, tuple[str, str]]) -> str:
    """Figures at a glance: name to (figure, what it says)."""
    each = "".join(
        f'<div class="tile"><dt>{escaped(name)}</dt><dd><b>{escaped(figure)}</b><span>{escaped(note)}</span></dd></div>'
        for name, (figure, note) in values.items()
    )
    return f'<dl class="tiles">{each}</dl>'


def bar(name: str, kind: str, share: float, told: str, note: str = "") -> str:
    """One bar: its name, how long it is (0 to 1), and what it says; a note explains it."""
    explained = f'<span class="bar-note">{escaped(note)}</span>' if note else ""
    return (
        f'<div class="bar-row"><span class="bar-name">{escaped(name)}{explained}</span><span class="bar-track">'
        f'<span class="bar {escaped(kind)}" style="width:{100 * min(1.0, max(0.0, share)):.1f}%"></span></span>'
        f'<span class="bar-count">{escaped(told)}</span></div>'
    )


def progress(title: str, done: int, total: int, label: str, *, over: bool = False) -> str:
    """How far work is, as a bar that is read aloud."""
    share = 1.0 if over else done / total if total else 0.0
    told = f"{done:,} of {total:,}" if total else ""
    return (
        f'<div class="progress" role="progressbar" aria-label="{escaped(title)}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{100 * share:.0f}">{bar(title, "working", share, told)}</div>'
        f'<p class="sure">{escaped(label)}</p>'
    )


def columns(parts: Sequence[tuple[str, Mapping[str, int]]], summary: str) -> str:
    """Stacked columns: for each, its name and how many of each kind; kinds are CSS classes, the first at the bottom."""
    most = max((sum(kinds.values()) for _, kinds in parts), default=0) or 1
    drawn = []
    for name, kinds in parts:
        counts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in kinds.items() if count)
        stack = "".join(
            f'<i class="{escaped(kind)}" style="height:{100 * count / most:.2f}%"></i>'
            for kind, count in kinds.items()
            if count
        )
        title = escaped(f"{name}: {counts or 'none'}")
        drawn.append(f'<span class="stack" title="{title}">{stack}</span>')
    ends = f"<span>{escaped(parts[0][0])}</span><span>{escaped(parts[-1][0])}</span>" if parts else ""
    return (
        f'<div class="stacks-most">{most:,}</div><div class="stacks" role="img" aria-label="{escaped(summary)}">'
        f'{"".join(drawn)}</div><div class="stacks-ends">{ends}</div>'
    )


def folded(summary: str, inner: str, name: str = "") -> str:
    """HTML that is folded away under its summary."""
    kind = f' class="{escaped(name)}"' if name else ""
    return f"<details{kind}><summary>{escaped(summary)}</summary>{inner}</details>"


def told(text: str) -> str:
    """What was done, said aloud."""
    return f'<p class="told" role="status">{escaped(text)}</p>'


def empty(text: str) -> str:
    """What stands where there is nothing yet, and what to do about it."""
    return f'<p class="empty">{escaped(text)}</p>'
