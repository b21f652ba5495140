"""Newer price lists: read from a table of our own columns or from a SkyPilot catalog, and written as ours."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pennyweight.catalog.offer import FIELDS, OPTIONAL, Offer, offers_of
from pennyweight.catalog.offers import book, merge, mine
from pennyweight.catalog.reading import read_table, text_of
from pennyweight.catalog.skypilot import COLUMNS as SKYPILOT
from pennyweight.catalog.skypilot import rows_of
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_GIB = 2.0**30


@dataclass(frozen=True, slots=True)
class Update:
    """What a price list adds: its `offers`, how many are `news`, and what was `left_out`, each a reason.

    `text` is the whole of what is to be kept at `offers.mine()`, the earlier updates included.
    """

    offers: tuple[Offer, ...]
    news: int
    left_out: tuple[str, ...]
    text: str


def update(path: Path, cloud: str | None = None) -> Update:
    """Read the price list at `path`: our own columns (`offer.FIELDS`), or a SkyPilot catalog (``vms.csv``).

    A SkyPilot catalog says neither its cloud nor its date: the cloud is `cloud`, otherwise the name of its folder; the
    date is that of the file. Nothing is written. Raises `BadInputError` and `UnknownNameError`.
    """
    body = text_of(path).removeprefix("\ufeff")
    table = _table(body, path.name)
    heads = list(table[0]) if table else next(csv.reader(io.StringIO(body)), [])
    date = f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%d}"
    if set(heads) >= set(SKYPILOT):
        seller = cloud or path.absolute().parent.name
        rows, left_out = rows_of(table, seller, date)
        found = offers_of(rows, path.name)
    else:
        _check_heads(heads, path.name)
        found, left_out = offers_of(table, path.name), ()
    if not found:
        raise BadInputError(f"{path.name} sells no accelerator of the catalog.", "check that it is the right file.")
    said = [replace(each, source=f"{path.name}, {each.date}" + _said(each.source)) for each in found]
    known = book()
    news = sum(1 for each in said if each.key not in known or each.date >= known[each.key].date)
    return Update(tuple(said), news, left_out, _text(merge(_kept(), said).values()))


def _said(source: str) -> str:
    return f": {source}" if source else ""


def _check_heads(heads: list[str], file: str) -> None:
    missing = [name for name in FIELDS if name not in heads and name not in OPTIONAL]
    if missing:
        raise BadInputError(
            f"The price list {file} has no column {missing[0]}.",
            f"give {','.join(FIELDS)} ({', '.join(OPTIONAL)} may be left out), or SkyPilot's vms.csv.",
        )


def _table(body: str, file: str) -> list[dict[str, str]]:
    try:
        table = list(csv.DictReader(io.StringIO(body)))
    except csv.Error as error:
        raise BadInputError(f"{file} is not a CSV table: {error}.", "give comma-separated text.") from error
    for line, row in enumerate(table, start=2):
        if None in row or None in row.values():
            raise BadInputError(
                f"Line {line} of {file} has not as many fields as the header.", "quote what contains commas."
            )
    return table


def _kept() -> list[Offer]:
    file = mine()
    return offers_of(read_table(text_of(file), str(file)), str(file)) if file.exists() else []


def _text(rows: Iterable[Offer]) -> str:
    """Offers as a table of `FIELDS`."""
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        gib = "" if row.memory_byte is None else f"{row.memory_byte / _GIB:g}"
        figures = {name: _plain(getattr(row, name)) for name in FIELDS if name != "memory_gib"}
        writer.writerow({**figures, "memory_gib": gib})
    return out.getvalue()


def _plain(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.8g}" if isinstance(value, float) else str(value)
