"""What ails a training, where and since when, and what cures it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Ill(StrEnum):
    """What can be found."""

    NOT_A_NUMBER = "not a number"
    EXPLODING = "exploding gradients"
    VANISHING = "vanishing gradients"
    DEAD = "dead units"
    SPIKE = "loss spike"
    BAD_ROWS = "rows that are no numbers"


class Cure(StrEnum):
    """What can be done about it."""

    CLIP = "clip"  # bound the norm of the gradient
    LOWER = "lower"  # a lower learning rate
    RELOAD = "reload"  # back to the last good weights, other batches from there
    SKIP = "skip"  # train without the rows at fault
    RESCALE = "rescale"  # begin again from weights that keep the scale of activations


_ADVICE = {
    Cure.CLIP: "bound the norm of the gradient (clip_norm=1) and halve the learning rate",
    Cure.LOWER: "train on at a third of the learning rate",
    Cure.RELOAD: "go back to the last good weights and go on with other batches, at 0.7 of the learning rate",
    Cure.SKIP: "leave these rows out",
    Cure.RESCALE: "begin with weights that keep the scale of activations from layer to layer",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` ails `where` (the name of a layer or parameter) since step `since`; `value` says how much."""

    what: Ill
    where: str
    since: int
    value: float
    cure: Cure

    @property
    def advice(self) -> str:
        """The cure in words."""
        return _ADVICE[self.cure]

    def __str__(self) -> str:
        return f"{self.what.value} in {self.where} since step {self.since} ({self.value:.3g}). Cure: {self.advice}."

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "what": self.what.value,
            "where": self.where,
            "since": self.since,
            "value": self.value,
            "cure": self.cure.value,
            "advice": self.advice,
        }
