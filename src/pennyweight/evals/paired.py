"""Is the candidate really no worse than the floor allows? One pre-declared, valid test per kind of metric."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core import Floor, Slack
from pennyweight.errors import BadInputError
from pennyweight.evals import exact, load, studentized
from pennyweight.evals.accuracy import right_answers
from pennyweight.evals.bounded import betting, hoeffding_bentkus
from pennyweight.evals.metric import Measured, per_unit, standard_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.evals.metric import Metric

_POWER = 0.8
_SPENT = 0.02  # the share of the level spent on not knowing the control's true accuracy


@dataclass(frozen=True, slots=True)
class PairedTest:
    """How sure one may be that a candidate keeps a floor.

    `p_value` is at most alpha with chance at most alpha if the candidate breaks the floor; `test` names how it was
    found, on `n` independent examples (groups or sequences, if there are such). `effect` is by how much the
    candidate clears the floor, in the unit of the metric (for perplexity, of its logarithm unless the floor is in
    points), `se` its standard error and `low` its lower confidence bound (normal approximation).
    """

    p_value: float
    test: str
    n: int
    effect: float
    low: float
    se: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    y: NDArray[Any]
    candidate: NDArray[Any]
    control: NDArray[Any] | None
    groups: NDArray[Any] | None


def p_value(
    floor: Floor,
    y: NDArray[Any],
    p_candidate: NDArray[Any],
    p_control: NDArray[Any] | None,
    groups: NDArray[Any] | None = None,
) -> PairedTest:
    """Test the hypothesis that the candidate breaks the floor; a small p-value says that it keeps it.

    `y` and the predictions are as for the metric; `p_control` may be None if the floor is absolute. The test follows
    from the metric, the floor and the shape of the data alone, never from the result:

    - the share of right answers: exact (binomial; unconditional for pairs, `evals.exact`), whatever n;
    - the same over `groups` (N,) or sequences: Hoeffding-Bentkus or betting over their sums, whatever n;
    - everything else: the larger of t and bootstrap-t over the influence of each example, group or sequence, valid as
      n grows and refused below 30; for ROC AUC these are DeLong's placements.
    """
    answers = _Answers(np.asarray(y), p_candidate, p_control, None if groups is None else np.asarray(groups))
    if floor.slack is not Slack.ABSOLUTE and p_control is None:
        raise BadInputError("A relative floor cannot be tested without the control.", "predict with the control, too.")
    metric = load(floor.metric)
    if not metric.counts_right:
        return _smooth(*_in_nats(floor, metric), answers)
    if answers.y.ndim == 1 and groups is None:
        return _exact(floor, metric, answers)
    return _bounded(floor, metric, answers)


def least_n(floor: Floor) -> int:
    """The fewest independent examples with which any candidate can be certified, even one that never does worse."""
    alpha = 1 - floor.confidence
    if not load(floor.metric).counts_right:
        return studentized.LEAST_UNITS
    loss = 1 - floor.amount if floor.slack is Slack.ABSOLUTE else floor.amount
    if not 0 < loss < 1:
        return 1
    return math.ceil(math.log(alpha) / math.log1p(-loss))


def needed(floor: Floor, test: PairedTest) -> int | None:
    """How many fresh examples would certify, with chance 0.8, a candidate that is as good as `test` found it.

    None if it was found to break the floor, which no number of examples mends.
    """
    if test.effect <= 0 or not math.isfinite(test.se):
        return None
    reach = NormalDist().inv_cdf(floor.confidence) + NormalDist().inv_cdf(_POWER)
    return max(least_n(floor), math.ceil(test.n * (reach * test.se / test.effect) ** 2))


def margin(floor: Floor, metric: Metric, answers: _Answers) -> Measured:
    """By how much the candidate clears the floor, with each example's influence on that."""
    sign = 1.0 if metric.higher_is_better else -1.0
    ours = metric.measure(answers.y, answers.candidate)
    if floor.slack is Slack.ABSOLUTE or answers.control is None:
        return Measured(sign * (ours.value - floor.amount), sign * ours.influence, ours.span)
    theirs = metric.measure(answers.y, answers.control)
    value, influence = sign * (ours.value - theirs.value), sign * (ours.influence - theirs.influence)
    span = None if ours.span is None or theirs.span is None else max(ours.span, theirs.span)
    if floor.slack is Slack.POINTS:
        return Measured(value + floor.amount, influence, span)
    tilt = math.copysign(floor.amount, theirs.value)
    return Measured(value + tilt * theirs.value, influence + tilt * theirs.influence, span)


def _in_nats(floor: Floor, metric: Metric) -> tuple[Floor, Metric]:
    """A floor on perplexity, unless in points, is one on the mean log loss, where the mean is a plain mean."""
    if metric.name != "perplexity" or floor.slack is Slack.POINTS:
        return floor, metric
    if floor.slack is Slack.RATIO:
        return replace(floor, metric="log_loss", amount=math.log1p(floor.amount), slack=Slack.POINTS), load("log_loss")
    if floor.amount < 1:
        raise BadInputError(f"A perplexity of {floor.amount:g} is impossible.", "ask for one above 1.")
    return replace(floor, metric="log_loss", amount=math.log(floor.amount)), load("log_loss")


def _smooth(floor: Floor, metric: Metric, answers: _Answers) -> PairedTest:
    found = margin(floor, metric, answers)
    units = per_unit(found.influence, answers.groups)
    name = "DeLong t and bootstrap-t" if metric.name == "roc_auc" else "t and bootstrap-t"
    of_what = " over groups" if answers.groups is not None else " over sequences" if answers.y.ndim == 2 else ""
    p = studentized.p_value(found.value, units, found.span, 1 - floor.confidence)
    return _report(floor, p, name + of_what, (found.value, units, found.span))


def _exact(floor: Floor, metric: Metric, answers: _Answers) -> PairedTest:
    found = margin(floor, metric, answers)
    right = right_answers(answers.y, answers.candidate)[0] > 0
    if floor.slack is Slack.ABSOLUTE or answers.control is None:
        p, name = exact.binomial(int(right.sum()), len(right), floor.amount), "exact binomial"
    else:
        pairs = exact.Pairs.of(right, right_answers(answers.y, answers.control)[0] > 0)
        p = (
            exact.points(pairs, floor.amount)
            if floor.slack is Slack.POINTS
            else exact.ratio(pairs, floor.amount, _SPENT * (1 - floor.confidence))
        )
        name = "exact paired (Tango score)"
    return _report(floor, p, name, (found.value, found.influence, found.span))


def _bounded(floor: Floor, metric: Metric, answers: _Answers) -> PairedTest:
    found = margin(floor, metric, answers)
    right, size = _sums(answers.groups, *right_answers(answers.y, answers.candidate))
    if floor.slack is Slack.ABSOLUTE or answers.control is None:
        p, name = _bounded_absolute(floor, right, size), "Hoeffding-Bentkus"
    else:
        theirs, _ = _sums(answers.groups, *right_answers(answers.y, answers.control))
        p, name = _bounded_relative(floor, right, theirs, size), "betting"
    kind = "groups" if answers.groups is not None else "sequences"
    units = per_unit(found.influence, answers.groups)
    return _report(floor, p, f"{name} over {kind}", (found.value, units, found.span))


def _bounded_absolute(floor: Floor, right: NDArray[Any], size: NDArray[Any]) -> float:
    """Losses per group (G,), divided by the size of the largest and shifted so that their mean tells, lie in [0, 1]."""
    most = 1 - floor.amount
    return hoeffding_bentkus((size - right - most * size) / size.max() + most, most)


def _bounded_relative(floor: Floor, right: NDArray[Any], theirs: NDArray[Any], size: NDArray[Any]) -> float:
    """Gains per group (G,) over the least acceptable, divided by the size of the largest, lie between low and high."""
    keep, give = (1.0, floor.amount) if floor.slack is Slack.POINTS else (max(0.0, 1 - floor.amount), 0.0)
    gains = (right - keep * theirs + give * size) / size.max()
    low, high = give - keep, give + 1
    return betting((gains - low) / (high - low), -low / (high - low), 1 - floor.confidence)


def _sums(groups: NDArray[Any] | None, *columns: NDArray[Any]) -> list[NDArray[Any]]:
    if groups is None:
        return list(columns)
    codes = np.unique(groups, return_inverse=True)[1]
    return [np.bincount(codes, weights=column) for column in columns]


def _report(floor: Floor, p: float, name: str, found: tuple[float, NDArray[Any], float | None]) -> PairedTest:
    effect, units, span = found
    se = standard_error(units, span)
    low = effect - NormalDist().inv_cdf(floor.confidence) * se
    return PairedTest(p, name, len(units), effect, low, se)
