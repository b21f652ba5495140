"""Carry out exercises once, so that every later prediction on this machine begins with measured runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight import levers
from pennyweight.core import Plan
from pennyweight.engine.engine import Engine
from pennyweight.errors import CorruptError, PennyweightError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pennyweight.core import Job, Lever
    from pennyweight.engine.shop import Shop

_LEFT_OUT = frozenset({"compiled"})  # compiling takes longer than everything else together
_CHANGES = ("distill", "quantize", "prune_trees")


def exercise(jobs: Iterable[Job], shop: Shop) -> int:
    """Carry out every job as asked and in every runtime, with and without a change to its model; return how many runs.

    The runs are on the shop's ledger, so what was done before an interruption is not done again. What cannot be
    carried out here (a library is missing) is left out.
    """
    done, todo = 0, list(jobs)
    for number, job in enumerate(todo, 1):
        shop.watch("note", text=f"{number} of {len(todo)}: {job.name}, {job.demand.batch} at a time")
        engine = Engine(job, shop)
        for plan in plans(job):
            try:
                engine.execute(plan)
            except (StorageError, CorruptError):
                raise
            except PennyweightError as error:
                shop.watch("struck", text=f"{plan}: {error.problem}")
            else:
                done += 1
    return done


def plans(job: Job) -> Iterator[Plan]:
    """The job as asked in every runtime and precision; each change to its model (one setting) in every runtime."""
    control = Plan(job)
    changed = [control.then(lever) for name in _CHANGES for lever in _first(name, job)]
    hosts = list(_hosts(job))
    for plan in (control, *changed):
        yield plan
        for lever, precision in hosts:
            if lever.fits(plan.spec) and (plan.is_control or precision == "float32"):
                yield plan.then(lever)


def _hosts(job: Job) -> Iterator[tuple[Lever, str]]:
    for lever in levers.load("runtime").choices(job):
        serve = lever.rewrite(job.spec).serve
        if serve.runtime not in _LEFT_OUT:
            yield lever, serve.precision


def _first(name: str, job: Job) -> list[Lever]:
    """The mildest setting of a lever that fits the job as asked."""
    return [lever for lever in levers.load(name).choices(job) if lever.fits(job.spec)][:1]
