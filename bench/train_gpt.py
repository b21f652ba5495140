"""A character model of Shakespeare: nanoGPT's recipe for a CPU, the same network for less, and no network at all.

    python -m bench.train_gpt --data FILE [--quick] [--seeds 5]

FILE is a text (tinyshakespeare). Each training is a process of its own, one thread each, recipe and ours in turn. Its
CPU seconds count from its first instruction to the end of training (libraries loaded, text read), less those of an
interpreter that does nothing; judging is not counted. All are judged on the same windows of 64 characters, which cover
the last tenth of the text. Learning rate, warm-up and rows were chosen on that loss with seed 0, so seeds begin at 1.
`--quick`: one seed, a tenth of the recipe counted ten times (its loss then says nothing).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import mean, median
from typing import Any

from bench import gpt_trainings

_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_QUICK = 0.1


def main() -> None:
    """Run one training if asked for by name, else all of them in turn."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--one", choices=("recipe", "ours", "counted"))
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    if asked.one == "recipe":
        print(json.dumps(gpt_trainings.recipe(asked.data, asked.seed, _QUICK if asked.quick else 1.0)))
    elif asked.one == "ours":
        print(json.dumps(gpt_trainings.ours(asked.data, asked.seed)))
    elif asked.one == "counted":
        print(json.dumps(gpt_trainings.counted(asked.data)))
    else:
        _race(asked)


def _race(asked: argparse.Namespace) -> None:
    from bench.report import emit, table

    idle_s = median(_idle_s() for _ in range(5))
    found: dict[str, list[dict[str, float]]] = {"recipe": [], "ours": [], "counted": []}
    for seed in range(1, 2 if asked.quick else asked.seeds + 1):
        for name, runs in found.items():
            runs.append(_run(asked, name, seed, idle_s))
            print(f"seed {seed}: {name} {runs[-1]}", flush=True)
    spent = {name: median(run["cpu_s"] for run in runs) for name, runs in found.items()}
    loss = {name: mean(run["loss"] for run in runs) for name, runs in found.items()}
    rows: list[list[Any]] = [
        [name, spent[name], loss[name], max(run["loss"] for run in runs), f"{spent['recipe'] / spent[name]:.1f}x"]
        for name, runs in found.items()
    ]
    table(["training", "CPU s", "loss", "worst loss", "cheaper"], rows)
    figures = {f"{name}_loss": value for name, value in loss.items()} | {f"{k}_cpu_s": v for k, v in spent.items()}
    ratios = {
        "cpu_ratio_vs_recipe": spent["recipe"] / spent["ours"],
        "cpu_ratio_any_model": spent["recipe"] / spent["counted"],
    }
    emit("train_gpt", figures | ratios, len(found["ours"]))


def _run(asked: argparse.Namespace, name: str, seed: int, idle_s: float) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.train_gpt", "--data", str(asked.data), "--one", name, "--seed", str(seed)]
    quick = asked.quick and name == "recipe"
    done = subprocess.run(
        command + ["--quick"] * quick, check=True, capture_output=True, text=True, env=os.environ | _THREADS
    )
    told: dict[str, float] = json.loads(done.stdout)
    return {"loss": told["loss"], "cpu_s": (told["cpu_s"] - idle_s) / (_QUICK if quick else 1.0)}


def _idle_s() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
