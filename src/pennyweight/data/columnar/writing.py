"""Rows into shards: each is there whole or not at all, and a packing that was cut off goes on where it was."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import starmap
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.data.columnar.column import TEXT, Column, column_of
from pennyweight.data.columnar.manifest import NAME, ROWS, Manifest, Part, Shard
from pennyweight.data.columnar.place import Place
from pennyweight.data.columnar.shards import CODECS, as_parquet
from pennyweight.errors import BadInputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.data.splits import Arrays, Splits

    Codes = dict[str, NDArray[Any]]

JOURNAL = "unfinished.json"
PARTS = ("train", "select", "certify")
_GROUP_BYTE = 2 << 20  # of rows that are decoded together
_MOST_GROUP = 65_536


@final
@dataclass(frozen=True, slots=True)
class Packing:
    """How to pack: `codec` (zstd, lz4, snappy, gzip, none) and the bytes of a `shard` before compression."""

    codec: str = "zstd"
    shard_byte: int = 64_000_000

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise UnknownNameError.of("codec", self.codec, CODECS)
        if self.shard_byte <= 0:
            raise BadInputError(f"A shard of {self.shard_byte} bytes holds nothing.", "give a size such as 64MB.")


@final
@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that are read part by part: how many, their columns, and a function that gives those from one to another."""

    count: int
    columns: tuple[Column, ...]
    between: Callable[[int, int], Mapping[str, NDArray[Any]]]

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Rows:
        """Rows that are in memory: named arrays, each (N, ...)."""
        counts = {len(each) for each in arrays.values()}
        if len(counts) != 1:
            raise BadInputError("The columns differ in length, or there are none.", "give one entry per row in each.")
        columns = tuple(starmap(column_of, arrays.items()))
        return cls(counts.pop(), columns, lambda one, other: {name: each[one:other] for name, each in arrays.items()})


def pack_splits(splits: Splits, to: str | Path, packing: Packing | None = None, **about: Any) -> Manifest:
    """Pack the three splits of a job; `about` is kept beside them."""
    whole = {name: _columns_of(getattr(splits, name)) for name in PARTS}
    return pack(whole, to, packing, **about)


def pack(
    parts: Mapping[str, Mapping[str, NDArray[Any]] | Rows],
    to: str | Path,
    packing: Packing | None = None,
    **about: Any,
) -> Manifest:
    """Write named parts, each named columns (N, ...) or `Rows`, to a folder or URL, and a manifest when all are there.

    Called again after it was cut off, with the same rows, it goes on: finished shards are kept. Raises `BadInputError`
    if the place holds packed data already and `StorageError` if the disk is full; nothing half-written is left.
    """
    place, packing = Place.at(to), packing or Packing()
    if place.has(NAME):
        raise BadInputError(f"{place.url} holds packed data already.", "give an empty folder, or remove it first.")
    given = {name: part if isinstance(part, Rows) else Rows.of(part) for name, part in parts.items()}
    columns = _agreed(given)
    journal = _Journal(place, {"columns": [each.facts() for each in columns], **asdict(packing)})
    written = {name: _written(name, rows, columns, packing, journal) for name, rows in given.items()}
    raw = sum(rows.count for rows in given.values()) * sum(_raw_byte(column) for column in columns)
    made = Manifest(ROWS, columns, written, raw, packing.codec, about)
    place.write(NAME, made.text())
    place.remove(JOURNAL)
    return made


def _columns_of(rows: Arrays) -> dict[str, NDArray[Any]]:
    every = {"x": rows.x, "y": rows.y, "groups": rows.groups, "weight": rows.weight}
    return {name: each for name, each in every.items() if each is not None}


def _agreed(parts: Mapping[str, Rows]) -> tuple[Column, ...]:
    """Columns that hold the rows of every part: where two would be stored otherwise, the wider form."""
    names = {tuple(column.name for column in rows.columns) for rows in parts.values()}
    if len(names) != 1 or not all(names):
        raise BadInputError("The parts do not have the same columns.", "give each part every column.")
    every = zip(*(rows.columns for rows in parts.values()), strict=True)
    return tuple(_wider(several) for several in every)


def _wider(several: tuple[Column, ...]) -> Column:
    first = several[0]
    for other in several[1:]:
        if (other.dtype, other.shape) != (first.dtype, first.shape):
            raise BadInputError(
                f"Column {first.name!r} changes type: {first.dtype} {first.shape}, then {other.dtype} {other.shape}.",
                "give it one type and one shape in every part.",
            )
    forms = {(column.form, column.divisor, column.values) for column in several}
    if len(forms) > 1:
        return Column(first.name, first.dtype, first.shape, first.dtype)
    if first.form in {TEXT, "listed"}:
        return first
    kinds = [np.dtype(column.stored) for column in several]
    widest = np.result_type(*kinds)
    stored = widest.name if widest.itemsize < np.dtype(first.dtype).itemsize else first.dtype
    if stored == first.dtype:
        return Column(first.name, first.dtype, first.shape, stored)
    return Column(first.name, first.dtype, first.shape, stored, first.form, first.divisor)


def _written(name: str, rows: Rows, columns: tuple[Column, ...], packing: Packing, journal: _Journal) -> Part:
    each = max(1, sum(column.stored_byte for column in columns))
    step = max(1, packing.shard_byte // each)
    group = max(1, min(step, _GROUP_BYTE // each, _MOST_GROUP))
    shards = []
    for number, start in enumerate(range(0, rows.count, step)):
        given = rows.between(start, min(start + step, rows.count))
        codes = {column.name: column.encode(np.asarray(given[column.name])) for column in columns}
        shards.append(journal.shard(f"{name}-{number:05d}.parquet", columns, codes, group))
    return Part(group, tuple(shards))


def _raw_byte(column: Column) -> int:
    return column.stored_byte if column.form == TEXT else column.cell * np.dtype(column.dtype).itemsize


@final
class _Journal:
    """The shards that are finished, in a file of their own until all are."""

    def __init__(self, place: Place, plan: dict[str, Any]) -> None:
        self._place, self._plan = place, json.loads(json.dumps(plan))
        self._done: dict[str, dict[str, Any]] = {}
        if place.has(JOURNAL):
            self._take_up()

    def shard(self, name: str, columns: tuple[Column, ...], codes: Codes, group: int) -> Shard:
        """Write one shard, unless the same rows are in it already."""
        source = _digest(columns, codes)
        known = self._done.get(name)
        if known is not None and known["source"] == source and self._place.has(name):
            return Shard(name, known["rows"], known["byte"], known["sha256"])
        body = as_parquet(columns, codes, group, self._plan["codec"])
        made = Shard(name, len(codes[columns[0].name]), len(body), sha256(body).hexdigest())
        self._place.write(name, body)
        self._done[name] = {**asdict(made), "source": source}
        self._place.write(JOURNAL, json.dumps({"plan": self._plan, "done": self._done}).encode())
        return made

    def _take_up(self) -> None:
        try:
            facts = json.loads(self._place.read(JOURNAL))
            self._done = facts["done"] if facts["plan"] == self._plan else {}
        except (ValueError, KeyError, TypeError):
            self._done = {}


def _digest(columns: tuple[Column, ...], codes: Codes) -> str:
    whole = sha256()
    for column in columns:
        given = codes[column.name]
        whole.update(json.dumps(given.tolist()).encode() if column.form == TEXT else np.ascontiguousarray(given).data)
    return whole.hexdigest()
