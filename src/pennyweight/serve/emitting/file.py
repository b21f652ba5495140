"""A file of a deployment, and its comments: text that no name can end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError
from pennyweight.store.disk import put

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_MODE = 0o600  # of what may be given a password


@dataclass(frozen=True, slots=True)
class File:
    """One file: where it goes in the folder of the deployment, and its text; a `private` one is for its owner only."""

    name: str
    text: str
    private: bool = False


def comment(lines: Iterable[str]) -> str:
    """Lines behind number signs; what could end a line stands there as a question mark."""
    return "".join(f"# {_plain(each)}".rstrip() + "\n" for each in lines)


def _plain(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


def write(files: Sequence[File], folder: Path, *, force: bool = False) -> tuple[Path, ...]:
    """Write all files, or none where one of them is there already, unless by `force`; returns their paths.

    Raises `BadInputError` for what is there, `StorageError` for what cannot be written.
    """
    paths = tuple(folder / each.name for each in files)
    there = [path for path in paths if path.exists() or path.is_symlink()]
    if there and not force:
        raise BadInputError(
            f"{', '.join(map(str, there))} would be overwritten.", "name another folder with -o, or say --force."
        )
    for path, each in zip(paths, files, strict=True):
        put(path, each.text.encode(), "a file of the deployment")
        if each.private:
            path.chmod(_MODE)
    return paths
