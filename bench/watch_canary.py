"""Canaries that are a point worse, and equal ones: how many requests it takes to see it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.report import table
from pennyweight.serve.watch.bets import Capital
from pennyweight.serve.watch.mixture import LEAST, evidence
from pennyweight.serve.watch.sequential import Canary, Terms, needed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

LOSS, WORSE, DIFFER = 0.05, 0.01, 0.02
LOOK, LOOKS = 500, 1000
TERMS = Terms(margin=WORSE)
SCORED = (("worse", WORSE), ("equal", 0.0))


def canaries(repeats: int) -> dict[str, float]:
    """Requests until a canary that is a point worse is rolled back, and until an equal one is promoted."""
    lines, figures = [], {}
    for name, share, step in (("half of requests", 0.5, 250), ("5% of requests", 0.05, 2000), ("shadow", 0.0, 50)):
        few = max(50, repeats // 3) if step > 1000 else repeats
        for kind, more in SCORED:
            took, worse, fine = _decided(few, step, share, more)
            key = f"{name.split()[0].replace('%', 'pct')}_{kind}"
            figures |= {
                f"canary_{key}_median": float(np.median(took)),
                f"canary_{key}_p95": float(np.quantile(took, 0.95)),
                f"canary_{key}_right": float((worse if kind == "worse" else fine).mean()),
            }
            said = needed(TERMS, share, LOSS if share else DIFFER)
            lines.append([name, kind, np.median(took), np.quantile(took, 0.95), said, worse.mean(), fine.mean(), few])
    heads = ["canary", "it is", "median requests", "95%", "stated", "rolled back", "promoted", "repeats"]
    table(heads, lines)
    return figures


def _decided(repeats: int, step: int, share: float, more: float) -> tuple[Numbers, NDArray[Any], NDArray[Any]]:
    """Requests until a decision (R,), and which it was."""
    rng = np.random.default_rng(0)
    begin = Canary.begin(TERMS, share, (repeats,)) if share else Canary.beside(TERMS, (repeats,))
    took, worse, fine = np.zeros(repeats), np.zeros(repeats, bool), np.zeros(repeats, bool)
    left, seen = np.arange(repeats), 0
    while len(left):
        seen += step
        begin = _more(begin, rng, step, share, more)
        lost, held = begin.worse.p_value <= TERMS.alpha, begin.fine.p_value <= TERMS.beta
        done = lost | held
        took[left[done]], worse[left[lost]], fine[left[held & ~lost]] = seen, True, True
        left, begin = left[~done], _only(begin, ~done)
    return took, worse, fine


def _more(canary: Canary, rng: np.random.Generator, step: int, share: float, more: float) -> Canary:
    shape = (len(canary.worse.peak), step)
    if not share:  # both answer: they differ in 2% of the requests
        lot = rng.random(shape)
        return canary.saw_difference((lot < (DIFFER + more) / 2) * 1.0 - (lot > 1 - (DIFFER - more) / 2))
    to_canary = rng.random(shape) < share
    return canary.saw(to_canary, rng.random(shape) < LOSS + more * to_canary, share)


def _only(canary: Canary, which: NDArray[np.bool_]) -> Canary:
    parts = {name: getattr(canary, name) for name in ("worse", "fine", "usual")}
    return replace(canary, **{name: _capital(each, which) for name, each in parts.items()})


def _capital(of: Capital, which: NDArray[np.bool_]) -> Capital:
    return Capital(of.logs[which], of.peak[which], of.n, of.total[which], of.squares[which])


def sums(repeats: int) -> dict[str, float]:
    """The same from sums alone, looked at every 500 requests: the mixture test."""
    rng, lines, figures = np.random.default_rng(1), [], {}
    for share in (0.5, 0.05):
        for kind, more in SCORED:
            worse, fine = _crossed(rng, repeats, share, more)
            took = (np.argmax(worse | fine, axis=1) + 1) * LOOK
            at = np.arange(repeats), np.argmax(worse | fine, axis=1)
            right = worse[at] if kind == "worse" else fine[at] & ~worse[at]
            found = float(np.median(took)), float(np.quantile(took, 0.95)), float(right.mean())
            names = ("median", "p95", "right")
            figures |= {
                f"sums_{round(100 * share)}pct_{kind}_{name}": value for name, value in zip(names, found, strict=True)
            }
            lines.append([f"{share:.0%}", kind, *found, *(float(each.any(axis=1).mean()) for each in (worse, fine))])
    table(["share", "it is", "median requests", "95%", "decided rightly", "ever worse", "ever fine"], lines)
    return figures


def _crossed(
    rng: np.random.Generator, repeats: int, share: float, more: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the sums say "worse" and "fine" at each look (R, looks)."""
    each = rng.binomial(LOOK, share, (repeats, LOOKS))
    sent = [np.cumsum(n, axis=1) for n in (each, LOOK - each)]
    lost = [np.cumsum(rng.binomial(n, p), axis=1) for n, p in ((each, LOSS + more), (LOOK - each, LOSS))]
    means = [(a + 0.5) / (n + 1) for a, n in zip(lost, sent, strict=True)]
    here, there = (m * (1 - m) / (n + 1) for m, n in zip(means, sent, strict=True))
    least = np.maximum(means[0], means[1] + WORSE)
    if_worse = np.maximum(here, least * (1 - least) / (sent[0] + 1)) + there
    ready, apart = np.minimum(*sent) >= LEAST, means[0] - means[1]
    bar = -np.log(TERMS.alpha)
    ways = ((apart, here + there), (WORSE - apart, if_worse))
    worse, fine = (ready & (evidence(way, variance, WORSE) >= bar) for way, variance in ways)
    return worse, fine
