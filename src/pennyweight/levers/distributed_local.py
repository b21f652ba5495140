"""Let workers that train together meet every H steps instead of at each: local SGD and DiLoCo."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.core import YES, Form, Lever, Stage, no

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work

_ROUNDS = 4  # there are at least so many


@final
@dataclass(frozen=True, slots=True)
class DistributedLocal(Lever):
    """Workers train alone for `every` steps, then average their weights; with `momentum`, as DiLoCo does.

    What is sent falls by `every` times.
    """

    every: int = 8
    momentum: bool = False

    stage: ClassVar[Stage] = Stage.TRAIN
    source: ClassVar[str] = (
        "Stich 2018, Local SGD Converges Fast and Communicates Little (arXiv:1805.09767); Douillard et al. 2023, "
        "DiLoCo: Distributed Low-Communication Training of Language Models (arXiv:2311.08105)"
    )
    trust: ClassVar[float] = 0.02

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Rounds of 4, 8 and 32 steps, the longest with an outer momentum too, if there are some rounds of them."""
        yield from (each for each in (cls(4), cls(8), cls(32), cls(32, momentum=True)) if each.fits(job.spec))

    def fits(self, spec: Spec) -> Verdict:
        """Fits teams that agree at every step and take steps enough for some rounds."""
        train = spec.train
        if spec.form is not Form.MODULE or train.team.workers < 2:
            return no("only one worker trains; give the training a team, with TeamSpec(workers=2)")
        if train.team.sync != "each":
            return no(f"the workers do not agree at every step as it is: they do {train.team.sync}")
        if self.every < 2:
            return no("the workers would meet at every step; give rounds of at least two")
        steps = spec.data.rows * train.epochs / (train.team.workers * train.batch * train.accumulate)
        if steps < _ROUNDS * self.every:
            return no(f"there would be fewer than {_ROUNDS} rounds; use shorter ones")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Another way to agree."""
        train = spec.train
        sync = f"{'diloco' if self.momentum else 'local'}:{self.every}"
        return replace(spec, train=replace(train, team=replace(train.team, sync=sync)))

    def pull(self, work: Work) -> Work:
        """Change the settings that training will follow."""
        return work.having(spec=self.rewrite(work.spec))
