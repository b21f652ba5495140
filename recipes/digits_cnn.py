"""scikit-learn's 1,797 handwritten digits of 8×8 pixels with a small convolutional network: seconds on any machine.

    pennyweight optimize recipes/digits_cnn.py

The data comes with scikit-learn (E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI). Half of it is
for training, a fifth for the search; 539 digits are kept for the certificate, enough to show that at most 3 points of
accuracy are lost.

Cost and reached (control, one core of a cloud CPU with AVX-512, torch 2.13): 3 CPU seconds of training; 97.5% of the
select split and 98.5% of the certify split right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from pennyweight.core import Demand, Floor, Job, TrainSpec
from pennyweight.jobs import torch_job

if TYPE_CHECKING:
    from pathlib import Path


def network() -> nn.Module:
    """Conv 32 → Conv 64 → pool → Dense 64 → Dense 10: 85,066 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def job(_data: Path | None = None) -> Job:
    """The job: Adam at 1e-3, batches of 32, 20 epochs; 10 million predictions a year."""
    from sklearn.datasets import load_digits

    pixels, digit = load_digits(return_X_y=True)
    images = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return torch_job(
        "digits_cnn",
        network,
        (images, digit),
        Floor("accuracy", 0.03),
        train=TrainSpec(epochs=20, batch=32, optimizer="adam", lr=1e-3),
        demand=Demand(predictions=10e6),
        shares=(0.5, 0.2, 0.3),
    )
