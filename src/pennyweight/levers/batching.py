"""Let requests wait a moment for each other, and answer them in one call."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.core import YES, Lever, Stage, no
from pennyweight.errors import BadInputError, NoEffectError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work

_MOST = 256
_99 = 2.33
_SHARES = (0.0625, 0.125, 0.25, 0.5)  # of the latency; what is left is for computing, and for the disk


@final
@dataclass(frozen=True, slots=True)
class Batching(Lever):
    """Calls of at most `rows` examples that begin `wait_ms` after the first of them came; usually they have `usual`.

    What a call costs beyond its arithmetic (its start, reading the weights) is then paid once for all of them.
    """

    rows: int = 32
    wait_ms: float = 5.0
    usual: int = 8

    stage: ClassVar[Stage] = Stage.SERVE
    source: ClassVar[str] = "Crankshaw et al. 2017, Clipper: A Low-Latency Online Prediction Serving System (NSDI)"
    trust: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        if not (1 <= self.usual <= self.rows and self.wait_ms > 0):
            raise BadInputError(
                f"Calls of usually {self.usual} and at most {self.rows} examples after {self.wait_ms:g} ms cannot be.",
                "give one example or more, no more of them usually than at most, and a wait above zero.",
            )

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """A sixteenth to half of the latency that is allowed, where somebody else comes meanwhile; none without one.

        Arrivals that know nothing of each other: after the first, `rate · wait` more are expected, and at most
        ``rate · wait + 2.33 √(rate · wait)`` in 99 of 100 cases.
        """
        demand, before = job.demand, job.spec.serve.batch
        for share in _SHARES if demand.latency_s else ():
            wait_s = share * (demand.latency_s or 0.0)
            more = demand.requests_s * wait_s
            usual = min(_MOST, round(demand.batch * (1 + more)))
            if usual > before:
                most = math.ceil(demand.batch * (1 + more + _99 * math.sqrt(more)))
                yield cls(max(usual, min(_MOST, most)), 1000 * wait_s, usual)
                before = usual

    def fits(self, spec: Spec) -> Verdict:
        """Fits where calls become larger than they are."""
        if spec.serve.wait_s:
            return no("requests wait for each other already; one wait is enough")
        if self.usual <= spec.serve.batch:
            return no(f"calls have {spec.serve.batch} examples without any wait; too few requests come for more")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Larger calls; what there is to compute for each example stays."""
        serve = replace(spec.serve, batch=self.usual, most=self.rows, wait_s=self.wait_ms / 1000)
        return replace(spec, serve=serve)

    def pull(self, work: Work) -> Work:
        """Say so in the spec: the model is weighed in calls of that size, and its server lets requests wait."""
        if work.spec.serve.wait_s:
            raise NoEffectError("Requests wait for each other already.", "pull it once.")
        return work.having(spec=self.rewrite(work.spec))
