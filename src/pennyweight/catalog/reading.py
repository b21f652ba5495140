"""Reading facts: the catalog's tables, in which every row has a source, and files of the user's own."""

from __future__ import annotations

import csv
import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path


@cache
def table_of(file: str) -> tuple[dict[str, str], ...]:
    """The rows of one of the catalog's own tables."""
    return read_table(files("pennyweight.catalog").joinpath(file).read_text(encoding="utf-8"), file)


def read_table(text: str, file: str) -> tuple[dict[str, str], ...]:
    """The rows of a CSV table; one without a source column, or a row without a source, is refused."""
    reader = csv.DictReader(text.splitlines())
    if "source" not in (reader.fieldnames or ()):
        raise BadInputError(f"The table {file} has no source column.", "say for every row where it is from.")
    rows = tuple(reader)
    for number, row in enumerate(rows, start=2):
        if not row["source"] or None in row or None in row.values():
            raise BadInputError(
                f"Line {number} of {file} has no source or not as many fields as the header.",
                "fill it in, and quote what contains commas.",
            )
    return rows


def toml_of(path: Path) -> dict[str, Any]:
    """What a TOML file holds."""
    try:
        return tomllib.loads(text_of(path))
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"{path} is not TOML: {error}.", "correct that line.") from error


def text_of(path: Path) -> str:
    """What a text file holds; one that cannot be read is refused."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path} cannot be read: {error}.", "check the path and its rights.") from error
