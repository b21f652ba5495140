"""A sum of positive parts, each times a factor that depends on what a row is like, fitted in the logarithm of the sum.

What is measured is `Σ_k parts_k · exp(log_k + Σ_c shift_kc · like_c)`: energies or times that add up, such as reading
weights and computing, where a factor is somewhat different on another device or in another precision. Logarithms of
factors are drawn to `start` and shifts to zero (Gaussian priors), and errors beyond some noise count linearly (Huber
1964), so that a few rows measured in trouble do not bend the rest. Solved by Gauss-Newton steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.errors import BadInputError, CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

_STEPS = 25
_LONGEST = 0.7  # of a step, in any logarithm
_MOST = 12.0  # of a logarithm: beyond it nothing more is gained


@dataclass(frozen=True, slots=True)
class Part:
    """One positive part: its factor's logarithm is `start` ± `spread`, moved by ± `shifts` where a row is like that."""

    name: str
    start: float
    spread: float
    shifts: Mapping[str, float]

    def names(self) -> list[str]:
        """What its coefficients are called: its own name, then ``name:likeness`` for each shift."""
        return [self.name, *(f"{self.name}:{each}" for each in self.shifts)]


@dataclass(frozen=True, slots=True)
class Question:
    """The parts (n,) of n rows before any factor, and how much each row is like what shifts factors (0 or 1)."""

    parts: Mapping[str, Numbers]
    like: Mapping[str, Numbers]

    def take(self, chosen: NDArray[Any]) -> Question:
        """The rows chosen by a mask or by positions."""
        return Question(
            {name: each[chosen] for name, each in self.parts.items()},
            {name: each[chosen] for name, each in self.like.items()},
        )


@dataclass(frozen=True, slots=True)
class Noise:
    """The standard deviation expected of log(measured / sum), and after how many of them errors count linearly."""

    sd: float = 0.3
    bend: float = 1.0


@dataclass(frozen=True, slots=True)
class Sum:
    """The parts and the logarithm of every factor and shift, by name."""

    parts: tuple[Part, ...]
    logs: Mapping[str, float]

    @classmethod
    def fit(cls, parts: Sequence[Part], asked: Question, measured: Numbers, noise: Noise | None = None) -> Self:
        """Find the factors that explain what was measured (n,), above zero."""
        if not len(measured) or not (np.isfinite(measured) & (measured > 0)).all():
            raise BadInputError("A sum can only be fitted to figures above zero.", "leave out rows without one.")
        said = noise or Noise()
        start = np.array([value for part in parts for value in (part.start, *(0.0 for _ in part.shifts))])
        sharp = np.array([1 / value**2 for part in parts for value in (part.spread, *part.shifts.values())])
        found, wanted = start.copy(), np.log(measured)
        for _ in range(_STEPS):
            told, slopes = _told(parts, asked, found)
            off = (wanted - told) / said.sd
            weight = 1 / np.maximum(1.0, np.abs(off) / said.bend)
            slopes /= said.sd
            curve = slopes.T @ (slopes * weight[:, None]) + np.diag(sharp)
            found += np.clip(np.linalg.solve(curve, slopes.T @ (weight * off) - (found - start) * sharp),
                             -_LONGEST, _LONGEST)  # fmt: skip
        names = [name for part in parts for name in part.names()]
        return cls(tuple(parts), dict(zip(names, found.tolist(), strict=True)))

    def predict(self, asked: Question) -> Numbers:
        """The sums (n,)."""
        return np.exp(_told(self.parts, asked, self._values())[0])

    def to_dict(self) -> dict[str, float]:
        """The logarithms by name; the parts are the program's own."""
        return dict(self.logs)

    @classmethod
    def restore(cls, parts: Sequence[Part], body: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote, of the same parts."""
        try:
            return cls(tuple(parts), {name: float(body[name]) for part in parts for name in part.names()})
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"These are no factors of a sum: {error!r}.", "fit it again.") from error

    def _values(self) -> Numbers:
        return np.array([self.logs[name] for part in self.parts for name in part.names()])


def _told(parts: Sequence[Part], asked: Question, logs: Numbers) -> tuple[Numbers, Numbers]:
    """The logarithms (n,) of the sums, and their slopes (n, coefficients)."""
    values, masks, at = [], [], 0
    rows = len(next(iter(asked.parts.values())))
    for part in parts:
        mask = np.stack([np.ones(rows), *(asked.like[each] for each in part.shifts)], axis=1)
        power = np.clip(mask @ logs[at : at + mask.shape[1]], -_MOST, _MOST)
        values.append(asked.parts[part.name] * np.exp(power))
        masks.append(mask)
        at += mask.shape[1]
    total = np.sum(values, axis=0)
    slopes = [value[:, None] * mask / total[:, None] for value, mask in zip(values, masks, strict=True)]
    return np.log(total), np.concatenate(slopes, axis=1)
