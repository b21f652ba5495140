"""The shapes a learning curve may have, and the points it is known by: steps, scores, their standard errors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.control.spaces import Space
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.control.spaces import Floats

MOST_POINTS = 28
_ONSETS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # where a power law bends, as a share of the horizon
_POWERS = (0.3, 0.6, 1.0, 1.6, 2.5)
_TIMES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # in which the other shapes fall, as a share of the horizon
_STRETCHES = (0.6, 1.0, 1.6, 2.5)
_LAWS = np.array(list(product(_ONSETS, _POWERS)))
_FALLS = np.array(list(product(_TIMES, _STRETCHES)))

SHAPES = len(_LAWS) + len(_ONSETS) + 2 * len(_FALLS)


@dataclass(frozen=True, slots=True)
class Curve:
    """A score against the steps taken: `x` and `y` are equally long, `x` rises from above zero.

    `se` are the standard errors of the scores, or empty; `rises` says that more is better (accuracy). Raises
    `BadInputError` for points that are no curve.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    se: tuple[float, ...] = ()
    rises: bool = False

    def __post_init__(self) -> None:
        lengths = {len(self.x), len(self.y), len(self.se) or len(self.x)}
        if len(lengths) > 1 or any(after <= before for before, after in pairwise((0.0, *self.x))):
            raise BadInputError(
                "These points are no learning curve.",
                "give equally many steps and scores, the steps above zero and rising.",
            )
        if not np.isfinite([*self.x, *self.y, *self.se]).all():
            raise BadInputError("A learning curve holds a number that is not finite.", "leave such points out.")

    @classmethod
    def of(cls, x: Sequence[float], y: Sequence[float], se: Sequence[float] = (), *, rises: bool = False) -> Curve:
        """The curve through such points."""
        return cls(tuple(map(float, x)), tuple(map(float, y)), tuple(map(float, se)), rises)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def space(self) -> Space:
        """Where it is fitted."""
        return Space.of(np.array(self.y), rises=self.rises)

    def upto(self, x: float) -> Curve:
        """The points up to `x` steps."""
        count = sum(each <= x for each in self.x)
        return Curve(self.x[:count], self.y[:count], self.se[:count], self.rises)

    def thinned(self, most: int = MOST_POINTS) -> Curve:
        """At most `most` points: means over neighbours, over more of them the later they are."""
        if len(self) <= most:
            return self
        starts = np.unique(np.round(np.geomspace(1, len(self) + 1, most + 1)).astype(int))[:-1] - 1
        sizes = np.diff(starts, append=len(self))
        x, y = (np.add.reduceat(np.array(each), starts) / sizes for each in (self.x, self.y))
        se = np.sqrt(np.add.reduceat(np.array(self.se) ** 2, starts)) / sizes if self.se else np.zeros(0)
        return Curve.of(x.tolist(), y.tolist(), se.tolist(), rises=self.rises)


def falls(x: Floats, horizon: float) -> Floats:
    """How each of the shapes falls at `x` (n,) steps, with times in units of `horizon`: (n, SHAPES).

    Power laws ``(1 + x/b)^-p``, their limit for small p, ``-log(1 + x/b)``, stretched exponentials ``exp(-(x/t)^d)``
    and Hill curves ``1 / (1 + (x/t)^d)``, which begin with a plateau: among the families that fit learning curves best
    in Domhan, Springenberg and Hutter (2015), in a form in which offset and height are the only linear unknowns.
    """
    wide = np.maximum(x, 0.0)[:, None] / horizon
    laws = np.exp(-_LAWS[:, 1] * np.log1p(wide / _LAWS[:, 0]))
    late = (wide / _FALLS[:, 0]) ** _FALLS[:, 1]
    return np.concatenate([laws, -np.log1p(wide / np.array(_ONSETS)), np.exp(-late), 1 / (1 + late)], axis=1)
