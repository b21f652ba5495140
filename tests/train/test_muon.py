import pytest
import torch
from torch import nn

from pennyweight.train.muon import Muon


def _trained(make, steps=12):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 12), nn.Tanh(), nn.Linear(12, 12))
    weights = [each for each in model.parameters() if each.dim() == 2]
    rule = make(weights)
    x, y = torch.randn(64, 12), torch.randn(64, 12)
    for _ in range(steps):
        rule.zero_grad()
        (model(x) - y).square().mean().backward()
        rule.step()
    return weights


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_it_takes_the_steps_of_pytorchs_own_up_to_rounding(decay):
    ours = _trained(lambda w: Muon(w, lr=0.01, weight_decay=decay))
    theirs = _trained(lambda w: torch.optim.Muon(w, lr=0.01, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    start = _trained(lambda w: Muon(w, lr=0.0))
    for mine, other, begun in zip(ours, theirs, start, strict=True):
        assert (mine - other).norm() < 0.03 * (other - begun).norm()


def test_every_direction_counts_alike_however_small_its_gradient():
    weight = nn.Parameter(torch.zeros(4, 4))
    weight.grad = torch.diag(torch.tensor([100.0, 50.0, 20.0, 10.0]))
    Muon([weight], lr=1.0).step()
    moved = torch.linalg.svdvals(weight.detach())
    assert moved.max() / moved.min() < 2


def test_a_matrix_without_a_gradient_stays():
    still, moving = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(3, 3))
    moving.grad = torch.eye(3)
    Muon([still, moving], lr=0.1).step()
    assert torch.equal(still, torch.ones(3, 3))
    assert not torch.equal(moving, torch.ones(3, 3))
