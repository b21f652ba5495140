"""What one process has answered and charged since the server began, counted in memory that its sisters can read.

Every number is eight bytes at a place of its own that one thread writes, so nobody waits and nobody reads half of it.
With a file the numbers outlive the process: whoever takes its place counts on. Money is whole nano-dollars.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self, final

from pennyweight.serve.counted import SIZES, Batches, Paid, Sums

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from pennyweight.serve.answering.shelf import Served
    from pennyweight.store.team.usage import Request

BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OTHERS = ("(others)", "(others)", 0)
"""Whose requests are counted where there are more tenants and versions than places."""
MOST = 4096
_MOST_VERSIONS = 64
_ALIVE_NS = 5_000_000_000
_KNOWN = 256  # lanes whose last numbers are remembered

# Where things are, in words of eight bytes: the head, then a table of who paid, then one of versions. A row of a table
# begins with its numbers, and ends with its name.
_PAID, _VERSIONS, _BEAT, _TOOK, _FAILED, _MISSED, _STATUS, _BUCKETS, _HEAD = 0, 1, 2, 3, 4, 5, 8, 508, 1024
_NUMBERS, _NAME_BYTE = 24, 192
_ROW = _NUMBERS + _NAME_BYTE // 8
# A row of versions: batches by size and the rows of all, what language models made, and what changes all the while.
_MADE, _NOW = SIZES + 1, SIZES + 5
_FIRST = {_PAID: _HEAD, _VERSIONS: _HEAD + MOST * _ROW}
SIZE_BYTE = 8 * (_HEAD + (MOST + _MOST_VERSIONS) * _ROW)


@final
@dataclass(slots=True, eq=False)
class Counters:
    """Replies by status, their seconds in buckets, what was paid, batches: in `memory`, and in that of `sisters`.

    `replied` and `batched` belong to the event loop and `wrote` to the thread that records; each has its own numbers.
    """

    memory: memoryview = field(default_factory=lambda: memoryview(mmap.mmap(-1, SIZE_BYTE)))
    sisters: tuple[memoryview, ...] = ()
    _words: memoryview = field(init=False)
    _rows: dict[int, dict[tuple[str, ...], int]] = field(init=False)
    _lanes: dict[int, tuple[list[int], list[int]]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Find what a process before this one has counted."""
        self._words = self.memory.cast("q")
        self._rows = {table: dict(_named(self.memory, table)) for table in _FIRST}

    @classmethod
    def at(cls, file: str) -> Self:
        """Those in a file, beside the files of the sisters in the same folder; in own memory if there is no file."""
        if not file:
            return cls()
        others = sorted(each for each in Path(file).parent.iterdir() if each != Path(file))
        return cls(_mapped(Path(file)), tuple(map(_mapped, others)))

    def replied(self, status: int, took_s: float) -> None:
        """Count a reply."""
        words = self._words
        words[_STATUS + status - 100] += 1
        words[_BUCKETS + bisect_left(BOUNDS_S, took_s)] += 1
        words[_TOOK] += int(took_s * 1e9)

    def wrote(self, request: Request) -> None:
        """Count a request whose row is on the disk."""
        words, units = self._words, request.units
        at = self._place(_PAID, (request.tenant, request.model, str(request.number)))
        words[at] += 1
        words[at + 1] += units.fed
        words[at + 2] += units.made
        words[at + 3] += units.cached
        words[at + 4] += units.compute_ns
        words[at + 5] += units.energy_uj
        words[at + 6] += request.cost_nusd

    def watched(self, *, failed: int = 0, missed: int = 0) -> None:
        """Count a look of the watch that could not be finished, and answers that it had no room for."""
        self._words[_FAILED] += failed
        self._words[_MISSED] += missed

    def batched(self, served: Iterable[Served]) -> None:
        """Count what lanes have done since the last time, and say that this process lives and what it serves."""
        words, now = self._words, dict.fromkeys(self._rows[_VERSIONS].values(), (0,) * 4)
        for each in served:
            at = self._place(_VERSIONS, (each.version.model, each.name))
            texts = (each.choir.waiting, each.choir.running) if each.choir is not None else (0, 0)
            waiting, _, *others = now.get(at, (0,) * 4)
            now[at] = waiting + each.lane.waiting, 1, others[0] + texts[0], others[1] + texts[1]
            for n, more in enumerate(self._more(each)):
                words[at + n] += more
        for at, numbers in now.items():
            for n, number in enumerate(numbers):
                words[at + _NOW + n] = number
        words[_BEAT] = time.time_ns()

    def sums(self) -> Sums:
        """All of it, of this process alone."""
        return _sums(self.memory)

    def total(self) -> Sums:
        """All of it, of this process and its sisters."""
        found = self.sums()
        for each in self.sisters:
            found += _sums(each)
        return found

    def _more(self, served: Served) -> list[int]:
        """What a lane has done since the last time; its list stands for it, so that the lane itself can be let go."""
        sizes, choir = served.lane.sizes, served.choir
        made = (0, 0, 0, 0) if choir is None else (choir.made, choir.steps, choir.guessed, choir.right)
        now = [*sizes, served.lane.answered, *made]
        _, before = self._lanes.pop(id(sizes), (sizes, [0] * len(now)))
        self._lanes[id(sizes)] = sizes, now
        while len(self._lanes) > _KNOWN:
            del self._lanes[next(iter(self._lanes))]
        return [a - b for a, b in zip(now, before, strict=True)]

    def _place(self, table: int, name: tuple[str, ...]) -> int:
        """The first word of the row of a name; a new row if there is none."""
        rows = self._rows[table]
        found = rows.get(name)
        if found is not None:
            return found
        most = MOST if table == _PAID else _MOST_VERSIONS
        if len(rows) >= most - 1:  # the last one is for all that find none
            name = tuple(map(str, OTHERS[-len(name) :]))
        if name not in rows:
            at = rows[name] = _FIRST[table] + len(rows) * _ROW
            text = "\0".join(name).encode()[:_NAME_BYTE]
            begin = 8 * (at + _NUMBERS)
            self.memory[begin : begin + len(text)] = text
            self._words[table] = len(rows)
        return rows[name]


@contextlib.contextmanager
def files(count: int) -> Generator[list[str]]:
    """Files for the counters of so many processes, in a folder that nobody else can look into; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pennyweight-") as folder:
        found = [f"{folder}/{n}" for n in range(count)]
        for each in found:
            made = os.open(each, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(made, "wb") as file:
                file.write(bytes(SIZE_BYTE))  # all of it now: a disk that is full later would end a process
        yield found


def _mapped(file: Path) -> memoryview:
    with file.open("r+b") as opened:
        return memoryview(mmap.mmap(opened.fileno(), SIZE_BYTE))


def _named(memory: memoryview, table: int) -> Iterator[tuple[tuple[str, ...], int]]:
    """The names in a table, and the first word of each row."""
    for n in range(memory.cast("q")[table]):
        at = _FIRST[table] + n * _ROW
        begin = 8 * (at + _NUMBERS)
        name = bytes(memory[begin : begin + _NAME_BYTE]).rstrip(b"\0").decode()
        yield tuple(name.split("\0")), at


def _sums(memory: memoryview) -> Sums:
    words = memory.cast("q")
    alive = int(time.time_ns() - words[_BEAT] < _ALIVE_NS)
    return Sums(
        {n + 100: words[_STATUS + n] for n in range(500) if words[_STATUS + n]},
        tuple(words[_BUCKETS : _BUCKETS + len(BOUNDS_S) + 1]),
        words[_TOOK] / 1e9,
        words[_FAILED],
        words[_MISSED],
        alive,
        {(name[0], name[1], int(name[2])): Paid(*words[at : at + 7]) for name, at in _named(memory, _PAID)},
        {(name[0], int(name[1])): _batches(words, at, alive) for name, at in _named(memory, _VERSIONS)},
    )


def _batches(words: memoryview, at: int, alive: int) -> Batches:
    waiting, serving, *texts = (number * alive for number in words[at + _NOW : at + _NOW + 4])
    sizes, made = tuple(words[at : at + SIZES]), words[at + _MADE : at + _MADE + 4]
    return Batches(sizes, words[at + SIZES], waiting, serving, *made, *texts)
