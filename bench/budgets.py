"""Budgets that hold and forecasts that are honest: ``python -m bench.budgets [--quick]``.

200 simulated trainings (curves, prices per step with scatter, hiccups and drift, all drawn) and 20 real ones on
scikit-learn's digits, each under a dollar budget that ends it early or not, are governed by `control.halting`.
`overrun_max` is the largest share by which any went over its budget, judging and keeping the model included;
`usable_share` the share that left a model: in simulated runs, that could still pay for keeping it; in real ones, that
is loaded from its file and right far oftener than chance. `cover_real` is how often the 90% interval of the end of a
real curve, from its first 15, 30, 50 and 70%, holds it: loss and accuracy over many settings, by what 20 runs of
*other* settings taught. `cover_alone` is the same without earlier runs, `cover_simulated` that over simulated curves.
`error_vs_last` compares the median error of the forecast with that of taking the last score for the final one.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from bench.curves_real import Real, digits, judged, network, real_curves
from bench.report import emit, table
from pennyweight.control.curves import Curve
from pennyweight.control.earlier import Earlier
from pennyweight.control.halting import Goal, Governor, Tick, Why
from pennyweight.core import Cost, TrainSpec
from pennyweight.cost.clock import process_s
from pennyweight.cost.price import load_prices, price
from pennyweight.train.loop import How, Progress, fit

if TYPE_CHECKING:
    from pennyweight.data.splits import Arrays

CUTS = (0.15, 0.3, 0.5, 0.7)
TAUGHT = 20


@dataclass(frozen=True, slots=True)
class Ended:
    """How a governed training ended: its budget, what it spent, why, and whether a model is left."""

    budget: float
    spent: float
    why: str
    usable: bool

    @property
    def overrun(self) -> float:
        """By which share of the budget it went over; below zero if it did not."""
        return self.spent / self.budget - 1


def main() -> None:
    """Measure, print tables, and the figures as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs and curves")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    simulated = [simulate(seed) for seed in range(60 if quick else 200)]
    real = [train(seed) for seed in range(8 if quick else 20)]
    curves = real_curves(quick=quick)
    told = {kind: forecasts(curves, alone=kind == "alone") for kind in ("earlier", "alone")}
    made = simulated_forecasts(40 if quick else 200)
    rows = [_row("simulated", simulated), _row("real", real)]
    table(("runs", "n", "ended by budget", "worst overrun", "median left", "usable"), rows)
    rows = [(name, len(each), *_cover(each)) for name, each in (*told.items(), ("simulated", made))]
    table(("forecasts", "n", "cover", *(f"from {cut:.0%}" for cut in CUTS), "error / last score's"), rows)
    both = [*simulated, *real]
    figures = {
        "overrun_max": max(0.0, *(each.overrun for each in both)),
        "over_1_percent": sum(each.overrun > 0.01 for each in both),
        "usable_share": sum(each.usable for each in both) / len(both),
        "cover_real": _cover(told["earlier"])[0],
        "cover_alone": _cover(told["alone"])[0],
        "cover_simulated": _cover(made)[0],
        "error_vs_last": _cover(told["earlier"])[-1],
        "forecast_ms": forecast_ms(curves),
    }
    emit("budgets", figures, len(both))


def simulate(seed: int) -> Ended:
    """A training that was never done: its curve and its prices are drawn."""
    rng = np.random.default_rng(seed)
    steps, every, ending = int(rng.integers(300, 3000)), int(rng.integers(10, 60)), rng.uniform(0.5, 5)
    clean, prices = _clean(rng, steps), _prices(rng, steps)
    budget = float(prices.sum() * rng.uniform(0.2, 1.4) + 3 * ending)
    target = float(clean[int(steps * rng.uniform(0.1, 0.9))] * rng.uniform(0.7, 1.2)) if seed % 2 else None
    governor, spent, why = Governor(Goal(steps, target, rises=False, usd=budget)), 0.0, "end"
    for step in range(1, steps + 1):
        spent += prices[step - 1]
        loss = float(clean[step - 1] * rng.lognormal(0, 0.1))
        decision = governor.tell(Tick(step, spent, spent, loss))
        if decision is None and step % every == 0:
            cost = ending * rng.lognormal(0, 0.1)
            spent += cost
            governor.reserve(cost, cost)
            score = float(clean[step - 1] * rng.lognormal(0, 0.02))
            decision = governor.tell(Tick(step, spent, spent, loss, score))
        if decision is not None:
            why = decision.why.value
            break
    spent += ending * rng.lognormal(0, 0.1)
    return Ended(budget, spent, why, spent <= 1.01 * budget)


def _clean(rng: np.random.Generator, steps: int) -> np.ndarray:
    """A power law without noise."""
    floor, height, power, onset = rng.uniform(0, 0.3), rng.uniform(0.3, 2), rng.uniform(0.3, 1.5), rng.uniform(3, 100)
    return np.asarray(floor + height * (1 + np.arange(1, steps + 1) / onset) ** -power)


def _prices(rng: np.random.Generator, steps: int) -> np.ndarray:
    """What each step costs: scatter, a drift of up to twice the price, and a hiccup now and then."""
    drift = 1 + rng.uniform(-0.3, 1.0) * np.arange(steps) / steps
    hiccups = np.where(rng.random(steps) < 0.005, 3.0, 1.0)
    return np.asarray(rng.lognormal(0, rng.uniform(0.02, 0.3), steps) * drift * hiccups)


def train(seed: int) -> Ended:
    """A real training on digits under a budget in dollars of CPU time."""
    rng = np.random.default_rng(seed)
    train_rows, held = digits()
    kind, width = [("mlp", 128), ("deep", 64), ("conv", 8)][seed % 3]
    spec = TrainSpec(epochs=20, batch=int(rng.choice([16, 32])), optimizer="adam", lr=1e-3)
    full_s = _full_s(kind, width, spec, train_rows)
    budget = _usd(full_s * rng.uniform(0.3, 1.2))
    with TemporaryDirectory() as folder:
        governed = _Governed(Goal(20 * -(-len(train_rows) // spec.batch), usd=budget), held, Path(folder) / "model.pt")
        done = fit(
            network(kind, width, seed), train_rows, spec, how=How(after_step=governed.after_step, watch=governed.told)
        )
        governed.end(done.model)
        spent = governed.usd()
        kept = network(kind, width, seed)
        kept.load_state_dict(torch.load(governed.path))
        usable = judged(kept, held)[1] > 0.3
    return Ended(budget, spent, governed.why, usable)


class _Governed:
    """A training between the loop and the governor: counts dollars, judges and keeps the model now and then."""

    def __init__(self, goal: Goal, held: Arrays, path: Path) -> None:
        self.governor, self.path, self.why = Governor(goal), path, "end"
        self._held, self._began_s = held, process_s()
        self._model = torch.nn.Module()

    def usd(self) -> float:
        """Spent so far."""
        return _usd(process_s() - self._began_s)

    def after_step(self, model: torch.nn.Module) -> None:
        """Hold the model."""
        self._model = model

    def told(self, progress: Progress) -> bool:
        """Ask the governor after a step; judge and keep the model first, and every fifty steps."""
        decision = self.governor.tell(Tick(progress.step, self.usd(), 0.0, progress.loss))
        if decision is None and progress.step % 50 == 1:
            before = self.usd()
            accuracy = self.end(self._model)
            now = self.usd()
            self.governor.reserve(now - before, 0.0)
            decision = self.governor.tell(Tick(progress.step, now, 0.0, progress.loss, accuracy))
        if decision is not None:
            self.why = decision.why.value
        return decision is None

    def end(self, model: torch.nn.Module) -> float:
        """Judge the model and keep it."""
        model.eval()
        accuracy = judged(model, self._held)[1]
        model.train()
        torch.save(model.state_dict(), self.path)
        return accuracy


def _full_s(kind: str, width: int, spec: TrainSpec, rows: Arrays) -> float:
    """CPU seconds the whole training takes, from a twentieth of it."""
    times = []
    for _ in range(2):
        began_s = process_s()
        fit(network(kind, width, 0), rows, TrainSpec(epochs=1, batch=spec.batch, optimizer="adam", lr=1e-3))
        times.append(process_s() - began_s)
    return 20 * times[-1]


def _usd(cpu_s: float) -> float:
    return price(Cost(device_s=cpu_s, wall_s=cpu_s), 2e8, load_prices("local")).usd


Told = list[tuple[float, bool, float, float]]  # cut, held, error, error of the last score


def forecasts(curves: list[Real], *, alone: bool) -> Told:
    """The end of every curve from its beginning, by what runs of other settings taught, or by nothing."""
    rng, found = np.random.default_rng(0), Told()
    for real in curves:
        others = [each for each in curves if each.group != real.group]
        chosen = rng.choice(len(others), min(TAUGHT, len(others)), replace=False)
        for metric in ("loss", "accuracy"):
            curve = real.curve(metric)
            taught = [others[at].curve(metric) for at in chosen]
            earlier = Earlier() if alone else Earlier.of(taught, curve.space, curve.x[-1])
            found += _ends(curve, curve.y[-1], earlier)
    return found


def simulated_forecasts(count: int) -> Told:
    """The end of drawn curves from their beginnings, by what twenty other drawn ones taught."""
    rng = np.random.default_rng(1)
    curves = [_drawn(rng) for _ in range(count)]
    found = Told()
    for at, curve in enumerate(curves):
        others = [curves[(at + 1 + more) % count] for more in range(TAUGHT)]
        found += _ends(curve, curve.y[-1], Earlier.of(others, curve.space, curve.x[-1]))
    return found


def _drawn(rng: np.random.Generator) -> Curve:
    """A loss curve: a power law or a stretched exponential, with noise."""
    x = np.arange(1, 41) * 25.0
    floor, height = rng.uniform(0.02, 0.5), rng.uniform(0.5, 2.5)
    if rng.random() < 0.5:
        y = floor + height * (1 + x / rng.uniform(5, 300)) ** -rng.uniform(0.4, 2)
    else:
        y = floor + height * np.exp(-((x / rng.uniform(30, 800)) ** rng.uniform(0.6, 1.5)))
    return Curve.of(x.tolist(), (y * rng.lognormal(0, rng.uniform(0.005, 0.06), len(x))).tolist())


def _ends(curve: Curve, truth: float, earlier: Earlier) -> Told:
    found = Told()
    for cut in CUTS:
        begun = curve.upto(max(curve.x[3], cut * curve.x[-1]))
        told = earlier.outlook(begun, curve.x[-1]).forecast(curve.x[-1])
        found.append((cut, told.low <= truth <= told.high, abs(told.mean - truth), abs(begun.y[-1] - truth)))
    return found


def forecast_ms(curves: list[Real]) -> float:
    """CPU milliseconds of one forecast and one chance, earlier runs known."""
    curve = curves[0].curve("loss")
    earlier = Earlier.of([each.curve("loss") for each in curves[1:21]], curve.space, curve.x[-1])
    times = []
    for _ in range(20):
        began_s = time.process_time()
        outlook = earlier.outlook(curve.upto(curve.x[-1] / 2), curve.x[-1])
        outlook.forecast(curve.x[-1])
        outlook.chance(0.1, curve.x[-1])
        times.append(time.process_time() - began_s)
    return 1e3 * median(times)


def _row(name: str, ended: list[Ended]) -> tuple[object, ...]:
    stopped = sum(each.why == Why.BUDGET.value for each in ended)
    left = median(-each.overrun for each in ended if each.why == Why.BUDGET.value) if stopped else 0.0
    worst = max(each.overrun for each in ended)
    return name, len(ended), stopped, f"{100 * worst:.2f}%", f"{100 * left:.2f}%", sum(each.usable for each in ended)


def _cover(told: Told) -> tuple[float, ...]:
    """The share held: of all, and by cut; and the median error beside that of the last score."""
    each = [float(np.mean([held for at, held, *_ in told if at == cut])) for cut in CUTS]
    ratio = median(one[2] for one in told) / median(one[3] for one in told)
    return float(np.mean([one[1] for one in told])), *each, ratio


if __name__ == "__main__":
    main()
