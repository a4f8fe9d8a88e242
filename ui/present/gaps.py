"""Content gaps as HTML: what was asked, how often, what came closest. Formats and escapes. Called by the console."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from assistant.fates import Asked
from assistant.gaps import Gap
from knowledge.types import Hit
from ui.present import escaped
from ui.present.overview import FATE_WORDS
from ui.present.tables import choosable, empty

WORDINGS_SHOWN = 12
LABEL_CHARACTERS = 160
GAP_COLUMNS = ("Question", "Asked", "Handed off", "Not helpful", "Last")
NO_GAP = "Nothing was left without a good answer in this period."
NOT_CHOSEN = empty("Choose a gap to see its questions, what came closest, and to write the answer.")


def gaps_html(gaps: Sequence[Gap]) -> str:
    """Gaps to choose from."""
    rows = [
        (
            gap.id,
            (
                _short(gap.title) + (" (ignored)" if gap.ignored else ""),
                len(gap.questions),
                gap.handoffs or "",
                gap.disputed or "",
                max(one.started_at for one in gap.questions)[:10],
            ),
        )
        for gap in gaps
    ]
    return choosable("Gaps", GAP_COLUMNS, rows, 0, "gaps")


def gap_html(gap: Gap, closest: Sequence[Hit]) -> str:
    """A gap in full."""
    wordings: dict[str, list[Asked]] = {}
    for one in gap.questions:
        wordings.setdefault(one.text, []).append(one)
    asked = "".join(_wording(text, ones) for text, ones in list(wordings.items())[:WORDINGS_SHOWN])
    more = len(wordings) - WORDINGS_SHOWN
    rest = f'<p class="sure">and {more} more wordings</p>' if more > 0 else ""
    near = "".join(
        f"<details><summary>{escaped(hit.passage.document)} › {escaped(hit.passage.heading.split(' > ')[-1])} "
        f'<span class="sure">similarity {hit.similarity:.2f}</span></summary>'
        f'<div class="passage">{escaped(hit.passage.text)}</div></details>'
        for hit in closest
    )
    times = f"{len(gap.questions)} question{'' if len(gap.questions) == 1 else 's'}"
    return (
        f'<div class="card"><h2>{escaped(gap.title)}</h2><h3>{times}</h3><ul>{asked}</ul>{rest}'
        f"<h3>Closest documents</h3>{near or empty('No document comes near.')}</div>"
    )


def _wording(text: str, ones: Sequence[Asked]) -> str:
    fates = Counter(one.fate for one in ones)
    told = ", ".join(f"{count}× {FATE_WORDS[fate][0].lower()}" for fate, count in fates.most_common())
    surfaces = ", ".join(sorted({one.surface for one in ones}))
    last = max(one.started_at for one in ones)[:16].replace("T", " ")
    return f'<li>{escaped(text[:400])} <span class="sure">{escaped(f"{told}; last {last}, {surfaces}")}</span></li>'


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LABEL_CHARACTERS else line[: LABEL_CHARACTERS - 1] + "…"
