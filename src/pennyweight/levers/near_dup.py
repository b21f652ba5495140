"""Train once on rows that are nearly equal: the one that stays counts for the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.core import YES, Form, Lever, Stage, no
from pennyweight.data.kept import kept
from pennyweight.data.nearness import merged, near_pairs
from pennyweight.errors import NoEffectError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work


@final
@dataclass(frozen=True, slots=True)
class NearDup(Lever):
    """Of rows with equal answers that are nearly equal, drop all but one; at most the share `share`, nearest first.

    `within` says what is near: for values, the distance in units of that between two random rows; for tokens, one minus
    the share of runs of three tokens that both have. With `keep_weight`, the row that stays counts for those that went.
    """

    share: float = 0.1
    within: float = 0.3
    keep_weight: bool = True

    stage: ClassVar[Stage] = Stage.DATA
    source: ClassVar[str] = (
        "Broder 1997, On the Resemblance and Containment of Documents; Datar et al. 2004, Locality-Sensitive Hashing "
        "Based on p-Stable Distributions; Lee et al. 2022 (arXiv:2107.06499)"
    )
    trust: ClassVar[float] = 0.5  # how many rows are near is only known by looking

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """A tenth of the rows, and three tenths of which more are alike."""
        if job.spec.form is not Form.GRAPH:
            yield cls()
            yield cls(0.3, within=0.5)

    def fits(self, spec: Spec) -> Verdict:
        """Fits any data, before anything is trained on it."""
        if spec.form not in {Form.MODULE, Form.ESTIMATOR}:
            return no("the model is finished; drop rows before it is trained")
        if not 0 < self.share < 1 or not 0 < self.within < 1:
            return no("the share and the distance must lie between 0 and 1")
        return YES if spec.data.rows * (1 - self.share) >= 2 else no("too few rows would be left to train on")

    def rewrite(self, spec: Spec) -> Spec:
        """Train on all but the share of the rows; exact copies go first."""
        data, left = spec.data, 1 - self.share
        copies = max(0.0, data.duplicates - self.share) / left
        return replace(spec, data=replace(data, rows=data.rows - round(data.rows * self.share), duplicates=copies))

    def pull(self, work: Work) -> Work:
        """Find the pairs and merge them."""
        train = work.data.train
        pairs, _ = near_pairs(train.x, train.y, self.within, work.seed)
        index, times = merged(pairs, len(train), round(self.share * len(train)))
        if len(index) == len(train):
            raise NoEffectError(
                f"No two training rows are within {self.within:g} of each other.", "leave near_dup out."
            )
        return kept(work, index, times if self.keep_weight else None)
