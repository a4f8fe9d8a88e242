"""The `rungs` command: parses, shows progress, prints, and maps outcomes to exit statuses.

0 done, 1 failed with one clear line on standard error, 2 wrong usage. With `--json` one JSON document goes to standard
output and nothing else does. What a command does stands in `commands.py`; beside a running server it runs there.
Nothing heavy is imported before it is needed.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ui import printing

if TYPE_CHECKING:
    from assistant.settings import Settings
    from ui.commands import Steps

INTERRUPTED = 130
COMMAND_NAMES = "serve ask ingest reindex search evaluate calibrate train doctor prepare".split()
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
app.add_typer(sources_app, name="sources")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Home = Annotated[Path | None, typer.Option("--home", help="RUNGS_HOME; default ./.rungs.")]


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
        commands = {name: given for name in COMMAND_NAMES}
        context.default_map = {**commands, "sources": {"list": given, "remove": given}}


@app.command(epilog="Example: rungs serve --port 8080")
def serve(
    host: Annotated[str | None, typer.Option(help="Address; only loopback while there are no accounts.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; default 7860, 0 takes a free one.")] = None,
    demo: Annotated[bool | None, typer.Option("--demo/--no-demo", help="Load the handbook on the first start.")] = None,
    home: Home = None,
) -> None:
    """Start the web application: chat page, console."""

    def run(settings: Settings) -> None:
        from ui.server import serve as serve_web

        serve_web(settings)

    _guarded(lambda: run(_settings(home, host=host, port=port, demo=demo)))


@app.command(epilog='Example: rungs ask "How do I add a folder of documents?"  (- reads standard input)')
def ask(
    text: Annotated[str, typer.Argument(help="The question; - reads it from standard input.")],
    level: Annotated[
        LevelChoice, typer.Option(help="auto is the cascade; a level is asked alone, without its gate.")
    ] = (LevelChoice.AUTO),
    conversation: Annotated[str | None, typer.Option(help="Go on with this conversation.")] = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Ask one question."""
    arguments = {"text": _typed() if text == "-" else text, "level": level.value, "conversation": conversation}
    _command("ask", arguments, home, as_json, printing.print_answer)


@app.command(epilog="Example: rungs ingest docs handbook.pdf faq.csv")
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders; a folder is one source.")],
    prune: Annotated[bool, typer.Option("--prune", help="Let a missing or empty folder remove its documents.")] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Add or update knowledge. A second run of the same changes nothing."""
    absolute = [str(path.expanduser().absolute()) for path in paths]
    _command("ingest", {"paths": absolute, "prune": prune}, home, as_json, printing.print_ingest)


@sources_app.command("list")
def sources_list(as_json: Json = False, home: Home = None) -> None:
    """List the sources."""
    _command("sources-list", {}, home, as_json, printing.print_sources)


@sources_app.command("remove", epilog="Example: rungs sources remove handbook")
def sources_remove(
    source: Annotated[str, typer.Argument(help="A source as `rungs sources list` names it.")],
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Remove a source with all its documents."""
    path = str(Path(source).expanduser().resolve())
    _command("sources-remove", {"source": source, "path": path}, home, as_json, printing.print_removed)


@app.command()
def reindex(as_json: Json = False, home: Home = None) -> None:
    """Rebuild Chroma and the keywords from the catalogue."""
    _command(
        "reindex", {}, home, as_json, lambda r: typer.echo(f"{r['passages']} passages indexed in {r['seconds']} s")
    )


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
    _command("search", arguments, home, as_json, printing.print_search)


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
    _command("evaluate", arguments, home, as_json, printing.print_evaluation)


@app.command(epilog="Example: rungs calibrate golden.jsonl --max-wrong 0.1")
def calibrate(
    file: Annotated[Path, typer.Argument(help="A golden set (JSONL), with questions that nothing answers, too.")],
    max_wrong: Annotated[float, typer.Option(min=0.001, max=0.9, help="Bound on wrong among accepted answers.")] = 0.05,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Fit the confidence on a golden set and choose the thresholds."""
    _command(
        "calibrate", {"file": str(file.absolute()), "max_wrong": max_wrong}, home, as_json, printing.print_calibration
    )


@app.command(epilog="Example: rungs train --data rows.jsonl --name house-style --golden golden.jsonl")
def train(
    name: Annotated[str, typer.Option(help="What to call the adapter: small letters, digits and hyphens.")],
    data: Annotated[
        Path | None, typer.Option(help="JSONL of `question`, `answer`, optional `passages`, `source`, `approved_by`.")
    ] = None,
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
    if (data is None) == (not resume):
        raise typer.BadParameter("give either --data FILE or --resume")
    arguments = {
        "name": name,
        "data": str(data.absolute()) if data else None,
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
    _command("train", arguments, home, as_json, printing.print_training)


@app.command()
def doctor(as_json: Json = False, home: Home = None) -> None:
    """Check that everything is in place, and say what to do where it is not."""
    _command("doctor", {}, home, as_json, printing.print_checks)


@app.command()
def prepare(as_json: Json = False, home: Home = None) -> None:
    """Prepare the embedded model's weights (once; `serve` does it, too)."""

    def run(settings: Settings) -> None:
        from assistant.home import make_home
        from assistant.models.weights import prepare as prepare_weights

        with _bar(as_json) as advance:
            path = prepare_weights(make_home(settings.home), lambda step: advance(step.done, step.total, step.label))
        printing.print_json({"weights": str(path)}) if as_json else typer.echo(f"weights ready: {path}")

    _guarded(lambda: run(_settings(home)))


def main() -> None:
    """The entry point."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter is no reason to fail
    app()


# running


def _typed() -> str:
    """The question from standard input, as UTF-8; what is not becomes a replacement character."""
    return sys.stdin.buffer.read(QUESTION_BYTES).decode("utf-8", "replace")


def _settings(home: Path | None, **flags: Any) -> Settings:
    from assistant.settings import read_settings

    return read_settings(home=home, **flags)


def _guarded(work: Callable[[], None]) -> None:
    """Run; an expected error is one clear line and exit status 1."""
    from adapters.errors import AdapterError
    from assistant.errors import AssistantError
    from knowledge.errors import KnowledgeError

    try:
        work()
    except BrokenPipeError:
        raise
    except (AssistantError, KnowledgeError, AdapterError, OSError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _fail(message: str) -> NoReturn:
    typer.echo(f"rungs: {' '.join(message.split())}", err=True)
    raise typer.Exit(1)


def _command(
    name: str, arguments: Mapping[str, Any], home: Path | None, as_json: bool, show: Callable[[Any], None]
) -> None:
    """Run a command where the home is owned: in a running server, or here."""

    def run() -> None:
        from assistant.home import running_server

        settings = _settings(home)
        server = running_server(settings.home)
        if server:
            from ui.control import call_server

            _drain(name, call_server(server, name, arguments), as_json, show)
            if name == "calibrate":
                typer.echo("rungs: the running server takes it up at its next start.", err=True)
        elif name == "doctor":
            _doctor_alone(settings, as_json, show)
        else:
            _alone(settings, name, arguments, as_json, show)

    _guarded(run)


def _alone(
    settings: Settings, name: str, arguments: Mapping[str, Any], as_json: bool, show: Callable[[Any], None]
) -> None:
    from assistant.home import owned

    with owned(settings.home):
        from assistant.build import build
        from ui.commands import COMMANDS

        rungs = build(settings)
        try:
            _drain(name, COMMANDS[name](rungs, arguments, threading.Event()), as_json, show)
        finally:
            rungs.close()


def _doctor_alone(settings: Settings, as_json: bool, show: Callable[[Any], None]) -> None:
    """Examine without building anything, since building may be what fails; also a home that cannot be owned."""
    from assistant.errors import AssistantError, HomeInUse
    from assistant.home import owned
    from ui.commands import doctor_alone

    with ExitStack() as owning:
        try:
            owning.enter_context(owned(settings.home))
        except HomeInUse:
            raise
        except AssistantError:  # the check of the home says so, and the others go on
            pass
        _drain("doctor", doctor_alone(settings), as_json, show)


def _drain(name: str, steps: Steps, as_json: bool, show: Callable[[Any], None]) -> None:
    from ui.commands import failed_in_part

    results: list[Any] = []
    with closing(steps), _bar(as_json) as advance:
        for step in steps:
            if "progress" in step:
                advance(**step["progress"])
            elif "row" in step:
                printing.print_json(step["row"], compact=True)
            elif "note" in step:
                typer.echo(f"rungs: {step['note']}", err=True)
            elif "error" in step:
                _fail(step["error"])
            elif "result" in step:
                results.append(step["result"])
    if not results:
        _fail(f"{name} was stopped before it was done.")
    (result,) = results
    if result is None:  # its rows were all
        return
    printing.print_json(result) if as_json else show(result)
    if failed_in_part(name, result):
        if as_json:
            typer.echo(f"rungs: {name}: not everything is in order; the JSON says what.", err=True)
        raise typer.Exit(1)


class _bar:  # noqa: N801  (a context manager used like a function)
    """A progress bar on standard error where somebody watches; nothing otherwise."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet or not sys.stderr.isatty()
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> Callable[..., None]:
        return self._advance

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    def _advance(self, done: int, total: int, label: str = "") -> None:
        if self._quiet:
            return
        if self._progress is None:
            from rich.console import Console
            from rich.progress import Progress, TimeRemainingColumn

            columns = [*Progress.get_default_columns()[:-1], TimeRemainingColumn()]
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task("", total=total)
            self._progress.start()
        self._progress.update(self._task, completed=done, total=total, description=label[-40:].rjust(40))
