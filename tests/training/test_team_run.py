"""Runs of two processes that are killed and go on from what each of them has kept."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from pennyweight.engine import Shop
from pennyweight.errors import PennyweightError
from pennyweight.train.checkpoint import decode
from pennyweight.train.distributed.launch import launch
from pennyweight.training import Training
from pennyweight.training.folder import Folder
from pennyweight.training.run import begin

# Every worker imports this job and visits a run of it; before step `at`, worker 1 ends itself or its launcher.
WORKER = """
import os, sys, time
from pathlib import Path
import numpy as np
from torch import nn
from pennyweight.core import Floor, TeamSpec, TrainSpec
from pennyweight.data.splits import split
from pennyweight.engine import Shop
from pennyweight.jobs import torch_job
from pennyweight.train.distributed.each import Each
from pennyweight.train.distributed.rounds import Rounds
from pennyweight.train.distributed.sharded import Sharded
from pennyweight.training import Training, train_job

def net():
    layers = nn.Linear(20, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Dropout(0.2), nn.Linear(32, 16), nn.Linear(16, 2)
    return nn.Sequential(*layers)

def job(sync, compress):
    x = np.random.default_rng(0).normal(size=(400, 20)).astype(np.float32)
    y = (x[:, :3].sum(1) > 0).astype(np.int64)
    team = TeamSpec(2, sync, compress)
    train = TrainSpec(epochs=4, batch=8, optimizer="adam", lr=0.01, schedule="cosine", team=team)
    return torch_job("pair", net, split(x, y), Floor("accuracy", 0.2), train=train)

def end(victim):
    os.kill(os.getpid() if victim == "worker" else os.getppid(), 9)
    time.sleep(60)

if __name__ == "__main__":
    home, sync, compress, run, victim, at = sys.argv[1:]
    kind = {"each": Each, "shard": Sharded}.get(sync, Rounds)
    plain = kind.after_step

    def after_step(team, model, step):
        if victim and team.rank == 1 and step == int(at):
            end(victim)
        plain(team, model, step)

    kind.after_step = after_step
    train_job(job(sync, compress), Training(resume=run, keep_s=0.0), shop=Shop.at(Path(home)))
"""
CASES = [("local:4", "topk:0.1+onebit"), ("diloco:4", "powersgd:2+int4"), ("each", "randomk:0.2+int8")]


@pytest.fixture
def worker(tmp_path, monkeypatch):
    (tmp_path / "team_worker.py").write_text(WORKER)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("team_worker", None)
    import team_worker

    return team_worker


def begun(worker, tmp_path, case):
    return begin(worker.job(*case), Training(), Shop.at(tmp_path))


def visit(tmp_path, case, run, victim="", at=0):
    command = [sys.executable, str(tmp_path / "team_worker.py"), str(tmp_path), *case, run.name, victim, str(at)]
    launch(command, 2, run.path / "logs")


def weights(run: Folder):
    return [decode(run.states_of(each).latest())["state"]["model"] for each in range(2)]


def same(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_run_whose_worker_was_killed_ends_with_the_weights_of_an_undisturbed_one(worker, tmp_path, case):
    whole, cut = begun(worker, tmp_path, case), begun(worker, tmp_path, case)
    visit(tmp_path, case, whole)
    with pytest.raises(PennyweightError, match="SIGKILL"):
        visit(tmp_path, case, cut, "worker", 30)
    assert 0 < _step(cut) < _step(whole)
    visit(tmp_path, case, cut)
    for one, two in zip(weights(whole), weights(cut), strict=True):
        assert same(one, two)


def test_a_run_whose_launcher_was_killed_ends_with_the_weights_of_an_undisturbed_one(worker, tmp_path):
    case = "shard", ""
    whole, cut = begun(worker, tmp_path, case), begun(worker, tmp_path, case)
    visit(tmp_path, case, whole)
    words = [sys.executable, str(tmp_path / "team_worker.py"), str(tmp_path), *case, cut.name, "launcher", "30"]
    start = (
        "import pathlib; from pennyweight.train.distributed.launch import launch; "
        f"launch({words!r}, 2, pathlib.Path({str(cut.path / 'logs')!r}))"
    )
    assert subprocess.run([sys.executable, "-c", start], check=False).returncode == -9
    assert 0 < _step(cut) < _step(whole)
    visit(tmp_path, case, cut)
    for one, two in zip(weights(whole), weights(cut), strict=True):
        assert same(one, two)


def test_a_worker_without_a_state_of_its_own_goes_on_from_the_first_ones(worker, tmp_path):
    import shutil

    case = CASES[0]
    run = begun(worker, tmp_path, case)
    with pytest.raises(PennyweightError, match="SIGKILL"):
        visit(tmp_path, case, run, "worker", 30)
    shutil.rmtree(run.states_of(1).root)
    visit(tmp_path, case, run)
    first, second = weights(run)
    assert same(first, second)
    assert all(np.isfinite(each.numpy()).all() for each in first.values())


def _step(run):
    return decode(run.states.latest())["state"]["passes"]["step"]
