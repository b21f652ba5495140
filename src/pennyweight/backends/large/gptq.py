"""Codes chosen one input after the other, each making up for what the earlier ones moved the outputs by.

With H = sum x x^T of the inputs, rows w are given codes so that (w - v) H (w - v)^T is small. H = M D M^T with M upper
triangular, its diagonal ones; then the deviation d = w - v costs sum_k D_k (d_k + sum_{j<k} d_j M_jk)^2, so input k is
rounded from w_k + sum_{j<k} d_j M_jk. Inputs that weigh most come first. M comes of one Cholesky factor of H in reverse
order; no inverse is needed.
Sources: Frantar et al. 2022, arXiv:2210.17323 (the method, damping, order by activations); Chee et al. 2023,
arXiv:2307.13304, theorem 6 (that this form is the same). The last step fits scales again to the codes that were found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.backends.large.grids import Grid, inverse
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from torch import Tensor

_COLUMNS = 8  # that are done one by one; all between more of them is products of matrices
_DAMPING, _MOST_DAMPING = 0.01, 1.0
_SWEEPS = 1
HESSIANS = 4  # matrices as large as H that are held at a time, H among them
WEIGHTS = 6  # matrices as large as the weights, float32


def gptq(weights: Tensor, hessian: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Codes (out, in) and scales (out, in / group), both float32, of `weights` (out, in) for inputs of `hessian`.

    Raises `BadInputError` if inputs or weights are no finite numbers.
    """
    import torch

    diagonal = hessian.diagonal()
    if not (bool(torch.isfinite(diagonal).all()) and bool(torch.isfinite(weights).all())):
        raise BadInputError("Inputs of a linear layer are infinite or no numbers.", "calibrate with another text.")
    groups = weights.reshape(-1, grid.group)
    counts = (diagonal + diagonal.mean() * _DAMPING).clamp_min(1e-30).reshape(-1, grid.group)
    scales = grid.searched(groups, counts).reshape(len(weights), -1)
    order = torch.argsort(diagonal, descending=True, stable=True)
    mixing = _mixing(hessian, order)
    codes = _rounded(weights, mixing, (order, scales), grid)
    del mixing
    for _ in range(_SWEEPS):
        scales = _refitted(weights, codes, scales, hessian, grid)
    return codes, scales


def _mixing(hessian: Tensor, order: Tensor) -> Tensor:
    """M of H = M D M^T with its inputs in `order`."""
    import torch

    backward = order.flip(0)
    mean, damping = float(hessian.diagonal().mean()) or 1.0, _DAMPING
    failed = torch.zeros((), dtype=torch.int32)
    while damping <= _MOST_DAMPING:
        factor = hessian[backward[:, None], backward]
        factor.diagonal().add_(damping * mean)
        torch.linalg.cholesky_ex(factor, out=(factor, failed))
        if not int(failed) and bool(factor.diagonal().isfinite().all()):
            upper = factor.flip(0, 1)
            return upper.div_(upper.diagonal().clone())
        damping *= 10
    raise BadInputError(
        "What goes into a linear layer has no Cholesky factor even when damped.", "calibrate with more text."
    )


def _rounded(weights: Tensor, mixing: Tensor, fixed: tuple[Tensor, Tensor], grid: Grid) -> Tensor:
    """The codes; everything is turned, so that inputs are rows."""
    import torch

    order, scales = fixed
    target = weights.t()[order]
    apart, codes = target.clone(), torch.empty_like(target)  # apart becomes w - v, row by row

    def run(begin: int, end: int) -> None:
        if end - begin <= _COLUMNS:
            steps = scales.t()[order[begin:end] // grid.group]
            for place, step, inverted in zip(range(begin, end), steps, inverse(steps), strict=True):
                if place > begin:
                    target[place].addmv_(apart[begin:place].t(), mixing[begin:place, place])
                torch.mul(target[place], inverted, out=codes[place]).round_().clamp_(grid.low, grid.high)
                apart[place].addcmul_(codes[place], step, value=-1)
            return
        middle = (begin + end) // 2
        run(begin, middle)
        target[middle:end].addmm_(mixing[begin:middle, middle:end].t(), apart[begin:middle])
        run(middle, end)

    run(0, len(order))
    target[order] = codes
    return target.t().contiguous()


def _refitted(weights: Tensor, codes: Tensor, scales: Tensor, hessian: Tensor, grid: Grid) -> Tensor:
    """Scales that are best for the codes, group after group, the others being as they are."""
    import torch

    rows = len(weights)
    grouped = codes.view(rows, -1, grid.group)
    apart = weights - (grouped * scales[..., None]).view_as(weights)
    # damped as the codes were: a group of inputs that are nearly nothing must not make up for others by a huge scale
    damping = _DAMPING * float(hessian.diagonal().mean())
    slope = (apart @ hessian).add_(apart, alpha=damping)
    fitted = scales.clone()
    for number in range(grouped.shape[1]):
        place = slice(number * grid.group, (number + 1) * grid.group)
        own = grouped[:, number]
        curve = ((own @ hessian[place, place]) * own).sum(-1) + damping * own.square().sum(-1)
        better = grid.kept(fitted[:, number] + (own * slope[:, place]).sum(-1) * inverse(curve))
        better = torch.where(better.isfinite(), better, fitted[:, number])
        moved = better - fitted[:, number]
        slope.addmm_(own * moved[:, None], hessian[place], alpha=-1)
        slope[:, place].addcmul_(own, moved[:, None], value=-damping)
        fitted[:, number] = better
    return fitted
