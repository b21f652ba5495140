"""Every shape of a learning curve with every kind of noise, weighed by what was seen, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Protocol, final

import numpy as np

if TYPE_CHECKING:
    from pennyweight.control.spaces import Floats

_NOISES = (0.003, 0.012, 0.05, 0.2)  # of one score, as a share of the scale
_DRIFTS = (0.1, 0.4, 1.5, 5.0)  # of what no shape follows, as a share of the scale, per e-fold of steps
_SHARES = (0.03, 0.3, 1.0)  # of the known variance that is new with every score; the rest all scores have in common
KINDS = np.array(list(product(_NOISES, _DRIFTS, _SHARES)))  # (M, 3)
HEAT = 0.4
_TINY = 1e-12


class Prior(Protocol):
    """What `posterior` begins with; see `beliefs.Belief`."""

    @property
    def mean(self) -> Floats:
        """Of offset and height (S, 2)."""

    @property
    def cov(self) -> Floats:
        """Of offset and height (S, 2, 2)."""

    @property
    def shape(self) -> Floats:
        """Chances of the shapes (S,)."""

    @property
    def kind(self) -> Floats:
        """Chances of the kinds of noise (M,)."""


@final
@dataclass(frozen=True, eq=False)
class Posterior:
    """What is known after a run's points, for each kind of noise and shape: `weight` (M, S) adds up to one.

    `mean` (M, S, 2) and `cov` (M, S, 2, 2) are of offset and height; `gain` (M, 2, n) turns what no shape explains of
    the points into the drift at the last of them and its slope, whose covariance left is `rest` (M, 2, 2). `evidence`
    is the logarithm of how likely the points were, cooled like the weights.
    """

    weight: Floats
    mean: Floats
    cov: Floats
    gain: Floats
    rest: Floats
    evidence: float


def posterior(x: Floats, u: Floats, variance: Floats, shapes: Floats, prior: Prior) -> Posterior:
    """What is known after scores `u` (n,) at `x`, each of which is off by a known `variance` (n,), and some.

    Score = offset + height · shape + drift + noise, where `shapes` are (n, S) and the drift is an integrated Brownian
    motion of log(x) that stands for what no shape follows. Offset and height are Gaussian given the rest, so that
    evidence and moments are exact for each kind of noise and each shape; heights must be positive. Since no model of a
    curve is true, shapes are weighed by the evidence to the power 0.4 (Grünwald and van Ommen 2017, safe Bayes).
    """
    cov, drifts = _noise(x, variance)
    root = np.linalg.cholesky(cov)  # (M, n, n)
    columns = np.concatenate([u[:, None], np.ones((len(x), 1)), shapes], axis=1)
    white = np.linalg.solve(root, np.broadcast_to(columns, (len(root), *columns.shape)))
    mean, after, fit = _moments(white[:, :, 0], white[:, :, 1], white[:, :, 2:], prior)
    halved = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)[:, None]
    logs = HEAT * (fit - halved) + np.log(prior.shape + _TINY) + np.log(prior.kind + _TINY)[:, None]
    top = float(logs.max())
    weight = np.exp(logs - top)
    gain, rest = _drift_at_end(np.log1p(x / x[0]), cov, drifts)
    return Posterior(weight / weight.sum(), mean, after, gain, rest, top + float(np.log(weight.sum())))


def _noise(x: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """The covariance of what no shape explains (M, n, n), and the variance of the drift's moves (M, 1, 1)."""
    noise, drift, share = (KINDS ** np.array([2, 2, 1])).T[:, :, None, None]
    return drift * _drifted(np.log1p(x / x[0])) + noise * np.eye(len(x)) + share * np.diag(variance), drift


def _drifted(late: Floats) -> Floats:
    """The covariance (n, n) of an integrated Brownian motion at times `late` (n,)."""
    early, later = np.minimum(late[:, None], late[None, :]), np.maximum(late[:, None], late[None, :])
    shared: Floats = early**2 * (3 * later - early) / 6
    return shared


def _drift_at_end(late: Floats, cov: Floats, drift: Floats) -> tuple[Floats, Floats]:
    """The drift and its slope at the last point, given the points: gain (M, 2, n) and covariance left (M, 2, 2)."""
    state = np.stack(
        [_drifted(late)[-1], late**2 / 2], axis=1
    )  # covariance of the points with the two, over that of the drift
    gain = np.linalg.solve(cov, np.broadcast_to(state, (len(cov), *state.shape))).swapaxes(1, 2) * drift
    return gain, drift * (moved(float(late[-1])) - gain @ state)


def moved(gap: float) -> Floats:
    """The covariance of an integrated Brownian motion and its slope (2, 2) after `gap`, both beginning at zero."""
    return np.array([[gap**3 / 3, gap**2 / 2], [gap**2 / 2, gap]])


def _moments(flat: Floats, one: Floats, shapes: Floats, prior: Prior) -> tuple[Floats, Floats, Floats]:
    """Mean (M, S, 2), covariance (M, S, 2, 2) and log evidence (M, S) of the linear unknowns, from whitened columns."""
    inverse = np.linalg.inv(prior.cov)
    before = np.einsum("sij,sj->si", inverse, prior.mean)
    a11 = (one**2).sum(1)[:, None] + inverse[:, 0, 0]
    a12 = np.einsum("mn,mns->ms", one, shapes) + inverse[:, 0, 1]
    a22 = (shapes**2).sum(1) + inverse[:, 1, 1]
    b1 = (one * flat).sum(1)[:, None] + before[:, 0]
    b2 = np.einsum("mn,mns->ms", flat, shapes) + before[:, 1]
    det = a11 * a22 - a12**2
    mean = np.stack([(a22 * b1 - a12 * b2) / det, (a11 * b2 - a12 * b1) / det], axis=-1)
    cov = np.stack([a22, -a12, -a12, a11], axis=-1).reshape(*det.shape, 2, 2) / det[..., None, None]
    gained = b1 * mean[..., 0] + b2 * mean[..., 1] - (before * prior.mean).sum(1) - (flat**2).sum(1)[:, None]
    fit = 0.5 * (gained - np.log(det) - np.linalg.slogdet(prior.cov)[1])
    positive = _log_positive(mean[..., 1], cov[..., 1, 1]) - _log_positive(prior.mean[:, 1], prior.cov[:, 1, 1])
    return mean, cov, fit + positive


def _log_positive(mean: Floats, variance: Floats) -> Floats:
    """The logarithm of the chance that a Gaussian is above zero."""
    from scipy.special import log_ndtr

    logs: Floats = log_ndtr(mean / np.sqrt(variance))
    return logs
