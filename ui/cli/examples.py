"""How `rungs examples` is typed; what it does stands in `commands/examples.py`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ui.cli import printing
from ui.cli.running import Home, Json, run_command

examples_app = typer.Typer(
    help="Examples to train on: corrected answers, rows made from documents, training sets as files.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
By = Annotated[str | None, typer.Option(help="Who decides; by default who is logged in.")]
Consent = Annotated[
    bool, typer.Option("--consent", help="Who asked agreed, or nothing in it is anybody's own; else it is left out.")
]
CorrectionId = Annotated[str, typer.Argument(metavar="ID", help="As `rungs examples list` shows it.")]


class StateChoice(StrEnum):
    """What `--state` takes."""

    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"


class ShapeChoice(StrEnum):
    """What `--as` takes."""

    ROWS = "rows"
    SFT = "sft"
    PREFERENCE = "preference"


@examples_app.command("list", epilog="Example: rungs examples list --state waiting")
def examples_list(
    state: Annotated[StateChoice | None, typer.Option(help="Only those in this state.")] = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """List what people corrected, and what waits for a reviewer."""
    run_command("examples-list", {"state": state and state.value}, home, as_json, printing.print_corrections)


@examples_app.command("correct", epilog='Example: rungs examples correct TRACE --text "Press the green button."')
def examples_correct(
    trace: Annotated[str, typer.Argument(help="The question's trace, as `rungs ask --json` and the console name it.")],
    text: Annotated[str | None, typer.Option(help="What should have been answered.")] = None,
    as_it_is: Annotated[bool, typer.Option("--as-it-is", help="The answer was right.")] = False,
    decline: Annotated[bool, typer.Option("--decline", help="It should have been declined.")] = False,
    consent: Consent = False,
    approve: Annotated[bool, typer.Option("--approve", help="Approve it at once.")] = False,
    by: By = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Say what should have been answered. It waits for a reviewer."""
    if sum((text is not None, as_it_is, decline)) != 1:
        raise typer.BadParameter("give one of --text, --as-it-is and --decline")
    arguments = {"trace": trace, "text": text, "decline": decline, "consent": consent, "approve": approve, "by": by}
    run_command("examples-correct", arguments, home, as_json, printing.print_correction)


@examples_app.command("approve")
def examples_approve(
    id: CorrectionId, consent: Consent = False, by: By = None, as_json: Json = False, home: Home = None
) -> None:
    """Approve a correction: with consent it becomes an example."""
    arguments = {"id": id, "approve": True, "consent": consent, "by": by}
    run_command("examples-review", arguments, home, as_json, printing.print_correction)


@examples_app.command("reject")
def examples_reject(id: CorrectionId, by: By = None, as_json: Json = False, home: Home = None) -> None:
    """Reject a correction; it stays on record."""
    run_command("examples-review", {"id": id, "approve": False, "by": by}, home, as_json, printing.print_correction)


@examples_app.command("generate", epilog="Example: rungs examples generate made.jsonl --limit 200")
def examples_generate(
    out: Annotated[Path, typer.Argument(help="The JSONL file to write.")],
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many questions.")] = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Make rows from the documents: questions of headings, distracting passages, unanswerable twins."""
    arguments = {"out": str(out.absolute()), "limit": limit}
    run_command("examples-generate", arguments, home, as_json, printing.print_written)


@examples_app.command("export", epilog="Example: rungs examples export set --data rows.jsonl --as preference")
def examples_export(
    out: Annotated[Path, typer.Argument(help="The folder to write: train, validation and test, one file each.")],
    data: Annotated[Path | None, typer.Option(help="JSONL or CSV, as `rungs train` takes it.")] = None,
    corrections: Annotated[bool, typer.Option("--corrections", help="Approved corrections, too.")] = False,
    golden: Annotated[Path | None, typer.Option(help="A golden set: none of it may be among the rows.")] = None,
    shape: Annotated[
        ShapeChoice, typer.Option("--as", help="Prompt and completion, chosen and rejected, or our own rows.")
    ] = ShapeChoice.SFT,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Write the training set that `rungs train` would use as files for another trainer."""
    if data is None and not corrections:
        raise typer.BadParameter("give --data FILE, --corrections, or both")
    arguments = {
        "out": str(out.absolute()),
        "data": str(data.absolute()) if data else None,
        "corrections": corrections,
        "golden": str(golden.absolute()) if golden else None,
        "shape": shape.value,
    }
    run_command("examples-export", arguments, home, as_json, printing.print_written)
