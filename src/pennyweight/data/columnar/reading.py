"""Packed data opened: shards are checked when they are first read, and decoded group by group."""

from __future__ import annotations

import math
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from pennyweight.data.columnar.manifest import NAME, ROWS, Manifest, Part, Shard
from pennyweight.data.columnar.place import Place
from pennyweight.data.columnar.shards import arrow, group_rows, opened
from pennyweight.data.columnar.writing import JOURNAL, PARTS
from pennyweight.data.splits import Arrays, Splits
from pennyweight.errors import BadInputError, CorruptError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.data.columnar.column import Column

    Codes = dict[str, NDArray[Any]]

HOLD_BYTE = 1 << 27

_OPEN = 2  # shards kept open: a stream goes through them one after the other


@final
class Packed:
    """A packed data set; `byte_read` counts the bytes of all shards that were taken up so far.

    Data that takes at most `hold_byte` as it is stored before compression stays in memory once it was read.
    """

    def __init__(self, place: Place, manifest: Manifest, hold_byte: int = HOLD_BYTE) -> None:
        self.place, self.manifest = place, manifest
        self._holds = manifest.rows * sum(column.stored_byte for column in manifest.columns) <= hold_byte
        self._held: dict[str, Codes] = {}
        self.byte_read = 0
        self._checked: set[str] = set()
        self._files: OrderedDict[str, Any] = OrderedDict()
        self._lock = RLock()

    @classmethod
    def at(cls, url: str | Path, hold_byte: int = HOLD_BYTE) -> Self:
        """Open a folder or URL; raises `BadInputError` if there is none, `CorruptError` if its manifest is broken."""
        place = Place.at(url)
        if not place.has(NAME):
            if place.has(JOURNAL):
                raise BadInputError(f"{url} was not packed to the end.", "run the same pack again; it goes on.")
            raise BadInputError(f"{url} holds no packed data.", f"give a folder or URL with a {NAME}, made by pack.")
        return cls(place, Manifest.read(place.read(NAME), str(url)), hold_byte)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, in order."""
        return self.manifest.columns

    def part(self, name: str) -> Part:
        """The part of that name."""
        return self.manifest.part(name)

    def codes(self, shard: Shard, group: int, groups: Sequence[int]) -> tuple[Codes, NDArray[np.intp]]:
        """Columns of a shard as stored, and where in them the rows of `groups` (of `group` each) are, in order.

        If the data is held, the columns are those of the whole shard and may not be written to.
        """
        if not self._holds:
            found = self._decoded(shard, group, groups)
            return found, np.arange(sum(min(group, shard.rows - each * group) for each in groups))
        with self._lock:
            if shard.name not in self._held:
                whole = self._decoded(shard, group, range(math.ceil(shard.rows / group)))
                for each in whole.values():
                    each.flags.writeable = False  # it is given out again
                self._held[shard.name] = whole
        places = [np.arange(each * group, min((each + 1) * group, shard.rows)) for each in groups]
        return self._held[shard.name], np.concatenate(places)

    def arrays(self, part: str) -> dict[str, NDArray[Any]]:
        """All rows of a part: one array (N, ...) per column, bit for bit as it was packed."""
        found = self.part(part)
        made = {column.name: np.empty((found.rows, *column.shape), column.dtype) for column in self._numbers()}
        texts: dict[str, list[NDArray[Any]]] = {each.name: [] for each in self.columns if each.name not in made}
        at = 0
        for shard in found.shards:
            for group in range(math.ceil(shard.rows / found.group)):
                codes = self._decoded(shard, found.group, [group])
                rows = min(found.group, shard.rows - group * found.group)
                for column in self.columns:
                    values = column.decode(codes[column.name])
                    if column.name in made:
                        made[column.name][at : at + rows] = values
                    else:
                        texts[column.name].append(values)
                at += rows
        joined = {name: np.concatenate(each) if each else np.empty(0, str) for name, each in texts.items()}
        return {column.name: made.get(column.name, joined.get(column.name)) for column in self.columns}  # type: ignore[misc]

    def splits(self) -> Splits:
        """The three splits, if they were packed by these names with columns x and y."""
        if not set(PARTS) <= set(self.manifest.parts) or not {"x", "y"} <= {each.name for each in self.columns}:
            raise BadInputError(f"{self.place.url} holds no three splits of x and y.", "read its parts one by one.")
        return Splits(*(Arrays(**self.arrays(name)) for name in PARTS))

    def check(self) -> tuple[str, ...]:
        """Read every shard; the names of those that are missing or damaged, each with what is wrong."""
        wrong = []
        for part in self.manifest.parts.values():
            for shard in part.shards:
                try:
                    if self.manifest.kind == ROWS:
                        self._file(shard)
                    else:
                        self.body(shard)
                except (CorruptError, BadInputError) as error:
                    wrong.append(f"{shard.name}: {error.problem}")
        return tuple(wrong)

    def body(self, shard: Shard) -> Any:
        """The bytes of a shard, mapped into memory where it is a file here; checked if it is the first time."""
        folder = self.place.folder
        if folder is None:
            body: Any = self.place.read(shard.name)
        else:
            try:
                body = np.memmap(folder / shard.name, np.uint8, "c") if shard.byte else b""
            except (OSError, ValueError) as error:
                raise CorruptError(
                    f"{self.place.url} lacks shard {shard.name}.", "restore it, or pack again."
                ) from error
        self.byte_read += len(body)
        if shard.name not in self._checked:
            if len(body) != shard.byte or sha256(body).hexdigest() != shard.sha256:
                raise CorruptError(
                    f"Shard {shard.name} of {self.place.url} is damaged: its SHA-256 is another.",
                    "restore it or pack again; to go on without its rows, read with damaged='skip'.",
                )
            self._checked.add(shard.name)
        return body

    def _mapped(self, shard: Shard) -> Any:
        try:
            return np.memmap(Path(self.place.root) / shard.name, np.uint8, "c") if shard.byte else b""
        except (OSError, ValueError) as error:
            lost = f"{self.place.url} lacks the file {shard.name}, or it is empty."
            raise CorruptError(lost, "restore it, or pack again.") from error

    def _decoded(self, shard: Shard, group: int, groups: Sequence[int]) -> Codes:
        file = self._file(shard)
        if file.num_row_groups != math.ceil(shard.rows / group) or file.metadata.num_rows != shard.rows:
            raise CorruptError(f"Shard {shard.name} of {self.place.url} has other rows.", "restore it, or pack again.")
        return group_rows(file, groups, self.columns, shard.name)

    def _numbers(self) -> list[Column]:
        return [column for column in self.columns if column.form != "text"]

    def _file(self, shard: Shard) -> Any:
        with self._lock:
            if shard.name not in self._files:
                body = self.body(shard)
                self._files[shard.name] = opened(arrow().py_buffer(body), self.columns, shard.name)
                while len(self._files) > _OPEN:
                    self._files.popitem(last=False)
            self._files.move_to_end(shard.name)
            return self._files[shard.name]
