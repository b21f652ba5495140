"""Maximum mean discrepancy: whether rows or embeddings, all columns together, come from another distribution.

Both samples are cut into blocks, each block's discrepancy is counted, and the mean of them is compared with what it is
when rows are exchanged within blocks: an exact test whose time grows with the number of rows, not with its square
(Gretton et al. 2012, JMLR 13:723; blocks: Zaremba, Gretton & Blaschko 2013, "B-tests").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

BLOCK = 128  # rows of each sample in a block
_FEW = 8  # exchanges as far as what was seen, after which more of them are not worth their time
_FIRST, _LARGEST = 25, 400  # exchanges at a time: few first, as few are enough where nothing moved
_MEDIAN_ROWS = 400


def width(rows: NDArray[Any]) -> float:
    """The median distance of two rows (M, D): the kernel's width (Gretton et al. 2012, section 8); 1 if it is 0."""
    some = np.asarray(rows[:_MEDIAN_ROWS], dtype=np.float64)
    far = _distances(some)[np.triu_indices(len(some), 1)]
    found = float(np.sqrt(np.median(far))) if len(far) else 0.0
    return found or 1.0


def mmd(
    reference: NDArray[Any], window: NDArray[Any], wide: float, rng: np.random.Generator, least_p: float = 1e-3
) -> tuple[float, float]:
    """The squared discrepancy of rows (M, D) and (N, D) under a Gaussian kernel, and the p-value of "there is none".

    As many rows of each are used as the smaller sample has, the larger one's drawn by lot. p-values go down to about
    `least_p`; it takes 1 / `least_p` exchanges only where the first ones say that it is worth it (Besag & Clifford
    1991), so the usual look is quick. Raises `BadInputError` for fewer than two rows.
    """
    kernels = list(_blocks(reference, window, wide, rng))
    seen = float(np.mean([_apart(kernel, _signs(len(kernel)))[0] for kernel in kernels]))
    as_far, done, step, most = 0, 0, _FIRST, int(np.ceil(1 / least_p))
    while done < most:
        drawn = [_apart(kernel, _exchanged(len(kernel), step, rng)) for kernel in kernels]
        hits = np.flatnonzero(np.mean(drawn, axis=0) >= seen - 1e-12)
        if as_far + len(hits) >= _FEW:
            return seen, _FEW / (done + int(hits[_FEW - as_far - 1]) + 1)
        as_far, done, step = as_far + len(hits), done + step, min(2 * step, _LARGEST)
    return seen, (1 + as_far) / (1 + done)


def _blocks(reference: NDArray[Any], window: NDArray[Any], wide: float, rng: np.random.Generator) -> list[Numbers]:
    """A kernel matrix (2B, 2B) for each block of B rows of both, the reference's first; 0 of a row with itself."""
    least = min(len(reference), len(window))
    if least < 2:
        raise BadInputError(f"{least} rows are no sample.", "wait for more requests.")
    a, b = (np.asarray(x, dtype=np.float64).reshape(len(x), -1) for x in (reference, window))
    a, b = (x[rng.permutation(len(x))[:least]] for x in (a, b))
    cuts = np.array_split(np.arange(least), max(1, least // BLOCK))
    return [_kernel(np.concatenate([a[cut], b[cut]]), wide) for cut in cuts]


def _kernel(rows: Numbers, wide: float) -> Numbers:
    found: Numbers = np.exp(_distances(rows) / (-2 * wide**2))
    np.fill_diagonal(found, 0.0)
    return found


def _distances(rows: Numbers) -> Numbers:
    """Squared distances of all pairs of rows (N, D): (N, N)."""
    squares: Numbers = np.einsum("nd,nd->n", rows, rows)
    found: Numbers = np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0.0)
    return found


def _apart(kernel: Numbers, signs: Numbers) -> Numbers:
    """The unbiased squared discrepancy for ways (2B, W) to call half of the rows reference (+1), half window (-1).

    Pairs of the same half, less pairs of different halves, each by their mean; no row is paired with itself.
    """
    half = len(kernel) // 2
    straight: Numbers = np.einsum("nw,nw->w", signs, kernel @ signs)
    total = float(kernel.sum())
    within, across = (total + straight) / 2, (total - straight) / 2
    return within / (half * (half - 1)) - across / half**2


def _signs(rows: int) -> Numbers:
    return np.repeat([1.0, -1.0], rows // 2)[:, None]


def _exchanged(rows: int, ways: int, rng: np.random.Generator) -> Numbers:
    """Random ways to split the rows in halves (rows, ways)."""
    ranks = np.argsort(rng.random((rows, ways)), axis=0)
    return np.where(ranks < rows // 2, 1.0, -1.0)
