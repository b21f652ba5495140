"""How small a loss of quality a certify split can show, before anything is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core import Slack
from pennyweight.core.look import SPENT
from pennyweight.evals import load
from pennyweight.evals.paired import PairedTest, least_n, needed
from pennyweight.evals.studentized import p_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.core import Floor
    from pennyweight.data.splits import Arrays

_BY_CLASS = frozenset({"balanced_accuracy", "recall"})  # what one answer can do to them follows from y alone
_RANKING = frozenset({"roc_auc", "pr_auc"})  # likewise
_MACRO = _BY_CLASS | {"precision", "f1"}  # means over classes
_MUCH = 2_000_000  # rows times classes: ranking more takes seconds, for a number that is rarely the limit there
_LARGE = 1_000_000  # examples
_DIFFERS = 2.0  # times the loss that may be: the share of answers in which a typical candidate differs


@dataclass(frozen=True, slots=True)
class Power:
    """What `n` independent examples to certify (a `unit`: rows, groups or sequences) can show at `floor`.

    `least`: fewer could not even certify a candidate that never does worse than the control (or, under an absolute
    floor, never errs). `likely`: about so many certify, with chance 0.8, one that is as good as the control but answers
    the share `differs` otherwise (or that errs half as often as an absolute floor allows); None where that cannot be
    told without measuring. `finest`: the smallest amount of such a floor (for an absolute one, the highest) for which
    n are enough at all, None if there is no such bound.
    """

    floor: Floor
    n: int
    unit: str
    least: int
    likely: int | None
    differs: float
    finest: float | None

    def __str__(self) -> str:
        """In words."""
        said = [f"The certify split has {self.n} {self.unit}; to show {self.floor} takes at least {self.least}"]
        if self.likely is None:
            said.append(
                "; how many more depends on how unlike candidate and control answer, which only measuring tells"
            )
        elif self.floor.slack is Slack.ABSOLUTE:
            said.append(f", and about {self.likely} for a model that errs half as often as that allows")
        else:
            said.append(
                f", and about {self.likely} for a candidate that is as good as the control but answers "
                f"{100 * self.differs:.2g}% of them otherwise"
            )
        if self.finest is not None:
            said.append(f". The finest floor that {self.n} could show is {_amount(self.floor, self.finest)}")
        return "".join(said) + "."


def power(floor: Floor, certify: Arrays) -> Power:
    """What the rows to `certify` can show at a floor: a lower bound from the real test, and an estimate."""
    n, unit = independent(certify)
    loss = _loss(floor)
    differs = 0.0 if floor.slack is Slack.ABSOLUTE else min(1.0, _DIFFERS * loss)
    least = least_examples(floor, certify)
    strict = _at_first_look(floor)
    return Power(floor, n, unit, least, _likely(strict, certify, least), differs, _finest(strict, certify))


def independent(rows: Arrays) -> tuple[int, str]:
    """The number of independent examples, and what they are."""
    if rows.groups is not None:
        return len(np.unique(rows.groups)), "groups"
    return len(rows), "sequences" if rows.y.ndim == 2 else "rows"


def enough(floor: Floor, certify: Arrays) -> bool:
    """Whether there are as many independent examples as `least_examples` asks for; quicker than asking for those."""
    return _enough(_at_first_look(floor), _span(floor.metric, certify.y), independent(certify)[0])


def least_examples(floor: Floor, certify: Arrays) -> int:
    """The fewest independent examples, of classes in the shares of `certify`, with which anything can be certified.

    Found by the test itself, on a candidate that answers as the control does (under an absolute floor: without a
    fault). Where one answer can move the metric much, as that to a rare class moves balanced accuracy, many are needed.
    """
    strict, span = _at_first_look(floor), _span(floor.metric, certify.y)
    low, high = 0, least_n(strict)
    while not _enough(strict, span, high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _enough(strict, span, middle) else (middle, high)
    return high


def _at_first_look(floor: Floor) -> Floor:
    """The floor at the level of the first look at the certify split, which leaves some for a second."""
    return replace(floor, confidence=1 - SPENT * (1 - floor.confidence))


def _enough(floor: Floor, span: float | None, n: int) -> bool:
    effect, alpha = _loss(floor), 1 - floor.confidence
    if n < least_n(floor):
        return False
    if span is None or not 0 < effect < 1:
        return True
    if n > _LARGE:
        return n * effect >= -math.log(alpha) * span  # what the test comes to as n grows
    return p_value(effect, np.zeros(n), span, alpha) <= alpha


def _span(metric: str, y: NDArray[Any]) -> float | None:
    """The most by which one answer can move a metric that is not the share of right answers, if it has a bound."""
    if metric in _BY_CLASS:
        return load(metric).measure(y, y).span
    if metric not in _RANKING:
        return None
    classes = int(y.max()) + 1
    if classes <= 2:
        return load(metric).measure(y, y).span
    if classes * len(y) > _MUCH:
        return None
    return load(metric).measure(y, np.eye(classes, dtype=np.uint8)[y]).span


def _loss(floor: Floor) -> float:
    """By how much a faultless candidate, or one that is like the control, clears the floor."""
    return 1 - floor.amount if floor.slack is Slack.ABSOLUTE else floor.amount


def _likely(floor: Floor, certify: Arrays, least: int) -> int | None:
    loss, spread = _loss(floor), _spread(floor.metric, certify.y)
    if spread is None or certify.groups is not None or not 0 < loss < 1:
        return None
    wrong = loss / 2
    absolute = floor.slack is Slack.ABSOLUTE
    effect, variance = (wrong, wrong * (1 - wrong)) if absolute else (loss, min(1.0, _DIFFERS * loss))
    guess = needed(floor, PairedTest(math.nan, "", 1, effect, math.nan, math.sqrt(spread * variance)))
    return None if guess is None else max(least, guess)


def _spread(metric: str, y: NDArray[Any]) -> float | None:
    """How many times more a wrong answer here and there moves the metric than it moves accuracy, as a variance."""
    if load(metric).counts_right:
        return 1.0
    if metric not in _MACRO:
        return None
    shares = np.unique(y, return_counts=True)[1] / len(y)
    return float((1 / shares).mean() / len(shares))


def _finest(floor: Floor, certify: Arrays) -> float | None:
    """The smallest loss for which there are enough, by bisection, as the amount of a floor of that kind."""
    span = _span(floor.metric, certify.y)
    if span is None and not load(floor.metric).counts_right:
        return None
    n, absolute = independent(certify)[0], floor.slack is Slack.ABSOLUTE
    low, high = 0.0, 1.0
    for _ in range(24):
        middle = (low + high) / 2
        shown = _enough(replace(floor, amount=1 - middle if absolute else middle), span, n)
        low, high = (low, middle) if shown else (middle, high)
    return 1 - high if absolute else high


def _amount(floor: Floor, amount: float) -> str:
    if floor.slack is Slack.ABSOLUTE:
        return f"{floor.metric} at least {amount:.4g}"
    return f"{100 * amount:.2g}{' points' if floor.slack is Slack.POINTS else '%'}"
