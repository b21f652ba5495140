"""Runs on the ledger whose measured cost does not fit what alike runs cost."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.cost.count import count, count_training
from pennyweight.cost.keeping import computed_s
from pennyweight.cost.learn.nearest import Nearest
from pennyweight.engine.shop import observed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pennyweight.core import Count, Spec
    from pennyweight.store.records import RunRecord

FEWEST = 10  # runs that are alike, or there is nothing to compare with
ODD = 4.0  # deviations of the runs that are alike
FAR = 1.3  # times as much, or as little: less is nothing to look into
_RIDGE = 1.0  # in runs: with few of them, slopes are small
_LEAST = 1e-3


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A run that took `measured_s` core seconds for `what`, where `alike` others let expect `expected_s`.

    `score` is how many deviations that is; `kind` says what the others have in common with it.
    """

    run: RunRecord
    what: str
    kind: str
    measured_s: float
    expected_s: float
    score: float
    alike: int


@dataclass(frozen=True, slots=True)
class Oddities:
    """What does not fit, most striking first; of how many `runs`; `alone` of them had too few alike to be judged."""

    found: tuple[Anomaly, ...]
    runs: int
    alone: int


@dataclass(frozen=True, slots=True)
class _Figure:
    run: RunRecord
    what: str
    kind: str
    seconds: float
    place: tuple[float, ...]


def anomalies(runs: Sequence[RunRecord]) -> Oddities:
    """Compare the core seconds of serving and training with those of runs of the same runtime and precision.

    Operations, bytes and calls of operators take their time at rates that fit all; what this leaves unexplained is
    predicted for each run from the others by locally weighted regression. A run is odd beyond `ODD` deviations and a
    factor of `FAR`. Deviations of a run far from all others count less, by as many times as it is farther than usual.
    Runs with fewer than `FEWEST` alike, themselves included, are not judged.
    """
    alike: defaultdict[tuple[str, str], list[_Figure]] = defaultdict(list)
    for run in runs:
        for figure in _figures(run):
            alike[figure.what, figure.kind].append(figure)
    judged = [group for group in alike.values() if len(group) >= FEWEST]
    found = [anomaly for group in judged for anomaly in _odd(group)]
    known = {id(figure.run) for group in judged for figure in group}
    found.sort(key=lambda each: -abs(each.score))
    return Oddities(tuple(found), len(runs), sum(id(run) not in known for run in runs))


def _odd(group: Sequence[_Figure]) -> Iterator[Anomaly]:
    from pennyweight.cost.learn.weighted import LocallyWeightedRegression

    places, seconds = np.array([figure.place for figure in group]), np.array([figure.seconds for figure in group])
    physics, logs = _physics(np.exp(places[:, :-1]), seconds), np.log(seconds)
    scores, rest = LocallyWeightedRegression(ridge=_RIDGE).judge(places, logs - physics)
    expected = physics + rest
    near = Nearest.of(places)
    apart = np.maximum(near.left_out() / near.limit, 1.0)
    for figure, log, score, usual in zip(group, logs, scores / apart, expected, strict=True):
        if abs(score) > ODD and abs(log - usual) > math.log(FAR):
            facts = figure.seconds, math.exp(usual), float(score), len(group) - 1
            yield Anomaly(figure.run, figure.what, figure.kind, *facts)


def _physics(parts: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of seconds (n,) as a sum of `parts` (n, d) and a constant, at rates that fit best in relative error.

    Relative to what was measured: a run that took far too long hardly pulls the rates.
    """
    from scipy.optimize import nnls

    matrix = np.column_stack([parts, np.ones(len(parts))]) / seconds[:, None]
    size = matrix.max(axis=0)
    rates, _ = nnls(matrix / size, np.ones(len(seconds)))
    found: NDArray[np.float64] = np.log(np.maximum(matrix @ (rates / size), _LEAST) * seconds)
    return found


def _figures(run: RunRecord) -> Iterable[_Figure]:
    seen = observed(run)
    spec, trained = seen.spec, seen.trained or seen.spec
    serve = spec.serve
    unit_s = computed_s(seen.unit_s, serve)  # hits say nothing about the model
    if unit_s > 0:
        kind = f"{serve.runtime}, {serve.precision}, {serve.threads} threads"
        yield _Figure(run, "serving", kind, unit_s, _place(spec, count(spec), 1.0, serve.batch))
    if seen.train_s > 0:
        kind, train = f"{trained.form.value}, {trained.train.precision}", trained.train
        place = _place(trained, count_training(trained), trained.passes, train.batch)
        yield _Figure(run, "training", kind, seen.train_s, place)


def _place(spec: Spec, work: Count, rows: float, batch: int) -> tuple[float, ...]:
    """Logarithms of what takes time (operations, bytes, calls of operators), and of the batch."""
    calls = sum(op.times for op in spec.ops) * rows / batch
    return tuple(math.log(max(size, _LEAST)) for size in (work.flop, work.hbm_byte, calls, batch))
