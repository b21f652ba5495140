"""Train with fewer workers, each with more rows at a time: the same steps, fewer bytes, later."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.core import YES, Form, Lever, Stage, no

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work


@final
@dataclass(frozen=True, slots=True)
class DistributedWorkers(Lever):
    """`workers` in place of those asked for; their batches grow so that a step has as many rows as before.

    Training takes longer on the clock, and none of what it costs is spent waiting for the workers that are gone.
    """

    workers: int = 1

    stage: ClassVar[Stage] = Stage.TRAIN
    source: ClassVar[str] = (
        "Patarasuk and Yuan 2009, Bandwidth Optimal All-reduce Algorithms for Clusters of Workstations (what n workers "
        "send); Goyal et al. 2017, Accurate, Large Minibatch SGD (arXiv:1706.02677; equal whole batches, equal steps)"
    )
    trust: ClassVar[float] = 0.02

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Half as many workers, half of these, and so on to one."""
        workers = job.spec.train.team.workers // 2
        while workers:
            yield from (each for each in (cls(workers),) if each.fits(job.spec))
            workers //= 2

    def fits(self, spec: Spec) -> Verdict:
        """Fits teams of more workers that agree at every step, and whose batches can be dealt out anew."""
        team = spec.train.team
        if spec.form is not Form.MODULE or team.workers < 2:
            return no("only one worker trains; there is none to do without")
        if not 1 <= self.workers < team.workers:
            return no(f"there are {team.workers} workers; give a smaller number from one")
        if team.sync != "each":
            return no(f"with fewer workers {team.sync} is another training; it fits those that agree at every step")
        if team.workers * spec.train.batch % self.workers:
            return no(
                f"{team.workers} batches of {spec.train.batch} cannot be dealt out to {self.workers} workers evenly"
            )
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Fewer workers with larger batches; what was packed for the wire need not be where there is none."""
        train = spec.train
        team = replace(train.team, workers=self.workers, compress=train.team.compress if self.workers > 1 else "")
        return replace(spec, train=replace(train, batch=train.team.workers * train.batch // self.workers, team=team))

    def pull(self, work: Work) -> Work:
        """Change the settings that training will follow."""
        return work.having(spec=self.rewrite(work.spec))
