"""What is asked for: the work, the floor, the demand and the limits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pennyweight.core.spec import Task
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from pennyweight.core.score import Floor
    from pennyweight.core.spec import Spec

_DAY_S = 86400.0
_NO_DAYS = 1e-9  # a horizon has to be above zero
_REGRESSION = frozenset({"rmse", "mae", "r2"})
_LANGUAGE = frozenset({"perplexity", "log_loss"})
_DOES = {Task.CLASSIFY: "classify", Task.REGRESS: "predict values", Task.LANGUAGE: "predict the next token"}


class Objective(StrEnum):
    """Which dollars are to become few: those of the whole horizon, or those of finding and training alone."""

    TOTAL = "total"
    TRAIN = "train"


@dataclass(frozen=True, slots=True)
class Demand:
    """How often the model will be used: `predictions` in all over `days`, arriving `batch` at a time.

    `data_days` are the days for which the training data is kept, at the price of stored bytes, for trainings to come.
    `repeats` is the share of examples that were asked before, of late and exactly so; `latency_s` the seconds within
    which an answer has to be there (None: nobody waits for it, or nobody has said).
    """

    predictions: float = 1e6
    days: float = 365.0
    batch: int = 1
    data_days: float = 0.0
    repeats: float = 0.0
    latency_s: float | None = None

    def __post_init__(self) -> None:
        if not (self.predictions >= 0 and math.isfinite(self.predictions) and self.days > 0 and self.batch >= 1):
            raise BadInputError(
                f"A demand of {self.predictions:g} predictions over {self.days:g} days in batches of {self.batch} "
                "cannot be served.",
                "give zero or more predictions, a horizon above zero days and a batch of at least one.",
            )
        if not (self.data_days >= 0 and math.isfinite(self.data_days)):
            raise BadInputError(f"Training data cannot be kept for {self.data_days:g} days.", "give zero days or more.")
        if not 0 <= self.repeats < 1:
            raise BadInputError(f"{self.repeats:g} is no share of repeats.", "give zero or more, and less than one.")
        if self.latency_s is not None and not 0 < self.latency_s < math.inf:
            raise BadInputError(f"No answer is there within {self.latency_s:g} seconds.", "allow more than none.")

    @property
    def requests_s(self) -> float:
        """Requests per second, on average over the horizon."""
        return self.predictions / self.batch / (self.days * _DAY_S)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the search may spend at most (`usd`, `wall_s`, `trials`) and the memory that must suffice."""

    usd: float | None = None
    wall_s: float | None = None
    memory_byte: float | None = None
    trials: int | None = None

    def __post_init__(self) -> None:
        for name in ("usd", "wall_s", "memory_byte", "trials"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise BadInputError(f"A limit of {name} = {value:g} leaves nothing to work with.", "set it above zero.")


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to do, as asked; refuses contradictions when made.

    `backend` is the file name of the backend that opens it; `material` is what that backend needs (model factory,
    data), opaque here and no part of equality; `fingerprint` names model and data by content, so that the ledger
    recognises the job when it comes again. `objective` says which dollars count; see `to_train`.
    """

    name: str
    spec: Spec
    floor: Floor
    demand: Demand = field(default_factory=Demand)
    limits: Limits = field(default_factory=Limits)
    backend: str = "torch"
    fingerprint: str = ""
    material: Any = field(default=None, compare=False, repr=False)
    objective: Objective = Objective.TOTAL

    def __post_init__(self) -> None:
        if not self.name:
            raise BadInputError("A job without a name cannot be found again.", "give it a name.")
        task, metric = self.spec.data.task, self.floor.metric
        fitting = {
            Task.REGRESS: metric in _REGRESSION,
            Task.LANGUAGE: metric in _LANGUAGE,
            Task.CLASSIFY: metric not in _REGRESSION and metric != "perplexity",
        }[task]
        if not fitting:
            raise BadInputError(
                f"The floor is on {metric}, but the job is to {_DOES[task]}.",
                f"use {', '.join(sorted(_REGRESSION))}."
                if task is Task.REGRESS
                else "use perplexity or log_loss: language models are scored by how likely they find the next token."
                if task is Task.LANGUAGE
                else "use a metric of classification, such as accuracy.",
            )

    def to_train(self) -> Job:
        """The same job where only finding and training count: no predictions, and stored for no time."""
        demand = replace(self.demand, predictions=0.0, days=_NO_DAYS)
        return replace(self, demand=demand, objective=Objective.TRAIN)
