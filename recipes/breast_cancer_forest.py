"""Gradient-boosted trees on the Wisconsin breast-cancer table: 569 rows of 30 measurements, benign or malignant.

    pennyweight optimize recipes/breast_cancer_forest.py

The table comes with scikit-learn (W. Wolberg, O. Mangasarian, N. Street, W. Street: Breast Cancer Wisconsin
(Diagnostic), UCI). Two fifths of it are for training, a fifth for the search; 227 rows are kept for the certificate. So
few can show that at most 4 points of accuracy are lost, hardly less: a candidate may make three more errors there than
the control.

Cost and reached (control, one core of a cloud CPU, scikit-learn 1.9): a quarter of a CPU second of training; 96.5% of
the select split and 93.0% of the certify split right. Certified in its place: half as many stages with steps twice as
long, in ONNX Runtime, at some 2% of the control's cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pennyweight.core import Demand, Floor, Job, TrainSpec
from pennyweight.jobs import sklearn_job

if TYPE_CHECKING:
    from pathlib import Path


def job(_data: Path | None = None) -> Job:
    """The job: scikit-learn's default of 100 stages of depth 3; 10 million predictions a year, one at a time."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier

    x, y = load_breast_cancer(return_X_y=True)
    return sklearn_job(
        "breast_cancer_forest",
        GradientBoostingClassifier(random_state=0),
        (x.astype(np.float32), y),
        Floor("accuracy", 0.04),
        train=TrainSpec(epochs=1),
        demand=Demand(predictions=10e6),
        shares=(0.4, 0.2, 0.4),
    )
