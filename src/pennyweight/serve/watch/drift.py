"""Whether a window of requests is unlike the reference: each input, each output, and all inputs together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.serve.watch.ks import ks
from pennyweight.serve.watch.looks import Spending, holm
from pennyweight.serve.watch.mmd import mmd, width
from pennyweight.serve.watch.psi import counts, edges, psi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pennyweight.serve.watch.reference import Reference

MOST_COLUMNS = 256  # of the inputs that are looked at one by one; the others only together
TOGETHER = "inputs together"
_LEAST_P = 5e-5  # of rows together: less would take too long; who looks that often hears of drift by columns


@dataclass(frozen=True, slots=True)
class Finding:
    """One look at one thing: `p_value` is corrected for all things looked at; `index` is the PSI, nan for none."""

    of: str
    method: str
    statistic: float
    index: float
    p_value: float
    drifted: bool

    def __str__(self) -> str:
        return f"{self.of} drifted ({self.method} {self.statistic:.2g}, p = {self.p_value:.1g})"


@dataclass(frozen=True, slots=True)
class _Seen:
    of: str
    method: str
    statistic: float
    index: float
    p: float


def drifts(
    reference: Reference,
    window: tuple[NDArray[Any], NDArray[Any]],
    spending: Spending | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[Finding, ...]:
    """All findings about a window of rows (N, D) and the answers to them (N, K), the most certain first.

    Inputs: Kolmogorov-Smirnov column by column, and maximum mean discrepancy of whole rows, columns scaled by the
    reference. Outputs: the population stability of the class, and Kolmogorov-Smirnov of its probability, or of each
    value. The chance that any finding is a false alarm, within as many looks as are budgeted, is at most the alpha of
    `spending`: equal parts over looks; of each, half for rows together and half for all single things (Holm 1979).
    """
    spending, rng = spending or Spending(), rng or np.random.default_rng(0)
    rows, answers = window
    single = [*_inputs(reference.rows, rows), *_outputs(reference, answers)]
    seen = [*single, _together(reference.rows, rows, rng, max(spending.level / 4, _LEAST_P))]
    corrected = np.minimum(2 * np.append(holm(np.array([each.p for each in single])), seen[-1].p), 1.0)
    found = (
        Finding(each.of, each.method, each.statistic, each.index, float(p), bool(p <= spending.level))
        for each, p in zip(seen, corrected, strict=True)
    )
    return tuple(sorted(found, key=lambda each: each.p_value))


def _inputs(reference: NDArray[Any], rows: NDArray[Any]) -> Iterator[_Seen]:
    if reference.shape[1] <= MOST_COLUMNS:
        yield from _columns([f"input {n}" for n in range(reference.shape[1])], reference, rows)


def _outputs(reference: Reference, answers: NDArray[Any]) -> Iterator[_Seen]:
    if not reference.classes:
        yield from _columns(["output"], reference.answers, answers)
        return
    inner = np.arange(reference.answers.shape[1] - 1) + 0.5
    index, p = psi(*(counts(each.argmax(axis=1), inner) for each in (reference.answers, answers)))
    yield _Seen("class", "PSI", float(index), float(index), float(p))
    tops = [each.max(axis=1)[:, None] for each in (reference.answers, answers)]
    yield from _columns(["confidence"], *tops)


def _columns(names: list[str], reference: NDArray[Any], window: NDArray[Any]) -> Iterator[_Seen]:
    apart, p = ks(reference, window)
    for n, name in enumerate(names):
        inner = edges(reference[:, n])
        index, _ = psi(counts(reference[:, n], inner), counts(window[:, n], inner))
        yield _Seen(name, "KS", float(apart[n]), float(index), float(p[n]))


def _together(reference: NDArray[Any], rows: NDArray[Any], rng: np.random.Generator, least_p: float) -> _Seen:
    scale = reference.std(axis=0, dtype=np.float64)
    scale[scale == 0] = 1.0
    centre = reference.mean(axis=0, dtype=np.float64)
    a, b = (reference - centre) / scale, (rows - centre) / scale
    apart, p = mmd(a, b, width(a), rng, least_p)
    return _Seen(TOGETHER, "MMD", apart, float("nan"), p)
