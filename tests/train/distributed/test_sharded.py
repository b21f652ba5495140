"""Real processes that train with a part of every weight each, beside the same processes with whole weights."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pennyweight.core import TeamSpec, TrainSpec
from pennyweight.cost.activations import training_byte
from pennyweight.cost.count import params
from pennyweight.engine import Shop
from pennyweight.errors import BadInputError
from pennyweight.testing import team_job
from pennyweight.train.checkpoint import decode
from pennyweight.train.distributed.launch import launch
from pennyweight.train.distributed.sharded import Sharded
from pennyweight.train.how import How
from pennyweight.train.refusing import check, check_parts, is_sharded
from pennyweight.train.wire import Wire
from pennyweight.training import Training
from pennyweight.training.run import begin

# Each worker runs this: what to do and the folder to write to are its arguments.
WORKER = """
import gc, json, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
import torch
from torch import nn
from pennyweight.core import Regular, Task, TeamSpec, TrainSpec
from pennyweight.data.splits import Arrays
from pennyweight.store.generations import Generations
from pennyweight.train.checkpoint import Checkpoints
from pennyweight.train.distributed.join import joined, team
from pennyweight.train.how import How, Judge
from pennyweight.train.loop import fit

x = np.random.default_rng(0).normal(size=(128, 10)).astype(np.float32)
data = Arrays(x, (x[:, :3].sum(1) > 0).astype(np.int64))
high = Arrays(x, np.repeat(np.array([[0, 0, 100]], dtype=np.float32), len(x), 0))  # overflows in one shard in float16


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.drop = nn.Linear(6, 6), nn.Dropout(0.2)

    def forward(self, x):
        return x + self.drop(self.one(x).tanh())


def net(rank):
    torch.manual_seed(rank)  # all must start from the first worker's weights
    first = nn.Linear(10, 6, bias=False)  # beside a batch norm its gradient is nothing but rounding
    return nn.Sequential(first, nn.BatchNorm1d(6), nn.Sequential(Block(), Block()), nn.Linear(6, 3))


ADAM = TrainSpec(epochs=2, batch=8, optimizer="adam", lr=0.02)
SETTINGS = {
    "adam": ADAM,
    "all": replace(
        ADAM, optimizer="adamw", schedule="cosine", accumulate=3, patience=9, weight_decay=0.1,
        regular=Regular(ema=0.8, clip_norm=0.05, clip_value=0.04, l1=1e-3, max_norm=0.5),
    ),
    "bfloat16": replace(ADAM, precision="bfloat16", recompute=True, optimizer="sgd", momentum=0.9),
    "float16": replace(ADAM, precision="float16", epochs=3, learns=("3",), pretrained=True),
    "nadam": replace(ADAM, optimizer="nadam", epochs=1),
    "radam": replace(ADAM, optimizer="radam", epochs=1),
    "rmsprop": replace(ADAM, optimizer="rmsprop", epochs=1),
    "adagrad": replace(ADAM, optimizer="adagrad", epochs=1),
    "part": replace(ADAM, epochs=1, learns=("3",), pretrained=True),
}


class Seen:
    def __init__(self, rank, path):
        self.rank, self.path, self.judged, self.held = rank, path, [], 0

    def judge(self, model):
        whole = nn.Sequential, sum(each.numel() for each in model.parameters())
        self.judged.append((type(model) is whole[0], whole[1], model.training))
        return float(model(torch.from_numpy(x)).sum())

    def watch(self, at):
        if at.step < at.steps:
            return True
        rules = [each for each in gc.get_objects() if isinstance(each, torch.optim.Optimizer)]
        states = [x for each in rules for its in each.state.values() for x in its.values()]
        numbers = [each for each in states if torch.is_tensor(each) and each.ndim]
        self.held = sum((each.to_local() if hasattr(each, "to_local") else each).numel() for each in numbers)
        return True


def go(crew, settings, seen, **more):
    judge = Judge(seen.judge, every_s=0.0, most=1e9) if crew.rank == 0 else None
    crew.wire.sent_byte = 0.0
    rows, task = (high, Task.REGRESS) if settings.precision == "float16" else (data, Task.CLASSIFY)
    how = How(team=crew, task=task, **{"judge": judge, "watch": seen.watch, **more})
    done = fit(net(crew.rank), rows, settings, how=how)
    assert type(done.model) is nn.Sequential
    weights = {name: each.tolist() for name, each in done.model.state_dict().items()}
    return weights, done.history, done.scores, seen.judged, seen.held, crew.wire.sent_byte, done.resumed


def kept(crew, path):
    states = Generations(path / f"states-{crew.rank}")
    return Checkpoints(states.put, states.latest(), every=1)


what, path = sys.argv[1], Path(sys.argv[2])
with joined(TeamSpec(1, "shard")) as crew:
    seen = Seen(crew.rank, path)
    told = {}
    if what == "beside":
        for sync in ("each", "shard"):
            for name, each in SETTINGS.items():
                told[f"{sync} {name}"] = go(team(TeamSpec(2, sync), crew.wire), each, Seen(crew.rank, path))
    settings = SETTINGS["all"]
    if what == "beside":
        whole = go(crew, settings, seen, checkpoints=kept(crew, path / "whole"))
        stop = lambda at: at.step != 5
        go(crew, settings, seen, watch=stop, checkpoints=kept(crew, path / "cut"))
        told["whole"], told["cut"] = whole, go(crew, settings, seen, checkpoints=kept(crew, path / "cut"))
    if what == "more":
        told["again"] = go(crew, settings, seen, checkpoints=kept(crew, path / "whole"))
    (path / f"{what}.{crew.rank}").write_text(json.dumps(told))
"""
WEIGHTS = 10 * 6 + 6 + 6 + 2 * (6 * 6 + 6) + 6 * 3 + 3


def run(path, what, size):
    script = path / "worker.py"
    script.write_text(WORKER)
    launch([sys.executable, str(script), what, str(path)], size, path / "logs")
    return [json.loads((path / f"{what}.{rank}").read_text()) for rank in range(size)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("sharded")
    return path, run(path, "beside", 2)


def test_parts_of_weights_train_as_whole_ones_do(trained):
    _, told = trained
    names = [name.removeprefix("shard ") for name in told[0] if name.startswith("shard ")]
    assert len(names) == 9
    for name in names:
        for worker in told:
            each, shard = worker[f"each {name}"], worker[f"shard {name}"]
            for key, value in each[0].items():
                assert np.asarray(shard[0][key]) == pytest.approx(np.asarray(value), abs=1e-5), (name, key)
            assert shard[1] == pytest.approx(each[1], abs=1e-5)
            assert shard[2] == pytest.approx(each[2], abs=1e-5)


def test_all_workers_end_with_the_same_whole_weights(trained):
    _, (first, second) = trained
    for name in first:
        learned = [key for key in first[name][0] if "running" not in key]
        assert all(first[name][0][key] == second[name][0][key] for key in learned)


def test_the_judge_sees_whole_models_as_often_as_with_whole_weights(trained):
    _, told = trained
    judged = told[0]["shard all"][3]
    assert len(judged) == len(told[0]["each all"][3]) > 2
    assert all(each == [True, WEIGHTS, False] for each in judged)
    assert told[1]["shard all"][3] == []


def test_a_worker_holds_its_share_of_the_optimisers_state(trained):
    _, told = trained
    assert told[0]["each adam"][4] == 2 * WEIGHTS
    held = [each["shard adam"][4] for each in told]
    assert sum(held) == 2 * WEIGHTS
    assert max(held) <= 0.55 * 2 * WEIGHTS


def test_every_byte_on_the_wire_is_counted(trained):
    _, told = trained
    steps, blocks, padded = 8, 2 * (6 * 6 + 6), WEIGHTS + 6 + 1  # three rows are padded to four
    half = 4 / 2  # bytes of a number that one of two sends
    exchanged = steps * half * (2 * padded + blocks)  # gathered, scattered, and blocks gathered again going backward
    begin, agreed, looked, means = 12, steps, steps, 8  # of the first worker's weights only that one tells
    assert told[1]["shard nadam"][5] == begin + agreed + looked + means + exchanged + (steps + 1) * half * padded


def test_a_cut_training_goes_on_to_the_bit_and_only_the_first_worker_keeps_weights(trained):
    path, told = trained
    for each in told:
        assert each["cut"][-1] > 0
        assert each["cut"][:3] == each["whole"][:3]
    sizes = [sum(x.numel() for x in state(path, rank)["model"].values()) for rank in range(2)]
    assert sizes[0] == WEIGHTS + sizes[1]
    assert sizes[1] == 13  # what the batch norm remembers


def test_another_number_of_workers_goes_on_from_the_same_state(trained):
    path, told = trained
    before = state(path, 0)
    again = run(path, "more", 3)
    assert all(each["again"][-1] > 0 for each in again)
    assert all(each["again"][0]["0.weight"] == told[0]["whole"][0]["0.weight"] for each in again)
    after = state(path, 0)
    assert flat(after["rule"]) == flat(before["rule"])
    assert flat(after["average"]) == flat(before["average"])


def state(path, rank):
    from pennyweight.store.generations import Generations

    return decode(Generations(path / "whole" / f"states-{rank}").latest())["state"]


def flat(tree):
    if isinstance(tree, dict):
        return {name: flat(each) for name, each in tree.items()}
    if isinstance(tree, list | tuple):
        return [flat(each) for each in tree]
    return tree.tolist() if hasattr(tree, "tolist") else tree


@pytest.mark.parametrize("name", ["muon", "lamb"])
def test_an_optimiser_of_whole_matrices_is_refused(name):
    with pytest.raises(BadInputError, match=f"{name} looks at whole matrices"):
        check_parts(TrainSpec(optimizer=name))
    assert is_sharded(TeamSpec(2, "shard"))
    assert not is_sharded(TeamSpec(1, "shard"))


def sharded_job(**changes):
    job = team_job()
    train = replace(job.spec.train, team=TeamSpec(2, "shard"), **changes)
    return replace(job, spec=replace(job.spec, train=train))


def test_what_needs_whole_weights_is_refused_before_a_run_begins(tmp_path):
    shop = Shop.at(tmp_path)
    with pytest.raises(BadInputError, match="looks at whole matrices"):
        begin(sharded_job(optimizer="muon"), Training(), shop)
    with pytest.raises(BadInputError, match="found in whole weights"):
        begin(sharded_job(), Training(cure=True), shop)
    with pytest.raises(BadInputError, match="after every step needs all weights"):
        check(9, TrainSpec(), How(team=Sharded(Wire(0, 2)), after_step=print))
    lone = nn.Linear(2, 2)
    lone.scale = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(BadInputError, match="a single number"):
        Sharded(Wire(0, 2)).wrap(lone)


def test_on_paper_a_worker_needs_less_memory_in_shards():
    spec = sharded_job().spec
    each = replace(spec, train=replace(spec.train, team=TeamSpec(2)))
    assert training_byte(each) - training_byte(spec) == 4 * params(spec)  # of four copies two, and one for a while
