"""What a job offers besides its network: students of another shape, made once, checked and counted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pennyweight.core.spec import Heir
from pennyweight.cost.count import count
from pennyweight.errors import BadInputError
from pennyweight.jobs.facts import described, extended
from pennyweight.train.students import fresh, offered

if TYPE_CHECKING:
    from torch import nn

    from pennyweight.core import Job, Op


def with_heirs(job: Job, seed: int) -> Job:
    """The torch `job` with the students its factory offers as heirs, those with most FLOP first.

    Their make is part of the fingerprint. Raises `BadInputError` for a student that is no smaller than the network or
    does not answer as it does.
    """
    heirs: list[Heir] = []
    texts: list[str] = []
    for title, make in offered(job.material.make_model).items():
        student = fresh(make, seed, f"The student {title!r}")
        heirs.append(Heir(title, _counted(title, student, job), job.spec.ops))
        texts += [title, *described(student)]
    if not heirs:
        return job
    heirs.sort(key=lambda heir: -count(replace(job.spec, ops=heir.ops)).flop)
    return replace(job, spec=replace(job.spec, heirs=tuple(heirs)), fingerprint=extended(job.fingerprint, texts))


def _counted(title: str, student: nn.Module, job: Job) -> tuple[Op, ...]:
    """The student's operator table; it is refused if it cannot take the network's place."""
    from pennyweight.cost.table_module import table_of_module
    from pennyweight.train.rows import answer_width

    spec, train = job.spec, job.material.splits.train
    width = answer_width(student, train, spec.data.task)
    if width != spec.data.classes:
        raise BadInputError(
            f"The student {title!r} gives {width} answers, the network gives {spec.data.classes}.",
            "let students answer what the network answers.",
        )
    ops = table_of_module(student, train.x.shape[1:], dtype=job.material.dtype)
    mine, theirs = count(replace(spec, ops=ops)), count(spec)
    if mine.flop >= theirs.flop and mine.disk_byte >= theirs.disk_byte:
        raise BadInputError(
            f"The student {title!r} is no smaller than the network.", "give it fewer layers or less width."
        )
    return ops
