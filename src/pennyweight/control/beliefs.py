"""What is believed of a run before it begins: hardly anything, or what earlier runs taught."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.control.posterior import KINDS, posterior
from pennyweight.control.shapes import SHAPES, falls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.control.posterior import Posterior
    from pennyweight.control.shapes import Curve
    from pennyweight.control.spaces import Floats, Space

_REACH = 2.5  # how far a score may still fall although little fell so far: e-folds of a loss or an error
_OPEN = 0.2  # the share of chances that earlier runs leave to what they have not shown
_MOST_TEMPLATES = 24


@final
@dataclass(frozen=True, eq=False)
class Belief:
    """What is believed of offset and height of every shape before a run: `mean` (S, 2), `cov` (S, 2, 2).

    `shape` (S,) and `kind` (M,) are the chances of the shapes and of the kinds of noise; all in units of `scale`, above
    `origin`; heights are positive. `templates` are courses of earlier runs (steps, values), which take the place of the
    general shapes where there are some.
    """

    mean: Floats
    cov: Floats
    shape: Floats
    kind: Floats
    origin: float
    scale: float
    templates: tuple[tuple[Floats, Floats], ...] = ()

    def shapes(self, x: Floats, horizon: float) -> Floats:
        """Its shapes at `x` (n,) steps: (n, S)."""
        if not self.templates:
            return falls(x, horizon)
        courses = [(np.interp(x, steps, values) - self.origin) / self.scale for steps, values in self.templates]
        return np.stack(courses, axis=1)

    def after(self, x: Floats, values: Floats, variance: Floats, horizon: float) -> Posterior:
        """What is known after points of a run; see `posterior`."""
        u, relative = (values - self.origin) / self.scale, variance / self.scale**2
        return posterior(x, u, relative, self.shapes(x, horizon), self)


def vague(values: Floats) -> Belief:
    """Hardly any belief: shapes and noises alike, offset and height within a few times what was seen to change."""
    scale = max(float(np.ptp(values)), 1e-3 * float(np.abs(values).max(initial=0.0)), 1e-6)
    reach = float(np.hypot(scale, _REACH)) / scale
    mean = np.tile([-0.2 * reach, reach], (SHAPES, 1))
    cov = np.tile(np.diag([(0.8 * reach) ** 2, (1.5 * reach) ** 2]), (SHAPES, 1, 1))
    even = np.full(SHAPES, 1 / SHAPES)
    return Belief(mean, cov, even, np.full(len(KINDS), 1 / len(KINDS)), float(values[-1]), scale)


@final
@dataclass(frozen=True, eq=False)
class Lesson:
    """One earlier run, judged with hardly any belief: its points, and what they left to believe."""

    points: tuple[Floats, Floats, Floats]
    vague: Belief
    found: Posterior

    @classmethod
    def of(cls, curve: Curve, space: Space, horizon: float) -> Lesson:
        """A whole earlier run, its steps scaled as if it had taken `horizon` of them."""
        x, values, variance = inward(curve, space)
        points = (x * (horizon / curve.x[-1]), values, variance)
        belief = vague(values)
        return cls(points, belief, belief.after(*points, horizon))


def learned(lessons: Sequence[Lesson]) -> tuple[Belief, ...]:
    """What earlier runs teach of the next: their offsets, heights, shapes and noise, and their courses as they were.

    Empirical Bayes: the next run is taken as one more draw from what the earlier ones were like.
    """
    if not lessons:
        return ()
    kind = _opened(np.mean([each.found.weight.sum(axis=1) for each in lessons], axis=0))
    pooled = _pooled(lessons, kind)
    return pooled, _courses(lessons, pooled)


def inward(curve: Curve, space: Space) -> tuple[Floats, Floats, Floats]:
    """Steps, values and known variances of a thinned curve, in the space in which it falls."""
    thin = curve.thinned()
    x, y = np.array(thin.x), np.array(thin.y)
    se = np.array(thin.se) if thin.se else np.zeros(len(x))
    return x, space.inward(y), (se / space.step(y)) ** 2


def _pooled(lessons: Sequence[Lesson], kind: Floats) -> Belief:
    """Offsets and heights of every shape as they were over the earlier runs, spread and doubt of each included."""
    runs = len(lessons)
    scale = float(np.median([each.vague.scale for each in lessons]))
    shape = _opened(np.mean([each.found.weight.sum(axis=0) for each in lessons], axis=0))
    means, covs = [], []
    for each in lessons:
        share = each.found.weight / np.maximum(each.found.weight.sum(axis=0), 1e-300)
        mean = np.einsum("ms,msi->si", share, each.found.mean)
        covs.append(np.einsum("ms,msij->sij", share, each.found.cov) * (each.vague.scale / scale) ** 2)
        means.append((mean * each.vague.scale + np.array([each.vague.origin, 0.0])) / scale)
    many = np.array(means)
    off = many - many.mean(axis=0)
    between = np.einsum("rsi,rsj->sij", off, off) / max(1, runs - 1) * (1 + 1 / runs)
    doubt = np.eye(2) * (0.1 + 1.0 / runs) ** 2
    return Belief(many.mean(axis=0), between + np.mean(covs, axis=0) + doubt, shape, kind, 0.0, scale)


def _courses(lessons: Sequence[Lesson], pooled: Belief) -> Belief:
    """The last runs as shapes of their own: the next may follow one of them, shifted and stretched a little."""
    last = [each.points for each in lessons[-_MOST_TEMPLATES:]]
    origin = float(np.median([values[-1] for _, values, _ in last]))
    count = len(last)
    return replace(
        pooled,
        mean=np.tile([0.0, 1.0], (count, 1)),
        cov=np.tile(np.diag([0.3**2, 0.4**2]), (count, 1, 1)),
        shape=np.full(count, 1 / count),
        origin=origin,
        templates=tuple((x, values) for x, values, _ in last),
    )


def _opened(chances: Floats) -> Floats:
    opened: Floats = (1 - _OPEN) * chances / chances.sum() + _OPEN / len(chances)
    return opened
