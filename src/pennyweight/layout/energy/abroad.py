"""How much wider intervals are for a kind of device that was never measured: by how far off devices left out were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.cost.learn.conformal import Conformal
from pennyweight.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Texts = NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Abroad:
    """The devices that were measured, and by which factor the interval of each target is wider on any other."""

    known: tuple[str, ...]
    factors: Mapping[str, float]

    @classmethod
    def of(
        cls,
        devices: Texts,
        errors: Mapping[str, tuple[Numbers, Numbers]],
        intervals: Mapping[str, Conformal],
        least: float = 0.0,
    ) -> Self:
        """From errors (n,) of logarithms where the row's own device was left out, each with its scale (n,).

        What held for these devices is meant to hold for the next: every device counts the same.
        """
        factors = {}
        for target, (error, scale) in errors.items():
            width = Conformal.of(error, devices, scale).width
            factors[target] = max(width / max(intervals[target].width, np.finfo(np.float64).tiny), least)
        return cls(tuple(np.unique(devices).tolist()), factors)

    def factor(self, target: str, devices: Texts) -> Numbers:
        """By how much (n,) the interval of a target is wider: 1 on devices that were measured."""
        return np.where(np.isin(devices, self.known), 1.0, self.factors[target])

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        return {"known": list(self.known), "factors": dict(self.factors)}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        try:
            factors = {str(name): float(each) for name, each in body["factors"].items()}
            return cls(tuple(map(str, body["known"])), factors)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"These are no devices and factors: {error!r}.", "fit it again.") from error
