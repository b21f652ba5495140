"""Linear regression on scikit-learn's diabetes table: 442 patients, ten measurements, progression a year later.

    pennyweight optimize recipes/linear_regression.py

The table comes with scikit-learn (B. Efron, T. Hastie, I. Johnstone, R. Tibshirani 2004, Least Angle Regression). Half
of it is for training, a fifth for the search; 133 patients are kept for the certificate. The floor: a root mean square
error at most 5% above the control's, 95% sure.

Cost and reached (control, one core of a cloud CPU, scikit-learn 1.9): 6 CPU milliseconds of training; an error of 53.8
on the select split. Certified in its place: the same model in ONNX Runtime, at some 5% of the control's cost; half of
the features do as well, but choosing ten numbers costs more than multiplying them.

`linear_network.py` is the same regression for what takes steps: several workers, packed gradients, a teacher.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pennyweight.core import Demand, Floor, Job, Slack, TrainSpec
from pennyweight.jobs import sklearn_job

if TYPE_CHECKING:
    from pathlib import Path


def job(_data: Path | None = None) -> Job:
    """The job: ordinary least squares; 10 million predictions a year, one at a time."""
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import LinearRegression

    x, y = load_diabetes(return_X_y=True)
    return sklearn_job(
        "linear_regression",
        LinearRegression(),
        (x.astype(np.float32), y),
        Floor("rmse", 0.05, Slack.RATIO),
        train=TrainSpec(epochs=1),
        demand=Demand(predictions=10e6),
        shares=(0.5, 0.2, 0.3),
    )
