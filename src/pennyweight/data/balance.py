"""How uneven the classes are, what to do about it, and the weights that make up for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.data.splits import Splits, is_classes
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_UNEVEN = 3.0  # largest over smallest class above which accuracy starts to hide the small one
_EXTREME = 20.0
_FEW = 30  # examples of a class below which its own score is mostly noise
_NAMED = 8  # classes named before it says "and more"
_HIDING = frozenset({"accuracy", "precision_micro", "recall_micro", "f1_micro"})  # the large class drowns the small


@dataclass(frozen=True, slots=True)
class Balance:
    """The classes, in order, and how many examples each has."""

    classes: tuple[Any, ...]
    counts: tuple[int, ...]

    @property
    def ratio(self) -> float:
        """The largest class over the smallest; 1 is even."""
        return max(self.counts) / min(self.counts)

    @property
    def effective(self) -> float:
        """As how many equal classes the mixture counts: the exponential of its entropy (Hill number of order 1)."""
        n = sum(self.counts)
        return math.exp(-sum(count / n * math.log(count / n) for count in self.counts))

    @property
    def majority(self) -> float:
        """The accuracy of always answering the largest class: what any model has to beat."""
        return max(self.counts) / sum(self.counts)

    @property
    def advice(self) -> str:
        """What to do, in a sentence or two; empty if the classes are even."""
        return self.advise()

    def advise(self, metric: str = "accuracy", *, weighted: bool = False) -> str:
        """What is left to do where the floor is on `metric` and training is `weighted` by class already, or not."""
        said = []
        if self.ratio > _UNEVEN and metric in _HIDING:
            said.append(
                f"Classes are uneven ({self.ratio:.3g} to 1; always answering {self._largest} is right in "
                f"{100 * self.majority:.3g}%): put the floor on balanced_accuracy or f1 rather than {metric}."
            )
        if self.ratio > _EXTREME and not weighted:
            said.append("Train with class weights (weighted=True) or gather more of the rare classes.")
        few = [str(name) for name, count in zip(self.classes, self.counts, strict=True) if count < _FEW]
        if few:
            more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
            said.append(
                f"Fewer than {_FEW} examples of class {', '.join(few[:_NAMED])}{more}: its own score is mostly noise."
            )
        return " ".join(said)

    @property
    def _largest(self) -> Any:
        return self.classes[self.counts.index(max(self.counts))]


def balance(y: ArrayLike) -> Balance:
    """Count the classes of `y` (N,); values and sequences have none and are refused."""
    labels = np.asarray(y)
    if not is_classes(labels) or len(labels) == 0:
        raise BadInputError("y does not hold one class per row.", "give whole numbers or names, shape (N,).")
    names, counts = np.unique(labels, return_counts=True)
    return Balance(tuple(names.tolist()), tuple(counts.tolist()))


def weights(y: ArrayLike, *, beta: float | None = None) -> NDArray[np.float64]:
    """A weight per example (N,), mean one, so that every class weighs the same in training: what weighted=True uses.

    By default inversely to the class's count; with `beta` in [0, 1), by its effective number of examples
    (1 - beta^count) / (1 - beta), which spares very rare classes from huge weights (Cui et al. 2019).
    """
    if beta is not None and not 0 <= beta < 1:
        raise BadInputError(f"A beta of {beta:g} gives no weights.", "use 0 <= beta < 1, such as 0.999.")
    found = balance(y)
    counts = np.asarray(found.counts, dtype=np.float64)
    size = counts if beta is None else (1 - beta**counts) / (1 - beta)
    per_example = (1 / size)[np.searchsorted(np.asarray(found.classes), np.asarray(y))]
    return np.asarray(per_example / per_example.mean(), dtype=np.float64)


def weighed(splits: Splits) -> Splits:
    """The splits with `weights` on the training rows; those to select and certify count as they are."""
    train = splits.train
    if not is_classes(train.y):
        raise BadInputError("Only classes can be weighted, and y holds values or tokens.", "leave weighted=True out.")
    if train.weight is not None:
        raise BadInputError("The training rows have weights already.", "leave them or weighted=True out.")
    return replace(splits, train=replace(train, weight=weights(train.y)))
