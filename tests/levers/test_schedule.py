from dataclasses import replace

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.core import Form, TrainSpec
from pennyweight.cost.count import count_training
from pennyweight.data.splits import split
from pennyweight.engine.making import trained
from pennyweight.jobs import torch_job
from pennyweight.levers.schedule import Schedule


def mlp():
    from torch import nn

    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))


@pytest.fixture
def job():
    x = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
    y = (x.sum(axis=1) > 0).astype(np.int64)
    return torch_job("line", mlp, split(x, y), "accuracy=10%", train=TrainSpec(epochs=10, batch=32, lr=0.01))


def test_a_short_cycle_costs_its_share_of_the_training(job):
    assert count_training(Schedule(0.4).rewrite(job.spec)).flop == pytest.approx(0.4 * count_training(job.spec).flop)


def test_training_really_follows_the_cycle_and_still_learns(job):
    work = trained(Schedule(0.4).pull(backends.load("torch").open(job)))
    assert work.spec.train.schedule == "onecycle"
    assert work.spec.train.epochs == pytest.approx(4, abs=0.1)
    right = backends.load("torch").predict(work, job.material.splits.select.x).argmax(1)
    assert (right == job.material.splits.select.y).mean() > 0.9


def test_a_cycle_is_not_put_on_a_cycle(job):
    once = Schedule().rewrite(job.spec)
    assert "already" in Schedule().fits(once).reason
    assert "share below 1" in Schedule(1.0).fits(job.spec).reason


def test_estimators_have_no_epochs_to_save(job):
    spec = replace(job.spec, form=Form.ESTIMATOR)
    assert "network" in Schedule().fits(spec).reason
    assert list(Schedule.choices(replace(job, spec=spec))) == []
