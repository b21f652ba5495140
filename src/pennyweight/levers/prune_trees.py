"""Cut branches that save little, keep only the trees that help each other, or grow fewer stages with longer steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np

from pennyweight import backends
from pennyweight.backends.sklearn_branches import HeldOut, saved_in_training, saved_on, weakest_links
from pennyweight.backends.sklearn_members import best_members
from pennyweight.backends.sklearn_trees import (
    averaged,
    before_last,
    cut,
    is_boosted,
    last_step,
    nodes_of,
    trees_of,
    with_last,
    with_members,
    with_trees,
)
from pennyweight.core import YES, Form, Kind, Lever, Stage, Task, no
from pennyweight.data.splits import Arrays, deal, is_classes
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.train.estimator import fit_estimator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pennyweight.core import Job, Op, Spec, Verdict, Work

_BRANCHES = ("cost_complexity", "reduced_error")
_TREES = ("thin", "regrow")
_HELD_OUT = 0.25
_LONGEST_STEP = 0.3
_PASSES = {"cost_complexity": 0.0, "reduced_error": 1.0, "thin": 1 / 3, "regrow": 1.0}


@final
@dataclass(frozen=True, slots=True)
class PruneTrees(Lever):
    """A `share` of all splits, or of all trees, goes.

    "cost_complexity" cuts the branches whose splits saved the least training loss, weakest link first, in one order
    over all trees. "reduced_error" does so by the loss on rows the tree has not seen, so that harmful splits go first.
    "thin" keeps the trees of a forest that are best together on such rows, and the first stages of a boosted ensemble.
    "regrow" trains a boosted ensemble again with fewer stages and steps as much longer (up to 0.3).

    A bagged forest has rows that each tree has not seen. Other trees are trained again on three quarters of the
    training rows, and the last quarter is held out.
    """

    method: str = "cost_complexity"
    share: float = 0.5

    stage: ClassVar[Stage] = Stage.COMPRESS
    source: ClassVar[str] = (
        "Breiman et al. 1984, Classification and Regression Trees; Quinlan 1987, Simplifying Decision Trees; "
        "Margineantu and Dietterich 1997, Pruning Adaptive Boosting; Caruana et al. 2004, Ensemble Selection from "
        "Libraries of Models; Friedman 2001, Greedy Function Approximation"
    )
    trust: ClassVar[float] = 0.6

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """By the method that keeps the most quality for what it saves, half to nineteen in twenty.

        Measured (see the card): regrow for boosting, thin for forests; for single trees cost_complexity if they
        classify, reduced_error if they estimate.
        """
        trees = [op for op in job.spec.ops if op.kind is Kind.TREE]
        if any(op.times > 1 for op in trees):
            method = "regrow" if all(map(_is_boosted, trees)) else "thin"
        else:
            method = "reduced_error" if job.spec.data.task is Task.REGRESS else "cost_complexity"
        for share in (0.5, 0.75, 0.85, 0.9, 0.95):
            lever = cls(method, share)
            if lever.fits(job.spec):
                yield lever

    def fits(self, spec: Spec) -> Verdict:
        """Fits scikit-learn ensembles; single trees have only branches to lose, forests cannot be grown again."""
        if spec.form is not Form.ESTIMATOR:
            return no(f"prunes the trees of scikit-learn estimators; this model is a {spec.form.value}")
        trees = [op for op in spec.ops if op.kind is Kind.TREE]
        if not trees:
            return no("the estimator has no trees")
        if self.method not in _BRANCHES + _TREES or not 0 < self.share < 1:
            return no(f"the method is one of {', '.join(_BRANCHES + _TREES)}, and the share between 0 and 1")
        if self.method == "regrow" and not all(_is_boosted(op) for op in trees):
            return no("only boosted trees can be grown again with longer steps; use thin for forests")
        if self.method in _TREES and all(op.times == 1 for op in trees):
            return no("there is only one tree; cut its branches with cost_complexity or reduced_error")
        if self.method in _BRANCHES and all(op.fan <= 1 for op in trees):
            return no("the trees have no splits left")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Fewer trees, or trees with fewer nodes and shorter ways; and the rows that are looked at."""

        def fewer_trees(op: Op) -> Op:
            width = spec.data.classes if _is_boosted(op) and spec.data.classes > 2 else 1
            return replace(op, times=kept_of(op.times // width, self.share) * width)

        looked = _PASSES[self.method] * spec.data.rows
        change = fewer_trees if self.method in _TREES else self._fewer_nodes
        return replace(spec.map(change, Kind.TREE), tune_rows=spec.tune_rows + looked)

    def pull(self, work: Work) -> Work:
        """Change the trained ensemble, on the training split."""
        if not trees_of(last_step(work.model)):
            raise BadInputError(
                f"{type(last_step(work.model)).__name__} has no trees that can be pruned.",
                "use a decision tree, a forest or gradient boosting, or leave prune_trees out.",
            )
        model = self._regrown(work) if self.method == "regrow" else self._pruned(work)
        _check_moved(work.model, model)
        done = work.having(model=model, spec=self.rewrite(work.spec))
        return done.having(spec=replace(done.spec, ops=backends.load("sklearn").table(done)))

    def _fewer_nodes(self, op: Op) -> Op:
        """A walk is as long as the logarithm of the leaves; late stages, which save little, lose the most."""
        nodes = 1 + (op.fan - 1) * (1 - self.share)
        shorter = log((nodes + 1) / 2) / log((op.fan + 1) / 2) if op.fan > 1 else 1.0
        shorter *= 1 - self.share / 4 if _is_boosted(op) else 1.0
        return replace(op, fan=max(1, round(nodes)), positions=op.positions * shorter)

    def _pruned(self, work: Work) -> Any:
        model, held = _with_held_out(work) if self._looks(work.model) else (work.model, None)
        last = last_step(model)
        if self.method == "thin":
            return with_last(model, with_members(last, self._members(last, held)))
        trees = trees_of(last)
        nodes = [nodes_of(tree) for tree in trees]
        saved = saved_in_training(last) if held is None else saved_on(held, last)
        ends = weakest_links(nodes, saved, self.share)
        answers = [averaged(each) if is_boosted(last) else each.value for each in nodes]
        return with_last(model, with_trees(last, list(map(cut, trees, ends, answers))))

    def _looks(self, model: Any) -> bool:
        """Whether this method must see rows that the trees have not."""
        return self.method == "reduced_error" or (self.method == "thin" and not is_boosted(last_step(model)))

    def _members(self, last: Any, held: HeldOut | None) -> list[int]:
        width = last.n_trees_per_iteration_ if is_boosted(last) else 1
        count = kept_of(len(trees_of(last)) // width, self.share)
        return list(range(count)) if held is None else best_members(last, held, count)

    def _regrown(self, work: Work) -> Any:
        last = last_step(work.model)
        if not is_boosted(last):
            raise BadInputError("Only boosted trees can be grown again with longer steps.", "use thin for forests.")
        from sklearn.base import clone

        before = len(trees_of(last)) // last.n_trees_per_iteration_
        stages = kept_of(before, self.share)
        step = max(last.learning_rate, min(_LONGEST_STEP, last.learning_rate * before / stages))
        count = "max_iter" if hasattr(last, "max_iter") else "n_estimators"
        fewer = clone(last).set_params(**{count: stages, "learning_rate": step})
        return _refitted(with_last(work.model, fewer), work.data.train, work)


def _is_boosted(op: Op) -> bool:
    return "Boosting" in op.name


def kept_of(count: int, share: float) -> int:
    """How many of `count` stay when `share` of them goes: at least one."""
    return max(1, round(count * (1 - share)))


def _with_held_out(work: Work) -> tuple[Any, HeldOut]:
    """The model and rows its trees have not seen: out of their bags, or held out and the model trained again."""
    train, last = work.data.train, last_step(work.model)
    if getattr(last, "bootstrap", False) and last._n_samples == len(train):  # ruff: ignore[private-member-access]
        every = np.arange(len(train))
        rows = tuple(np.setdiff1d(every, drawn) for drawn in last.estimators_samples_)
        return work.model, HeldOut(before_last(work.model, train.x), train.y, rows)
    classes = train.y if is_classes(train.y) else None
    part = deal(len(train), (1 - _HELD_OUT, _HELD_OUT), classes=classes, groups=train.groups, seed=work.seed)
    model = _refitted(work.model, train.take(part == 0), work)
    held = train.take(part == 1)
    all_rows: NDArray[np.int64] = np.arange(len(held))
    rows = (all_rows,) * len(trees_of(last_step(model)))
    return model, HeldOut(before_last(model, held.x), held.y, rows)


def _refitted(model: Any, rows: Arrays, work: Work) -> Any:
    """Train the same again: the trained model already holds its seed."""
    return fit_estimator(model, rows, work.spec.train, seed=0)


def _check_moved(before: Any, after: Any) -> None:
    sizes = [[len(nodes_of(tree).left) for tree in trees_of(last_step(model))] for model in (before, after)]
    if sum(sizes[1]) >= sum(sizes[0]):
        raise NoEffectError("No branch and no tree was cut.", "take out a larger share, or leave prune_trees out.")
