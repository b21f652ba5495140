"""Carry out a plan: write, read back, and only then give the file its name; what it took is one entry of the ledger."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.core import Phase
from pennyweight.cost.meter import meter
from pennyweight.engine.booking import book
from pennyweight.engine.gguf.reading import compare
from pennyweight.engine.gguf.writing import stream, unfinished
from pennyweight.errors import BadInputError, PennyweightError, StorageError
from pennyweight.store.checkpoints.writing import UNFINISHED
from pennyweight.store.disk import check_plain
from pennyweight.units import si

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pennyweight.cost.meter import Measurement
    from pennyweight.engine.gguf.planning import Plan
    from pennyweight.engine.gguf.reading import Found


@final
@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of it: bytes read and written, what it took, memory promised and held, how the file compares."""

    to: str
    architecture: str
    in_byte: int
    out_byte: int
    seconds: float
    cpu_s: float
    joule: float
    peak_byte: float
    most_byte: float
    found: Found

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {**{name: value for name, value in asdict(self).items() if name != "found"}, **self.found.facts()}


def needed_byte(plan: Plan) -> float:
    """The most memory that this process will hold while it carries out `plan`."""
    import psutil

    return float(psutil.Process().memory_info().rss + plan.work_byte)


def write(plan: Plan, to: Path, *, force: bool = False, watch: Callable[[int], None] = lambda _: None) -> Receipt:
    """Write the file that `plan` describes as `to`, read it back, compare it with the checkpoint, book what it took.

    `watch` hears how many bytes of the checkpoint were read since the last time. With `force` a file that is there is
    replaced. Raises `BadInputError` if there is one, or a weight is too large for the type, `StorageError` if there is
    no room, `CorruptError` for weights that are no finite numbers or read back as others; then there is no new file.
    """
    _check_place(plan, to, force=force)
    most, window = needed_byte(plan), meter()
    try:
        with window, unfinished(to) as handle:
            stream(plan, handle, to, watch)
            found = compare(plan, to.with_name(to.name + UNFINISHED))
    except BaseException:
        with suppress(PennyweightError):  # what went wrong first is what is said
            _book(plan, to, window.measured)
        raise
    took = window.measured
    _book(plan, to, took)
    return Receipt(
        plan.to,
        plan.facts.architecture,
        plan.source.byte,
        plan.byte,
        took.wall_s,
        took.cpu_s,
        took.joule,
        took.peak_byte,
        most,
        found,
    )


def _check_place(plan: Plan, to: Path, *, force: bool) -> None:
    check_plain(to)
    if to.is_symlink() or (to.exists() and not force):
        raise BadInputError(f"{to} is there already.", "give another name, or --force to replace it.")
    if to.resolve() in {each.resolve() for each in (*plan.source.shards, *plan.source.beside)}:
        raise BadInputError(f"{to} is a file of the checkpoint itself.", "give another name.")
    around = to.absolute().parent
    while not around.exists():
        around = around.parent
    free = shutil.disk_usage(around).free
    if plan.byte > free:
        raise StorageError(
            f"{to} will take {si(plan.byte, 'B')}, but there are {si(free, 'B')} on that disk.",
            "free space on it, or give a place on another.",
        )


def _book(plan: Plan, to: Path, measured: Measurement) -> None:
    note = {"in_byte": plan.source.byte, "out_byte": plan.byte, "to": str(to)}
    title = f"gguf {plan.source.folder.resolve().name}"
    book(title, Phase.COMPRESS, measured, f"{plan.to} for llama.cpp", note)
