"""Several small models vote, together cheaper than the one they stand in for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.backends.joining import as_graph, home_of, served_as_graph
from pennyweight.backends.onnx_joined import VOTES, voted
from pennyweight.core import YES, Form, Lever, Stage, no
from pennyweight.cost.count import flop
from pennyweight.errors import BadInputError
from pennyweight.train.small import Small, suits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Op, Spec, Verdict, Work

_FROM_RANDOM = 4.0  # times the epochs asked for, as members start at random
_CHEAPER = 0.8  # of the FLOP of the model as it was: what all members together may have at most
_FORWARD = 1 / 3  # of the three passes that one row of tuning stands for
_SORTS = {"net": ("net",), "mixed": ("trees", "linear")}
_TREES = 8  # of a small forest


@final
@dataclass(frozen=True, slots=True)
class Ensemble(Lever):
    """So many `members` of a `size` (channels, hidden units) answer, and the mean of their probabilities counts.

    With `vote` "majority" it is the number of votes; ties go to the larger mean. Networks start from different seeds
    and train for `epochs`, half by the answers of the model as it was; "mixed" members are small forests and logistic
    regressions in turn, each on rows weighed at random. All of them are one ONNX graph.
    """

    members: int = 3
    size: int = 16
    sort: str = "net"
    vote: str = "soft"
    epochs: float = 40.0

    stage: ClassVar[Stage] = Stage.SERVE
    source: ClassVar[str] = (
        "Hansen and Salamon 1990, Neural Network Ensembles; Kondratyuk et al. 2020, When Ensembling Smaller Models is "
        "More Efficient than Single Large Models (arXiv:2005.00570)"
    )
    trust: ClassVar[float] = 0.3  # what combines the votes is not on paper, nor how deep trees will grow

    def __post_init__(self) -> None:
        if self.members < 2 or self.sort not in _SORTS or self.vote not in VOTES:
            raise BadInputError(
                f"{self.members} members of the sort {self.sort!r} cannot vote by {self.vote!r}.",
                f"use two or more, of {' or '.join(_SORTS)}, and {' or '.join(VOTES)}.",
            )

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Three and five members of two sizes, or three of both sorts of estimators; the largest first."""
        epochs = _FROM_RANDOM * max(1.0, job.spec.train.epochs)
        if job.spec.form is Form.ESTIMATOR:
            yield cls(3, _TREES, "mixed", epochs=epochs)
        else:
            yield from (cls(members, size, epochs=epochs) for size in (16, 8) for members in (5, 3))

    def fits(self, spec: Spec) -> Verdict:
        """Fits classifiers of numbers that cost more than the members do together."""
        if reason := next(filter(None, (suits(sort, spec) for sort in _SORTS[self.sort])), ""):
            return no(reason)
        if spec.branches:
            return no("the vote would take the place of models that answer in turn; vote first")
        if sum(map(flop, self._ops(spec))) > _CHEAPER * sum(map(flop, spec.ops)):
            return no("the members would cost as much as the model itself; take fewer or smaller ones")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """The operators of all members; what training them takes."""
        return self._tuned(spec, served_as_graph(spec, self._ops(spec)))

    def pull(self, work: Work) -> Work:
        """Train the members on the training split and let them vote."""
        if not work.trained:
            raise BadInputError("An untrained model teaches nothing.", "train it first.")
        home = home_of(work)
        smalls = self._smalls()
        told = smalls[0].taught(work, home.predict)
        models = [each.train(work, self.epochs, member=at, logits=told) for at, each in enumerate(smalls, start=1)]
        graph = voted([as_graph(work, model) for model in models], logits=self.sort == "net", vote=self.vote)
        made = work.having(model=graph, spec=served_as_graph(work.spec, work.spec.ops))
        return made.having(spec=self._tuned(work.spec, replace(made.spec, ops=home.table(made))))

    def _smalls(self) -> list[Small]:
        sorts = _SORTS[self.sort]
        return [Small(sorts[member % len(sorts)], self.size) for member in range(self.members)]

    def _ops(self, spec: Spec) -> tuple[Op, ...]:
        return tuple(
            replace(op, name=f"member{member}.{op.name}")
            for member, small in enumerate(self._smalls())
            for op in small.ops(spec)
        )

    def _tuned(self, spec: Spec, made: Spec) -> Spec:
        """Add the rows that training the members takes, counted in rows of what is served, and what teaching takes."""
        asked = _FORWARD * sum(map(flop, spec.ops)) / max(1.0, sum(map(flop, made.ops)))
        passes = asked + self.epochs if self.sort == "net" else 1.0
        return replace(made, tune_rows=spec.tune_rows + spec.data.rows * passes)
