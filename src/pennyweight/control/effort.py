"""Steps weighed by their learning rate: the clock by which curves under a schedule look like curves without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.train.schedule import rate

if TYPE_CHECKING:
    from pennyweight.core import TrainSpec

_MOST = 2048


@final
class Effort:
    """How far `steps` changes of the weights bring a training, counted by the learning rates they are taken with.

    Where the rate goes to zero, as at the end of a cosine, little changes any more however many steps are left; over
    the sum of the rates, losses follow the same laws as under a constant rate (Tissue, Wang and Wang 2024, "Scaling law
    with learning rate annealing"). Scaled so that all steps are worth `steps`.
    """

    def __init__(self, settings: TrainSpec, steps: int) -> None:
        count = min(max(1, steps), _MOST)
        rates = np.array([rate(settings, round(at * steps / count), steps) for at in range(count)])
        worth = np.concatenate([[0.0], np.cumsum(np.maximum(rates, 1e-9))])
        self._steps = np.linspace(0.0, steps, count + 1)
        self._worth = worth * (steps / worth[-1])

    def __call__(self, step: float) -> float:
        """What the first `step` steps are worth."""
        return float(np.interp(step, self._steps, self._worth))

    def step(self, worth: float) -> float:
        """The step after which so much is done."""
        return float(np.interp(worth, self._worth, self._steps))
