"""The assistant's memory: what was acknowledged is on disk, a trace comes back as it was, visitors see their own."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, text

from assistant.errors import AssistantError
from assistant.traces import HISTORY_QUESTIONS, TraceStore
from assistant.types import (
    LEVEL_NAMES,
    Answer,
    Attempt,
    Citation,
    Draft,
    Evidence,
    Question,
    Route,
    Step,
    Token,
    Trace,
    Turn,
)
from knowledge.database import is_sqlite, open_engine
from knowledge.errors import KnowledgeError, StorageFull
from knowledge.types import Hit, Passage, Sentence

ROOT = Path(__file__).resolve().parents[2]
KILLS = 10


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TraceStore]:
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('traces') / 'rungs.db'}")
    yield TraceStore(engine)
    engine.dispose()


@pytest.fixture
def engine(engine_of_each: Engine) -> Engine:
    return engine_of_each


@pytest.fixture
def traces(engine: Engine) -> TraceStore:
    return TraceStore(engine)


def told(
    traces: TraceStore, conversation: str, asked: str = "why?", says: str = "because", level: str | None = "rag"
) -> str:
    """A question asked and answered; its trace id."""
    question = Question(asked, conversation)
    answer = Answer(says, "answered" if level else "abstained", level, 0.8 if level else None)  # type: ignore[arg-type]
    trace_id = traces.begin(question, {"model": "m"})
    draft = Draft(says, tokens_in=10, tokens_out=5)
    attempts = (Attempt("rag", bool(level), draft=draft, confidence=0.8, threshold=0.5, seconds=0.1),)
    route = Route((Step("prompting", "about the documents"), Step("rag")))
    traces.finish(
        Trace(trace_id, question, Evidence((asked,)), route, attempts, answer, {"model": "m"}, 0.5, "2030-01-01")
    )
    return trace_id


# what comes back

texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
numbers = st.floats(allow_nan=False)
maybe = st.none() | numbers
signals = st.dictionaries(texts, numbers, max_size=3)
levels = st.sampled_from(LEVEL_NAMES)
counts = st.integers(0, 10**9)
passages = st.lists(
    st.builds(Passage, texts, texts, texts, texts, texts, texts, counts, st.none() | counts, texts),
    min_size=1,
    max_size=4,
    unique_by=lambda passage: passage.id,
)
citations = st.lists(
    st.builds(Citation, texts, texts, texts, texts, texts, numbers, texts, texts, counts, st.none() | counts, texts),
    max_size=2,
).map(tuple)
drafts = st.builds(
    Draft, texts, citations, st.lists(st.builds(Token, texts, maybe, maybe), max_size=3).map(tuple), counts, counts
)
attempts = st.lists(
    st.builds(
        Attempt, levels, st.booleans(), st.none() | texts, st.none() | texts, st.none() | drafts, signals,
        maybe, maybe, st.none() | texts, maybe,
    ),
    max_size=3,
).map(tuple)  # fmt: skip
answers = st.builds(
    Answer, texts, st.sampled_from(["answered", "abstained", "handed_off"]), st.none() | levels, maybe, citations,
    st.lists(texts, max_size=2).map(tuple),
)  # fmt: skip
questions = st.builds(
    Question,
    texts,
    st.just("c"),
    st.lists(st.builds(Turn, st.sampled_from(["user", "assistant"]), texts), max_size=3).map(tuple),
    texts,
    st.none() | levels,
)


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    some = st.sampled_from(draw(passages))
    hits = st.builds(Hit, some, numbers, numbers, st.none() | counts, st.none() | counts, maybe)
    sentences = st.builds(Sentence, texts, some, counts, counts, numbers, numbers)
    return Evidence(
        tuple(draw(st.lists(texts, max_size=2))),
        tuple(draw(st.lists(hits, max_size=3))),
        tuple(draw(st.lists(sentences, max_size=3))),
        draw(signals),
        draw(st.none() | texts),
    )


whole = st.builds(
    Trace, st.just(""), questions, evidences(), st.lists(st.builds(Step, levels, st.none() | texts)).map(
        lambda steps: Route(tuple(steps))
    ), attempts, answers, st.dictionaries(texts, texts, max_size=3), numbers, texts,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trace=whole)
def test_a_trace_comes_back_exactly_as_it_was_finished(shared: TraceStore, trace: Trace) -> None:
    trace = replace(trace, id=shared.begin(trace.question, trace.versions))
    shared.finish(trace)
    assert shared.load(trace.id) == trace


def test_text_that_no_database_takes_is_replaced_everywhere(traces: TraceStore) -> None:
    bad = "a\0b\ud800c"
    question = Question(bad, "c", surface="s")
    passage = Passage("p", bad, bad, bad, bad, bad, 0)
    citation = Citation(bad, bad, bad, bad, bad, 0.5, passage=bad)
    trace = Trace(
        traces.begin(question, {}),
        question,
        Evidence((bad,), (Hit(passage, 0.1, 0.2),), (Sentence(bad, passage, 0, 1, 0.1, 0.2),)),
        Route(()),
        (Attempt("rag", failure=bad, draft=Draft(bad, (citation,), (Token(bad),))),),
        Answer(bad, "answered", "rag", 0.5, (citation,), (bad,)),
        {"model": bad},
        1.0,
        "now",
    )
    traces.finish(trace)
    loaded = traces.load(trace.id)
    assert "\0" not in repr(loaded).replace("\\x00", "\0") and "\\ud800" not in repr(loaded)
    assert loaded.answer.text == "a b\ufffdc"
    assert traces.history("c") == (Turn("user", "a b\ufffdc"), Turn("assistant", "a b\ufffdc"))
    traces.add_feedback(trace.id, -1, bad)
    traces.interrupted(traces.begin(question, {}), bad)


def test_a_backslash_u0000_that_somebody_typed_stays_text(traces: TraceStore) -> None:
    trace_id = told(traces, "c", r"what is \u0000 in JSON?", "\\\\u0000 \0")
    assert traces.load(trace_id).question.text == r"what is \u0000 in JSON?"
    assert traces.load(trace_id).answer.text == "\\\\u0000  "


def test_a_damaged_record_is_named_and_does_not_surprise(traces: TraceStore, engine: Engine) -> None:
    trace_id = told(traces, "c")
    with engine.begin() as connection:
        connection.execute(text('UPDATE questions SET record = \'{"trace": {}, "passages": {}}\''))
    with pytest.raises(AssistantError, match=f"{trace_id}.*damaged"):
        traces.load(trace_id)


# what is on disk, and when


def test_a_question_is_on_disk_for_another_connection_before_begin_returns(
    traces: TraceStore, engine: Engine, database_url: str
) -> None:
    trace_id = traces.begin(Question("why?", "c"), {})
    other = open_engine(database_url)
    assert [row.id for row in TraceStore(other).find()] == [trace_id]
    assert TraceStore(other).find()[0].status == "started"
    if is_sqlite(engine):
        with other.connect() as connection:
            assert connection.scalar(text("PRAGMA synchronous")) == 2
    other.dispose()


def test_rows_that_a_crash_left_open_are_closed_once(traces: TraceStore) -> None:
    told(traces, "c")
    trace_id = traces.begin(Question("why?", "c"), {})
    assert (traces.close_open(), traces.close_open()) == (1, 0)
    assert [row.id for row in traces.find(outcome="interrupted")] == [trace_id]
    with pytest.raises(AssistantError, match="interrupted"):
        traces.load(trace_id)


def test_a_closed_question_is_neither_closed_again_nor_interrupted(traces: TraceStore) -> None:
    trace_id = told(traces, "c")
    traces.interrupted(trace_id, "too late")
    assert traces.find()[0].status == "finished"
    with pytest.raises(AssistantError, match="no such question is open"):
        traces.finish(traces.load(trace_id))


WRITER = """
import sys
from assistant.traces import TraceStore
from assistant.types import Answer, Evidence, Question, Route, Trace
from knowledge.database import open_engine

traces = TraceStore(open_engine(sys.argv[1]))
while True:
    question = Question("why?", "c")
    trace_id = traces.begin(question, {})
    print("begun", trace_id, flush=True)
    traces.finish(Trace(trace_id, question, Evidence(()), Route(()), (), Answer("so", "answered"), {}, 0.1, "now"))
    print("finished", trace_id, flush=True)
"""


def test_nothing_that_was_acknowledged_is_lost_when_the_process_is_killed(database_url: str) -> None:
    chance = random.Random(7)
    begun: set[str] = set()
    finished: set[str] = set()
    for _ in range(KILLS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, database_url], stdout=subprocess.PIPE, text=True, cwd=ROOT, bufsize=1
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]
        time.sleep(chance.uniform(0, 0.25))
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
        writer.wait()
        writer.stdout.close()
        for line in lines:
            if line.endswith("\n"):
                word, trace_id = line.split()
                (begun if word == "begun" else finished).add(trace_id)
    engine = open_engine(database_url)
    traces = TraceStore(engine)
    kept = {row.id: row.status for row in traces.find(limit=100_000)}
    assert len(begun) > KILLS and finished
    assert begun <= kept.keys()
    assert {trace_id for trace_id in finished if kept[trace_id] != "finished"} == set()
    assert traces.load(max(finished)).answer.text == "so"
    left_open = sum(status == "started" for status in kept.values())
    assert left_open <= KILLS and traces.close_open() == left_open
    if is_sqlite(engine):
        with engine.connect() as connection:
            assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
    engine.dispose()


# conversations


def test_a_conversation_belongs_to_its_visitor(traces: TraceStore) -> None:
    mine = traces.open_conversation("me", "chat")
    assert len(mine) == 32 and traces.open_conversation("me", "chat", mine) == mine
    for visitor, conversation in (("you", mine), ("me", "unheard-of"), ("me", "")):
        with pytest.raises(AssistantError, match="no conversation"):
            traces.open_conversation(visitor, "chat", conversation)
    told(traces, mine)
    assert [summary.id for summary in traces.conversations("me")] == [mine]
    assert traces.conversations("you") == ()


def test_conversations_are_listed_by_their_latest_question_whatever_the_clock_says(
    traces: TraceStore, engine: Engine
) -> None:
    first, second = (traces.open_conversation("me", "chat") for _ in range(2))
    told(traces, second, "younger conversation, older question")
    told(traces, first, "older conversation, younger question")
    with engine.begin() as connection:
        connection.execute(text("UPDATE conversations SET updated_at = '1999', started_at = '1999'"))
        connection.execute(text("UPDATE questions SET started_at = '1999'"))
    assert [summary.id for summary in traces.conversations("me")] == [first, second]
    assert [row.question[:5] for row in traces.find()] == ["older", "young"]


def test_a_conversation_is_named_by_its_first_question(traces: TraceStore) -> None:
    mine = traces.open_conversation("me", "chat")
    told(traces, mine, "first " * 100)
    told(traces, mine, "second")
    (summary,) = traces.conversations("me")
    assert summary.title.startswith("first") and len(summary.title) == 80 and summary.turns == 2


def test_history_is_what_was_answered_and_not_withdrawn(traces: TraceStore) -> None:
    told(traces, "c", "one", "1")
    traces.interrupted(traces.begin(Question("stopped", "c"), {}), "the asker left")
    retried = told(traces, "c", "two", "2")
    told(traces, "c", "three", "3")
    told(traces, "d", "elsewhere", "4")
    traces.supersede("d", retried)
    assert len(traces.history("c")) == 6 and len(traces.history("d")) == 2
    traces.supersede("c", retried)
    told(traces, "c", "two again", "2b")
    assert [turn.text for turn in traces.history("c")] == ["one", "1", "two again", "2b"]
    assert [turn.question for turn in traces.turns("c")] == ["one", "stopped", "two again"]
    assert traces.turns("c")[1].answer is None
    assert traces.load(retried).answer.text == "2", "the record is kept"
    assert [turn.question for turn in traces.turns("c", latest=1)] == ["two again"]


def test_history_and_turns_of_a_very_long_conversation_stay_quick(traces: TraceStore, engine: Engine) -> None:
    record = told(traces, "c", "seed")
    columns = (
        "conversation, text, surface, status, superseded, level, outcome, confidence, seconds, tokens_in, "
        "tokens_out, versions, answer, record, started_at"
    )
    copies = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) "
        f"INSERT INTO questions (id, {columns}) SELECT 'x' || i, {columns} FROM n, questions WHERE id = :id"
    )
    with engine.begin() as connection:
        connection.execute(text(copies), {"id": record})
    started = time.perf_counter()
    assert len(traces.history("c")) == 2 * HISTORY_QUESTIONS
    assert len(traces.turns("c", latest=100)) == 100
    assert time.perf_counter() - started < 1.0
    assert len(traces.turns("c")) == 10_001
    assert len(traces.find(limit=50_000)) == 10_001


def test_what_a_visitor_asked_is_known_for_the_count_of_explored_questions(traces: TraceStore) -> None:
    mine, yours = (traces.open_conversation(visitor, "chat") for visitor in ("me", "you"))
    told(traces, mine, "a?")
    traces.supersede(mine, told(traces, mine, "b?"))
    told(traces, yours, "c?")
    assert traces.asked("me") == {"a?", "b?"}


# finding


def test_questions_are_found_by_every_filter(traces: TraceStore) -> None:
    told(traces, "c", "How do I WIPE 100% of it?")
    told(traces, "c", "Ärger mit Öl", level=None)
    traces.interrupted(traces.begin(Question("left", "c"), {}), "the asker left")

    def found(**filters: object) -> list[str]:
        return [row.question.split()[0] for row in traces.find(**filters)]  # type: ignore[arg-type]

    assert found() == ["left", "Ärger", "How"]
    assert found(level="rag") == ["How"] and found(level="lora") == []
    assert found(outcome="abstained") == ["Ärger"] and found(outcome="interrupted") == ["left"]
    assert found(text="wipe") == ["How"] and found(text="100% of") == ["How"] and found(text="%") == ["How"]
    assert found(text="Ärger") == ["Ärger"] and found(text="Öl") == ["Ärger"]
    assert found(text="_") == [] and found(text=" \0 ") == found()
    assert found(confidence_max=0.8) == ["How"] and found(confidence_max=0.7) == []
    assert found(since="2999") == [] and len(found(since="2020-01-01")) == 3
    assert found(limit=1) == ["left"] and found(limit=1, offset=2) == ["How"]
    how = traces.find(level="rag")[0]
    assert (how.tokens, how.confidence, how.seconds, how.surface) == (15, 0.8, 0.5, "cli")


def test_shares_count_every_question_once(traces: TraceStore) -> None:
    told(traces, "c")
    told(traces, "c")
    told(traces, "c", level=None)
    traces.interrupted(traces.begin(Question("left", "c"), {}), "the asker left")
    assert traces.shares() == {"rag": 2, "abstained": 1, "interrupted": 1}
    assert traces.shares(since="2999") == {}


# what people say of it


def test_the_latest_thumb_counts_and_every_one_is_kept(traces: TraceStore) -> None:
    trace_id = told(traces, "c")
    traces.add_feedback(trace_id, 1)
    traces.add_feedback(trace_id, -1, "the page moved")
    assert traces.turns("c")[0].feedback == -1 and traces.find()[0].feedback == -1
    assert [(given.value, given.reason) for given in traces.feedback(trace_id)] == [(1, ""), (-1, "the page moved")]
    with pytest.raises(AssistantError, match="no trace"):
        traces.add_feedback("unheard-of", 1)


def test_opening_again_keeps_everything_and_both_rooms_share_the_file(engine: Engine) -> None:
    trace_id = told(TraceStore(engine), "c")
    again = TraceStore(engine)
    assert again.load(trace_id).answer.text == "because"
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version_assistant")) == "a0006"


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(engine: Engine) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from assistant.tables import METADATA

    TraceStore(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, kind, _: kind != "table" or name in METADATA.tables}
        )
        assert compare_metadata(context, METADATA) == []


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "rungs.db").write_bytes(b"not a database at all" * 100)
    engine = open_engine(f"sqlite:///{tmp_path / 'rungs.db'}")
    with pytest.raises(KnowledgeError, match=r"rungs\.db.*damaged"):
        TraceStore(engine)
    engine.dispose()


def test_a_full_disk_is_said_and_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'rungs.db'}")
    traces = TraceStore(engine)
    kept = [told(traces, "c")]
    with engine.connect() as connection:
        pages = connection.scalar(text("PRAGMA page_count"))
    engine.dispose()
    event.listen(engine, "connect", lambda raw, _: raw.execute(f"PRAGMA max_page_count = {pages + 4}"))
    with pytest.raises(StorageFull, match="no room left"):
        while True:
            kept.append(told(traces, "c", "why? " * 500))
    assert len(kept) > 1
    assert {row.id for row in traces.find(level="rag")} == set(kept)
    assert all(traces.load(trace_id).answer.text == "because" for trace_id in kept)
    engine.dispose()


def test_no_statement_is_sqlite_only() -> None:
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateTable

    from assistant.tables import METADATA

    for table in METADATA.sorted_tables:
        numbered = "SERIAL" in str(CreateTable(table).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
        assert numbered == ("number" in table.columns)
    source = (ROOT / "assistant" / "traces.py").read_text()
    for word in ("PRAGMA", "INSERT OR", "rowid", "sqlite_", "datetime("):
        assert word not in source
