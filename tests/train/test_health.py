"""What ails a training is found, named by its layer, and cured if asked."""

import json
from dataclasses import replace
from itertools import starmap

import numpy as np
import pytest
import torch
from torch import nn

from pennyweight.core import Task, TrainSpec
from pennyweight.data.splits import Arrays
from pennyweight.errors import PennyweightError
from pennyweight.train.diagnosis import diagnose
from pennyweight.train.finding import Cure, Ill
from pennyweight.train.health import Health
from pennyweight.train.loop import How, Progress, fit
from pennyweight.train.nursing import nurse
from pennyweight.train.objective import Batch, Objective
from pennyweight.train.rescaling import rescaled
from pennyweight.train.spikes import Spikes


def blobs(count=300):
    generator = np.random.default_rng(0)
    y = np.arange(count) % 3
    return Arrays((generator.normal(size=(count, 4)) + 3 * np.eye(3, 4)[y]).astype(np.float32), y)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


def watched(model, spec, data=None, **health):
    watcher = Health(**{"every": 5, **health}).watch()
    fit(model, data or blobs(), spec, how=How(after_step=watcher.after_step, watch=watcher.told))
    return watcher


def right(model, data):
    with torch.no_grad():
        return float((model(torch.from_numpy(data.x)).argmax(1).numpy() == data.y).mean())


def test_a_healthy_training_has_no_findings_and_the_same_weights():
    spec = TrainSpec(epochs=5, batch=32, lr=1e-2)
    watcher = watched(network(), spec)
    assert watcher.findings == []
    alone = fit(network(), blobs(), spec).model
    assert all(starmap(torch.equal, zip(alone.parameters(), watcher.model.parameters(), strict=True)))
    assert not any(each._forward_hooks for each in watcher.model.modules())


def test_dead_units_are_found_with_the_layer_before_them():
    model = network()
    with torch.no_grad():
        model[2].bias.fill_(-100.0)
    (found,) = [each for each in watched(model, TrainSpec(epochs=5, batch=32)).findings if each.what is Ill.DEAD]
    assert (found.where, found.value) == ("2", 1.0)


def test_vanishing_gradients_are_found_in_the_first_layers():
    layers = [each for _ in range(12) for each in (nn.Linear(8, 8), nn.Sigmoid())]
    model = nn.Sequential(nn.Linear(4, 8), *layers, nn.Linear(8, 3))
    found = watched(model, TrainSpec(epochs=5, batch=32)).findings
    assert "0.weight" in {each.where for each in found if each.what is Ill.VANISHING}
    assert {each.cure for each in found} == {Cure.RESCALE}


def test_exploding_gradients_are_found():
    model, watcher = network(), Health(every=1).watch()
    for size in (1.0, 1.1, 0.9, 1.0, 5000.0):
        for each in model.parameters():
            each.grad = torch.full_like(each, size)
        watcher.after_step(model)
    assert [(each.what, each.since) for each in watcher.findings] == [(Ill.EXPLODING, 5)]


def test_a_loss_spike_is_found_once():
    watcher = Health().watch()
    for step in range(40):
        watcher.step = step
        assert watcher.told(Progress(1, step, 40, 30.0 if step == 30 else 1 + 0.01 * (step % 3), 1))
    assert [(each.what, each.since) for each in watcher.findings] == [(Ill.SPIKE, 30)]
    assert Spikes().height(float("nan")) == float("inf")


class Root(nn.Module):
    def forward(self, x):
        return torch.sqrt(x - 1.0)


def test_the_layer_where_numbers_end_is_named():
    model = nn.Sequential(nn.Linear(4, 8), Root(), nn.Linear(8, 3))
    rows = Batch(torch.zeros(10, 4), torch.zeros(10, dtype=torch.int64))
    found = diagnose(model, Objective(Task.CLASSIFY), rows, step=7)
    assert (found.what, found.where, found.since) == (Ill.NOT_A_NUMBER, "1", 7)
    assert not any(each._forward_hooks for each in model.modules())


def test_weights_rows_and_gradients_that_are_no_numbers_are_named():
    rows, objective = Batch(torch.ones(10, 4), torch.zeros(10, dtype=torch.int64)), Objective(Task.CLASSIFY)
    assert diagnose(network(), objective, rows, step=1) is None
    broken = network()
    with torch.no_grad():
        broken[2].weight[0, 0] = float("inf")
    assert diagnose(broken, objective, rows, step=1).where == "2.weight"
    holes = Batch(rows.x.clone(), rows.y)
    holes.x[3, 1] = float("nan")
    found = diagnose(network(), objective, holes, step=1)
    assert (found.what, found.where, found.cure) == (Ill.BAD_ROWS, "1 rows (3)", Cure.SKIP)
    assert json.loads(json.dumps(found.facts()))["cure"] == "skip"


def test_rows_that_hold_no_numbers_are_left_out_and_training_goes_through():
    data = blobs()
    data.x[[5, 77], 2] = np.nan
    nursed = nurse(network(), data, TrainSpec(epochs=8, batch=32, lr=1e-2))
    assert [each.what for each in nursed.cured] == [Ill.BAD_ROWS]
    assert "2 rows (5, 77)" in nursed.cured[0].where
    assert right(nursed.trained.model, blobs()) > 0.9


def test_a_training_that_diverges_is_cured_by_clipping_and_lower_rates():
    spec = TrainSpec(epochs=10, batch=32, optimizer="sgd", lr=300.0)
    with pytest.raises(PennyweightError, match="The training loss is"):
        fit(network(), blobs(), spec)
    nursed = nurse(network(), blobs(), spec, health=Health(every=2))
    assert nursed.cured
    assert nursed.settings.lr < spec.lr
    assert all(torch.isfinite(each).all() for each in nursed.trained.model.parameters())


def test_rescaled_weights_let_gradients_through():
    data = blobs()
    layers = [each for _ in range(10) for each in (nn.Linear(16, 16), nn.ReLU())]
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), *layers, nn.Linear(16, 3))
    before = model[0].weight.detach().clone()
    better = rescaled(model, torch.from_numpy(data.x))
    assert torch.equal(model[0].weight, before)
    grads = []
    for each in (model, better):
        Objective(Task.CLASSIFY).hard(each(torch.from_numpy(data.x)), torch.from_numpy(data.y)).backward()
        grads.append(float(each[0].weight.grad.norm()))
    assert grads[1] > 10 * grads[0]


def test_what_is_found_is_in_the_words_of_the_error_where_nothing_cures_it():
    model = nn.Sequential(nn.Linear(4, 8), Root(), nn.Linear(8, 3))
    with pytest.raises(PennyweightError, match=r"Found: not a number in \S+"):
        nurse(model, blobs(), replace(TrainSpec(), epochs=2))
