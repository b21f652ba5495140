"""Carry out a plan: into an empty folder or one where it was begun; config.json comes last, so half is never whole."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, final

from pennyweight.backends.large.decoders import load_libraries
from pennyweight.core import Phase
from pennyweight.cost.meter import meter
from pennyweight.engine.booking import book
from pennyweight.engine.shrinking.memory import states_byte
from pennyweight.engine.shrinking.settling import forget_widths, settled
from pennyweight.engine.shrinking.states import forget
from pennyweight.errors import BadInputError, PennyweightError, StorageError
from pennyweight.store.checkpoints.folder import CONFIG, INDEX
from pennyweight.store.checkpoints.journal import FACTS, JOURNAL, Journal
from pennyweight.store.disk import explained, put, read
from pennyweight.units import si

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pennyweight.cost.meter import Measurement
    from pennyweight.engine.shrinking.planning import Plan
    from pennyweight.engine.shrinking.settling import Settled

_MOST_BYTE = 200_000_000
_SMALL_BYTE = 1 << 20  # config, index and what else is small


@final
@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of it: bytes of tensors read and written, what it took, the memory promised and the memory held.

    `kept_shards` were finished before, by a run that was cut off. Of `rounded` weights out of `tensors`, `kept` linear
    layers stayed as they were. `errors` say by layer how far its outputs moved, as a share of their length, on tokens
    of the calibration that nothing was fitted to. Where each layer has a width of its own, `widths` say which, `harms`
    what each would cost layers that are rounded together, and `harm` the sum of those chosen: how far what the model
    says is expected to move, in nats of Kullback-Leibler divergence for each token.
    """

    to: str
    group: int
    in_byte: int
    out_byte: int
    seconds: float
    cpu_s: float
    joule: float
    peak_byte: float
    most_byte: float
    shards: int
    kept_shards: int
    tensors: int
    rounded: int
    kept: int
    method: str = "rtn"
    errors: Mapping[str, float] = field(default_factory=dict)
    widths: Mapping[str, str] = field(default_factory=dict)
    harms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    harm: float = 0.0

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)


def needed_byte(plan: Plan) -> float:
    """The most memory that this process will hold while it carries out `plan`."""
    import psutil

    if plan.blocks:
        load_libraries(str(plan.source.config["model_type"]))
    elif plan.wish.method != "rtn":
        load_libraries()
    return float(psutil.Process().memory_info().rss + plan.work_byte)


def shrink(
    plan: Plan, to: Path, *, resume: bool = False, force: bool = False, watch: Callable[[int], None] = lambda _: None
) -> Receipt:
    """Write the checkpoint that `plan` describes into the folder `to`, and book what it took.

    `watch` hears how many bytes were read since the last time, those of shards finished before included. What was
    begun in `to` goes on with `resume`; `force` begins again. Raises `BadInputError` if `to` holds something,
    `StorageError` if there is no room, `CorruptError` for weights that are no finite numbers.
    """
    _check_place(plan, to, resume=resume, force=force)
    most, window = needed_byte(plan), meter()
    try:
        with window:
            kept, errors, found = _carried_out(plan, Journal(to, plan.key, fresh=force), watch)
    except BaseException:
        with suppress(PennyweightError):  # what went wrong first is what is said
            _book(plan, to, window.measured)
        raise
    measured = window.measured
    _book(plan, to, measured)
    return Receipt(
        plan.wish.to,
        plan.wish.rounding.group,
        plan.source.byte,
        found.plan.byte,
        measured.wall_s,
        measured.cpu_s,
        measured.joule,
        measured.peak_byte,
        most,
        len(plan.shards),
        kept,
        len(plan.source.tensors),
        len(plan.choice.rounded),
        len(plan.choice.kept),
        plan.wish.method,
        errors,
        found.widths,
        found.facts,
        found.harm,
    )


def _check_place(plan: Plan, to: Path, *, resume: bool, force: bool) -> None:
    own, target = plan.source.folder.resolve(), to.resolve()
    if own == target or own in target.parents or target in own.parents:
        raise BadInputError(f"{to} is the folder of the checkpoint itself, or one around it.", "give another folder.")
    if to.exists() and not to.is_dir():
        raise BadInputError(f"{to} is no folder.", "give the name of a new folder.")
    begun, done = (to / JOURNAL).exists(), (to / FACTS).exists()
    if to.exists() and any(to.iterdir()) and not (begun or done):
        raise BadInputError(f"{to} holds something else.", "give the name of a new folder.")
    if begun and not (resume or force):
        raise BadInputError(f"In {to} such work was begun.", "give --resume to go on, or --force to begin again.")
    if done and not (begun or force):
        raise BadInputError(f"{to} is finished.", "give --check to look at it, or --force to write it again.")
    _check_room(plan, to)


def _check_room(plan: Plan, to: Path) -> None:
    around = to
    while not around.exists():
        around = around.absolute().parent
    there = sum((to / shard.file).stat().st_size for shard in plan.shards if (to / shard.file).is_file())
    beside = sum(path.stat().st_size for path in plan.source.beside)
    needed, free = plan.most_byte + states_byte(plan) + beside + _SMALL_BYTE - there, shutil.disk_usage(around).free
    if needed > free:
        raise StorageError(
            f"{to} will take {si(needed, 'B')} more, but there are {si(free, 'B')} on that disk.",
            "free space on it, or give a folder on another.",
        )


def _carried_out(asked: Plan, journal: Journal, watch: Callable[[int], None]) -> tuple[int, dict[str, float], Settled]:
    """How many shards were there, the errors of layers, if they were measured, and what widths were chosen."""
    from pennyweight.engine.shrinking.streaming import stream

    with journal:
        if journal.fresh:
            forget(journal.folder)
        found = settled(asked, journal, watch)
        plan = found.plan
        whole = {shard.file for shard in plan.streamed if journal.whole(shard.file)}
        for shard in plan.streamed:
            if shard.file in whole:
                watch(sum({o.name: o.byte for o in (plan.origins[e.name].tensor for e in shard.entries)}.values()))
        stream(plan, journal, [shard for shard in plan.streamed if shard.file not in whole], watch)
        kept, errors = _pressed(plan, journal, watch)
        _write_rest(found, journal, errors)
        forget(journal.folder)
        forget_widths(journal)
        journal.close()
    return len(whole) + kept, errors, found


def _pressed(plan: Plan, journal: Journal, watch: Callable[[int], None]) -> tuple[int, dict[str, float]]:
    if not plan.blocks:
        return 0, {}
    from pennyweight.engine.shrinking.blocks import press_blocks

    return press_blocks(plan, journal, watch)


def _write_rest(found: Settled, journal: Journal, errors: dict[str, float]) -> None:
    plan, to = found.plan, journal.folder
    for path in plan.source.beside:
        real = path.resolve()
        with explained(path, "a file of the checkpoint"):
            body = read(real.parent, real.name, _MOST_BYTE)
        put(to / path.name, body, "a file of the checkpoint")
    facts = {
        "source": plan.source.folder.resolve().name,
        "to": plan.wish.to,
        "group": plan.wish.rounding.group,
        "method": plan.wish.method,
        "shards": journal.done,
        "rounded": sorted(plan.choice.rounded),
        "kept": dict(plan.choice.kept),
        "errors": errors,
        **({"widths": found.widths, "harms": found.facts, "harm": found.harm} if found.harms else {}),
    }
    for name, said in ((FACTS, facts), (INDEX, plan.index), (CONFIG, plan.config)):
        put(to / name, (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode(), "the checkpoint")


def _book(plan: Plan, to: Path, measured: Measurement) -> None:
    note = {"in_byte": plan.source.byte, "out_byte": plan.byte, "to": str(to)}
    how = f"{plan.wish.to} in groups of {plan.wish.rounding.group} by {plan.wish.method}"
    book(f"shrink {plan.source.folder.resolve().name}", Phase.COMPRESS, measured, how, note)


@final
@dataclass(frozen=True, slots=True)
class Written:
    """What a finished folder says of itself: the SHA-256 of each shard, the method, errors of layers if measured."""

    shards: dict[str, str]
    method: str
    errors: dict[str, float]


def written(folder: Path) -> Written:
    """What was noted when a folder was finished."""
    if not (folder / FACTS).exists() or (folder / JOURNAL).exists():
        raise BadInputError(f"{folder} is no finished work of shrink.", "run shrink again with --resume.")
    with explained(folder / FACTS, "the facts"):
        body = read(folder, FACTS, _MOST_BYTE)
    try:
        said = json.loads(body)
        shards = {str(name): str(known) for name, known in said["shards"].items()}
        errors = {str(name): float(error) for name, error in said.get("errors", {}).items()}
        return Written(shards, str(said.get("method", "rtn")), errors)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"{folder / FACTS} is damaged.", "write the folder again.") from error
