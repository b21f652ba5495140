"""How fast layouts are judged and large models planned: ``python -m bench.plan [--quick]``.

`configs_per_s` are legal layouts of a model, each with the bytes it takes on a device and the seconds of a step, per
CPU second of one core: every layout on every number of devices, none left out by a bound. `full_plan_405b_s` are wall
seconds of a whole plan over every offer of the price list, on demand and spare; nothing is kept from one plan to the
next but the tables. CPU seconds are given beside them.
"""

from __future__ import annotations

import argparse
import os
import time
from statistics import median
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")

from bench.report import emit, table
from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model
from pennyweight.cost.clock import process_s
from pennyweight.cost.race import median_interval
from pennyweight.layout.plans.planning import MOST_DEVICES, Limits, plan_train
from pennyweight.layout.plans.searching import Field, Site
from pennyweight.layout.plans.spreading import EVERY
from pennyweight.layout.plans.training import TrainWork

if TYPE_CHECKING:
    from pennyweight.layout.plans.planning import TrainPlan

MODELS = {"llama-3.1-405b": 15e12, "llama-3-8b": 15e12, "deepseek-v3": 14.8e12}
CALCULON_S = 3.3e-3  # per configuration, as its authors' code takes


def main() -> None:
    """Measure, print tables, and the figures as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    rounds = 3 if parser.parse_args().quick else 11
    works = {name: TrainWork(model(name), tokens) for name, tokens in MODELS.items()}
    rates = {name: judging(work, rounds) for name, work in works.items()}
    rows = [(name, layouts, *_spread(found)) for name, (layouts, found) in rates.items()]
    table(("layouts per CPU second, memory and step", "layouts", "median", "low", "high"), rows)
    plans = {name: planning(work, rounds) for name, work in works.items()}
    rows = [
        (name, *_spread(cpu), median(wall), plan.configurations, plan.timed, len(plan.front))
        for name, (cpu, wall, plan) in plans.items()
    ]
    table(("plan over all offers, CPU seconds", "median", "low", "high", "wall", "considered", "timed", "front"), rows)
    slowest = min(median(found) for _, found in rates.values())
    cpu, wall, plan = plans["llama-3.1-405b"]
    figures = {
        "configs_per_s": median(rates["llama-3.1-405b"][1]),
        "configs_per_s_slowest": slowest,
        "full_plan_405b_s": median(wall),
        "full_plan_405b_cpu_s": median(cpu),
        "full_plan_405b_configs": plan.configurations,
        "times_calculon": slowest * CALCULON_S,
    }
    emit("plan", figures, rounds)


def judging(work: TrainWork, rounds: int) -> tuple[int, list[float]]:
    """How many layouts there are on 8 to 32,768 H100, and how many are judged per CPU second in each round."""
    site = Site.usual(accelerator("h100"))
    counts = [8 * 2**power for power in range(13)]
    field = Field.of(work, counts, site.domain, EVERY)
    rates = []
    for done in range(rounds + 1):
        start_s = process_s()
        weighed = Field(work, field.spread, Field.weighed(work, field.spread))
        weighed.timed(site, "megatron")
        rates += [len(field.spread) / (process_s() - start_s)] if done else []
    return len(field.spread), rates


def planning(work: TrainWork, rounds: int) -> tuple[list[float], list[float], TrainPlan]:
    """CPU and wall seconds of a plan under a deadline, and the plan."""
    cpu, walls = [], []
    for done in range(rounds + 1):
        start_s, start_cpu_s = time.perf_counter(), process_s()
        plan = plan_train(work, Limits(most_devices=MOST_DEVICES))
        if done:  # the first reads the tables
            cpu.append(process_s() - start_cpu_s)
            walls.append(time.perf_counter() - start_s)
    return cpu, walls, plan


def _spread(found: list[float]) -> tuple[float, float, float]:
    low, high = median_interval(found)
    return median(found), low, high


if __name__ == "__main__":
    main()
