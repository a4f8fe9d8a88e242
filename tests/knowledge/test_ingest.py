"""Files and folders into the store: twice is once, what vanished goes, nothing is lost on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from knowledge.embedding import HashEmbedder, embed_passages
from knowledge.errors import IndexDamaged, StorageFull
from knowledge.ingest import ingest
from knowledge.store import KnowledgeStore
from knowledge.types import IngestReport, Passage, Progress, Span, Vectors
from tests.knowledge import storing
from tests.knowledge.storing import opened

pytestmark = pytest.mark.usefixtures("each_database")
ROOT = Path(__file__).resolve().parents[2]


class CountingEmbedder(HashEmbedder):
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def embed_parts(self, texts: Sequence[str], parts: Sequence[Sequence[Span]]) -> tuple[Vectors, list[Vectors]]:
        """As the hash embedder."""
        self.batches.append(len(texts))
        return super().embed_parts(texts, parts)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KnowledgeStore]:
    with opened(tmp_path / "home", CountingEmbedder()) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "docs"
    write(
        made,
        {"a.md": "# Kettle\n\nThe kettle boils.", "b.txt": "The lamp shines.", "sub/c.md": "# Bridge\n\nIt spans."},
    )
    return made


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def run(store: KnowledgeStore, *paths: Path, prune: bool = False, source: str | None = None) -> IngestReport:
    *steps, report = ingest(store, paths, prune=prune, source=source)
    assert all(isinstance(step, Progress) and 0 <= step.done <= step.total for step in steps)
    assert isinstance(report, IngestReport)
    return report


def changes(report: IngestReport) -> tuple[int, int, int, int, int]:
    return report.added, report.updated, report.unchanged, report.removed, len(report.failed)


def embedded(store: KnowledgeStore) -> int:
    assert isinstance(store.embedder, CountingEmbedder)
    return sum(store.embedder.batches)


def test_a_folder_is_a_source_with_relative_documents(store: KnowledgeStore, folder: Path) -> None:
    report = run(store, folder)
    assert changes(report) == (3, 0, 0, 0, 0)
    assert report.passages == store.count() == 3
    assert set(store.known(folder.as_posix())) == {"a.md", "b.txt", "sub/c.md"}
    hit = store.retrieve(["kettle"], 1)[0].passage
    assert (hit.document, hit.title, hit.heading, hit.uri) == ("a.md", "Kettle", "Kettle", (folder / "a.md").as_uri())


def test_a_second_run_changes_and_embeds_nothing(store: KnowledgeStore, folder: Path) -> None:
    run(store, folder)
    version, spent = store.index_version, embedded(store)
    os.utime(folder / "a.md")
    assert changes(run(store, folder)) == (0, 0, 3, 0, 0)
    assert (store.index_version, embedded(store)) == (version, spent)


def test_what_somebody_else_takes_in_meanwhile_stays(store: KnowledgeStore, folder: Path) -> None:
    run(store, folder)
    slow = ingest(store, [folder])
    next(slow)  # it has looked at the folder
    write(folder, {"d.md": "# Anchor\n\nThe anchor holds."})
    (folder / "b.txt").unlink()
    assert changes(run(store, folder)) == (1, 0, 2, 1, 0)
    *_, report = slow
    assert isinstance(report, IngestReport) and report.removed == 0
    assert set(store.known(folder.as_posix())) == {"a.md", "d.md", "sub/c.md"}


def test_only_what_changed_is_read_again(store: KnowledgeStore, folder: Path) -> None:
    run(store, folder)
    spent = embedded(store)
    write(folder, {"a.md": "# Kettle\n\nThe anchor holds."})
    assert changes(run(store, folder)) == (0, 1, 2, 0, 0)
    assert embedded(store) == spent + 1
    assert "anchor" in store.retrieve(["anchor"], 1)[0].passage.text
    assert not any("boils" in hit.passage.text for hit in store.retrieve(["boils"], 5))


def test_what_vanished_or_moved_goes(store: KnowledgeStore, folder: Path) -> None:
    run(store, folder)
    (folder / "b.txt").unlink()
    (folder / "a.md").rename(folder / "sub" / "moved.md")
    assert changes(run(store, folder)) == (1, 0, 1, 2, 0)
    assert set(store.known(folder.as_posix())) == {"sub/c.md", "sub/moved.md"}


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_missing_or_empty_root_removes_nothing_unless_told_to(store: KnowledgeStore, folder: Path, how: str) -> None:
    run(store, folder)
    shutil.rmtree(folder)
    if how == "empty":
        write(folder, {"notes.xyz": "no loader", ".hidden.md": "hidden"})
    report = run(store, folder)
    assert changes(report) == (0, 0, 0, 0, 1)
    assert "--prune" in report.failed[0].reason
    assert store.count() == 3
    assert changes(run(store, folder, prune=True)) == (0, 0, 0, 3, 0)
    assert store.count() == 0


def test_a_path_that_never_was_is_a_failure(store: KnowledgeStore, tmp_path: Path) -> None:
    for prune in (False, True):
        assert changes(run(store, tmp_path / "nowhere", prune=prune)) == (0, 0, 0, 0, 1)


def test_one_file_removes_no_sibling_and_updates_its_folder(store: KnowledgeStore, folder: Path) -> None:
    run(store, folder)
    write(folder, {"sub/c.md": "# Bridge\n\nIt fell.", "sub/new.md": "# New\n\nA turbine."})
    (folder / "a.md").unlink()
    assert changes(run(store, folder / "sub" / "c.md", folder / "sub" / "new.md")) == (1, 1, 0, 0, 0)
    assert set(store.known(folder.as_posix())) == {"a.md", "b.txt", "sub/c.md", "sub/new.md"}
    assert len(store.sources()) == 1


def test_one_file_is_a_source_of_its_own(store: KnowledgeStore, folder: Path) -> None:
    file = folder / "a.md"
    assert changes(run(store, file)) == (1, 0, 0, 0, 0)
    assert store.known(file.as_posix()).keys() == {"a.md"}
    assert changes(run(store, file)) == (0, 0, 1, 0, 0)
    file.unlink()
    assert changes(run(store, file)) == (0, 0, 0, 0, 1)
    assert changes(run(store, file, prune=True)) == (0, 0, 0, 1, 0)


def test_a_vanished_file_of_a_folder_goes_alone_when_pruned(store: KnowledgeStore, folder: Path) -> None:
    run(store, folder)
    (folder / "a.md").unlink()
    assert changes(run(store, folder / "a.md")) == (0, 0, 0, 0, 1)
    assert changes(run(store, folder / "a.md", prune=True)) == (0, 0, 0, 1, 0)
    assert set(store.known(folder.as_posix())) == {"b.txt", "sub/c.md"}


def test_a_source_can_have_a_name(store: KnowledgeStore, folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "more", {"d.md": "# Saddle\n\nLeather."})
    assert changes(run(store, folder, tmp_path / "more", source="handbook")) == (4, 0, 0, 0, 0)
    assert [(s.source, s.documents) for s in store.sources()] == [("handbook", 4)]
    assert changes(run(store, folder, tmp_path / "more", source="handbook")) == (0, 0, 4, 0, 0)


def test_two_files_with_one_address_are_told_apart_or_refused(
    store: KnowledgeStore, folder: Path, tmp_path: Path
) -> None:
    write(tmp_path / "more", {"a.md": "# Other\n\nElse."})
    report = run(store, folder, folder / "a.md", tmp_path / "more", source="handbook")
    assert changes(report) == (3, 0, 0, 0, 1)
    assert "same path" in report.failed[0].reason


def test_names_that_differ_by_case_are_two_documents(store: KnowledgeStore, tmp_path: Path) -> None:
    write(
        tmp_path / "docs",
        {"Page.md": "# A\n\nfirst", "page.md": "# B\n\nsecond", "e\u0301.md": "third", "é.md": "fourth"},
    )
    if len(list((tmp_path / "docs").iterdir())) < 4:
        pytest.skip("this file system does not tell such names apart")
    run(store, tmp_path / "docs")
    assert len(store.known((tmp_path / "docs").as_posix())) == 4


def test_a_failing_file_never_stops_the_rest_and_keeps_what_was_known_of_it(
    store: KnowledgeStore, folder: Path
) -> None:
    run(store, folder)
    write(folder, {"broken.pdf": "no pdf", "z.md": "# Zebra\n\nStripes.", "a.md": "\0\0"})
    report = run(store, folder)
    assert changes(report) == (1, 0, 2, 0, 2)
    assert {Path(failure.source).name for failure in report.failed} == {"broken.pdf", "a.md"}
    assert "kettle boils" in store.retrieve(["kettle"], 1)[0].passage.text


def test_hidden_and_unknown_files_are_passed_over_but_refused_by_name(store: KnowledgeStore, folder: Path) -> None:
    write(folder, {".secret.md": "x", ".git/x.md": "x", "program.exe": "x"})
    assert changes(run(store, folder)) == (3, 0, 0, 0, 0)
    report = run(store, folder / ".secret.md", folder / "program.exe")
    assert changes(report) == (0, 0, 0, 0, 2)
    assert store.count() == 3


def test_links_that_leave_the_root_are_not_followed(store: KnowledgeStore, folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "outside", {"secret.md": "# Secret\n\nwords"})
    (folder / "link.md").symlink_to(tmp_path / "outside" / "secret.md")
    (folder / "linked").symlink_to(tmp_path / "outside")
    (folder / "loop").symlink_to(folder)
    (folder / "dangling.md").symlink_to(folder / "nothing.md")
    assert changes(run(store, folder)) == (3, 0, 0, 0, 0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(store: KnowledgeStore, folder: Path) -> None:
    os.mkfifo(folder / "pipe.md")
    assert changes(run(store, folder)) == (3, 0, 0, 0, 0)
    assert changes(run(store, folder / "pipe.md")) == (0, 0, 0, 0, 1)


def test_a_folder_that_cannot_be_listed_is_reported_and_nothing_in_it_is_removed(
    store: KnowledgeStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(store, folder)
    (folder / "b.txt").unlink()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = run(store, folder)
    monkeypatch.undo()
    assert changes(report) == (0, 0, 1, 1, 1)
    assert set(store.known(folder.as_posix())) == {"a.md", "sub/c.md"}


def test_a_name_that_is_no_text_is_refused_and_the_rest_goes_on(store: KnowledgeStore, folder: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.md")).write_text("x")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    report = run(store, folder)
    assert changes(report) == (3, 0, 0, 0, 1)
    report.failed[0].reason.encode()
    report.failed[0].source.encode()


def vectors_belong_to_their_passages(store: KnowledgeStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Checks every `put` from now on; returns the growing list of documents put."""
    put, documents = store.put, []

    def checked(source: str, path: str, mark: str, title: str, uri: str, parts: Sequence[Passage], *rows: Any) -> None:
        vectors, sentences = embed_passages(HashEmbedder(), parts)
        assert np.array_equal(rows[0], vectors), path
        assert all(np.array_equal(*pair) for pair in zip(rows[1], sentences, strict=True)), path
        documents.append(path)
        put(source, path, mark, title, uri, parts, *rows)

    monkeypatch.setattr(store, "put", checked)
    return documents


def test_embedding_is_batched_across_documents(
    store: KnowledgeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knowledge.ingest.BATCH_PASSAGES", 20)
    put = vectors_belong_to_their_passages(store, monkeypatch)
    write(tmp_path / "docs", {f"{i:03}.md": f"# Page {i}\n\nWord{i} and more." for i in range(45)})
    report = run(store, tmp_path / "docs")
    assert report.added == report.passages == len(put) == 45
    assert isinstance(store.embedder, CountingEmbedder)
    assert store.embedder.batches == [20, 20, 5]


def test_a_large_document_moves_the_bar_and_keeps_its_order(
    store: KnowledgeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knowledge.ingest.BATCH_PASSAGES", 20)
    put = vectors_belong_to_their_passages(store, monkeypatch)
    text = "\n\n".join(f"## Why {i}?\n\nHere is word{i}." for i in range(70))
    write(tmp_path / "docs", {"a.md": "# A\n\nalpha", "large.md": f"# L\n\n{text}", "z.md": "# Z\n\nomega"})
    steps = list(ingest(store, [tmp_path / "docs"]))
    assert sum("large.md (" in step.label for step in steps if isinstance(step, Progress)) >= 3
    assert (put, store.count()) == (["a.md", "large.md", "z.md"], 72)


def test_progress_comes_for_every_file_and_ends_complete(store: KnowledgeStore, folder: Path) -> None:
    steps = [step for step in ingest(store, [folder]) if isinstance(step, Progress)]
    assert {"a.md", "b.txt", "sub/c.md"} <= {step.label for step in steps}
    assert (steps[-1].done, steps[-1].total) == (3, 3)


def test_a_full_disk_stops_with_a_message_and_keeps_what_was_done(
    store: KnowledgeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "docs", {f"{i}.md": f"# P{i}\n\nword{i}" for i in range(5)})
    put, calls = store.put, []

    def full(*arguments: object) -> None:
        calls.append(arguments[1])
        if len(calls) > 2:
            raise StorageFull("rungs.db: no room left on the disk.")
        put(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "put", full)
    with pytest.raises(StorageFull, match=r"no room left.*2 documents"):
        list(ingest(store, [tmp_path / "docs"]))
    monkeypatch.undo()
    assert store.count() == 2
    assert changes(run(store, tmp_path / "docs")) == (3, 0, 2, 0, 0)


def test_a_store_of_another_embedder_is_not_written_to(tmp_path: Path, folder: Path) -> None:
    with opened(tmp_path / "home") as store:
        run(store, folder)
    other = HashEmbedder()
    other.fingerprint = "another"  # type: ignore[misc]
    with opened(tmp_path / "home", other) as store, pytest.raises(IndexDamaged, match="reindex"):
        list(ingest(store, [folder]))


def test_a_run_that_is_left_half_way_keeps_what_it_finished(
    store: KnowledgeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knowledge.ingest.BATCH_PASSAGES", 20)
    write(tmp_path / "docs", {f"{i:03}.md": f"# P\n\nword{i}" for i in range(50)})
    for step in ingest(store, [tmp_path / "docs"]):
        if isinstance(step, Progress) and step.done >= 20:
            break
    kept = store.count()
    assert 20 <= kept < 50
    assert changes(run(store, tmp_path / "docs")) == (50 - kept, 0, kept, 0, 0)


KILLED = """
import sys
from pathlib import Path
from knowledge.database import open_engine
from knowledge.embedding import HashEmbedder
from knowledge.ingest import ingest
from knowledge.store import KnowledgeStore
home, docs = Path(sys.argv[1]), Path(sys.argv[2])
store = KnowledgeStore(open_engine(sys.argv[3]), home / "chroma", HashEmbedder())
for step in ingest(store, [docs]):
    print(getattr(step, "done", 0), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL here")
def test_what_a_killed_run_reported_as_done_is_there(tmp_path: Path) -> None:
    docs, home = tmp_path / "docs", tmp_path / "home"
    url = storing.URL or f"sqlite:///{home / 'rungs.db'}"
    write(docs, {f"{i:04}.md": f"# Page {i}\n\nword{i} here." for i in range(600)})
    home.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(home), str(docs), url], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    done = 0
    for line in process.stdout:
        done = int(line)
        if done:
            time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            break
    rest = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    done = max([done, *map(int, rest)])
    with opened(home) as store:
        known = store.known(docs.as_posix())
        assert done <= len(known) <= 600
        assert store.count() == len(known)
        report = run(store, docs)
        assert (report.added, report.unchanged) == (600 - len(known), len(known))
        assert store.count() == 600
        assert "0555.md" in {hit.passage.document for hit in store.retrieve(["word555"], 5)}
