"""How `rungs train` and `rungs adapters` are typed; what they do stands in `commands/adapting.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ui.cli import printing
from ui.cli.running import Home, Json, run_command

adapters_app = typer.Typer(
    help="Adapters: what there is, which is live, and the way back.", no_args_is_help=True, rich_markup_mode=None
)


def train(
    name: Annotated[str, typer.Option(help="What to call the adapter: small letters, digits and hyphens.")],
    data: Annotated[
        Path | None,
        typer.Option(help="JSONL of `question`, `answer`, optional `passages`, `source`, `approved_by`; or CSV pairs."),
    ] = None,
    corrections: Annotated[
        bool, typer.Option("--corrections", help="Train on approved corrections (`rungs examples`), too.")
    ] = False,
    golden: Annotated[Path | None, typer.Option(help="A golden set: none of it may be trained on.")] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Only look at the rows: counts, lengths, warnings.")
    ] = False,
    dry_run: Annotated[
        float | None, typer.Option("--dry-run", min=5, help="Train for so many seconds, keep nothing, tell the speed.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last training of this name.")] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help="How often each row is seen; default 1.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Default 3e-4.")] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="Of the LoRA matrices; default 16.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Rows per step and device; default 4.")] = None,
    by: Annotated[str | None, typer.Option(help="Who vouches for rows that name no approver; default owner.")] = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Train an adapter on examples. It becomes a candidate; a person promotes it."""
    if (data is None and not corrections) == (not resume):
        raise typer.BadParameter("give --data FILE or --corrections, or else --resume")
    arguments = {
        "name": name,
        "data": str(data.absolute()) if data else None,
        "corrections": corrections,
        "golden": str(golden.absolute()) if golden else None,
        "preview": preview,
        "dry_run": dry_run,
        "resume": resume,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "rank": rank,
        "batch": batch,
        "by": by,
    }
    run_command("train", arguments, home, as_json, printing.print_training)


AdapterName = Annotated[str, typer.Argument(metavar="NAME", help="The adapter, as `rungs adapters list` names it.")]
Revision = Annotated[str | None, typer.Argument(help="12 digits; the live one where none is given.")]
Reason = Annotated[str | None, typer.Option(help="Why; kept on the card.")]
By = Annotated[str | None, typer.Option(help="Who decides; by default who is logged in.")]


@adapters_app.command("list")
def adapters_list(as_json: Json = False, home: Home = None) -> None:
    """List every revision with its stage and what the gate said."""
    run_command("adapters-list", {}, home, as_json, printing.print_adapters)


@adapters_app.command("show", epilog="Example: rungs adapters show bundled")
def adapters_show(name: AdapterName, revision: Revision = None, as_json: Json = False, home: Home = None) -> None:
    """Show a revision's card: data, settings, gate report, history."""
    run_command("adapters-show", {"name": name, "revision": revision}, home, as_json, printing.print_card)


@adapters_app.command("promote", epilog="Example: rungs adapters promote house-style")
def adapters_promote(
    name: AdapterName,
    revision: Annotated[str | None, typer.Argument(help="12 digits; the newest candidate by default.")] = None,
    reason: Reason = None,
    by: By = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Make a revision live. Where the gate did not accept it, say why with --reason."""
    arguments = {"name": name, "revision": revision, "reason": reason, "by": by}
    run_command("adapters-promote", arguments, home, as_json, printing.print_decided)


@adapters_app.command("rollback", epilog="Example: rungs adapters rollback house-style --reason 'too curt'")
def adapters_rollback(
    name: AdapterName, reason: Reason = None, by: By = None, as_json: Json = False, home: Home = None
) -> None:
    """Bring back the revision that was live before."""
    arguments = {"name": name, "reason": reason, "by": by}
    run_command("adapters-rollback", arguments, home, as_json, printing.print_decided)


@adapters_app.command("gate", epilog="Example: rungs adapters gate imported-style --golden golden.jsonl")
def adapters_gate(
    name: AdapterName,
    golden: Annotated[Path, typer.Option(help="A golden set that the adapter was not trained on.")],
    revision: Annotated[str | None, typer.Argument(help="12 digits; the newest candidate by default.")] = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Let the gate look at a revision that was trained elsewhere, or look once more."""
    arguments = {"name": name, "revision": revision, "golden": str(golden.absolute())}
    run_command("adapters-gate", arguments, home, as_json, printing.print_gated)


@adapters_app.command("retire")
def adapters_retire(
    name: AdapterName,
    revision: Revision = None,
    reason: Reason = None,
    by: By = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Take a revision out of service; no roll-back leads to it."""
    arguments = {"name": name, "revision": revision, "reason": reason, "by": by}
    run_command("adapters-retire", arguments, home, as_json, printing.print_decided)


@adapters_app.command("remove")
def adapters_remove(
    name: AdapterName,
    revision: Annotated[str, typer.Argument(help="12 digits.")],
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Delete a revision that is not live."""
    run_command(
        "adapters-remove",
        {"name": name, "revision": revision},
        home,
        as_json,
        lambda r: typer.echo(f"{r['name']} {r['revision']} removed"),
    )


@adapters_app.command("export", epilog="Example: rungs adapters export house-style --out house-style.rungs-adapter")
def adapters_export(
    name: AdapterName,
    out: Annotated[Path, typer.Option(help="The file to write; with --peft a new folder.")],
    revision: Revision = None,
    peft: Annotated[bool, typer.Option("--peft", help="As the folder that PEFT, vLLM and others load.")] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Write a revision as one file, to be imported elsewhere, or as a PEFT folder."""
    arguments = {"name": name, "revision": revision, "out": str(out.absolute()), "peft": peft}
    run_command(
        "adapters-export", arguments, home, as_json, lambda r: typer.echo(f"{r['file']}: {r['bytes'] / 1e6:.1f} MB")
    )


@adapters_app.command("import", epilog="Example: rungs adapters import house-style.rungs-adapter")
def adapters_import(
    path: Annotated[Path, typer.Argument(help="A file that `rungs adapters export` wrote, or a PEFT folder.")],
    name: Annotated[str | None, typer.Option(help="What to call it; by default what its card says.")] = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Take in an adapter as a candidate; nothing in it is executed."""
    arguments = {"path": str(path.absolute()), "name": name}
    run_command("adapters-import", arguments, home, as_json, printing.print_decided)


@adapters_app.command("compare", epilog='Example: rungs adapters compare base house-style --question "How do I start?"')
def adapters_compare(
    sides: Annotated[
        list[str], typer.Argument(metavar="SIDE...", help="`base`, an adapter's name, or NAME@REVISION; two or more.")
    ],
    question: Annotated[str, typer.Option(help="What all of them are asked, over the same evidence.")],
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Let revisions answer one question, side by side."""
    if len(sides) < 2:
        raise typer.BadParameter("name at least two sides, for example: base house-style")
    run_command("adapters-compare", {"sides": sides, "question": question}, home, as_json, printing.print_comparison)
