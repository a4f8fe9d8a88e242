"""The `rungs` command: parses, shows progress, prints, and maps outcomes to exit statuses.

0 done, 1 failed with one clear line on standard error, 2 wrong usage. With `--json` one JSON document goes to standard
output and nothing else does. What a command does stands in `commands/table.py`; beside a running server it runs there.
Nothing heavy is imported before it is needed.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.cli import printing
from ui.cli.accounts import accounts_app, keys_app
from ui.cli.adapting import adapters_app, train
from ui.cli.examples import examples_app
from ui.cli.running import Bar, Home, Json, guarded, run_command, settings_of
from ui.cli.sites import sites_app
from ui.cli.webhooks import webhooks_app

if TYPE_CHECKING:
    from assistant.settings import Settings

COMMAND_NAMES = (
    *"serve ask ingest reindex search evaluate calibrate train".split(),
    *"doctor prepare backup restore move-database retention".split(),
)
QUESTION_BYTES = 4 * 1024 * 1024
"""More is not read from standard input; the longest question that is answered is far shorter."""

app = typer.Typer(
    name="rungs",
    help="A support assistant that climbs only as far as a question needs: prompting, RAG, LoRA, a person.",
    epilog="Start with `rungs serve`, then open the address it prints. Every command takes --json and --help.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
sources_app = typer.Typer(help="What is known and from where.", no_args_is_help=True, rich_markup_mode=None)
GROUPS = {
    "sources": sources_app,
    "adapters": adapters_app,
    "examples": examples_app,
    "accounts": accounts_app,
    "keys": keys_app,
    "sites": sites_app,
    "webhooks": webhooks_app,
}
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name)


class LevelChoice(StrEnum):
    """What `--level` takes."""

    AUTO = "auto"
    PROMPTING = "prompting"
    RAG = "rag"
    LORA = "lora"


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    home: Home = None,
) -> None:
    if version:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        with suppress(PackageNotFoundError):  # run from a checkout that is not installed
            typer.echo(f"rungs {installed('rungs')}")
            raise typer.Exit
        typer.echo("rungs (not installed)")
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.BadParameter("no command given. See rungs --help")
    if home:  # the commands' own --home wins
        given = {"home": str(home)}
        groups = {name: {one.name: given for one in group.registered_commands} for name, group in GROUPS.items()}
        context.default_map = {**{name: given for name in COMMAND_NAMES}, **groups}


@app.command(epilog="Example: rungs serve --port 8080")
def serve(
    host: Annotated[str | None, typer.Option(help="Address; only loopback while there are no accounts.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; default 7860, 0 takes a free one.")] = None,
    demo: Annotated[bool | None, typer.Option("--demo/--no-demo", help="Load the handbook on the first start.")] = None,
    home: Home = None,
) -> None:
    """Start the web application: chat page, console."""

    def run(settings: Settings) -> None:
        from ui.serving import serve as serve_web

        serve_web(settings)

    guarded(lambda: run(settings_of(home, host=host, port=port, demo=demo)))


@app.command(epilog='Example: rungs ask "How do I add a folder of documents?"  (- reads standard input)')
def ask(
    text: Annotated[str, typer.Argument(help="The question; - reads it from standard input.")],
    level: Annotated[
        LevelChoice, typer.Option(help="auto is the cascade; a level is asked alone, without its gate.")
    ] = (LevelChoice.AUTO),
    conversation: Annotated[str | None, typer.Option(help="Go on with this conversation.")] = None,
    site: Annotated[str, typer.Option(help="Ask for this site or team, with its adapter.")] = "",
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Ask one question."""
    typed = _typed() if text == "-" else text
    arguments = {"text": typed, "level": level.value, "conversation": conversation, "site": site}
    run_command("ask", arguments, home, as_json, printing.print_answer)


@app.command(epilog="Example: rungs ingest docs handbook.pdf faq.csv")
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders; a folder is one source.")],
    prune: Annotated[bool, typer.Option("--prune", help="Let a missing or empty folder remove its documents.")] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Add or update knowledge. A second run of the same changes nothing."""
    absolute = [str(path.expanduser().absolute()) for path in paths]
    run_command("ingest", {"paths": absolute, "prune": prune}, home, as_json, printing.print_ingest)


@sources_app.command("list")
def sources_list(as_json: Json = False, home: Home = None) -> None:
    """List the sources."""
    run_command("sources-list", {}, home, as_json, printing.print_sources)


@sources_app.command("remove", epilog="Example: rungs sources remove handbook")
def sources_remove(
    source: Annotated[str, typer.Argument(help="A source as `rungs sources list` names it.")],
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Remove a source with all its documents."""
    path = str(Path(source).expanduser().resolve())
    run_command("sources-remove", {"source": source, "path": path}, home, as_json, printing.print_removed)


@app.command()
def reindex(as_json: Json = False, home: Home = None) -> None:
    """Rebuild Chroma and the keywords from the catalogue."""
    run_command(
        "reindex", {}, home, as_json, lambda r: typer.echo(f"{r['passages']} passages indexed in {r['seconds']} s")
    )


@app.command(epilog="Example: rungs retention --days 90 --dry-run")
def retention(
    days: Annotated[int | None, typer.Option(min=1, help="Of silence; by default the setting retention_days.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many would go.")] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Erase conversations in which nothing was written for so long; those that wait for a person stay."""
    run_command("retention", {"days": days, "dry_run": dry_run}, home, as_json, printing.print_retention)


@app.command(epilog='Example: rungs search "reset a password" -k 3')
def search(
    text: Annotated[str | None, typer.Argument(help="What to search for.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=200, help="How many passages.")] = 5,
    batch: Annotated[
        Path | None, typer.Option(help="JSONL with `id` and `question`; prints one object per row.")
    ] = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Search the knowledge, without any model."""
    if (text is None) == (batch is None):
        raise typer.BadParameter("give either a text or --batch FILE")
    arguments = {"text": text, "k": k, "batch": str(batch.absolute()) if batch else None}
    run_command("search", arguments, home, as_json, printing.print_search)


@app.command(epilog="Example: rungs evaluate golden.jsonl --levels rag,auto --limit 50")
def evaluate(
    file: Annotated[Path, typer.Argument(help="A golden set (JSONL).")],
    levels: Annotated[str, typer.Option(help="Comma-separated; auto is the cascade.")] = "prompting,rag,lora,auto",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N rows.")] = None,
    rows: Annotated[bool, typer.Option("--rows", help="With --json: every row's answer, too.")] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Put a golden set through chosen levels: how often right, how often declined, at what cost."""
    chosen = [level.strip() for level in levels.split(",") if level.strip()]
    unknown = [level for level in chosen if level not in {choice.value for choice in LevelChoice}]
    if unknown or not chosen:
        raise typer.BadParameter(f"unknown level {', '.join(unknown) or '(none)'}: prompting, rag, lora, auto")
    arguments = {"file": str(file.absolute()), "levels": chosen, "limit": limit, "rows": rows}
    run_command("evaluate", arguments, home, as_json, printing.print_evaluation)


@app.command(epilog="Example: rungs calibrate golden.jsonl --max-wrong 0.1")
def calibrate(
    file: Annotated[Path, typer.Argument(help="A golden set (JSONL), with questions that nothing answers, too.")],
    max_wrong: Annotated[float, typer.Option(min=0.001, max=0.9, help="Bound on wrong among accepted answers.")] = 0.05,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Fit the confidence on a golden set and choose the thresholds."""
    run_command(
        "calibrate", {"file": str(file.absolute()), "max_wrong": max_wrong}, home, as_json, printing.print_calibration
    )


app.command(epilog="Example: rungs train --data rows.jsonl --name house-style --golden golden.jsonl")(train)


@app.command()
def doctor(as_json: Json = False, home: Home = None) -> None:
    """Check that everything is in place, and say what to do where it is not."""
    run_command("doctor", {}, home, as_json, printing.print_checks)


@app.command()
def prepare(as_json: Json = False, home: Home = None) -> None:
    """Prepare the embedded model's weights (once; `serve` does it, too)."""

    def run(settings: Settings) -> None:
        from assistant.home import make_home
        from assistant.models.weights import prepare as prepare_weights

        with Bar(as_json) as advance:
            path = prepare_weights(make_home(settings.home), lambda step: advance(step.done, step.total, step.label))
        printing.print_json({"weights": str(path)}) if as_json else typer.echo(f"weights ready: {path}")

    guarded(lambda: run(settings_of(home)))


@app.command(epilog="Example: rungs backup rungs-2026-11-23.tar")
def backup(
    out: Annotated[Path, typer.Argument(help="The file to write.")], as_json: Json = False, home: Home = None
) -> None:
    """Write everything that cannot be made again as one file; a running server goes on."""
    run_command("backup", {"out": str(out.absolute())}, home, as_json, printing.print_backup)


@app.command(epilog="Example: rungs restore rungs-2026-11-23.tar --home /srv/rungs")
def restore(
    file: Annotated[Path, typer.Argument(help="A file of `rungs backup`.")], as_json: Json = False, home: Home = None
) -> None:
    """Make a home of a backup; vectors and weights are made anew at its first start."""

    def run() -> None:
        from assistant.home import owned
        from ui.commands.backup import restore as make

        settings = settings_of(home)
        folder = settings.home
        with owned(folder):
            done = make(folder, file, settings.database)
        printing.print_json(done) if as_json else typer.echo(
            f"{folder}: {done['files']} files, as of {done['made_at']}; database {done['database']}\n"
            "What was erased after that is in here again. By age, erase it now with: rungs retention; what people had "
            "deleted themselves, delete again."
        )

    guarded(run)


@app.command("move-database", epilog="Example: rungs move-database postgresql://rungs@db.internal/rungs")
def move_database(
    url: Annotated[str, typer.Argument(help="Of an empty PostgreSQL database; - reads it from standard input.")],
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Copy everything from SQLite into PostgreSQL, all of it or nothing; then name it by the setting `database`."""

    def run() -> None:
        from assistant.home import owned
        from ui.commands.moving import move

        settings = settings_of(home)
        with owned(settings.home):
            done = move(settings.database_url, sys.stdin.readline().strip() if url == "-" else url)
        printing.print_json(done) if as_json else typer.echo(
            f"{done['rows']:,} rows of {done['tables']} tables copied. The old file stays as it is. "
            "Now set `database` to that URL (rungs.toml, RUNGS_DATABASE) and start Rungs."
        )

    guarded(run)


def main() -> None:
    """The entry point."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter is no reason to fail
    app()


def _typed() -> str:
    """The question from standard input, as UTF-8; what is not becomes a replacement character."""
    return sys.stdin.buffer.read(QUESTION_BYTES).decode("utf-8", "replace")
