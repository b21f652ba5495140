"""Trainings that start their own workers."""

import os

import numpy as np
import pytest
import torch
from torch import nn

from pennyweight.core import TeamSpec, TrainSpec
from pennyweight.data.splits import Arrays
from pennyweight.errors import LostError, PennyweightError
from pennyweight.train.distributed.forked import train_together
from pennyweight.train.loop import How, fit


def rows(count=64):
    x = np.random.default_rng(0).normal(size=(count, 20)).astype(np.float32)
    return Arrays(x, (x[:, :3].sum(1) > 0).astype(np.int64))


def net(width=32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2))


def flat(model):
    return torch.cat([each.detach().reshape(-1) for each in model.parameters()])


def test_two_workers_with_half_batches_come_to_the_weights_of_one():
    alone = fit(net(), rows(), TrainSpec(2, 16, lr=0.01))
    done = train_together(net(), rows(), TrainSpec(2, 8, lr=0.01, team=TeamSpec(2)))
    assert torch.allclose(flat(done.trained.model), flat(alone.model), atol=1e-5)
    assert done.trained.epochs == alone.epochs == 2
    assert done.trained.rows == alone.rows
    assert done.sent_byte > 0


def test_a_network_of_several_buckets_is_one_vector_to_the_compressor():
    settings = TrainSpec(2, 16, "sgd", lr=0.05, team=TeamSpec(2))
    packed = TrainSpec(2, 16, "sgd", lr=0.05, team=TeamSpec(2, compress="int8"))
    large = net(700)  # 2 MB, more than DDP's first bucket
    plain, few = (train_together(large, rows(), each) for each in (settings, packed))
    assert few.sent_byte < 0.27 * plain.sent_byte
    moved = flat(plain.trained.model) - flat(large)
    assert (flat(few.trained.model) - flat(plain.trained.model)).norm() < 0.05 * moved.norm()


def test_a_worker_that_is_lost_ends_the_training_of_all():
    def dies(model):
        if model[0].weight.requires_grad:
            os._exit(9)

    with pytest.raises(LostError, match="was lost"):
        train_together(net(), rows(), TrainSpec(2, 8, team=TeamSpec(2)), How(after_step=dies))


def test_a_team_that_cannot_be_is_refused_before_anything_starts():
    with pytest.raises(PennyweightError, match="int5"):
        train_together(net(), rows(), TrainSpec(2, 8, team=TeamSpec(2, compress="int5")))
