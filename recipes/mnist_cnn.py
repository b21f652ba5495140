"""MNIST with a small convolutional network: 60,000 handwritten digits to learn from, at most 0.3 points to lose.

    pennyweight optimize recipes/mnist_cnn.py --data DIR

DIR holds `mnist.npz` with x_train, y_train, x_test, y_test as uint8 (Y. LeCun, C. Cortes, C. Burges: The MNIST database
of handwritten digits). The control is trained on 50,000 images, the search looks at the next 10,000, and the official
10,000 test images are kept for the certificate.

Cost and reached (control, one core of a cloud CPU with AVX-512, torch 2.13): 80 CPU seconds of training; 98.5% of the
select split and 98.7% of the test images right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from pennyweight.core import Demand, Floor, Job, TrainSpec
from pennyweight.data.splits import Arrays, Splits
from pennyweight.errors import BadInputError
from pennyweight.jobs import torch_job

if TYPE_CHECKING:
    from pathlib import Path

TRAIN_ROWS = 50_000


def network() -> nn.Module:
    """Conv 32 → pool → Conv 64 → pool → Conv 64 → Dense 64 → Dense 10, the tutorials' own: 93,322 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 3 * 3, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def job(data: Path) -> Job:
    """The job on the folder `data`: Adam at 1e-3, batches of 128, five epochs; 10 million predictions a year."""
    return torch_job(
        "mnist_cnn",
        network,
        read(data),
        Floor("accuracy", 0.003),
        train=TrainSpec(epochs=5, batch=128, optimizer="adam", lr=1e-3),
        demand=Demand(predictions=10e6),
    )


def read(folder: Path) -> Splits:
    """The images as float32 in [0, 1] of shape (1, 28, 28), in three splits."""
    path = folder / "mnist.npz" if folder.is_dir() else folder
    if not path.is_file():
        raise BadInputError(f"There is no {path}.", "give the folder that holds mnist.npz.")
    with np.load(path, allow_pickle=False) as file:
        missing = {"x_train", "y_train", "x_test", "y_test"} - set(file.files)
        if missing:
            raise BadInputError(f"{path.name} lacks {', '.join(sorted(missing))}.", "give the usual mnist.npz.")
        learn = Arrays(_images(file["x_train"]), file["y_train"].astype(np.int64))
        certify = Arrays(_images(file["x_test"]), file["y_test"].astype(np.int64))
    return Splits(learn.take(slice(0, TRAIN_ROWS)), learn.take(slice(TRAIN_ROWS, None)), certify)


def _images(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32)[:, None] / 255
