"""Wrong gradients are named, right ones are not suspected; rates and noise scales are what they should be."""

import numpy as np
import pytest
import torch
from torch import nn

from pennyweight.core import Task, TrainSpec
from pennyweight.data.splits import Arrays
from pennyweight.errors import BadInputError, PennyweightError
from pennyweight.train.gradients import check_gradients
from pennyweight.train.noise import noise_from, noise_scale
from pennyweight.train.objective import Batch, Objective
from pennyweight.train.range_test import find_rate


class Halved(torch.autograd.Function):
    """The identity, whose backward forgets half."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad / 2


class Wrong(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.third(Halved.apply(self.second(torch.tanh(self.first(x)))))


def blobs(count=400, features=4):
    generator = np.random.default_rng(0)
    y = np.arange(count) % 3
    return Arrays((generator.normal(size=(count, features)) + 3 * np.eye(3, features)[y]).astype(np.float32), y)


def some(count=6):
    return Batch(torch.randn(count, 4), torch.arange(count) % 3)


def test_all_gradients_of_a_network_with_dropout_and_batch_norm_are_right():
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
    report = check_gradients(model, Objective(Task.CLASSIFY), some())
    assert not report.wrong, str(report)
    assert [each.name for each in report.checked] == [name for name, _ in model.named_parameters()]


def test_the_parameter_nearest_to_a_wrong_backward_is_named():
    report = check_gradients(Wrong(), Objective(Task.CLASSIFY), some())
    assert {each.name for each in report.wrong} == {"first.weight", "first.bias", "second.weight", "second.bias"}
    assert "The gradient of second.bias is wrong" in str(report)
    assert "the gradients from third.weight on are right" in str(report)
    assert report.wrong[-1].analytic == pytest.approx(report.wrong[-1].numeric / 2, rel=1e-4)


def test_a_model_without_parameters_has_nothing_to_check():
    with pytest.raises(BadInputError, match="no parameter to train"):
        check_gradients(nn.Flatten(), Objective(Task.CLASSIFY), some())


def test_two_norms_give_the_noise_scale_back():
    found = noise_from((10, 4 + 200 / 10), (100, 4 + 200 / 100))
    assert (found.signal, found.scatter, found.rows) == pytest.approx((4, 200, 50))
    assert found.steps(50) == pytest.approx(2)
    assert noise_from((10, 20.0), (100, 2.0)).rows == float("inf")
    with pytest.raises(BadInputError, match="two batch sizes"):
        noise_from((10, 1.0), (10, 2.0))


def test_noisy_labels_have_a_larger_noise_scale_and_the_model_stays_as_it_was():
    data, model = blobs(), nn.Linear(4, 3)
    before = model.weight.detach().clone()
    shuffled = Arrays(data.x, np.random.default_rng(0).permutation(data.y))
    clean, noisy = noise_scale(model, data), noise_scale(model, shuffled)
    assert noisy.rows > 3 * clean.rows > 0
    assert torch.equal(model.weight, before)
    assert model.weight.grad is None


def test_the_suggested_rate_trains_well_and_one_far_above_it_does_not():
    data, model = blobs(), nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
    before = model[0].weight.detach().clone()
    rates = find_rate(model, data, TrainSpec(batch=64, optimizer="sgd"), span=(1e-5, 100.0, 120))
    assert torch.equal(model[0].weight, before)
    assert 1e-3 < rates.suggested < 3
    assert rates.suggested <= rates.highest / 3
    assert min(rates.losses) < 0.5 * rates.losses[0]


def test_a_loss_that_is_no_number_from_the_start_is_said():
    data = blobs()
    data.x[:, 0] = np.nan
    with pytest.raises(PennyweightError, match="even at the lowest learning rates"):
        find_rate(nn.Linear(4, 3), data, TrainSpec())
