"""A job and the levers to pull on it, in stage order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

from pennyweight.core.lever import Stage
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from pennyweight.core.job import Job
    from pennyweight.core.lever import Lever
    from pennyweight.core.spec import Spec


@dataclass(frozen=True)
class Plan:
    """Pure, printable and comparable: what would be done, before anything is done.

    `fidelity` is the share of the training rows used (1: all), for searches that look cheaply first. Levers are kept
    in stage order; within a stage the given order stands. Extending a plan costs one rewrite: the parent's spec is
    reused.
    """

    job: Job
    levers: tuple[Lever, ...] = ()
    fidelity: float = 1.0
    seed: int = 0
    _parent: Plan | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        stages = [lever.stage for lever in self.levers]
        if stages != sorted(stages):
            object.__setattr__(self, "levers", tuple(sorted(self.levers, key=lambda lever: lever.stage)))
            object.__setattr__(self, "_parent", None)
        if not 0 < self.fidelity <= 1:
            raise BadInputError(f"A fidelity of {self.fidelity:g} is no share of the data.", "use 0 < fidelity <= 1.")

    @property
    def is_control(self) -> bool:
        """Whether this is the job done as asked."""
        return not self.levers

    def then(self, lever: Lever) -> Plan:
        """The plan with one more lever."""
        return Plan(self.job, (*self.levers, lever), self.fidelity, self.seed, self)

    def at(self, fidelity: float) -> Plan:
        """The same plan on another share of the data."""
        return Plan(self.job, self.levers, fidelity, self.seed)

    @cached_property
    def spec(self) -> Spec:
        """What would run; raises `BadInputError` if a lever does not fit where it stands."""
        if self._parent is not None and len(self.levers) == len(self._parent.levers) + 1:
            return _rewrite(self._parent.spec, self.levers[-1])
        spec = _on_share(self.job.spec, self.fidelity)
        for lever in self.levers:
            spec = _rewrite(spec, lever)
        return spec

    @cached_property
    def trained(self) -> Spec:
        """The spec as it stands when the model is trained: after data and train levers, before the others."""
        if self.levers and self.levers[-1].stage > Stage.TRAIN:
            before = self._parent or Plan(self.job, self.levers[:-1], self.fidelity, self.seed)
            return before.trained
        return self.spec

    def upto(self, stage: Stage) -> tuple[Lever, ...]:
        """The levers of all stages up to and including `stage`."""
        return tuple(lever for lever in self.levers if lever.stage <= stage)

    @cached_property
    def key(self) -> str:
        """A stable name of what would be done: equal plans on equal jobs have equal keys, in every process."""
        job = f"{self.job.name}|{self.job.fingerprint}|{self.job.demand.batch}"
        what = f"{job}|{self.fidelity!r}|{self.seed}|{self.levers!r}"
        return sha256(what.encode()).hexdigest()[:16]

    def explain(self) -> str:
        """One line per lever, or that nothing is changed."""
        if self.is_control:
            return f"{self.job.name}: as asked"
        return "\n".join([f"{self.job.name}:", *(f"  {lever.stage.name.lower():9}{lever}" for lever in self.levers)])

    def __str__(self) -> str:
        return " → ".join(map(str, self.levers)) or "as asked"


def _on_share(spec: Spec, fidelity: float) -> Spec:
    """The spec on a share of its training rows."""
    if fidelity == 1:
        return spec
    return replace(spec, data=replace(spec.data, rows=max(1, round(fidelity * spec.data.rows))))


def _rewrite(spec: Spec, lever: Lever) -> Spec:
    verdict = lever.fits(spec)
    if not verdict:
        raise BadInputError(f"{lever} does not fit here: {verdict.reason}", "leave it out or change what comes before.")
    return lever.rewrite(spec)
