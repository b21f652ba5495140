"""What the tool itself costs: starting it, importing it, planning with it: ``python -m bench.overhead [--quick]``.

Processes are started in turn with an empty Python, the control, so that a slow machine shows in both. Planning walks
the tree of all plans that the levers offer for the digits job: each plan grows from its parent by one lever, is written
out as a spec and gets a predicted bill, from a predictor that knows nothing yet and from one that has seen 20 runs. In
every round it is a new one, which remembers no plan of the round before.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.report import emit, table
from pennyweight.catalog import load_prices, machine
from pennyweight.core import Plan
from pennyweight.cost.clock import process_s
from pennyweight.cost.predict import Observation, Predictor
from pennyweight.cost.race import median_interval
from pennyweight.errors import PennyweightError
from pennyweight.levers import find

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Lever

SCRIPT = Path(sys.executable).parent / "pennyweight"
TIMED_IMPORT = "import time; s = time.perf_counter(); import pennyweight; print(time.perf_counter() - s)"
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "pennyweight --help": [str(SCRIPT), "--help"]
    if SCRIPT.exists()
    else [sys.executable, "-c", "from pennyweight.cli import main; main()", "--help"],
    "import pennyweight": [sys.executable, "-c", TIMED_IMPORT],
}
SEEN = 20


def main() -> None:
    """Measure, print a table, and the figures as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer starts and plans")
    quick = parser.parse_args().quick
    rounds = 5 if quick else 25
    walls = starts(rounds)
    rates = planning(2_000 if quick else 20_000, 3 if quick else 9)
    rows = [(name, len(found), median(found), *median_interval(found)) for name, found in walls.items()]
    table(("seconds", "runs", "median", "low", "high"), rows)
    rows = [(name, len(found), median(found), *median_interval(found)) for name, found in rates.items()]
    table(("plans per CPU second", "runs", "median", "low", "high"), rows)
    figures = {
        "help_s": median(walls["pennyweight --help"]),
        "import_s": median(walls["import pennyweight, inside"]),
        "control_s": median(walls["python -c pass"]),
        "plans_per_s": median(rates["learned from 20 runs"]),
        "plans_per_s_unlearned": median(rates["nothing learned"]),
    }
    emit("overhead", figures, rounds)


def starts(rounds: int) -> dict[str, list[float]]:
    """Wall seconds of each command as a process, in turn; and of the import alone, as Python itself times it."""
    walls: dict[str, list[float]] = {name: [] for name in COMMANDS}
    inside: list[float] = []
    for done in range(rounds + 1):
        for name, command in COMMANDS.items():
            start_s = time.perf_counter()
            answer = subprocess.run(command, check=True, capture_output=True, text=True)
            wall_s = time.perf_counter() - start_s
            if done:  # the first of each warms the file cache
                walls[name].append(wall_s)
                inside += [float(answer.stdout)] if name == "import pennyweight" else []
    return {**walls, "import pennyweight, inside": inside}


def planning(plans: int, rounds: int) -> dict[str, list[float]]:
    """Plans with a bill per CPU second (one core), the two predictors in turn."""
    from recipes.digits_cnn import job as digits

    job = digits()
    offered = [choice for kind in find().values() for choice in _choices(kind, job)]
    fresh = Predictor(machine(), load_prices())
    seen = [plan for plan, _ in zip(tree(Plan(job), offered), range(SEEN), strict=False)]
    ran = [Observation(plan.spec, 1.5 * fresh.unit(plan.spec).value, fresh.training(plan.spec).value) for plan in seen]
    predictors = {"nothing learned": fresh, f"learned from {SEEN} runs": fresh.learn(ran)}
    rates: dict[str, list[float]] = {name: [] for name in predictors}
    for done in range(rounds + 1):
        for name, predictor in predictors.items():
            rate = _rate(Plan(job), offered, replace(predictor), plans)
            rates[name] += [rate] if done else []
    return rates


def tree(plan: Plan, offered: list[Lever]) -> Iterator[Plan]:
    """All plans that grow from `plan`, depth first, each lever kind at most once and in the order of stages."""
    for index, lever in enumerate(offered):
        grown = plan.then(lever)
        try:
            grown.spec  # ruff: ignore[useless-expression] - whether it fits shows when it is written out
        except PennyweightError:
            continue
        yield grown
        yield from tree(grown, [each for each in offered[index + 1 :] if type(each) is not type(lever)])


def _rate(control: Plan, offered: list[Lever], predictor: Predictor, plans: int) -> float:
    start_s, count, usd = process_s(), 0, 0.0
    for plan in tree(control, offered):
        usd += predictor.predict(plan.spec, plan.job.demand, plan.trained).usd
        count += 1
        if count == plans:
            break
    if not (math.isfinite(usd) and usd > 0):
        raise SystemExit("The plans have no price.")
    return count / (process_s() - start_s)


def _choices(kind: type[Lever], job: Job) -> list[Lever]:
    try:
        return list(kind.choices(job))
    except PennyweightError:
        return []


if __name__ == "__main__":
    main()
