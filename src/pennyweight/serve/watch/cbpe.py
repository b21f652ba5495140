"""How often a classifier is right, without any label: the mean of its calibrated confidence, with an interval.

True as long as inputs alone have changed and a probability still means what it meant on the reference (Kivimäki et al.
2025, "Confidence-based estimators for predictive performance in model monitoring"); where the meaning of a class has
changed only labels can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, final

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.serve.watch.isotonic import Isotonic
from pennyweight.serve.watch.temperature import Temperature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pennyweight.serve.watch.reference import Reference

    Numbers = NDArray[np.float64]

WAYS: dict[str, type[Isotonic | Temperature]] = {"isotonic": Isotonic, "temperature": Temperature}
_RESAMPLES = 100


class Calibration(Protocol):
    """What says how often an answer is right."""

    def chance(self, probabilities: NDArray[Any]) -> Numbers:
        """The chance that each answer (N, C) is right: (N,)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The share of right answers among `n`, between `low` and `high` at the confidence asked for."""

    mean: float
    low: float
    high: float
    n: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class Cbpe:
    """A calibration, and some more from resamples of the reference, which tell how far off it may be."""

    calibration: Calibration
    others: tuple[Calibration, ...]

    @classmethod
    def fit(cls, reference: Reference, way: str = "isotonic", seed: int = 0) -> Self:
        """Calibrate on a reference of class probabilities with labels; raises `BadInputError` for any other."""
        if reference.labels is None or not reference.classes:
            raise BadInputError(
                "Quality without labels needs a reference of class probabilities with its true classes.",
                "record one: with_reference(artifact, Reference.of(x, answers, labels)).",
            )
        if way not in WAYS:
            raise BadInputError(f"There is no calibration named {way!r}.", f"use one of {', '.join(WAYS)}.")
        p, y = reference.answers, np.asarray(reference.labels)
        draws = _resampled(len(y), np.random.default_rng(seed))
        return cls(WAYS[way].fit(p, y), tuple(WAYS[way].fit(p[drawn], y[drawn]) for drawn in draws))

    def estimate(self, probabilities: NDArray[Any], alpha: float = 0.05) -> Estimate:
        """The share of right answers among these (N, C), with an interval at 1 - `alpha`.

        Its variance: of N coins with these chances, and of the calibration over resamples of the reference.
        """
        from scipy.special import ndtri

        chance = self.calibration.chance(probabilities)
        mean = float(chance.mean())
        means = [float(each.chance(probabilities).mean()) for each in self.others]
        coins = float((chance * (1 - chance)).sum()) / len(chance) ** 2
        reach = -float(ndtri(alpha / 2)) * (coins + float(np.var(means))) ** 0.5
        return Estimate(mean, max(0.0, mean - reach), min(1.0, mean + reach), len(chance))

    def generous(self, probabilities: NDArray[Any], alpha: float = 0.05) -> Numbers:
        """The chance that each answer (N, C) is right, (N,), were the calibration on the gloomy side at `alpha`.

        For raising an alarm: the mean is too low with a chance of `alpha` only, as far as the calibration goes.
        """
        from scipy.special import ndtri

        means = [float(each.chance(probabilities).mean()) for each in self.others]
        return np.minimum(self.calibration.chance(probabilities) - float(ndtri(alpha)) * float(np.std(means)), 1.0)


def _resampled(n: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    for _ in range(_RESAMPLES):
        yield rng.integers(n, size=n)
