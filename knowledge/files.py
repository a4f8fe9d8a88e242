"""What a path given to `ingest` means: which source, which files, and what of it could not be seen.

Walks folders without leaving them: links that point outside, hidden files and what is no regular file are passed over.
Opens no file. Called by `ingest.py`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from knowledge.loaders import LOADERS, loader_for


@dataclass(frozen=True, slots=True)
class Root:
    """One path given to `ingest`, looked at."""

    source: str
    place: Path
    """The path given, absolute and resolved."""
    files: dict[str, Path]
    """Document path to the file to read."""
    present: frozenset[str]
    """Document paths that are there, readable or not: none of these vanished."""
    single: str = ""
    """The document path where one file was given, empty for a folder."""
    unseen: tuple[str, ...] = ()
    """Folders below, as document path prefixes, that could not be listed: nothing in them is known to have vanished."""
    refused: tuple[tuple[str, str], ...] = ()
    """(path, reason) of what was named or found and cannot be taken."""

    @property
    def found(self) -> bool:
        """Whether there is anything at the path that could be a document."""
        return bool(self.present) or bool(self.unseen)

    def hides(self, path: str) -> bool:
        """Whether a document lies in a folder that could not be listed."""
        return any(path.startswith(prefix) for prefix in self.unseen)


def find_root(path: Path, sources: Iterable[str], source: str | None = None) -> Root:
    """Look at a path.

    Args:
        path: a file or folder; may be missing.
        sources: names of the sources that are known: a file in one of them belongs to it.
        source: the source's name where it is not to be the path.
    """
    place = path.expanduser().resolve()
    if place.is_dir():
        return _folder(place, source or place.as_posix())
    known = set(sources)
    own = source or place.as_posix()
    if not place.exists() and (own in known and loader_for(place) is None):
        return Root(own, place, {}, frozenset())
    if source is None and own not in known:
        for folder in place.parents:
            if folder.as_posix() in known:
                return _file(place, folder.as_posix(), place.relative_to(folder).as_posix())
    return _file(place, own, place.name)


def explain_absence(root: Root, known: int) -> str:
    """Why nothing was taken from a path, and what to do."""
    what = "nothing there" if not root.place.exists() else "nothing found in it that can be read"
    if known:
        return (
            f"{root.place}: {what}, so its {known} known documents were left as they are. Check the path; "
            "use --prune to remove them."
        )
    suffixes = " ".join(suffix for loader in LOADERS for suffix in loader.suffixes)
    return f"{root.place}: {what}. Check the path; files that can be read end in {suffixes}"


def _file(place: Path, source: str, document: str) -> Root:
    if not place.exists():
        return Root(source, place, {}, frozenset(), single=document)
    problem = _name_problem(document)
    if place.name.startswith("."):
        problem = f"{place}: is hidden; hidden files are not read. Rename or copy it."
    if not place.is_file():
        problem = f"{place}: is neither a regular file nor a folder."
    if problem:
        return Root(source, place, {}, frozenset((document,)), single=document, refused=((str(place), problem),))
    return Root(source, place, {document: place}, frozenset((document,)), single=document)


def _folder(place: Path, source: str) -> Root:
    unseen: list[str] = []
    refused: list[tuple[str, str]] = []
    files: dict[str, Path] = {}
    present: set[str] = set()

    def cannot_list(error: OSError) -> None:
        folder = Path(error.filename)
        relative = folder.relative_to(place).as_posix()
        unseen.append("" if relative == "." else f"{relative}/")
        refused.append(
            (_shown(folder), f"{_shown(folder)}: cannot be listed ({error.strerror}). Check its permissions.")
        )

    for file in _walk(place, cannot_list):
        document = file.relative_to(place).as_posix()
        problem = _name_problem(document)
        if problem:
            refused.append((_shown(file), problem))
            continue
        present.add(document)
        files[document] = file
    return Root(source, place, files, frozenset(present), unseen=tuple(unseen), refused=tuple(refused))


def _walk(place: Path, cannot_list: object) -> Iterator[Path]:
    """Regular, visible files with a known suffix, in a stable order."""
    for folder, folders, names in os.walk(place, onerror=cannot_list, followlinks=False):  # type: ignore[arg-type]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            if not name.startswith(".") and loader_for(file) is not None and _is_inside(file, place):
                yield file


def _is_inside(file: Path, place: Path) -> bool:
    """A regular file; a link only where it leads to one inside the root."""
    try:
        if file.is_symlink() and not file.resolve().is_relative_to(place):
            return False
        return stat.S_ISREG(file.stat().st_mode)
    except OSError:
        return False


def _name_problem(document: str) -> str:
    try:
        document.encode()
    except UnicodeEncodeError:
        return f"{_shown(Path(document))}: its name is not valid UTF-8. Rename it."
    return ""


def _shown(path: Path) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode()
