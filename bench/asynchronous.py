"""Asynchronous against synchronous training with one of four workers four times slower, and with a worker killed.

    python -m bench.asynchronous [--quick] [--seeds N] [--part slow|killed]

A small network on scikit-learn's digits. Every worker is held up by sleep at every step, 40 ms or 160 ms, as one that
computes on a slow machine would be, so that two cores are enough to see what four machines would do. Synchronous: four
processes with PyTorch's DDP (gloo), batches of 32 each, at the best of three learning rates. Asynchronous: a server of
two shards on Ray, batches of 32. The figure is the seconds on the clock from the first change of the weights until the
loss on held-back rows, looked at every 16 changes (synchronous: every 4), is first at the target; starting the
processes is not in it and is told apart.

Then all four workers at 40 ms, a fixed number of steps: undisturbed, with a worker killed at a third, with a shard of
the server killed there, and with a worker killed while no spare process stands ready. For each loss: the seconds from
the kill until it is noticed and until another process has taken the place.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.report import emit, table
from pennyweight.core import TeamSpec, TrainSpec
from pennyweight.train.how import How
from pennyweight.train.server.order import Serving
from pennyweight.train.server.run import Aside, train_served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.train.how import Progress

WORKERS, STALENESS = 4, 8
FAST_S, SLOW_S = 0.04, 0.16
TARGET = 0.2
RATES = (1e-3, 2e-3, 4e-3)
RATE = 2e-3
CORRECTIONS = ("compensated", "scaled", "none")
KILL_EPOCHS, QUICK_EPOCHS = 40, 30


def main() -> None:
    args = _arguments()
    if args.worker:
        synchronous_worker(json.loads(args.worker))
        return
    seeds = 1 if args.quick else args.seeds
    figures: dict[str, float] = {}
    if args.part in {"slow", "all"}:
        figures |= slow(seeds, (RATE,) if args.quick else RATES, CORRECTIONS[:1] if args.quick else CORRECTIONS)
    if args.part in {"killed", "all"}:
        figures |= killed(seeds, QUICK_EPOCHS if args.quick else KILL_EPOCHS)
    emit("asynchronous", figures, seeds)


def slow(seeds: int, rates: Sequence[float], kinds: Sequence[str]) -> dict[str, float]:
    """Seconds to the target with one slow worker, those who wait for it at their best rate."""
    seconds: dict[str, list[float]] = {}
    for seed in range(seeds):
        for rate in rates:
            seconds.setdefault(f"synchronous, rate {rate:g}", []).append(synchronous(rate, seed))
        for kind in kinds:
            seconds.setdefault(f"asynchronous, {kind}", []).append(slow_worker(kind, seed))
    best = min(median(times) for name, times in seconds.items() if name.startswith("synchronous"))
    table(
        ("training", f"s to a loss of {TARGET}", "times faster"),
        [(name, median(times), f"{best / median(times):.2f}x") for name, times in seconds.items()],
    )
    figures = {"sync_s": best}
    for kind in kinds:
        ours = median(seconds[f"asynchronous, {kind}"])
        figures |= {f"async_{kind}_s": ours, f"time_ratio_vs_sync_{kind}": best / ours}
    return figures


@dataclass(frozen=True)
class Ended:
    """A training to its last step: seconds, loss, and after the kill: seconds until it was noticed, until replaced."""

    wall_s: float
    loss: float
    noticed_s: float = np.nan
    replaced_s: float = np.nan


def killed(seeds: int, epochs: int) -> dict[str, float]:
    """What it costs that a worker, or a shard, is killed: as shares of the undisturbed time."""
    from pennyweight.train.server.cluster import cluster

    found: dict[str, list[Ended]] = {}
    with cluster():
        for seed in range(seeds):
            for name, victim in (("nobody", ""), ("a worker", "workers"), ("a shard", "shards")):
                found.setdefault(name, []).append(full(seed, epochs, victim))
    for seed in range(seeds):
        found.setdefault("a worker, no spare", []).append(full(seed, epochs, "workers", spares=0))
    plain = found["nobody"]
    table(
        ("killed", "s", "overhead", "loss", "noticed after s", "replaced after s"),
        [
            (
                name,
                median(each.wall_s for each in runs),
                f"{_overhead(runs, plain):.1%}",
                median(each.loss for each in runs),
                f"{median(each.noticed_s for each in runs):.2f}" if name != "nobody" else "-",
                f"{median(each.replaced_s for each in runs):.2f}" if name != "nobody" else "-",
            )
            for name, runs in found.items()
        ],
    )
    return {
        "overhead_worker_killed": _overhead(found["a worker"], plain),
        "overhead_shard_killed": _overhead(found["a shard"], plain),
        "overhead_worker_killed_no_spare": _overhead(found["a worker, no spare"], plain),
        "worker_replaced_s": median(each.replaced_s for each in found["a worker"]),
        "shard_replaced_s": median(each.replaced_s for each in found["a shard"]),
        "loss_ratio_worker_killed": median(a.loss / b.loss for a, b in zip(found["a worker"], plain, strict=True)),
    }


def _overhead(runs: list[Ended], plain: list[Ended]) -> float:
    return median(a.wall_s / b.wall_s - 1 for a, b in zip(runs, plain, strict=True))


@dataclass
class Looks:
    """The held-back loss over time, looked at every `every` changes; the clock starts at the first change."""

    held: Any
    every: int
    began_s: float = 0.0
    spent_s: float = 0.0  # on looking
    found: list[tuple[float, float]] = field(default_factory=list)

    def step(self, step: int, model: Any) -> float:
        """The loss if it is time to look; infinite if not."""
        now = time.perf_counter()
        self.began_s = self.began_s or now
        if step % self.every:
            return np.inf
        loss = held_loss(model() if callable(model) and not hasattr(model, "parameters") else model, self.held)
        self.found.append((now - self.began_s - self.spent_s, loss))
        self.spent_s += time.perf_counter() - now
        return loss


def synchronous(rate: float, seed: int) -> float:
    """Seconds until the target, by four processes that wait for each other at every step."""
    from pennyweight.train.distributed.launch import launch

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "told.json"
        order = json.dumps({"rate": rate, "seed": seed, "told": str(path)})
        launch([sys.executable, "-m", "bench.asynchronous", "--worker", order], WORKERS, Path(folder))
        found = json.loads(path.read_text(encoding="utf-8"))
    return _reached(found, f"synchronous, rate {rate:g}, seed {seed}")


def synchronous_worker(order: dict[str, Any]) -> None:
    """One of the four: the last is the slow one, the first looks at the loss."""
    from pennyweight.train.distributed.join import joined
    from pennyweight.train.loop import fit

    team_spec = TeamSpec(WORKERS, "each")
    data, held = digits(order["seed"])
    looks, models = Looks(held, 4), []
    with joined(team_spec) as team:
        pace_s = SLOW_S if team.rank == WORKERS - 1 else FAST_S

        def watch(progress: Progress) -> bool:
            time.sleep(pace_s)
            return team.rank != 0 or looks.step(progress.step, models[0]) > TARGET

        how = How(seed=order["seed"], watch=watch, after_step=models.append, team=team)
        settings = TrainSpec(epochs=60, batch=32, lr=order["rate"], team=team_spec)
        fit(network(order["seed"]), data, settings, how=how)
    if team.rank == 0:
        Path(order["told"]).write_text(json.dumps(looks.found), encoding="utf-8")


def slow_worker(correction: str, seed: int) -> float:
    """Seconds until the target, by four workers that do not wait for each other."""
    from pennyweight.train.server.weights import fill, trainable

    data, held = digits(seed)
    model, fleets = network(seed), []
    looks = Looks(held, 16)

    def now() -> Any:
        fill(trainable(model), fleets[0].weights())
        return model

    def watch(progress: Progress) -> bool:
        return looks.step(progress.step, now) > TARGET

    order = Order(40, correction, (*[FAST_S] * (WORKERS - 1), SLOW_S))
    _served(data, seed, order, Aside(tell=print, started=fleets.append), watch)
    return _reached(looks.found, f"asynchronous, {correction}, seed {seed}")


def full(seed: int, epochs: int, victim: str, spares: int = 1) -> Ended:
    """All steps; a process of `victim` is killed at a third of them."""
    import ray

    data, held = digits(seed)
    fleets: list[Any] = []
    times: list[float] = []
    killed_s: list[float] = []
    heard_s: list[float] = []

    def watch(progress: Progress) -> bool:
        times.append(time.perf_counter())
        if victim and progress.step == progress.steps // 3:
            os.kill(ray.get(getattr(fleets[0], victim)[0].process.remote()), signal.SIGKILL)
            killed_s.append(time.perf_counter())
        return True

    def hear(sentence: str) -> None:
        heard_s.append(time.perf_counter() - killed_s[0])
        print(f"  {heard_s[-1]:.2f} s after the kill: {sentence}", flush=True)

    order = Order(epochs, CORRECTIONS[0], (FAST_S,) * WORKERS, spares)
    done = _served(data, seed, order, Aside(tell=hear, started=fleets.append), watch)
    ended = Ended(times[-1] - times[0], held_loss(done.trained.model, held), *heard_s[:2])
    name = f"{victim or 'nobody'} killed, {spares} spare, seed {seed}"
    print(f"{name}: {ended.wall_s:.1f} s, loss {ended.loss:.3f}", flush=True)
    return ended


@dataclass(frozen=True)
class Order:
    """What an asynchronous training is to do."""

    epochs: int
    correction: str
    pace_s: tuple[float, ...]
    spares: int = 1


def _served(data: Any, seed: int, order: Order, aside: Aside, watch: Any) -> Any:
    from pennyweight.core import Task
    from pennyweight.train.rows import tensors

    settings = TrainSpec(epochs=order.epochs, batch=32, lr=RATE, team=TeamSpec(WORKERS, f"async:{STALENESS}"))
    serving = Serving(STALENESS, 2, order.correction, pace_s=order.pace_s, spares=order.spares)
    model = network(seed)
    rows = tensors(model, data, Task.CLASSIFY)
    return train_served(model, rows, settings, How(seed=seed, watch=watch), replace(aside, serving=serving))


def digits(seed: int) -> tuple[Any, Any]:
    """The rows to train on and those held back."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    parts = train_test_split((x / 16).astype(np.float32), y, test_size=0.25, random_state=seed, stratify=y)
    return SimpleNamespace(x=parts[0], y=parts[2]), SimpleNamespace(x=parts[1], y=parts[3])


def network(seed: int) -> Any:
    import torch
    from torch import nn

    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def held_loss(model: Any, held: Any) -> float:
    import torch

    with torch.no_grad():
        answers = model(torch.from_numpy(held.x))
        return float(torch.nn.functional.cross_entropy(answers, torch.from_numpy(held.y)))


def _reached(found: list[tuple[float, float]], what: str) -> float:
    at = next((each for each in found if each[1] <= TARGET), None)
    said = f"{at[1]:.3f} after {at[0]:.1f} s" if at else f"NOT reached, {found[-1][1]:.3f} after {found[-1][0]:.1f} s"
    print(f"{what}: {said}", flush=True)
    return float((at or (np.inf, 0))[0])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, in under two minutes")
    parser.add_argument("--part", choices=("slow", "killed", "all"), default="all", help="only this part")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
