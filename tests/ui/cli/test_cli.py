"""The command line keeps its contract: the documents it prints, its exit statuses, and one clear line on failure."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assistant.build import build
from assistant.home import owned
from assistant.settings import Settings
from tests.ui.serving import CommandLine, golden
from ui.cli.main import COMMAND_NAMES, GROUPS, app

ROOT = Path(__file__).resolve().parents[3]
ANSWER = {
    "answer", "level", "outcome", "confidence", "citations", "attempts", "trace_id", "conversation_id", "seconds",
}  # fmt: skip
ATTEMPT = {
    "level", "accepted", "skipped_because", "confidence", "signals", "seconds", "tokens_in", "tokens_out", "text",
}  # fmt: skip
NUMBERS = {
    "n", "correct", "contains", "token_f1", "words", "answered", "abstained", "wrong_accepted", "gold_retrieved",
    "seconds_p50", "seconds_p95", "tokens_in", "tokens_out",
}  # fmt: skip
HELP_SECONDS = 0.4


# what is printed


def test_an_answer_carries_everything_the_contract_names(rungs: CommandLine, pages: Path) -> None:
    rungs.json("ingest", str(pages))
    document = rungs.json("ask", "How is a lamp switched on?", "--level", "rag")
    assert document.keys() >= ANSWER
    assert [attempt["level"] for attempt in document["attempts"]] == ["prompting", "rag", "lora"]
    for attempt in document["attempts"]:
        assert attempt.keys() >= ATTEMPT
        if attempt["skipped_because"]:
            assert {attempt[name] for name in ("accepted", "confidence", "seconds", "tokens_in", "text")} == {None}
            assert attempt["signals"] is None
    assert document["outcome"] in ("answered", "abstained", "handed_off")
    assert (document["level"] is None) == (document["outcome"] != "answered")
    assert document["citations"], "the closest sources stand in an abstention, too"
    for citation in document["citations"]:
        assert citation.keys() == {"document", "title", "heading", "uri", "quote", "score"}
    assert document["citations"][0]["document"] == "lamps.md"


def test_abstaining_is_no_failure_and_says_what_the_user_is_shown(rungs: CommandLine) -> None:
    document = rungs.json("ask", "Who won the chess match?")
    assert document["outcome"] == "abstained" and document["level"] is None and document["answer"].strip()
    shown = rungs("ask", "Who won the chess match?")
    assert shown.exit_code == 0 and document["answer"] in shown.stdout
    assert "abstained" in shown.stdout.splitlines()[-1] and "trace " in shown.stdout.splitlines()[-1]


def test_a_conversation_goes_on_with_its_history(rungs: CommandLine, home: Path) -> None:
    first = rungs.json("ask", "How is a lamp switched on?")
    second = rungs.json("ask", "and how off?", "--conversation", first["conversation_id"])
    assert second["conversation_id"] == first["conversation_id"]
    with owned(home):
        built = build(Settings(home=home))
        history = built.traces.load(second["trace_id"]).question.history
        built.close()
    assert [turn.text for turn in history] == ["How is a lamp switched on?", first["answer"]]


def test_a_conversation_that_is_not_there_is_refused(rungs: CommandLine) -> None:
    assert "'unheard-of'" in rungs.refused("ask", "and then?", "--conversation", "unheard-of")


def test_a_dash_reads_the_question_from_standard_input(rungs: CommandLine) -> None:
    document = rungs.json("ask", "-", stdin="Wie geht\n das \u202b\u05d0\u05d1? ".encode() + b"\xff")
    assert document["trace_id"]


def test_a_second_ingest_changes_nothing_and_removal_removes(rungs: CommandLine, pages: Path) -> None:
    first = rungs.json("ingest", str(pages))
    assert first.keys() == {"added", "updated", "unchanged", "removed", "failed", "passages", "seconds"}
    assert (first["added"], first["failed"]) == (3, [])
    second = rungs.json("ingest", str(pages))
    assert (second["added"], second["updated"], second["unchanged"], second["removed"]) == (0, 0, 3, 0)
    (source,) = rungs.json("sources", "list")["sources"]
    assert source.keys() == {"source", "documents", "passages", "updated_at"}
    assert (source["source"], source["documents"], source["passages"]) == (pages.as_posix(), 3, first["passages"])
    assert rungs.json("sources", "remove", source["source"])["removed"] == 3
    assert rungs.json("sources", "list") == {"sources": []}


def test_a_source_is_removed_by_the_path_that_was_typed(
    rungs: CommandLine, pages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pages.parent)
    rungs.json("ingest", pages.name)
    assert rungs.json("sources", "remove", f"./{pages.name}/")["source"] == pages.as_posix()
    assert "Known sources: none" in rungs.refused("sources", "remove", pages.name)


def test_what_fails_in_part_prints_its_document_and_exits_1(rungs: CommandLine, pages: Path) -> None:
    document = rungs.json("ingest", str(pages), str(pages / "missing.md"), status=1)
    assert document["added"] == 3
    (failure,) = document["failed"]
    assert failure.keys() == {"source", "reason"} and "missing.md" in failure["source"]
    shown = rungs("ingest", str(pages), str(pages / "missing.md"))
    assert shown.exit_code == 1 and "missing.md" in shown.stderr and "3 unchanged" in shown.stdout


def test_search_finds_passages_without_any_model(
    rungs: CommandLine, pages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rungs.json("ingest", str(pages))
    results = rungs.json("search", "descale a kettle", "-k", "2")["results"]
    assert len(results) == 2 and results[0]["document"] == "kettles.md" and "citric acid" in results[0]["text"]
    assert results[0].keys() >= {"document", "heading", "text", "score"}
    assert results[0]["score"] >= results[1]["score"]


def test_a_batch_prints_one_object_for_each_row(rungs: CommandLine, pages: Path, tmp_path: Path) -> None:
    rungs.json("ingest", str(pages))
    result = rungs("search", "--batch", str(golden(tmp_path / "golden.jsonl", 7)), "-k", "1", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0 and [line["id"] for line in lines] == [f"r{i}" for i in range(7)]
    assert lines[0]["results"][0]["document"] == "lamps.md" and len(lines[0]["results"]) == 1


def test_reindex_says_how_much_it_rebuilt(rungs: CommandLine, pages: Path) -> None:
    passages = rungs.json("ingest", str(pages))["passages"]
    document = rungs.json("reindex")
    assert document.keys() == {"passages", "seconds"} and document["passages"] == passages


def test_evaluate_counts_every_level_and_shows_rows_when_asked(rungs: CommandLine, pages: Path, tmp_path: Path) -> None:
    rungs.json("ingest", str(pages))
    rows = str(golden(tmp_path / "golden.jsonl", 9))
    document = rungs.json("evaluate", rows, "--levels", "rag,auto", "--limit", "6", "--rows")
    assert list(document["levels"]) == ["rag", "auto"] and document["ungraded"] == 0
    for numbers in document["levels"].values():
        assert numbers.keys() == NUMBERS and numbers["n"] == 6 == numbers["answered"] + numbers["abstained"]
        assert all(isinstance(numbers[name], int) for name in ("n", "correct", "answered", "tokens_out"))
    assert len(document["rows"]) == 12
    names = {"id", "level", "answer", "outcome", "answered_by", "correct", "confidence", "documents"}
    assert all(row.keys() == names for row in document["rows"])
    assert "rows" not in rungs.json("evaluate", rows, "--levels", "auto")
    assert rungs("evaluate", rows, "--levels", "rag").exit_code == 0


def test_evaluating_leaves_no_questions_behind(rungs: CommandLine, home: Path, tmp_path: Path) -> None:
    rungs.json("evaluate", str(golden(tmp_path / "golden.jsonl")), "--levels", "auto")
    with owned(home):
        built = build(Settings(home=home))
        assert built.traces.find() == ()
        built.close()


def test_calibrate_reports_every_level_and_keeps_it_for_the_next_question(
    rungs: CommandLine, pages: Path, tmp_path: Path, home: Path
) -> None:
    rungs.json("ingest", str(pages))
    document = rungs.json("calibrate", str(golden(tmp_path / "golden.jsonl", 90)), "--max-wrong", "0.2")
    assert "rag" in document["levels"]
    for level in document["levels"].values():
        assert level.keys() == {"threshold", "coverage", "wrong_rate", "bound", "rows_missing"}
        assert level["threshold"] is None or level["bound"] <= 0.2
    assert (home / "calibration.json").exists()
    attempts = {a["level"]: a for a in rungs.json("ask", "How is a lamp switched on?")["attempts"]}
    assert attempts["rag"]["confidence"] is not None


def test_a_golden_set_too_small_to_calibrate_is_refused(rungs: CommandLine, tmp_path: Path) -> None:
    assert "at least" in rungs.refused("calibrate", str(golden(tmp_path / "golden.jsonl")))


def test_no_control_character_of_a_document_reaches_the_terminal(rungs: CommandLine, tmp_path: Path) -> None:
    page = tmp_path / "evil.md"
    page.write_text("# Evil \x1b]0;owned\x07 lamp\n\nThe lamp \x1b[31mturns\x1b[0m red \x9b2J at noon.\n")
    rungs.json("ingest", str(page))
    for words in (("search", "lamp"), ("ask", "When does the lamp turn red?")):
        shown = CliRunner().invoke(app, [*words, "--home", str(rungs.home)], color=True).stdout
        assert not {"\x1b]", "\x1b[31m", "\x07", "\x9b"} & {
            mark for mark in ("\x1b]", "\x1b[31m", "\x07", "\x9b") if mark in shown
        }


# what is refused, and how


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("unheard-of",),
        ("ask",),
        ("ask", "hello", "--level", "human"),
        ("search",),
        ("search", "lamp", "--batch", "file.jsonl"),
        ("search", "lamp", "-k", "0"),
        ("evaluate", "golden.jsonl", "--levels", "rag,human"),
        ("evaluate", "golden.jsonl", "--levels", ","),
        ("evaluate", "golden.jsonl", "--limit", "0"),
        ("calibrate", "golden.jsonl", "--max-wrong", "7"),
        ("ingest",),
        ("sources",),
        ("serve", "--port", "eighty"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2_and_touches_nothing(words: tuple[str, ...], home: Path) -> None:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 2 and not home.exists() and not Path(".rungs").exists()
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("", "empty"),
        (" \n\t ", "empty"),
        ("\0\0", "empty"),
        ("\ud800", "empty"),
        ("x" * 1_000_000, "1,000,000 characters"),
    ],
    ids=["empty", "blank", "nul", "surrogate", "megabyte"],
)
def test_a_question_that_cannot_be_taken_is_one_clear_line(rungs: CommandLine, question: str, says: str) -> None:
    assert says in rungs.refused("ask", question)


@pytest.mark.parametrize(
    "question", ["a\0b?", "lamp \ud800\udfff?", "כיצד מדליקים מנורה?", "\u202elamp\u202c?", "🪔" * 50]
)
def test_odd_text_is_a_question_like_any_other(rungs: CommandLine, question: str) -> None:
    assert rungs.json("ask", question)["outcome"] == "abstained"
    assert rungs.json("search", question) == {"results": []}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'{"id": 1}', b'{"question": 7}', b"\xff\xfe", b'{"question": "a", "expect": "x"}']
)
def test_a_golden_set_that_cannot_be_read_is_one_clear_line(rungs: CommandLine, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "golden.jsonl").write_bytes(content)
    for command in (("evaluate",), ("calibrate",), ("search", "--batch")):
        assert "golden.jsonl" in rungs.refused(*command, str(tmp_path / "golden.jsonl"))


def test_a_home_in_use_is_refused_with_the_pid(rungs: CommandLine, home: Path) -> None:
    with owned(home):
        for words in (("ask", "hello"), ("sources", "list"), ("reindex",), ("doctor",)):
            assert f"pid {os.getpid()}" in rungs.refused(*words)


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "--home" in CommandLine(tmp_path / "file").refused("ask", "hello")


def test_wrong_settings_are_refused_all_together(rungs: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNGS_PORT", "minus one")
    monkeypatch.setenv("RUNGS_MODEL", "oracle")
    line = rungs.refused("ask", "hello")
    assert "port" in line and "model" in line


def test_home_may_stand_before_or_after_the_command(home: Path, tmp_path: Path) -> None:
    for words in (["--home", str(home), "sources", "list"], ["sources", "list", "--home", str(home)]):
        assert CliRunner().invoke(app, words).exit_code == 0
    assert home.exists() and not Path(".rungs").exists()
    CliRunner().invoke(app, ["--home", str(tmp_path / "a"), "sources", "list", "--home", str(tmp_path / "b")])
    assert (tmp_path / "b").exists() and not (tmp_path / "a").exists()


# help


def test_every_command_is_listed_and_explains_itself() -> None:
    listed = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    assert listed == set(COMMAND_NAMES)
    grouped = [f"{group} {one.name}" for group, inner in GROUPS.items() for one in inner.registered_commands]
    assert len(grouped) >= 17
    for name in (*COMMAND_NAMES, *grouped):
        result = CliRunner().invoke(app, [*name.split(), "--help"])
        assert result.exit_code == 0 and "--home" in result.stdout
        assert name == "serve" or "--json" in result.stdout, name


def test_the_version_is_said() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0 and result.stdout.startswith("rungs ")


def test_help_answers_at_once() -> None:
    """Processor time, the best of several, so that a busy machine does not decide."""
    spent = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", MAIN, "--help"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) <= HELP_SECONDS


# the process

MAIN = "import sys; sys.argv[0] = 'rungs'; from ui.cli.main import main; main()"


@pytest.fixture
def searching(rungs: CommandLine, pages: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command that has printed its first line and would print for a minute."""
    rungs.json("ingest", str(pages))
    batch = str(golden(tmp_path / "golden.jsonl", 30_000))
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "--home", str(rungs.home), "search", "--batch", batch],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    assert json.loads(process.stdout.readline())["id"] == "r0"
    yield process
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        stream.close()


def test_ctrl_c_ends_it_cleanly_and_frees_the_home(searching: subprocess.Popen[bytes], rungs: CommandLine) -> None:
    searching.send_signal(signal.SIGINT)
    _, errors = searching.communicate(timeout=20)
    assert searching.returncode == 130 and errors.decode().strip() == "stopped"
    assert rungs.json("search", "lamp")["results"]


def test_a_reader_that_leaves_ends_it_quietly(searching: subprocess.Popen[bytes]) -> None:
    assert searching.stdout is not None and searching.stderr is not None
    searching.stdout.close()
    assert searching.wait(timeout=20) in (0, 1)
    assert searching.stderr.read() == b""


def test_a_terminal_that_lacks_letters_gets_valid_json_all_the_same(rungs: CommandLine, tmp_path: Path) -> None:
    page = tmp_path / "lampe.md"
    page.write_text("# Lampe\n\nDie Lampe heißt Łucja → 灯.\n")
    rungs.json("ingest", str(page))
    words = [sys.executable, "-c", MAIN, "--home", str(rungs.home), "search", "Lampe", "--json"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, check=True)
    assert "Łucja → 灯" in json.loads(done.stdout.decode("ascii"))["results"][0]["text"]
    shown = subprocess.run(words[:-1], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert b"Lampe" in shown.stdout and shown.stderr == b""
