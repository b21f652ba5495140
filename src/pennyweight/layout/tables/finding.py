"""Which kinds of tables there are, which one a file is, and what was learned of each."""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from importlib.resources import files
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.errors import BadInputError, CorruptError, UnknownNameError
from pennyweight.layout.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from pennyweight.layout.tables.table import Learnt, Table

_ROOM = "pennyweight.layout.tables"
_FITS = "fits"
_ENOUGH = 0.5  # of a kind's columns: what was measured may be missing, which is what one asks about


@cache
def tables() -> dict[str, Table]:
    """Every kind of table by name: the modules of this folder that have a `TABLE`."""
    modules = (import_module(f"{_ROOM}.{each.name}") for each in iter_modules(import_module(_ROOM).__path__))
    found: list[Table] = [module.TABLE for module in modules if hasattr(module, "TABLE")]
    return {each.name: each for each in found}


def kind_named(name: str) -> Table:
    """The kind of table of this name; another raises `UnknownNameError` with the nearest."""
    if name not in tables():
        raise UnknownNameError.of("kind of table", name, tables())
    return tables()[name]


def kind_of(rows: Rows) -> Table:
    """The kind of table whose columns these are: of several, the one that tells itself apart by most.

    A table that lacks columns, such as those of what was never measured, is the kind of which it has the largest share,
    at least half. None, and two alike, are an error that says what is missing.
    """
    there = rows.columns.keys()
    complete = [each for each in tables().values() if each.columns <= there]
    if complete:
        return _only(complete, {each.name: len(each.columns) for each in complete})
    shares = {each.name: len(each.columns & there) / len(each.columns) for each in tables().values()}
    near = [each for each in tables().values() if shares[each.name] >= _ENOUGH and len(each.columns & there) > 1]
    if not near:
        raise incomplete(rows, max(tables().values(), key=lambda each: shares[each.name]))
    return _only(near, shares)


def _only(found: list[Table], scores: dict[str, float] | dict[str, int]) -> Table:
    most = max(scores[each.name] for each in found)
    best = [each for each in found if scores[each.name] == most]
    if len(best) > 1:
        names = sorted(each.name for each in best)
        raise BadInputError(f"This table may be any of: {', '.join(names)}.", f"say which: --kind {names[0]}.")
    return best[0]


def incomplete(rows: Rows, kind: Table) -> BadInputError:
    """The error that says what a table lacks to be of a kind."""
    missing = ", ".join(sorted(kind.columns - rows.columns.keys()))
    return BadInputError(
        "This table has the columns of none that pennyweight can predict.",
        f"the nearest is {kind.name}, which also needs: {missing}.",
    )


def completed(rows: Rows, kind: Table) -> Rows:
    """The rows with the columns of a kind that they lack, empty."""
    missing = kind.columns - rows.columns.keys()
    empty = np.full(len(rows), "", dtype=np.str_)
    return Rows({**rows.columns, **dict.fromkeys(sorted(missing), empty)}, rows.lines) if missing else rows


def own_way(kind: Table) -> Callable[[Learnt, Rows], Learnt] | None:
    """How a kind moves what it learned by a few rows of a user's own; None where an offset is all there is.

    It is the function `calibrated` of the kind's module.
    """
    found: Callable[[Learnt, Rows], Learnt] | None = getattr(import_module(type(kind).__module__), "calibrated", None)
    return found


@cache
def shipped(name: str) -> Learnt:
    """What pennyweight learned from published measurements of this kind, as it ships."""
    kind = kind_named(name)
    file = files("pennyweight.catalog").joinpath(_FITS, f"{name}.json")
    if not file.is_file():
        return kind.untaught()
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptError(f"What ships for {name} is no JSON: {error}.", "install pennyweight again.") from error
    return kind.restore(body)
