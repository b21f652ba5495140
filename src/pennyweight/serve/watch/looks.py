"""How sure one must be at each look and of each feature, so that all alarms together are rarely false."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spending:
    """A chance `alpha` of any false alarm in every `looks` looks, spent in equal parts (Bonferroni over time).

    It holds however the looks depend on each other, as they do where all are beside one reference; evidence that is
    multiplied up over looks would take the reference's own luck for drift in the end.
    """

    alpha: float = 0.05
    looks: int = 168

    def __post_init__(self) -> None:
        """Refuse what cannot be spent."""
        if not 0 < self.alpha < 1 or self.looks < 1:
            raise BadInputError(
                f"A chance of {self.alpha:g} cannot be spent on {self.looks} looks.",
                "give a chance such as 0.05 and how many looks it is for.",
            )

    @property
    def level(self) -> float:
        """The level of one look."""
        return self.alpha / self.looks


def holm(p: NDArray[Any]) -> Numbers:
    """p-values (…, K) corrected so that all K may be looked at together, however they depend on each other.

    At most a share alpha of looks has any true hypothesis with a corrected p-value of alpha or less (Holm 1979).
    """
    return _stepped(p, np.arange(np.shape(p)[-1], 0, -1), np.maximum)


def benjamini_hochberg(p: NDArray[Any]) -> Numbers:
    """p-values (…, K) corrected so that of those at alpha or less a share of at most alpha is false on average.

    For independent or positively dependent tests (Benjamini & Hochberg 1995): to list what drifted after an alarm.
    """
    k = np.shape(p)[-1]
    return _stepped(p, k / np.arange(1, k + 1), np.minimum)


def _stepped(p: NDArray[Any], factors: NDArray[Any], way: np.ufunc) -> Numbers:
    """Sort, multiply by `factors`, make monotone from the small end (max) or from the large one (min), put back."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, axis=-1)
    scaled = np.take_along_axis(values, order, axis=-1) * factors
    if way is np.maximum:
        steady = np.maximum.accumulate(scaled, axis=-1)
    else:
        steady = np.minimum.accumulate(scaled[..., ::-1], axis=-1)[..., ::-1]
    found = np.empty_like(values)
    np.put_along_axis(found, order, np.minimum(steady, 1.0), axis=-1)
    return found
