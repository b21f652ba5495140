"""Folding batch norms changes the layers and not the answers."""

import pytest
import torch
from torch import nn

from pennyweight.errors import NoEffectError
from pennyweight.train.folding import folded


def test_folded_batch_norms_answer_alike():
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(144, 5),
        nn.BatchNorm1d(5),
    )
    x = 3 * torch.randn(32, 1, 8, 8) + 1
    model(x)
    model.eval()
    short = folded(model)
    kinds = {type(each) for each in short.modules()}
    assert not kinds & {nn.BatchNorm1d, nn.BatchNorm2d}
    assert any(isinstance(each, nn.BatchNorm2d) for each in model.modules())
    assert torch.allclose(short(x), model(x), atol=1e-5)


def test_nothing_to_fold_is_an_error():
    with pytest.raises(NoEffectError, match="no batch norm"):
        folded(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.BatchNorm1d(2)))
