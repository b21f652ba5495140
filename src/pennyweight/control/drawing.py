"""Courses drawn from what is believed of a run: what forecasts and chances are read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.control.posterior import KINDS, moved

if TYPE_CHECKING:
    from pennyweight.control.beliefs import Belief
    from pennyweight.control.posterior import Posterior
    from pennyweight.control.spaces import Floats


@final
@dataclass(frozen=True, eq=False)
class Draws:
    """Courses drawn from one posterior; every field is (draws,), in the space in which curves fall.

    `drift` and `slope` are at the last point, `move` is how much the drift moves per e-fold of steps, `noise` the
    standard deviation of a score, `fresh` the share of a known standard error that is new with every score.
    """

    belief: Belief
    shape: Any
    offset: Floats
    height: Floats
    drift: Floats
    slope: Floats
    noise: Floats
    move: Floats
    fresh: Floats

    def values(self, at: Floats, ahead: Floats, horizon: float, rng: np.random.Generator) -> Floats:
        """Scores without noise (draws, n) at steps `at` (n,), `ahead` (n,) e-folds of steps after the last point."""
        shapes = self.belief.shapes(at, horizon)[:, self.shape].T
        base = self.belief.origin + self.belief.scale * self.offset[:, None]
        return base + self.belief.scale * self.height[:, None] * shapes + self._drifting(ahead, rng)

    def scattered(self, values: Floats, known_sd: float, rng: np.random.Generator) -> Floats:
        """The same with the noise of a measurement that has, besides its own noise, a known standard error."""
        sd = np.hypot(self.noise, np.sqrt(self.fresh) * known_sd)
        return values + rng.standard_normal(values.shape) * sd[:, None]

    def _drifting(self, ahead: Floats, rng: np.random.Generator) -> Floats:
        """The drift (draws, n): integrated Brownian motions."""
        value, slope, before, path = self.drift, self.slope, 0.0, []
        for now in ahead:
            gap = float(now - before)
            white = rng.standard_normal((len(value), 2)) * self.move[:, None]
            step = _correlated(np.broadcast_to(moved(gap), (len(value), 2, 2)), white)
            value, slope, before = value + slope * gap + step[:, 0], slope + step[:, 1], now
            path.append(value)
        return np.stack(path, axis=1)


def draw(found: Posterior, belief: Belief, seen: tuple[Floats, Floats], lot: tuple[int, int]) -> Draws:
    """Draw from a posterior after `seen`: values (n,) and shapes (n, S) at the points; `lot` is a count and a seed."""
    rng = np.random.default_rng(lot[1])
    chosen = rng.choice(found.weight.size, lot[0], p=found.weight.ravel())
    kind, shape = np.unravel_index(chosen, found.weight.shape)
    offset, height = _linear(found.mean[kind, shape], found.cov[kind, shape], rng)
    u = (seen[0] - belief.origin) / belief.scale
    unexplained = u - offset[:, None] - height[:, None] * seen[1][:, shape].T
    state = np.einsum("dkn,dn->dk", found.gain[kind], unexplained)
    state = belief.scale * (state + _correlated(found.rest[kind], rng.standard_normal(state.shape)))
    sds = belief.scale * KINDS[kind]
    return Draws(belief, shape, offset, height, state[:, 0], state[:, 1], sds[:, 0], sds[:, 1], KINDS[kind, 2])


def _linear(mean: Floats, cov: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Offsets and heights (draws,) from Gaussians of which only the part with heights above zero is believed."""
    from scipy.special import ndtr, ndtri

    count, sd = len(mean), np.sqrt(cov[:, 1, 1])
    below = ndtr(-mean[:, 1] / sd)
    height = np.maximum(mean[:, 1] + sd * ndtri(below + (1 - below) * rng.uniform(1e-9, 1 - 1e-9, count)), 0.0)
    slope = cov[:, 0, 1] / cov[:, 1, 1]
    left = np.sqrt(np.maximum(cov[:, 0, 0] - slope * cov[:, 0, 1], 0.0))
    return mean[:, 0] + slope * (height - mean[:, 1]) + left * rng.standard_normal(count), height


def _correlated(cov: Floats, white: Floats) -> Floats:
    """Pairs of covariance `cov` (draws, 2, 2) out of independent ones (draws, 2)."""
    first = np.sqrt(np.maximum(cov[..., 0, 0], 1e-30))
    across = cov[..., 0, 1] / first
    second = np.sqrt(np.maximum(cov[..., 1, 1] - across**2, 0.0))
    return np.stack([first * white[:, 0], across * white[:, 0] + second * white[:, 1]], axis=1)
