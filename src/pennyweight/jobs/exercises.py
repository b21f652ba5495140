"""Small jobs on made-up data, of the usual kinds and many sizes: what a predictor learns a machine from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core import Demand, Floor, Slack, TrainSpec
from pennyweight.data.splits import Arrays, Splits
from pennyweight.jobs.making import sklearn_job, torch_job
from pennyweight.runtimes.base import installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from pennyweight.core import Job

BATCHES = (1, 64)
_CLASSES, _ROWS, _HELD_OUT = 10, 256, 128
_FLOOR = Floor("accuracy", 0.2, Slack.POINTS)
_TRAIN = TrainSpec(epochs=2, batch=64)


@dataclass(frozen=True)
class Convolutions:
    """Convolutions of these widths on square images of one channel, halved in size after each, and a dense layer."""

    widths: tuple[int, ...]
    pixels: int
    dense: int

    def __call__(self) -> nn.Module:
        """A fresh network."""
        from torch import nn

        layers: list[nn.Module] = []
        for n_in, n_out in pairwise((1, *self.widths)):
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        flat = self.widths[-1] * (self.pixels // 2 ** len(self.widths)) ** 2
        head = (nn.Flatten(), nn.Linear(flat, self.dense), nn.ReLU(), nn.Linear(self.dense, _CLASSES))
        return nn.Sequential(*layers, *head)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return (1, self.pixels, self.pixels)


@dataclass(frozen=True)
class Layers:
    """So many hidden layers of one width."""

    width: int
    depth: int
    features: int = 64

    def __call__(self) -> nn.Module:
        """A fresh network."""
        from torch import nn

        widths = (self.features, *[self.width] * self.depth)
        hidden = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
        return nn.Sequential(*hidden, nn.Linear(self.width, _CLASSES))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return (self.features,)


NETWORKS: dict[str, Convolutions | Layers] = {
    "cnn 8-16, 16 px": Convolutions((8, 16), 16, 32),
    "cnn 16-32, 12 px": Convolutions((16, 32), 12, 64),
    "cnn 32-32, 8 px": Convolutions((32, 32), 8, 32),
    "cnn 24-48, 28 px": Convolutions((24, 48), 28, 64),
    "mlp 6 x 128": Layers(128, 6),
    "mlp 2 x 1024": Layers(1024, 2),
}


def exercises() -> Iterator[Job]:
    """The exercises, each for one example at a time and for 64; which libraries are installed decides which there are.

    Labels follow a random linear rule, so that there is something to learn; what is learned does not matter.
    """
    for batch in BATCHES:
        if installed("torch"):
            for name, make in NETWORKS.items():
                splits = _splits(make.shape)
                yield _named(torch_job(name, make, splits, _FLOOR, train=_TRAIN, demand=Demand(batch=batch)))
        for estimator, features, classes in _estimators():
            name = f"{type(estimator).__name__}, {features} features, {classes} classes"
            splits = _splits((features,), classes)
            yield _named(sklearn_job(name, estimator, splits, _FLOOR, demand=Demand(batch=batch)))


def _named(job: Job) -> Job:
    return replace(job, name=f"exercise: {job.name}")


def _estimators() -> list[tuple[Any, int, int]]:
    """Estimators, each with a number of features and of classes."""
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    return [
        (RandomForestClassifier(40, max_depth=8, n_jobs=1, random_state=0), 12, 2),
        (RandomForestClassifier(120, n_jobs=1, random_state=0), 48, _CLASSES),
        (GradientBoostingClassifier(n_estimators=60, random_state=0), 12, 2),
        (GradientBoostingClassifier(n_estimators=20, random_state=0), 24, _CLASSES),
        (GradientBoostingClassifier(n_estimators=200, max_depth=2, random_state=0), 48, 2),
        (HistGradientBoostingClassifier(max_iter=40, random_state=0), 24, 2),
        (HistGradientBoostingClassifier(max_iter=20, random_state=0), 48, _CLASSES),
        (LogisticRegression(max_iter=300), 48, _CLASSES),
    ]


def _splits(shape: tuple[int, ...], classes: int = _CLASSES) -> Splits:
    rng = np.random.default_rng(0)
    size = int(np.prod(shape))
    rule = rng.normal(size=(size, classes))

    def rows(count: int) -> Arrays:
        x = rng.normal(size=(count, size)).astype(np.float32)
        # Every class must be there to be learned.
        y = np.concatenate([np.arange(classes), (x @ rule).argmax(axis=1)[classes:]])
        return Arrays(x.reshape(count, *shape), y)

    return Splits(rows(_ROWS), rows(_HELD_OUT), rows(_HELD_OUT))
