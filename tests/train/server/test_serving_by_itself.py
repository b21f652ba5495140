"""A training that starts its own processes, as `fit` does by itself, pays for all of them."""

import numpy as np
import torch
from torch import nn

from pennyweight.core import TeamSpec, TrainSpec
from pennyweight.data.splits import Arrays
from pennyweight.train.clock import Clock
from pennyweight.train.how import How
from pennyweight.train.loop import fit


def test_the_training_loop_reaches_the_server_by_the_way_to_agree():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 640)
    x = (rng.normal(size=(640, 8)) + 3 * np.eye(4, 8)[y]).astype(np.float32)
    torch.manual_seed(1)
    clock, settings = Clock(), TrainSpec(epochs=2, batch=32, lr=3e-3, team=TeamSpec(2, "async:4"))
    done = fit(
        nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4)), Arrays(x, y), settings, how=How(clock=clock)
    )
    assert done.rows == 2 * 640
    assert done.history[-1] < done.history[0]
    assert (
        done.sent_byte > 2 * 40 * 4 * (8 * 32 + 32 + 32 * 4 + 4) / 2
    )  # half of a gradient there and weights back a step
    assert clock.elsewhere_s > 0.5  # two workers and two shards have started
