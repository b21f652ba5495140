"""The linear regression of `linear_regression.py` in steps: several workers, packed gradients, distilled, quantised.

    pennyweight train recipes/linear_network.py --workers 2 --compress int8
    pennyweight optimize recipes/linear_network.py --levers distill,quantize

The table comes with scikit-learn (B. Efron, T. Hastie, I. Johnstone, R. Tibshirani 2004, Least Angle Regression): 442
patients, ten measurements, progression a year later, here in hundreds. Half of it is for training, a fifth for the
search; 133 patients are kept for the certificate. A small network learns it, and offers one linear layer as a student:
distilled, it is the linear regression. The floor: a root mean square error at most 10% above the network's, 95% sure.

Cost and reached (control, one core of a cloud CPU, torch 2.13, three seeds): 0.05 CPU seconds of training; an error of
0.56 to 0.59 on the select split, in hundreds. Distilled into one linear layer of 11 weights: 0.53 to 0.54.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np
from torch import nn

from pennyweight.core import Demand, Floor, Job, Slack, TrainSpec
from pennyweight.jobs import torch_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@final
class Network:
    """Dense 32 → Dense 32 → one value: 1,441 weights; `students` offers one linear layer: 11 weights."""

    def __call__(self) -> nn.Module:
        """A fresh network."""
        return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

    @property
    def students(self) -> dict[str, Callable[[], nn.Module]]:
        """The linear regression."""
        return {"linear": lambda: nn.Sequential(nn.Linear(10, 1))}


def job(_data: Path | None = None) -> Job:
    """The job: Adam at 3e-3, batches of 32, 20 epochs; 10 million predictions a year, one at a time."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True, scaled=False)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    return torch_job(
        "linear_network",
        Network(),
        (x.astype(np.float32), (y / 100).astype(np.float32)),
        Floor("rmse", 0.1, Slack.RATIO),
        train=TrainSpec(epochs=20, batch=32, optimizer="adam", lr=3e-3),
        demand=Demand(predictions=10e6),
        shares=(0.5, 0.2, 0.3),
    )
