"""A cheap model answers; what it is unsure of goes up to the dear one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.backends.joining import answers_of, as_graph, home_of, served_as_graph
from pennyweight.backends.onnx_joined import asked_next
from pennyweight.core import YES, Floor, Form, Lever, Slack, Stage, no
from pennyweight.cost.count import flop
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.evals.deferring import Rows, defer
from pennyweight.evals.paired import least_n
from pennyweight.train.small import SORTS, Small, suits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Op, Spec, Verdict, Work

_GOES_UP = 0.25  # expected on paper; how many really do is measured
_MOST_UP = 0.8  # beyond, the dear model might as well answer at once
_CHEAP = 0.5  # of the dear model's FLOP: what a cheap one may have at most
_FROM_RANDOM = 4.0  # times the epochs asked for, as it starts at random
_GIVE_UP = 0.005  # where the floor does not say how much may be lost
_FORWARD = 1 / 3  # of the three passes that one row of tuning stands for
_SIZES = {"net": (16, 8), "trees": (8,), "linear": (0,)}


@final
@dataclass(frozen=True, slots=True)
class Cascade(Lever):
    """A small model of a `sort` and a `size` answers alone where its largest probability is high enough.

    How high is set on the select split: the least threshold at which, with `confidence`, no more than `give_up` of the
    right answers are lost (Learn then Test). The other rows of a batch are gathered and go up to the model as it was.
    Networks are trained for `epochs`, half by the answers of the model as it was. Both are one ONNX graph.
    """

    size: int = 16
    sort: str = "net"
    give_up: float = _GIVE_UP
    epochs: float = 40.0
    confidence: float = 0.9

    stage: ClassVar[Stage] = Stage.SERVE
    source: ClassVar[str] = (
        "Viola and Jones 2001, Rapid Object Detection using a Boosted Cascade of Simple Features; Chen, Zaharia "
        "and Zou 2023, FrugalGPT (arXiv:2305.05176); Jitkrittum et al. 2023, When Does Confidence-Based Cascade "
        "Deferral Suffice? (arXiv:2307.02764)"
    )
    trust: ClassVar[float] = 0.9  # the share that goes up is known only when it is measured

    def __post_init__(self) -> None:
        if self.sort not in SORTS or not 0 < self.give_up < 1 or not 0.5 < self.confidence < 1:
            raise BadInputError(
                f"There is no cascade of {self.sort!r} that gives up {self.give_up:g} at {self.confidence:g}.",
                f"use {', '.join(SORTS)}, a loss between 0 and 1, and a confidence between 0.5 and 1.",
            )

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Two sizes of network, or trees and a linear model; each gives up half of what the floor allows, then all.

        What the job's select split is too small to promise is left out.
        """
        floor, epochs = job.floor, _FROM_RANDOM * max(1.0, job.spec.train.epochs)
        slack = floor.amount if floor.slack is not Slack.ABSOLUTE and 0 < floor.amount < 1 else 2 * _GIVE_UP
        sorts = ("trees", "linear") if job.spec.form is Form.ESTIMATOR else ("net",)
        rows = len(job.material.splits.select) if job.material is not None else 0
        for share in (0.5, 1.0):
            found = [cls(size, sort, share * slack, epochs) for sort in sorts for size in _SIZES[sort]]
            yield from (lever for lever in found if not rows or rows >= lever.least_rows)

    def fits(self, spec: Spec) -> Verdict:
        """Fits classifiers of numbers that are at least twice as dear as the model that answers first."""
        if reason := suits(self.sort, spec):
            return no(reason)
        if spec.branches:
            return no("some rows are answered early already; cascade once")
        if sum(map(flop, self._small.ops(spec))) > _CHEAP * sum(map(flop, spec.ops)):
            return no("the model is hardly dearer than the one that would answer first; choose a smaller size")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """The operators of both, those of the dear one reached by a quarter of the examples; what training takes."""
        ops = (*self._first(spec), *(replace(op, share=op.share * _GOES_UP) for op in spec.ops))
        return self._tuned(spec, served_as_graph(spec, ops))

    def pull(self, work: Work) -> Work:
        """Train the small model on the training split, set the threshold on the select split, join the two."""
        if not work.trained:
            raise BadInputError("An untrained model teaches nothing and answers nothing.", "train it first.")
        home, dear = home_of(work), as_graph(work)
        told = self._small.taught(work, home.predict)
        quick = as_graph(work, self._small.train(work, self.epochs, logits=told))
        rows = work.data.select
        asked = Rows(rows.y, answers_of(work, quick, rows.x), answers_of(work, dear, rows.x), rows.groups)
        logits = self.sort == "net"
        found = defer(asked, self.give_up, self.confidence, logits=logits)
        if found is None or found.share > _MOST_UP:
            raise NoEffectError(
                f"The small model is hardly ever sure enough to answer alone ({len(rows)} rows to set it on).",
                "let it give up more, make it larger, or leave the cascade out.",
            )
        graph = asked_next(quick, dear, found.threshold, found.share, logits=logits)
        made = work.having(model=graph, spec=served_as_graph(work.spec, work.spec.ops))
        return made.having(spec=self._tuned(work.spec, replace(made.spec, ops=home.table(made))))

    @property
    def least_rows(self) -> int:
        """The fewest rows on which any threshold passes the test."""
        return least_n(Floor("accuracy", self.give_up, Slack.POINTS, self.confidence))

    @property
    def _small(self) -> Small:
        return Small(self.sort, self.size)

    def _first(self, spec: Spec) -> tuple[Op, ...]:
        return tuple(replace(op, name=f"first.{op.name}") for op in self._small.ops(spec))

    def _tuned(self, spec: Spec, made: Spec) -> Spec:
        """Add the rows that training the small model takes, counted in rows of what is served."""
        whole = max(1.0, sum(map(flop, made.ops)))
        trained = self.epochs * sum(map(flop, self._first(spec))) if self.sort == "net" else 0.0
        asked = _FORWARD * sum(map(flop, spec.ops))
        return replace(made, tune_rows=spec.tune_rows + spec.data.rows * (trained + asked) / whole)
