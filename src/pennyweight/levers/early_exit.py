"""A head in the middle of the network answers; what it is unsure of goes on to the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isqrt
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.backends.joining import home_of, served_as_graph
from pennyweight.backends.onnx_joined import exits
from pennyweight.backends.torch_exits import averaging, graphs, halves, joined, looking, passed
from pennyweight.core import YES, Floor, Form, Kind, Lever, Op, Slack, Stage, Task, no
from pennyweight.cost.count import flop
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.evals.deferring import Rows, defer
from pennyweight.evals.paired import least_n
from pennyweight.train.exit_head import train_head

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work

_GOES_ON = 0.25  # expected on paper; how many really do is measured
_MOST_ON = 0.8  # beyond, the head costs more than it saves
_DEEPEST = 0.6  # of the FLOP: an exit further on leaves little to save
_GIVE_UP = 0.005  # where the floor does not say how much may be lost
_FORWARD = 1 / 3  # of the three passes that one row of tuning stands for
_HELD = frozenset({Kind.CONV, Kind.LINEAR, Kind.NORM, Kind.EMBED})


@final
@dataclass(frozen=True, slots=True)
class EarlyExit(Lever):
    """A linear head before layer number `at` of a sequence answers alone where its largest probability is high enough.

    The network stays as it is; the head is trained for `epochs` on what the layers before it make of the training
    rows, half by the network's own answers. The threshold is set on the select split: the least at which, with
    `confidence`, no more than `give_up` of the right answers are lost (Learn then Test). Other rows go on from there.
    """

    at: int = 1
    give_up: float = _GIVE_UP
    epochs: float = 20.0
    confidence: float = 0.9

    stage: ClassVar[Stage] = Stage.SERVE
    source: ClassVar[str] = (
        "Teerapittayanon, McDanel and Kung 2016, BranchyNet (arXiv:1709.01686); Schuster et al. 2022, Confident "
        "Adaptive Language Modeling (arXiv:2207.07061)"
    )
    trust: ClassVar[float] = 0.9  # the share that goes on is known only when it is measured

    def __post_init__(self) -> None:
        if self.at < 1 or not 0 < self.give_up < 1 or not 0.5 < self.confidence < 1 or self.epochs <= 0:
            raise BadInputError(
                f"No exit before layer {self.at} gives up {self.give_up:g} at {self.confidence:g}.",
                "use a layer from 1, a loss between 0 and 1, a confidence between 0.5 and 1, and some epochs.",
            )

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Every place before a layer with weights, the deepest first; half of what the floor allows, then all."""
        floor, epochs = job.floor, max(1.0, job.spec.train.epochs)
        slack = floor.amount if floor.slack is not Slack.ABSOLUTE and 0 < floor.amount < 1 else 2 * _GIVE_UP
        rows = len(job.material.splits.select) if job.material is not None else 0
        places = sorted({_place(op) for op in job.spec.ops if op.kind in _HELD} - {0, -1}, reverse=True)
        found = [cls(at, share * slack, epochs) for share in (0.5, 1.0) for at in places]
        fitting = (lever for lever in found if lever.fits(job.spec))
        yield from (lever for lever in fitting if not rows or rows >= lever.least_rows)

    def fits(self, spec: Spec) -> Verdict:
        """Fits torch networks that are a sequence of layers and answer with classes."""
        if spec.form is not Form.MODULE:
            return no("a head is trained inside a torch module; leave early before quantising, or use cascade")
        if spec.data.task is not Task.CLASSIFY or spec.has(Kind.EMBED):
            return no("only classes of numbers have probabilities that say how sure an answer is")
        if any(_place(op) < 0 for op in spec.ops if op.kind in _HELD):
            return no("the network is no plain sequence of layers with a place to leave it; use cascade")
        before, head = self._parts(spec)[0], self._head(spec)
        if not before or not head:
            return no(f"no layer with weights is number {self.at} of the sequence; choose one that is")
        whole = sum(map(flop, spec.ops))
        if sum(map(flop, (*before, *head))) > _DEEPEST * whole:
            return no("the exit is so deep that little is left to save; choose an earlier layer")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """The operators before the exit, the head, and those after it, reached by a quarter of the examples."""
        before, after = self._parts(spec)
        on = (replace(op, share=op.share * _GOES_ON) for op in after)
        return self._tuned(spec, served_as_graph(spec, (*before, *self._head(spec), *on)))

    def pull(self, work: Work) -> Work:
        """Train the head on the training split, set the threshold on the select split, write the two parts as one."""
        if not work.trained:
            raise BadInputError("An untrained network has nothing worth leaving early with.", "train it first.")
        home, (begin, rest) = home_of(work), halves(work, self.at)
        rows, seen = work.data.select, work.data.train.x
        look = looking(begin, seen)
        head = joined(look, train_head(passed(joined(begin, look), seen), work, self.epochs, home.predict(work, seen)))
        quick, dear = passed(head, passed(begin, rows.x)), home.predict(work, rows.x)
        found = defer(Rows(rows.y, quick, dear, rows.groups), self.give_up, self.confidence, logits=True)
        if found is None or found.share > _MOST_ON:
            raise NoEffectError(
                f"The head is hardly ever sure enough to answer alone ({len(rows)} rows to set it on).",
                "leave later, let it give up more, or leave the exit out.",
            )
        graph = exits(graphs(work, begin, head, rest), found.threshold, found.share, logits=True)
        made = work.having(model=graph, spec=served_as_graph(work.spec, work.spec.ops))
        return made.having(spec=self._tuned(work.spec, replace(made.spec, ops=home.table(made))))

    @property
    def least_rows(self) -> int:
        """The fewest rows on which any threshold passes the test."""
        return least_n(Floor("accuracy", self.give_up, Slack.POINTS, self.confidence))

    def _parts(self, spec: Spec) -> tuple[list[Op], list[Op]]:
        """The operators before the exit and after it; one without weights stands beside the one before it."""
        before: list[Op] = []
        after: list[Op] = []
        side = before
        for op in spec.ops:
            side = (before if _place(op) < self.at else after) if _place(op) >= 0 else side
            side.append(op)
        return before, after

    def _head(self, spec: Spec) -> tuple[Op, ...]:
        """The head's layer: it reads what the first layer after the exit reads, images averaged."""
        first = next((op for op in spec.ops if _place(op) == self.at and op.kind in _HELD), None)
        if first is None:
            return ()
        width, places = first.n_in, first.positions * first.intake
        if first.kind is Kind.LINEAR:
            width, places = width * first.fan, 1.0
        side = isqrt(round(places))
        left = (side // averaging(width, (side, side))) ** 2 if side > 1 else 1
        return (Op("head", Kind.LINEAR, width * left, spec.data.classes, per_out=1),)

    def _tuned(self, spec: Spec, made: Spec) -> Spec:
        """Add the rows that training the head takes, counted in rows of what is served."""
        whole = max(1.0, sum(map(flop, made.ops)))
        asked = _FORWARD * sum(map(flop, spec.ops)) + self.epochs * sum(map(flop, self._head(spec)))
        return replace(made, tune_rows=spec.tune_rows + spec.data.rows * asked / whole)


def _place(op: Op) -> int:
    """The number of the layer that the operator belongs to, from the path of its weights; -1 if it has none."""
    first = op.name.partition(".")[0]
    return int(first) if first.isdigit() else -1
