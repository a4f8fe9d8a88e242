"""Runs a command where its home is owned: in a running server, or here; with progress, and an exit status at the end.

Shared by the files that parse the command line. An expected error is one clear line and exit status 1.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ui.cli import printing

if TYPE_CHECKING:
    from assistant.settings import Settings
    from ui.commands.steps import Steps

INTERRUPTED = 130
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Home = Annotated[Path | None, typer.Option("--home", help="RUNGS_HOME; default ./.rungs.")]


def settings_of(home: Path | None, **flags: Any) -> Settings:
    """The settings, with what the command line says.

    Raises:
        BadSettings: with one line for every mistake.
    """
    from assistant.settings import read_settings

    return read_settings(home=home, **flags)


def guarded(work: Callable[[], None]) -> None:
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


def run_command(
    name: str, arguments: Mapping[str, Any], home: Path | None, as_json: bool, show: Callable[[Any], None]
) -> None:
    """Run a command where the home is owned: in a running server, or here."""

    def run() -> None:
        from assistant.home import running_server

        settings = settings_of(home)
        server = running_server(settings.home)
        if server:
            from ui.control import call_server

            _drain(name, call_server(server, name, arguments), as_json, show)
        elif name == "doctor":
            _doctor_alone(settings, as_json, show)
        else:
            _alone(settings, name, arguments, as_json, show)

    guarded(run)


def _alone(
    settings: Settings, name: str, arguments: Mapping[str, Any], as_json: bool, show: Callable[[Any], None]
) -> None:
    from assistant.home import owned

    with owned(settings.home):
        from assistant.build import build
        from ui.commands.table import COMMANDS

        rungs = build(settings)
        try:
            _drain(name, COMMANDS[name](rungs, arguments, threading.Event()), as_json, show)
        finally:
            rungs.close()


def _doctor_alone(settings: Settings, as_json: bool, show: Callable[[Any], None]) -> None:
    """Examine without building anything, since building may be what fails; also a home that cannot be owned."""
    from assistant.errors import AssistantError, HomeInUse
    from assistant.home import owned
    from ui.commands.table import doctor_alone

    with ExitStack() as owning:
        try:
            owning.enter_context(owned(settings.home))
        except HomeInUse:
            raise
        except AssistantError:  # the check of the home says so, and the others go on
            pass
        _drain("doctor", doctor_alone(settings), as_json, show)


def _drain(name: str, steps: Steps, as_json: bool, show: Callable[[Any], None]) -> None:
    from ui.commands.table import failed_in_part

    results: list[Any] = []
    with closing(steps), Bar(as_json) as advance:
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


class Bar:
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
