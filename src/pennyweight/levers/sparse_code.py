"""Look only at the input features a sparse linear model would use, and fit the same model on those."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

import numpy as np

from pennyweight import backends
from pennyweight.backends.sklearn_columns import SELECTOR, columns_in_order, kept_columns, with_columns
from pennyweight.core import YES, Form, Kind, Lever, Op, Stage, no
from pennyweight.errors import NoEffectError
from pennyweight.train.estimator import as_served, fit_estimator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work

_LEARNED = frozenset({Kind.LINEAR, Kind.TREE})
_PASSED_ON = frozenset({Kind.NORM, Kind.POINTWISE, Kind.COPY})


@final
@dataclass(frozen=True, slots=True)
class SparseCode(Lever):
    """The share `keep` of the input features stays: those a Lasso takes up first (`l1_ratio` below 1: elastic net).

    The estimator is then fitted again on them alone, free of the penalty's shrinkage (relaxed Lasso), behind a selector
    of columns: the other features need not even be measured any more.
    """

    keep: float = 0.5
    l1_ratio: float = 1.0

    stage: ClassVar[Stage] = Stage.COMPRESS
    source: ClassVar[str] = (
        "Tibshirani 1996, Regression Shrinkage and Selection via the Lasso; Zou and Hastie 2005, Regularization and "
        "Variable Selection via the Elastic Net; Meinshausen 2007, Relaxed Lasso"
    )
    trust: ClassVar[float] = 0.5

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Three quarters of the features, half, a quarter, an eighth; nothing for a single feature."""
        if job.spec.form is Form.ESTIMATOR and _features(job.spec) > 1:
            for keep in (0.75, 0.5, 0.25, 0.125):
                yield cls(keep)

    def fits(self, spec: Spec) -> Verdict:
        """Fits scikit-learn estimators of several features without holes."""
        if spec.form is not Form.ESTIMATOR:
            return no(f"chooses features for scikit-learn estimators; this model is a {spec.form.value}")
        if not (0 < self.keep < 1 and 0 < self.l1_ratio <= 1):
            return no("keep must be a share between 0 and 1, and l1_ratio above 0 and at most 1")
        if spec.data.missing > 0:
            return no(f"{spec.data.missing:.1%} of the training rows have holes; pull the clean lever first")
        features = _features(spec)
        if kept_of(features, self.keep) >= features:
            return no(f"of {features} features none would go; keep a smaller share")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Whatever reads all input features reads fewer; a pass to choose them and one training are added."""
        features = _features(spec)
        kept = kept_of(features, self.keep)

        def narrow(op: Op) -> Op:
            if op.n_in != features or op.reads:
                return op
            return replace(op, n_in=kept, n_out=op.n_out if op.kind in _LEARNED else kept)

        ops = tuple(narrow(op) if op.kind in _LEARNED | _PASSED_ON else op for op in spec.ops)
        if ops[0].name != SELECTOR:
            ops = (Op(SELECTOR, Kind.COPY, kept, kept, weight_bits=64, act_bits=64, disk_bits=64), *ops)
        passes = 1.0 + spec.train.epochs
        return replace(spec, ops=ops, tune_rows=spec.tune_rows + passes * spec.data.rows)

    def pull(self, work: Work) -> Work:
        """Choose the features and fit again, on the training split."""
        train = work.data.train
        features = train.x.shape[1]
        seen = kept_columns(work.model)
        before = np.arange(features) if seen is None else seen
        count = kept_of(len(before), self.keep)
        if count >= len(before):
            raise NoEffectError(f"Of {len(before)} features none would go.", "keep a smaller share.")
        order = columns_in_order(as_served(train.x)[:, before], train.y, work.spec.data.classes, self.l1_ratio)
        bare = work.model if seen is None else work.model[1:]
        narrow = with_columns(bare, np.sort(before[order[:count]]), features)
        # The trained model already holds its seed.
        model = fit_estimator(narrow, train, work.spec.train, seed=0)
        done = work.having(model=model, spec=self.rewrite(work.spec))
        return done.having(spec=replace(done.spec, ops=backends.load("sklearn").table(done)))


def kept_of(features: int, keep: float) -> int:
    """How many of so many features stay: at least one."""
    return max(1, round(features * keep))


def _features(spec: Spec) -> int:
    return spec.ops[0].n_in
