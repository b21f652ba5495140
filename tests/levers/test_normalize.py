from dataclasses import replace

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.core import Form, TrainSpec
from pennyweight.cost.count import count, count_training
from pennyweight.data.splits import split
from pennyweight.errors import NoEffectError
from pennyweight.jobs import torch_job
from pennyweight.levers.normalize import Normalize, moments


def mlp():
    from torch import nn

    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))


def job_on(x):
    y = (x[:, 0] > x[:, 0].mean()).astype(np.int64)
    return torch_job("scales", mlp, split(x, y), "accuracy=10%", train=TrainSpec(epochs=4, batch=32))


def wild():
    return (np.random.default_rng(0).normal(size=(200, 4)) * [1, 100, 1, 0.01] + [50, 0, 0, 3]).astype(np.float32)


def test_the_network_sees_scaled_inputs_whoever_calls_it():
    work = Normalize().pull(backends.load("torch").open(job_on(wild())))
    import torch

    seen = work.model.scaler(torch.tensor(work.data.train.x)).numpy()
    assert np.allclose(seen.mean(axis=0), 0, atol=1e-3)
    assert np.allclose(seen.std(axis=0), 1, atol=1e-3)


def test_paper_and_reality_count_the_same():
    job = job_on(wild())
    work = Normalize().pull(backends.load("torch").open(job))
    assert backends.load("torch").table(work) == Normalize().rewrite(job.spec).ops


def test_it_saves_training_and_costs_one_operator():
    job = job_on(wild())
    after = Normalize(0.5).rewrite(job.spec)
    assert count_training(after).flop == pytest.approx(count_training(job.spec).flop / 2)
    assert count(after).hbm_byte > count(job.spec).hbm_byte


def test_scaled_data_is_refused_on_paper_and_has_no_effect_for_real():
    job = job_on(wild())
    work = backends.load("torch").open(job)
    once = Normalize().pull(work)
    assert not Normalize().fits(once.spec)
    mean, std = moments(work.data.train.x)
    scaled = replace(work.data.train, x=(work.data.train.x - mean) / std)
    with pytest.raises(NoEffectError):
        Normalize().pull(work.having(data=replace(work.data, train=scaled)))


def test_images_are_scaled_per_channel_and_constant_channels_kept():
    x = np.stack([np.full((5, 4, 4), 7.0), np.arange(80.0).reshape(5, 4, 4)], axis=1)
    mean, std = moments(x)
    assert mean.shape == (2, 1, 1)
    assert std[0, 0, 0] == 1
    assert mean[1, 0, 0] == pytest.approx(39.5)


def test_an_estimator_is_told_to_use_a_pipeline():
    spec = replace(job_on(wild()).spec, form=Form.ESTIMATOR)
    assert "pipeline" in Normalize().fits(spec).reason
