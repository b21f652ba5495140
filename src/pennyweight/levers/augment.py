"""Train on fewer rows that are never twice the same: every batch is changed in ways that leave its labels true."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.backends.base import first_share
from pennyweight.core import YES, Form, Lever, Stage, no
from pennyweight.data.kept import kept
from pennyweight.errors import BadInputError
from pennyweight.train.augmenting import check_ways, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work

_MILD = {"image": ("shift",), "signal": ("shift", "noise"), "table": ("noise",), "tokens": ("replace:0.05",)}
_SMALL = 16  # pixels along a side, of which one is too much to shift an image by
_LEAST = 20  # rows that are left


@final
@dataclass(frozen=True, slots=True)
class Augment(Lever):
    """Change every batch in some `ways`, and so need only the share `rows` of the rows, or `epochs` of the epochs.

    A way is "shift:2" (so many pixels, or a share of a signal's time), "flip", "rotate:10" (degrees), "scale",
    "jitter", "noise", "mixup", for signals also "pitch" and "stretch", for tables "noise", "swap" and "mixup", for
    tokens "drop" and "replace" (a chance each). The rows kept are the first of every class.
    """

    ways: tuple[str, ...] = ("shift",)
    rows: float = 1.0
    epochs: float = 1.0

    stage: ClassVar[Stage] = Stage.DATA
    source: ClassVar[str] = (
        "Simard, Steinkraus and Platt 2003, Best Practices for Convolutional Neural Networks; Zhang et al. 2018, mixup "
        "(arXiv:1710.09412); Xie et al. 2017, Data Noising as Smoothing (arXiv:1703.02573)"
    )
    trust: ClassVar[float] = 0.02  # whole rows, and no class without one

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """The mildest way for such rows; three quarters of the rows or of the epochs, then half."""
        ways = _MILD.get(kind_of(job.spec), ())
        if ways == _MILD["image"] and min(job.spec.data.shape[1:]) < _SMALL:
            ways = ("mixup",)
        if job.spec.form is Form.MODULE and ways:
            for share in (0.75, 0.5):
                yield cls(ways, rows=share)
                yield cls(ways, epochs=share)

    def fits(self, spec: Spec) -> Verdict:
        """Fits networks that are still to be trained, on rows that can be changed in these ways."""
        if spec.form is not Form.MODULE:
            return no("only a network that is still to be trained meets a row often enough to see it changed")
        if spec.data.augment:
            return no("every batch is changed already; say all ways at once")
        if not (self.ways and 0 < self.rows <= 1 and self.epochs > 0) or self.rows * spec.data.rows < _LEAST:
            return no(f"give some way, a share of rows that leaves {_LEAST}, and epochs above 0")
        try:
            check_ways(self.rewrite(spec))
        except BadInputError as error:
            return no(f"{error.problem.rstrip('.')}; {error.fix.rstrip('.')}")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Fewer rows or epochs, in other words more training for each of them."""
        data, train = spec.data, spec.train
        data = replace(data, rows=round(data.rows * self.rows), augment=self.ways)
        return replace(spec, data=data, train=replace(train, epochs=train.epochs * self.epochs))

    def pull(self, work: Work) -> Work:
        """Take the first rows of every class and say how batches are to be changed."""
        if self.rows < 1:
            work = kept(work, first_share(work.data.train.y, self.rows, work.spec.data.task))
        return work.having(spec=replace(self.rewrite(work.spec), data=replace(work.spec.data, augment=self.ways)))
