"""A plain training does not load PyTorch's compiler, and one that compiles afterwards still works."""

import subprocess
import sys

PLAIN = """
import sys
import numpy as np
from torch import nn
from pennyweight.core import TrainSpec
from pennyweight.data.splits import Arrays
from pennyweight.train.loop import fit

def train(optimizer):
    x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    return fit(nn.Linear(4, 2), Arrays(x, (x[:, 0] > 0).astype(np.int64)), TrainSpec(1, 16, optimizer)).model

for optimizer in ("adam", "sgd", "muon"):
    train(optimizer)
assert "torch._dynamo" not in sys.modules
"""
AFTERWARDS = """
import torch
import torch._dynamo
compiled = torch.compile(lambda x: 2 * x, backend="eager")
assert compiled(torch.ones(2)).tolist() == [2, 2]
train("adam")
optimizer = torch.optim.Adam([torch.ones(2, requires_grad=True)])
optimizer.load_state_dict(optimizer.state_dict())
"""


def run(program):
    return subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)


def test_a_plain_training_does_not_load_the_compiler():
    done = run(PLAIN)
    assert done.returncode == 0, done.stderr


def test_who_compiles_afterwards_can():
    done = run(PLAIN + AFTERWARDS)
    assert done.returncode == 0, done.stderr
