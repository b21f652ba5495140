"""How good an answer is, and the least that is acceptable."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum
from statistics import NormalDist

from pennyweight.errors import BadInputError
from pennyweight.units import parse_share, percent

_ERRORS = frozenset({"log_loss", "perplexity", "rmse", "mae"})


def higher_is_better(metric: str) -> bool:
    """Whether more of `metric` is better; the errors (log loss, perplexity, RMSE, MAE) are the exceptions."""
    return metric not in _ERRORS


@dataclass(frozen=True, slots=True)
class Score:
    """One metric on `n` examples: its mean and the standard error of that mean."""

    metric: str
    mean: float
    se: float
    n: int

    @property
    def higher_is_better(self) -> bool:
        """The direction of the metric."""
        return higher_is_better(self.metric)

    def bound(self, confidence: float) -> float:
        """The one-sided pessimistic bound on the true value at `confidence` (normal approximation)."""
        reach = NormalDist().inv_cdf(confidence) * self.se
        return self.mean - reach if self.higher_is_better else self.mean + reach


class Slack(Enum):
    """What a floor is measured against."""

    ABSOLUTE = "absolute"  # the metric itself
    POINTS = "points"  # the control's value, minus so much
    RATIO = "ratio"  # the control's value, worse by such a share


@dataclass(frozen=True, slots=True)
class Floor:
    """The least quality that is acceptable, and how sure one must be.

    With `Slack.ABSOLUTE`, `amount` is the least (for errors: the most) value of the metric. With `Slack.POINTS` it is
    how far the metric may fall (for errors: rise) from the control's. With `Slack.RATIO` it is by what share of the
    control's value. `confidence` is one minus the chance of a false certificate.
    """

    metric: str
    amount: float
    slack: Slack = Slack.POINTS
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not 0.5 < self.confidence < 1:
            raise BadInputError(
                f"A confidence of {self.confidence:g} cannot be asked for.", "use a number between 0.5 and 1."
            )
        if not math.isfinite(self.amount) or (self.slack is not Slack.ABSOLUTE and self.amount < 0):
            raise BadInputError(
                f"A floor cannot give up {self.amount:g} of {self.metric}.", "give up zero or more, such as 0.3%."
            )

    @classmethod
    def parse(cls, text: str, confidence: float = 0.95) -> Floor:
        """Read ``"accuracy=98.5%"`` as an absolute floor."""
        match = re.fullmatch(r"\s*([a-z0-9_]+)\s*=\s*(.+)", text)
        if match is None:
            raise BadInputError(f"{text!r} is not a floor.", "write the metric and its least value: accuracy=98.5%.")
        return cls(match[1], parse_share(match[2]), Slack.ABSOLUTE, confidence)

    def threshold(self, control: Score | None = None) -> float:
        """The value of the metric at which the floor lies, given the `control`'s score if the floor is relative."""
        if self.slack is Slack.ABSOLUTE:
            return self.amount
        if control is None:
            raise BadInputError("A relative floor has no value without the control.", "measure the control first.")
        fall = self.amount if self.slack is Slack.POINTS else self.amount * abs(control.mean)
        return control.mean - fall if higher_is_better(self.metric) else control.mean + fall

    def holds(self, score: Score, control: Score | None = None) -> bool:
        """Whether the pessimistic bound on `score` is no worse than the floor."""
        if score.metric != self.metric:
            raise BadInputError(f"A floor on {self.metric} says nothing about {score.metric}.", "score that metric.")
        least = self.threshold(control)
        bound = score.bound(self.confidence)
        return bound >= least if score.higher_is_better else bound <= least

    def chance(self, score: Score, control: Score | None = None) -> float:
        """The probability that the true value behind `score` is no worse than the floor (normal approximation)."""
        least = self.threshold(control)
        gap = score.mean - least if score.higher_is_better else least - score.mean
        gap += 1e-12 * abs(least)  # a score exactly on the floor keeps it, whatever rounding says
        if score.se == 0:
            return float(gap >= 0)
        return NormalDist().cdf(gap / score.se)

    def __str__(self) -> str:
        sure = f"{percent(self.confidence, 0)} sure"
        if self.slack is Slack.ABSOLUTE:
            side = "at least" if higher_is_better(self.metric) else "at most"
            return f"{self.metric} {side} {self.amount:g}, {sure}"
        unit = f"{100 * self.amount:g} points" if self.slack is Slack.POINTS else f"{100 * self.amount:g}%"
        return f"{self.metric} at most {unit} worse than the control, {sure}"
