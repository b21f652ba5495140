"""The levers that only change how a network is trained: batch, lowprec, optimizer."""

from dataclasses import replace

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.core import Form, TrainSpec
from pennyweight.cost.count import count_training
from pennyweight.data.splits import split
from pennyweight.engine.making import trained
from pennyweight.jobs import torch_job
from pennyweight.levers.batch import Batch
from pennyweight.levers.lowprec import Lowprec
from pennyweight.levers.optimizer import Optimizer


def mlp():
    from torch import nn

    return nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))


@pytest.fixture
def job():
    x = np.random.default_rng(0).normal(size=(800, 2)).astype(np.float32)
    y = (x.sum(axis=1) > 0).astype(np.int64)
    return torch_job("line", mlp, split(x, y), "accuracy=10%", train=TrainSpec(epochs=12, batch=16, lr=0.01))


def right(work):
    select = work.data.select
    return (backends.load("torch").predict(work, select.x).argmax(1) == select.y).mean()


@pytest.mark.parametrize("lever", [Batch(4), Lowprec(), Lowprec("float16"), Optimizer(lr=1.0), Optimizer("nadam")])
def test_training_as_the_lever_says_still_learns(job, lever):
    work = trained(lever.pull(backends.load("torch").open(job)))
    assert replace(work.spec.train, epochs=1) == replace(lever.rewrite(job.spec).train, epochs=1)
    assert right(work) > 0.9


def test_a_larger_batch_moves_fewer_bytes_for_the_same_operations(job):
    asked, larger = count_training(job.spec), count_training(Batch(4).rewrite(job.spec))
    assert larger.flop == asked.flop
    assert larger.hbm_byte < asked.hbm_byte


def test_the_rate_grows_as_the_batch_or_as_its_root(job):
    assert Batch(4).rewrite(job.spec).train.lr == pytest.approx(0.02)
    sgd = replace(job.spec, train=replace(job.spec.train, optimizer="sgd"))
    assert Batch(4).rewrite(sgd).train.lr == pytest.approx(0.04)


def test_sixteen_bits_move_about_half_the_bytes_of_products(job):
    asked, few = count_training(job.spec), count_training(Lowprec().rewrite(job.spec))
    assert few.flop == asked.flop
    assert 0.5 * asked.hbm_byte < few.hbm_byte < 0.75 * asked.hbm_byte


def test_another_rule_saves_the_epochs_it_says(job):
    assert count_training(Optimizer(epochs=0.25).rewrite(job.spec)).flop == pytest.approx(
        count_training(job.spec).flop / 4
    )


def test_settings_that_make_no_sense_are_refused_with_a_reason(job):
    assert "fewer than 4 steps" in Batch(64).fits(job.spec).reason
    assert "from 2" in Batch(1).fits(job.spec).reason
    assert "int8" in Lowprec("int8").fits(job.spec).reason
    assert "already" in Lowprec().fits(Lowprec().rewrite(job.spec)).reason
    assert "'mud'" in Optimizer("mud").fits(job.spec).reason
    assert "already" in Optimizer("adam").fits(job.spec).reason
    assert "share of the epochs" in Optimizer(epochs=2.0).fits(job.spec).reason
    for lever in (Batch(), Lowprec(), Optimizer()):
        assert "only networks" in lever.fits(replace(job.spec, form=Form.ESTIMATOR)).reason
        assert lever.fits(job.spec)
