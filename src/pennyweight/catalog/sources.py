"""Where figures are from: the catalog's larger tables name their sources by a short code, resolved here."""

from __future__ import annotations

from functools import cache

from pennyweight.catalog.reading import table_of
from pennyweight.errors import UnknownNameError


def source_of(code: str) -> str:
    """The source that a table calls `code`. Raises `UnknownNameError`."""
    known = _codes()
    if code not in known:
        raise UnknownNameError.of("source", code, known)
    return known[code]


@cache
def _codes() -> dict[str, str]:
    return {row["code"]: row["source"] for row in table_of("sources.csv")}
