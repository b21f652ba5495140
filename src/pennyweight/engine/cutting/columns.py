"""Which inputs of a linear layer go, and what its other weights become so that its outputs stay where they were.

With H the mean of x x^T over the inputs of a layer W (out, in), dropping the inputs R and fitting the others again
costs tr(W_R (H^-1_RR)^-1 W_R^T): what outputs move by, squared. The cheapest go first; then W changes by
-W_R (H^-1_RR)^-1 H^-1_R, and H^-1 becomes that of the inputs left. Without fitting, dropping an input costs its mean
square times the square of its weights' length.
Sources: Kurtić et al. 2023, arXiv:2302.04089 (whole structures, one after the other); Hassibi and Stork 1992 (the
cost); Sun et al. 2023, arXiv:2306.11695 (the cost without fitting).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from torch import Tensor

_DAMPING, _MOST_DAMPING = 0.01, 1.0
_TURNS = 64  # in which single inputs go, several at a time
MATRICES = 3  # as large as H that are held at a time, H among them


@final
@dataclass(frozen=True, slots=True, eq=False)
class Left:
    """What is left: numbers of the `kept` inputs (rising), `weights` (out, kept), and the `worth` of each unit before.

    The worth of a unit is what dropping it first would cost, as a share of the mean square of the outputs.
    """

    kept: Tensor
    weights: Tensor
    worth: Tensor


def without(weights: Tensor, square: Tensor, unit: int, drop: int) -> Left:
    """Drop the cheapest units of `unit` neighbours each; what stays is as it was. `square` (in,) is the mean of x^2."""
    import torch

    costs = (weights.square().sum(0) * square).view(-1, unit).sum(1)
    stay = torch.ones(len(costs), dtype=torch.bool)
    stay[costs.argsort(stable=True)[:drop]] = False
    kept = _inputs(stay, unit)
    return Left(kept, weights[:, kept], costs / costs.sum().clamp_min(1e-30))


def fitted(weights: Tensor, hessian: Tensor, unit: int, drop: int) -> Left:
    """Drop `drop` units of `unit` neighbours each, the others making up for them; `hessian` is overwritten.

    Raises `BadInputError` if the inputs are no finite numbers.
    """
    import torch

    made, whole = weights.clone(), float(((weights @ hessian) * weights).sum())
    inverse = _inverse(hessian)
    stay = torch.ones(len(hessian) // unit, dtype=torch.bool)
    most = 1 if unit > 1 else max(1, -(-drop // _TURNS))
    worth, left = None, drop
    while left:
        costs = _costs(made, inverse, unit)
        worth = costs.clone() if worth is None else worth
        costs[~stay] = torch.inf
        some = costs.argsort(stable=True)[: min(most, left)]
        stay[some] = False
        _drop(made, inverse, (some[:, None] * unit + torch.arange(unit)).reshape(-1))
        left -= len(some)
    kept = _inputs(stay, unit)
    shares = (torch.zeros(len(stay)) if worth is None else worth) / max(whole, 1e-30)
    return Left(kept, made[:, kept], shares)


def _inputs(stay: Tensor, unit: int) -> Tensor:
    return stay.repeat_interleave(unit).nonzero()[:, 0]


def _inverse(hessian: Tensor) -> Tensor:
    import torch

    mean, damping = float(hessian.diagonal().mean()) or 1.0, _DAMPING
    failed = torch.zeros((), dtype=torch.int32)
    while damping <= _MOST_DAMPING:
        factor = hessian.clone()
        factor.diagonal().add_(damping * mean)
        torch.linalg.cholesky_ex(factor, out=(factor, failed))
        if not int(failed) and bool(factor.diagonal().isfinite().all()):
            return torch.cholesky_inverse(factor, out=hessian)
        damping *= 10
    raise BadInputError(
        "What goes into a linear layer has no Cholesky factor even when damped.", "calibrate with more text."
    )


def _costs(weights: Tensor, inverse: Tensor, unit: int) -> Tensor:
    """What dropping each unit would cost (units,)."""
    import torch

    if unit == 1:
        return weights.square().sum(0) / inverse.diagonal().clamp_min(1e-30)
    costs = torch.empty(len(inverse) // unit)
    for number in range(len(costs)):
        place = slice(number * unit, (number + 1) * unit)
        part, block = weights[:, place], inverse[place, place]
        if bool(block.diagonal().any()):
            costs[number] = (torch.linalg.solve(block, part.t()) * part.t()).sum()
    return costs


def _drop(weights: Tensor, inverse: Tensor, gone: Tensor) -> None:
    """Take inputs out of `weights` and `inverse`, whose rows and columns there become nothing."""
    import torch

    rows = inverse[gone]
    shift = torch.linalg.solve(rows[:, gone], rows)
    weights.addmm_(weights[:, gone], shift, alpha=-1)
    inverse.addmm_(rows.t(), shift, alpha=-1)
    weights[:, gone] = 0
    inverse[gone] = 0
    inverse[:, gone] = 0
