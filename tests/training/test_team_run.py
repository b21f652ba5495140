"""Runs of two processes that are killed and go on from what each of them has kept."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

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

# Every worker imports this job and visits runs of it; before step `at`, worker 1 ends itself or its launcher.
WORKER = """
import json, os, sys, time
from pathlib import Path
import numpy as np
from torch import nn
from pennyweight.core import Floor, TeamSpec, TrainSpec
from pennyweight.data.splits import split
from pennyweight.engine import Shop
from pennyweight.jobs import torch_job
from pennyweight.train.distributed.each import Each
from pennyweight.train.distributed.join import MEETING
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

def kind_of(sync):
    return {"each": Each, "shard": Sharded}.get(sync, Rounds)

def end_before(kind, victim, at):
    plain = kind.after_step

    def after_step(team, model, step):
        if team.rank == 1 and step == at:
            end(victim)
        plain(team, model, step)

    kind.after_step = after_step

if __name__ == "__main__":
    home, runs, victim, at = sys.argv[1:]
    meeting = os.environ[MEETING]
    for run, sync, compress in json.loads(runs):
        if victim:
            end_before(kind_of(sync), victim, int(at))
        os.environ[MEETING] = f"{meeting}-{run}"  # one group meets after the other
        train_job(job(sync, compress), Training(resume=run, keep_s=0.0), shop=Shop.at(Path(home)))
"""
CASES = [("local:4", "topk:0.1+onebit"), ("diloco:4", "powersgd:2+int4"), ("each", "randomk:0.2+int8")]
SHARD = ("shard", "")
pytestmark = pytest.mark.timeout(900)  # what the first of these tests sets up are all the trainings


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    file = tmp_path_factory.mktemp("team") / "team_worker.py"
    file.write_text(WORKER)
    return file


def command(script, home, runs, victim="", at=0):
    told = json.dumps([(run.name, *case) for case, run in runs.items()])
    return [sys.executable, str(script), str(home), told, victim, str(at)]


def visit(script, home, runs, *death):
    (first, *_) = runs.values()
    launch(command(script, home, runs, *death), 2, first.path / "logs")


@pytest.fixture(scope="module")
def visited(script):
    """By case: the undisturbed run, the one that was cut and went on, and its step when it was cut; a copy in between.

    What no death parts is trained by the same two processes, one run after the other.
    """
    home = script.parent / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(script.parent))
        from team_worker import job

    whole, cut = ({case: begin(job(*case), Training(), Shop.at(home)) for case in (*CASES, SHARD)} for _ in range(2))
    visit(script, home, whole)
    for case in CASES:
        with pytest.raises(PennyweightError, match="SIGKILL"):
            visit(script, home, {case: cut[case]}, "worker", 30)
    words = command(script, home, {SHARD: cut[SHARD]}, "launcher", 30)
    start = (
        "import pathlib; from pennyweight.train.distributed.launch import launch; "
        f"launch({words!r}, 2, pathlib.Path({str(cut[SHARD].path / 'logs')!r}))"
    )
    assert subprocess.run([sys.executable, "-c", start], check=False).returncode == -9
    steps = {case: _step(run) for case, run in cut.items()}
    shutil.copytree(home, home.with_name("copy"))
    visit(script, home, cut)
    return SimpleNamespace(whole=whole, cut=cut, steps=steps, copy=home.with_name("copy"))


def weights(run: Folder):
    return [decode(run.states_of(each).latest())["state"]["model"] for each in range(2)]


def same(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_run_whose_worker_was_killed_ends_with_the_weights_of_an_undisturbed_one(visited, case):
    ends_as_whole(visited, case)


def test_a_run_whose_launcher_was_killed_ends_with_the_weights_of_an_undisturbed_one(visited):
    ends_as_whole(visited, SHARD)


def ends_as_whole(visited, case):
    whole, cut = visited.whole[case], visited.cut[case]
    assert 0 < visited.steps[case] < _step(whole)
    for one, two in zip(weights(whole), weights(cut), strict=True):
        assert same(one, two)


def test_a_worker_without_a_state_of_its_own_goes_on_from_the_first_ones(visited, script):
    case = CASES[0]
    run = replace(visited.cut[case], path=visited.copy / visited.cut[case].path.relative_to(script.parent / "home"))
    assert _step(run) == visited.steps[case]
    shutil.rmtree(run.states_of(1).root)
    visit(script, visited.copy, {case: run})
    first, second = weights(run)
    assert same(first, second)
    assert all(np.isfinite(each.numpy()).all() for each in first.values())


def _step(run):
    return decode(run.states.latest())["state"]["passes"]["step"]
