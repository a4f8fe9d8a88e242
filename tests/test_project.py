"""The shape of the house: import direction, no cycles, documented names, third parties at the edges, true settings."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("assistant", "knowledge", "adapters", "ui")
MAY_IMPORT = {
    "ui": {"ui", "assistant", "knowledge", "adapters"},
    "assistant": {"assistant", "knowledge", "adapters"},
    "knowledge": {"knowledge"},
    "adapters": {"adapters"},
}
EDGES = {
    "gradio": ("ui/",),
    "chromadb": ("knowledge/index.py", "knowledge/index_server.py"),
    "torch": ("adapters/", "knowledge/embedding.py", "assistant/models/local.py"),
    "transformers": ("adapters/", "knowledge/embedding.py", "assistant/models/local.py"),
    "peft": ("adapters/", "assistant/models/local.py"),
    "trl": ("adapters/",),
}
HEAVY = {
    "torch", "transformers", "gradio", "chromadb", "sklearn", "scipy", "peft", "langchain_openai", "xllamacpp",
    "sentence_transformers", "onnxruntime", "trafilatura", "markitdown",
}  # fmt: skip
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def modules(tree: ast.AST, top_level_only: bool = False) -> Iterator[str]:
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    nodes = tree.body if top_level_only and isinstance(tree, ast.Module) else ast.walk(tree)
    for node in nodes:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


PAGES = ("ui/chat", "ui/console", "ui/copilot")
"""Gradio's pages, imported by the server and by nobody else."""
TRAINING_ALONE = ("adapters/trainer.py", "adapters/fused.py")
"""Imported by the process that trains and by nobody else."""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_go_one_way(path: Path) -> None:
    allowed = MAY_IMPORT[relative(path).split("/")[0]]
    for module in modules(ast.parse(path.read_text())):
        top = module.split(".")[0]
        assert top not in PACKAGES or top in allowed, f"{relative(path)} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_third_parties_stay_at_their_edges(path: Path) -> None:
    for module in modules(ast.parse(path.read_text())):
        for edge in EDGES.get(module.split(".")[0], ("",)):
            if relative(path).startswith(edge):
                break
        else:
            pytest.fail(f"{relative(path)} imports {module}")


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_nothing_heavy_is_imported_at_the_top_outside_the_ui_pages(path: Path) -> None:
    if relative(path).startswith(PAGES) or relative(path) in TRAINING_ALONE:
        return
    heavy = {m.split(".")[0] for m in modules(ast.parse(path.read_text()), top_level_only=True)} & HEAVY
    assert not heavy, f"{relative(path)} imports {heavy} when it is imported"


def test_no_module_is_in_a_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for path in FILES:
        name = relative(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        graph[name] = set(modules(ast.parse(path.read_text()), top_level_only=True))

    def reach(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        for wanted in graph.get(name, ()):
            if wanted in graph and wanted not in done:
                reach(wanted, (*trail, name))
        done.add(name)

    done: set[str] = set()
    for name in graph:
        if name not in done:
            reach(name, ())


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_every_public_name_is_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if tree.body:
        assert ast.get_docstring(tree), f"{relative(path)} says nowhere what it does"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{relative(path)}: {node.name}"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_file_fits_in_one_head(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400, "split it by nouns"


def test_only_settings_reads_the_environment() -> None:
    reading = re.compile(r"os\.environ(?!\.(setdefault|copy))|os\.getenv")
    # the process that trains is told its rank by `accelerate launch`, and tells its libraries to stay offline
    allowed = ("assistant/settings.py", "adapters/train.py")
    found = [relative(p) for p in FILES if reading.search(p.read_text()) and relative(p) not in allowed]
    assert not found


def test_the_example_settings_name_every_setting_with_its_default() -> None:
    from assistant.settings import Settings

    text = (ROOT / "rungs.example.toml").read_text()
    named = set(re.findall(r"^# ?(\w+) = ", text, re.M))
    assert named == set(Settings.model_fields)


def test_the_file_tree_in_the_readme_is_true() -> None:
    readme = (ROOT / "README.md").read_text()
    tree = readme.split("## Where things are")[1].split("```")[1]
    folder = ""
    for line in tree.splitlines():
        if not line.strip():
            continue
        name = line.split()[0]
        folder = folder if line.startswith(" ") else name
        place = ROOT / (folder + name if line.startswith(" ") else name)
        assert place.exists(), f"README names {place.relative_to(ROOT)}"


def test_help_answers_without_anything_heavy() -> None:
    heavy = sorted(HEAVY | {"numpy", "sqlalchemy"})
    code = f"import sys, ui.cli.main; print([m for m in sys.modules if m in {heavy!r}])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.strip() == "[]"


def test_no_tracked_file_names_a_place_on_a_machine() -> None:
    places = re.compile(r"/(work|root|tmp|home/\w+)/")
    kinds = (".py", ".md", ".toml", ".txt", ".css", ".js")
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=True).stdout.split(
        "\n"
    )
    shipped = [ROOT / name for name in listed if name.endswith(kinds) and not name.startswith("tests/")]
    bad = [p.name for p in shipped if p.is_file() and places.search(p.read_text(encoding="utf-8", errors="ignore"))]
    assert not bad
