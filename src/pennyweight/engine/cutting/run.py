"""Carry out a plan: into an empty folder or one where it was begun; config.json comes last, so half is never whole."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pennyweight.backends.large.decoders import Decoder, load_libraries
from pennyweight.core import Phase
from pennyweight.cost.meter import meter
from pennyweight.engine.booking import book
from pennyweight.engine.cutting.blocks import forget_notes, narrowed_blocks, noted
from pennyweight.engine.cutting.blockwise import Model
from pennyweight.engine.cutting.layers import Chosen, choose
from pennyweight.engine.cutting.memory import disk_byte
from pennyweight.engine.cutting.outside import Copying
from pennyweight.engine.cutting.reading import Reader
from pennyweight.engine.cutting.receipt import Dropped, Receipt, sizes_of
from pennyweight.engine.cutting.words import GONE
from pennyweight.engine.shrinking.states import forget
from pennyweight.errors import BadInputError, PennyweightError, StorageError
from pennyweight.store.checkpoints.folder import CONFIG, INDEX
from pennyweight.store.checkpoints.journal import FACTS as SHRUNK
from pennyweight.store.checkpoints.journal import JOURNAL, Journal
from pennyweight.store.disk import explained, put, read
from pennyweight.units import si

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pennyweight.cost.meter import Measurement
    from pennyweight.engine.cutting.planning import Plan

    Watch = Callable[[int], None]

FACTS = "cut.json"
_CHOSEN = ".chosen"
_MOST_BYTE = 200_000_000
_SMALL_BYTE = 1 << 20


def needed_byte(plan: Plan) -> float:
    """The most memory that this process will hold while it carries out `plan`."""
    import psutil

    if plan.wish.is_read:
        load_libraries(str(plan.source.config["model_type"]))
    return float(psutil.Process().memory_info().rss + plan.work_byte)


def cut(plan: Plan, to: Path, *, resume: bool = False, force: bool = False, watch: Watch = lambda _: None) -> Receipt:
    """Write the checkpoint that `plan` describes into the folder `to`, and book what it took.

    `watch` hears how many bytes were read since the last time. What was begun in `to` goes on with `resume`; `force`
    begins again. Raises `BadInputError` if `to` holds something or the text does not go with the model, `StorageError`
    if there is no room, `CorruptError` for weights that are no finite numbers.
    """
    _check_place(plan, to, resume=resume, force=force)
    most, window = needed_byte(plan), meter()
    try:
        with window:
            kept, dropped = _carried_out(plan, Journal(to, plan.key, fresh=force), watch)
    except BaseException:
        with suppress(PennyweightError):  # what went wrong first is what is said
            _book(plan, to, window.measured)
        raise
    _book(plan, to, window.measured)
    before, after = sizes_of(plan, _stay(plan, dropped.blocks))
    return Receipt.of(window.measured, (before, after), dropped, (most, len(plan.shards), kept))


def _carried_out(plan: Plan, journal: Journal, watch: Watch) -> tuple[int, Dropped]:
    """How many shards were there, and what was dropped."""
    with journal, Reader() as reader:
        if journal.fresh:
            _tidy(journal.folder)
        copying = Copying(plan, reader, journal, watch)
        done, chosen, moved = copying.outside(), None, dict[str, float]()
        if plan.parts is not None:
            model = Model(plan.source, plan.parts, reader)
            chosen = _chosen(plan, model, journal) if plan.wish.layers else None
            numbers = _stay(plan, chosen.dropped if chosen else ())
            if plan.wish.is_fitted:
                finished, moved = narrowed_blocks(plan, model, journal, (numbers, watch))
                done += finished
            else:
                done += copying.blocks(numbers)
        dropped = _dropped(plan, journal.folder, chosen, moved)
        _write_rest(plan, journal, dropped)
        _tidy(journal.folder)
        journal.close()
    return done, dropped


def _chosen(plan: Plan, model: Model, journal: Journal) -> Chosen:
    """The blocks that go, as an earlier run has found or as is found now."""
    path = journal.folder / _CHOSEN
    if path.is_file():
        with explained(path, "the choice"), suppress(KeyError, TypeError, ValueError):
            return Chosen.of(json.loads(read(journal.folder, _CHOSEN, _MOST_BYTE)))
    found = choose(model, Decoder(plan.source.config), plan.wish, journal.folder)
    put(path, json.dumps(found.facts()).encode(), "the choice")
    return found


def _stay(plan: Plan, dropped: Sequence[int]) -> list[int]:
    layers = plan.before.layers if plan.before else 0
    return [number for number in range(layers) if number not in dropped]


def _dropped(plan: Plan, folder: Path, chosen: Chosen | None, moved: dict[str, float]) -> Dropped:
    numbers = _stay(plan, chosen.dropped if chosen else ())
    found = noted(folder, numbers) if plan.wish.heads else {}
    words = plan.words
    return Dropped(
        chosen,
        {number: tuple(gone) for number, (gone, _) in found.items()},
        {number: tuple(worth) for number, (_, worth) in found.items()},
        plan.before.ffn - plan.after.ffn if plan.before and plan.after else 0,
        words.before - len(words.kept) if words else 0,
        moved,
    )


def _write_rest(plan: Plan, journal: Journal, dropped: Dropped) -> None:
    files = plan.words.files if plan.words else {}
    for path in plan.source.beside:
        if (plan.words and path.name in GONE) or path.name in files:
            continue
        real = path.resolve()
        with explained(path, "a file of the checkpoint"):
            body = read(real.parent, real.name, _MOST_BYTE)
        put(journal.folder / path.name, body, "a file of the checkpoint")
    for name, body in files.items():
        put(journal.folder / name, body, "a file of the checkpoint")
    facts: dict[str, Any] = {"source": plan.source.folder.resolve().name, "how": plan.wish.said}
    facts |= {"shards": journal.done, "dropped": dropped.facts()}
    config = plan.config(_stay(plan, dropped.blocks))
    for name, said in ((FACTS, facts), (INDEX, plan.index), (CONFIG, config)):
        put(journal.folder / name, (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode(), "the checkpoint")


def _tidy(folder: Path) -> None:
    """Remove what is only needed on the way."""
    forget(folder)
    forget_notes(folder)
    (folder / _CHOSEN).unlink(missing_ok=True)


def _check_place(plan: Plan, to: Path, *, resume: bool, force: bool) -> None:
    own, target = plan.source.folder.resolve(), to.resolve()
    if own == target or own in target.parents or target in own.parents:
        raise BadInputError(f"{to} is the folder of the checkpoint itself, or one around it.", "give another folder.")
    if to.exists() and not to.is_dir():
        raise BadInputError(f"{to} is no folder.", "give the name of a new folder.")
    begun = (to / JOURNAL).exists()
    done = (to / FACTS).exists() and not (to / SHRUNK).exists()
    if to.exists() and any(to.iterdir()) and not (begun or done):
        raise BadInputError(f"{to} holds something else.", "give the name of a new folder.")
    if begun and not (resume or force):
        raise BadInputError(f"In {to} such work was begun.", "give --resume to go on, or --force to begin again.")
    if done and not (begun or force):
        raise BadInputError(f"{to} is finished.", "give --force to write it again, or another folder.")
    _check_room(plan, to)


def _check_room(plan: Plan, to: Path) -> None:
    around = to
    while not around.exists():
        around = around.absolute().parent
    there = sum((to / shard.file).stat().st_size for shard in plan.shards if (to / shard.file).is_file())
    beside = sum(path.stat().st_size for path in plan.source.beside)
    needed, free = plan.byte + disk_byte(plan) + beside + _SMALL_BYTE - there, shutil.disk_usage(around).free
    if needed > free:
        raise StorageError(
            f"{to} will take {si(needed, 'B')} more, but there are {si(free, 'B')} on that disk.",
            "free space on it, or give a folder on another.",
        )


def _book(plan: Plan, to: Path, measured: Measurement) -> None:
    note = {"in_byte": plan.source.byte, "out_byte": plan.byte, "to": str(to)}
    book(f"cut {plan.source.folder.resolve().name}", Phase.COMPRESS, measured, plan.wish.said, note)
