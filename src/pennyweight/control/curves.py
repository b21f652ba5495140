"""Where a learning curve is going: forecasts with intervals, from the run so far and from earlier runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.control.beliefs import Belief, inward, vague
from pennyweight.control.drawing import Draws, draw
from pennyweight.control.posterior import HEAT
from pennyweight.control.shapes import Curve
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from pennyweight.control.spaces import Floats

__all__ = ["LEAST_POINTS", "Curve", "Forecast", "Outlook"]

LEAST_POINTS = 4
_DRAWS = 1024
_STRANGE = 0.25  # the chance, before anything is seen, that a run is not like the earlier ones
_STEPS = 12


@dataclass(frozen=True, slots=True)
class Forecast:
    """A score that will be measured at `at` steps: its median, and what it lies between with a chance of 90%."""

    at: float
    mean: float
    low: float
    high: float


@final
@dataclass(frozen=True)
class Outlook:
    """What is believed of a run after `curve`, to be trained for `horizon` steps in all.

    `beliefs` are what earlier runs taught (`earlier.Earlier`); they are averaged with hardly any belief by how likely
    each made the points (Bayesian model averaging), so that a run unlike the earlier ones is not pressed into their
    form. `widen` is by how much intervals were too narrow on earlier runs. The same points always give the same
    numbers. Raises `BadInputError` for fewer than four points.
    """

    curve: Curve
    horizon: float
    beliefs: tuple[Belief, ...] = ()
    widen: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.curve) < LEAST_POINTS or not self.horizon > 0:
            raise BadInputError(
                f"{len(self.curve)} points of a learning curve are too few to forecast it.",
                f"evaluate at least {LEAST_POINTS} times.",
            )

    def forecast(self, at: float) -> Forecast:
        """The score that would be measured at `at` steps, with its noise, and its 90% interval."""
        values = self._values(np.array([at]), noisy=True)[:, 0]
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        return Forecast(at, float(middle), float(low), float(high))

    def chance(self, target: float, by: float) -> float:
        """How likely the score behind the noise is at least as good as `target` at some point up to `by` steps."""
        start = self.curve.x[-1]
        grid = np.linspace(start, by, _STEPS) if by > start else np.array([start])
        return float(self._good(target, grid).any(axis=1).mean())

    def chance_at(self, target: float, at: float, se: float = 0.0) -> float:
        """How likely a score measured at `at` steps with standard error `se` is at least as good as `target`."""
        if se <= 0:
            return float(self._good(target, np.array([at])).mean())
        from scipy.special import ndtr

        gap = self._values(np.array([at]), noisy=False)[:, 0] - target
        return float(ndtr((gap if self.curve.rises else -gap) / se).mean())

    def reach(self, target: float, by: float) -> float | None:
        """The steps after which `target` is as likely reached as not; None if that is later than `by`."""
        grid = np.linspace(self.curve.x[-1], max(by, self.curve.x[-1]), 4 * _STEPS)
        reached = np.logical_or.accumulate(self._good(target, grid), axis=1).mean(axis=0) >= 1 / 2
        return float(grid[int(reached.argmax())]) if reached.any() else None

    def _good(self, target: float, at: Floats) -> np.ndarray:
        values = self._values(at, noisy=False)
        return values >= target if self.curve.rises else values <= target

    def _values(self, at: Floats, *, noisy: bool) -> Floats:
        """Drawn scores (draws, n) at rising steps `at` (n,)."""
        rng, last = np.random.default_rng(self.seed + 1), self.curve.x[-1]
        ahead = np.log1p(np.maximum(at, last) / self._x[0]) - math.log1p(last / self._x[0])
        parts = []
        for each in self._draws:
            values = each.values(at, ahead, self.horizon, rng)
            parts.append(each.scattered(values, self._known_sd, rng) if noisy else values)
        values = np.concatenate(parts)
        middle = np.median(values, axis=0)
        return self.curve.space.outward(middle + self.widen * (values - middle))

    @cached_property
    def _points(self) -> tuple[Floats, Floats, Floats]:
        return inward(self.curve, self.curve.space)

    @property
    def _x(self) -> Floats:
        return self._points[0]

    @cached_property
    def _known_sd(self) -> float:
        """The known standard error of the next score, as that of the last."""
        if not self.curve.se:
            return 0.0
        return self.curve.se[-1] / float(self.curve.space.step(np.array(self.curve.y[-1:]))[0])

    @cached_property
    def _draws(self) -> tuple[Draws, ...]:
        x, values, variance = self._points
        beliefs = (vague(values), *self.beliefs)
        found = [each.after(x, values, variance, self.horizon) for each in beliefs]
        counts = np.random.default_rng(self.seed).multinomial(_DRAWS, self._odds(beliefs, [f.evidence for f in found]))
        return tuple(
            draw(each, belief, (values, belief.shapes(x, self.horizon)), (int(count), self.seed + at))
            for at, (each, belief, count) in enumerate(zip(found, beliefs, counts, strict=True))
            if count
        )

    def _odds(self, beliefs: tuple[Belief, ...], evidence: list[float]) -> Floats:
        """The chance of each belief, hardly any belief first."""
        points = len(self._x)
        share = [_STRANGE, *[(1 - _STRANGE) / len(self.beliefs)] * len(self.beliefs)] if self.beliefs else [1.0]
        scales = np.log([each.scale for each in beliefs])
        logs = np.array(evidence) - HEAT * points * scales + np.log(share)
        odds: Floats = np.exp(logs - logs.max())
        odds /= odds.sum()
        return odds
