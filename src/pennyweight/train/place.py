"""Where a training is: its counters and losses, when the judge sits next, and the random numbers still to come."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, final

if TYPE_CHECKING:
    from torch import Tensor

    from pennyweight.train.how import Judge


class Resumable(Protocol):
    """A part of a training whose state can be taken and given back."""

    def state(self) -> dict[str, Any]:
        """All that its next steps depend on."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""


@final
@dataclass
class Place:
    """What was done so far: rows and changes of the weights, the losses, the best weights on what is held back.

    `total` and `seen` sum up the losses and rows of the pass that is open; `fresh` says that no gradients are waiting
    for more to add up.
    """

    rows: int = 0
    updates: int = 0
    total: float = 0.0
    seen: int = 0
    loss: float = 0.0
    fresh: bool = True
    quality: float | None = None
    judged: int = 0
    history: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best: dict[str, Tensor] | None = None

    def count(self, loss: float, rows: int, *, fresh: bool) -> None:
        """Take in the loss of one mini-batch."""
        self.rows += rows
        self.total += loss * rows
        self.seen += rows
        self.fresh = fresh

    def state(self) -> dict[str, Any]:
        """All of it."""
        return dict(vars(self))

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        vars(self).update(state)


@final
class Sitting:
    """When the judge sits within a pass: not sooner than asked for, nor for more than its share of time."""

    def __init__(self, judge: Judge | None) -> None:
        self._judge = judge
        self._ended_s, self._took_s = time.perf_counter(), 0.0

    def due(self) -> bool:
        """Whether it is time."""
        if self._judge is None:
            return False
        return time.perf_counter() - self._ended_s > max(self._judge.every_s, self._took_s / self._judge.most)

    def __enter__(self) -> None:
        self._began_s = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._ended_s = time.perf_counter()
        self._took_s = self._ended_s - self._began_s


def torch_random(state: Tensor | None = None) -> Tensor:
    """The state of torch's own generator of random numbers, after setting it if one is given."""
    import torch

    if state is not None:
        torch.random.set_rng_state(state)
    return torch.random.get_rng_state()
