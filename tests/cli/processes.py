"""The command line in a process of its own, and a recipe small enough to search in seconds."""

import os
import subprocess
import sys

from warm import Begun, run

_COMMAND = "from pennyweight.cli import main; main()"

RECIPE = """
import numpy as np
from pennyweight import Demand, Floor, TrainSpec, torch_job
from pennyweight.data.splits import split


def network():
    from torch import nn

    return nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))


def job(data=None):
    x = np.random.default_rng(0).normal(size=(1500, 8)).astype(np.float32)
    y = (x[:, :4].sum(axis=1) > x[:, 4:].sum(axis=1)).astype(np.int64)
    floor = Floor("accuracy", 0.06)
    train = TrainSpec(epochs=EPOCHS, batch=64)
    return torch_job("halves", network, split(x, y), floor, train=train, demand=Demand(1e9))
"""


def start(place, *words, **more):
    environment = _environment(place) | more.pop("env", {})
    command = [*more.pop("before", ()), sys.executable, "-c", _COMMAND]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *map(str, words)], cwd=place, env=environment, **pipes | more)


def begin(place, *words, env=None):
    """A process like that of `start` which has loaded the libraries already."""
    return Begun(_COMMAND, *words, cwd=place, env=_environment(place) | (env or {}))


def call(place, *words, **more):
    if more.keys() <= {"env", "first"}:
        code = f"{more.get('first', '')}\n{_COMMAND}"
        done = run(code, *words, cwd=place, env=_environment(place) | more.get("env", {}))
        return done.returncode, done.stdout, done.stderr
    process = start(place, *words, **more)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def _environment(place):
    return {**os.environ, "PENNYWEIGHT_HOME": str(place / "home"), "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
