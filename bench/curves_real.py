"""Learning curves of real trainings on scikit-learn's digits, made once and kept: what forecasts are judged by."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.control.curves import Curve
from pennyweight.control.effort import Effort
from pennyweight.core import TrainSpec
from pennyweight.data.splits import Arrays
from pennyweight.store import home
from pennyweight.train.loop import How, fit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

NETS = (("linear", 0), ("mlp", 32), ("mlp", 128), ("deep", 64), ("conv", 8))
RULES = (("sgd", 0.03), ("sgd", 0.003), ("adam", 3e-3), ("adam", 5e-4))
EPOCHS, ROWS, POINTS = 20, 900, 40


@dataclass(frozen=True, slots=True)
class Real:
    """One training: its setting, the steps after which it was judged, and the scores on 500 rows held out."""

    setting: str
    group: str
    steps: list[int]
    worth: list[float]
    loss: list[float]
    accuracy: list[float]

    def curve(self, metric: str) -> Curve:
        """The scores against what the steps were worth under the schedule."""
        return Curve.of(self.worth, getattr(self, metric), rises=metric == "accuracy")


def digits() -> tuple[Arrays, Arrays]:
    """900 rows to train on and 500 to judge by."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x = (x / 16).astype(np.float32)
    return Arrays(x[order[:ROWS]], y[order[:ROWS]]), Arrays(x[order[ROWS : ROWS + 500]], y[order[ROWS : ROWS + 500]])


def network(kind: str, width: int, seed: int) -> nn.Module:
    import torch
    from torch import nn

    torch.manual_seed(seed)
    if kind == "linear":
        return nn.Linear(64, 10)
    if kind == "mlp":
        return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
    if kind == "deep":
        return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * width, 10),
    )


def judged(model: nn.Module, rows: Arrays) -> tuple[float, float]:
    """Mean loss and accuracy."""
    import torch
    from torch.nn import functional

    with torch.no_grad():
        out, y = model(torch.from_numpy(rows.x)), torch.from_numpy(rows.y)
        return float(functional.cross_entropy(out, y)), float((out.argmax(1) == y).float().mean())


def real_curves(*, quick: bool) -> list[Real]:
    """All curves, trained now or when they were asked for first."""
    kept = home() / "bench" / f"budget-curves{'-quick' * quick}.json"
    if kept.is_file():
        return [Real(**each) for each in json.loads(kept.read_text())]
    found = list(_trained(quick=quick))
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps([asdict(each) for each in found]))
    return found


def _trained(*, quick: bool) -> Iterator[Real]:
    train, held = digits()
    batches, schedules = ((64,) if quick else (16, 64)), ("constant", "onecycle")
    for net, rule, batch, schedule in product(NETS, RULES, batches, schedules):
        spec = TrainSpec(epochs=EPOCHS, batch=batch, optimizer=rule[0], lr=rule[1], schedule=schedule)
        total = EPOCHS * -(-ROWS // batch)
        model, points = network(*net, seed=0), _Points(held, max(1, total // POINTS))
        fit(model, train, spec, how=How(after_step=points.take))
        effort = Effort(spec, total)
        worth = [effort(step) for step in points.steps]
        group = f"{net} {rule} {batch}"
        yield Real(f"{group} {schedule}", group, points.steps, worth, points.loss, points.accuracy)


class _Points:
    """Judges the model every so many steps."""

    def __init__(self, held: Arrays, every: int) -> None:
        self._held, self._every, self._step = held, every, 0
        self.steps: list[int] = []
        self.loss: list[float] = []
        self.accuracy: list[float] = []

    def take(self, model: nn.Module) -> None:
        self._step += 1
        if self._step % self._every == 0:
            model.eval()
            loss, accuracy = judged(model, self._held)
            model.train()
            self.steps.append(self._step)
            self.loss.append(loss)
            self.accuracy.append(accuracy)
