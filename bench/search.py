"""What each search strategy spends until it has found its winner, and how far predictions were off.

    python -m bench.search [--quick] [--calibrate]

The machine is calibrated first, thoroughly, if it was not before (kept in .pennyweight/bench/machine; `--calibrate`:
anew): small models of other shapes, none of the two jobs. Then both embedded jobs, every strategy with the same levers
and the same cap on trials, each on a ledger of its own. Dollars are measured CPU seconds, memory and energy under the
catalog's local price sheet, everything counted (training, compressing, weighing). `predicted_vs_measured_mape` compares
the total bill foreseen before a run with the measured one over all runs, controls included;
`predicted_vs_measured_mape_later` leaves out the control, the first run of each search.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from bench.report import emit, table
from pennyweight import Limits, Search, Shop, load_recipe, optimize
from pennyweight.cost.price import price

if TYPE_CHECKING:
    from pennyweight.core import Front, Job, Run

ROOT = Path(__file__).parent.parent
MACHINE = ROOT / ".pennyweight" / "bench" / "machine"
JOBS = {"digits": "digits_cnn.py", "cancer": "breast_cancer_forest.py"}
STRATEGIES = ("greedy", "grid", "halving", "bayes")


def main() -> None:
    """Search every job with every strategy and print what it took."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="four trials per strategy")
    options.add_argument("--calibrate", action="store_true", help="measure the machine anew")
    asked = options.parse_args()
    trials = 4 if asked.quick else 16
    calibrated(anew=asked.calibrate)
    rows, figures, errors, later = [], {}, [], []
    for job_name, recipe in JOBS.items():
        for strategy in STRATEGIES:
            found_usd, front = hunt(load_recipe(ROOT / "recipes" / recipe), strategy, trials)
            off = [error for run in front.seen if (error := error_of(run)) is not None]
            errors, later = errors + off, later + off[1:]
            figures[f"usd_until_found_{job_name}_{strategy}"] = found_usd
            figures[f"winner_usd_{job_name}_{strategy}"] = front.winner.bill.usd
            cheaper = front.control.bill.usd / front.winner.bill.usd
            spent = [f"${found_usd:.2e}", f"${front.spent.usd:.2e}", f"${front.winner.bill.usd:.2e}", f"{cheaper:.1f}x"]
            error = f"{100 * fmean(off):.0f}%" if off else ""
            rows.append([job_name, strategy, f"{len(front.seen)}", *spent, error, str(front.winner.plan)])
    heads = ["job", "strategy", "runs", "until found", "whole search", "winner", "cheaper", "error", "plan"]
    table(heads, rows)
    figures["predicted_vs_measured_mape"] = fmean(errors)
    figures["predicted_vs_measured_mape_later"] = fmean(later)
    figures["predicted_vs_measured_median"] = median(errors)
    emit("search", figures, len(errors))


def calibrated(*, anew: bool) -> None:
    """See to it that the machine is calibrated, in a folder of the benchmarks' own."""
    os.environ["PENNYWEIGHT_HOME"] = str(MACHINE)
    if anew or not (MACHINE / "exercises" / "ledger.db").exists():
        subprocess.run(
            [sys.executable, "-c", "from pennyweight.cli import main; main()", "calibrate", "--thorough"], check=True
        )


def hunt(job: Job, strategy: str, trials: int) -> tuple[float, Front]:
    """Search on a fresh ledger; return the dollars spent until the winner was weighed, and the front."""
    from dataclasses import replace

    with tempfile.TemporaryDirectory() as folder:
        shop = Shop.at(Path(folder))
        front = optimize(replace(job, limits=Limits(trials=trials)), Search(strategy), shop=shop)
        spent = 0.0
        until = 0.0
        for entry in shop.ledger.entries():
            spent += price(entry.cost, entry.peak_byte, shop.sheet).usd
            if entry.plan_key == front.winner.plan.key and entry.note["what"] == "weigh":
                until = spent
        shop.ledger.close()
    return until, front


def error_of(run: Run) -> float | None:
    """By what share of the measured total the predicted one was off."""
    return abs(run.predicted.usd / run.bill.usd - 1) if run.predicted else None


if __name__ == "__main__":
    main()
