"""Which kinds of tables there are, which one a file is, and what was learned of each."""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from importlib.resources import files
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError, UnknownNameError

if TYPE_CHECKING:
    from pennyweight.layout.tables.rows import Rows
    from pennyweight.layout.tables.table import Learnt, Table

_ROOM = "pennyweight.layout.tables"
_FITS = "fits"


@cache
def tables() -> dict[str, Table]:
    """Every kind of table by name: the modules of this folder that have a `TABLE`."""
    modules = (import_module(f"{_ROOM}.{each.name}") for each in iter_modules(import_module(_ROOM).__path__))
    found: list[Table] = [module.TABLE for module in modules if hasattr(module, "TABLE")]
    return {each.name: each for each in found}


def kind_of(rows: Rows) -> Table:
    """The kind of table that has these columns; none is an error that names the nearest and what it lacks."""
    there = rows.columns.keys()
    fitting = [each for each in tables().values() if each.columns <= there]
    if fitting:
        return max(fitting, key=lambda each: len(each.columns))
    near = max(tables().values(), key=lambda each: len(each.columns & there) / len(each.columns))
    missing = ", ".join(sorted(near.columns - there))
    raise BadInputError(
        "This table has the columns of none that pennyweight can predict.",
        f"the nearest is {near.name}, which also needs: {missing}.",
    )


@cache
def shipped(name: str) -> Learnt:
    """What pennyweight learned from published measurements of this kind, as it ships."""
    kind = tables().get(name)
    if kind is None:
        raise UnknownNameError.of("kind of table", name, tables())
    file = files("pennyweight.catalog").joinpath(_FITS, f"{name}.json")
    return kind.restore(json.loads(file.read_text(encoding="utf-8")))
