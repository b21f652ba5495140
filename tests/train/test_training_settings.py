"""Every setting of a training does what it says: bounds, accumulation, averages, precision, schedules, LAMB."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pennyweight.core import Regular, Task, TrainSpec
from pennyweight.data.splits import Arrays
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.train.lamb import Lamb
from pennyweight.train.loop import How, fit
from pennyweight.train.precision import Precision
from pennyweight.train.regular import Average
from pennyweight.train.schedule import rate, stepper

PLAIN = TrainSpec(epochs=3, batch=16, optimizer="sgd", lr=0.05)


def rows(count=96, features=6, classes=3):
    generator = np.random.default_rng(3)
    y = np.arange(count) % classes
    return Arrays((generator.normal(size=(count, features)) + 2 * np.eye(classes, features)[y]).astype(np.float32), y)


def net(*, dropout=0.0):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Dropout(dropout), nn.Linear(24, 3))


def flat(model):
    return torch.cat([each.detach().flatten() for each in model.parameters()])


def trained(settings=PLAIN, model=None, **how):
    return fit(model or net(), rows(), settings, how=How(**how))


def held(**regular):
    return replace(PLAIN, regular=Regular(**regular))


@pytest.mark.parametrize("count", [96, 90, 71])
@pytest.mark.parametrize("weighted", [False, True])
def test_batches_that_add_up_are_the_large_batch(count, weighted):
    data = rows(count)
    data = Arrays(data.x, data.y, weight=np.linspace(0.5, 2, count)) if weighted else data
    epochs = 8 / 3 if count == 96 else 2  # parts of a pass are the same rows only where no batch is short
    large = fit(net(), data, replace(PLAIN, batch=32, epochs=epochs))
    small = fit(net(), data, replace(PLAIN, batch=8, accumulate=4, epochs=epochs))
    assert torch.allclose(flat(large.model), flat(small.model), atol=1e-6)


def test_the_schedule_counts_changes_of_the_weights_and_not_batches():
    settings = replace(PLAIN, batch=8, accumulate=4, schedule="cosine")
    assert torch.allclose(
        flat(trained(settings).model), flat(trained(replace(settings, batch=32, accumulate=1)).model), atol=1e-6
    )


def test_a_clipped_gradient_is_no_longer_than_asked():
    lengths, sizes = [], []

    def look(model):
        grads = [each.grad for each in model.parameters()]
        lengths.append(float(torch.nn.utils.get_total_norm(grads)))
        sizes.append(max(float(each.abs().max()) for each in grads))

    trained(held(clip_norm=0.1), after_step=look)
    assert max(lengths) == pytest.approx(0.1, rel=1e-3)
    sizes.clear()
    trained(held(clip_value=0.01), after_step=look)
    assert max(sizes) == pytest.approx(0.01)


def test_the_weights_into_each_unit_stay_within_max_norm():
    loose = trained().model
    tight = trained(held(max_norm=0.5)).model
    assert float(loose[0].weight.detach().norm(dim=1).max()) > 0.6
    assert float(tight[0].weight.detach().norm(dim=1).max()) <= 0.5 + 1e-5


def test_an_l1_penalty_is_the_gradient_of_the_sum_of_absolute_weights():
    first = {}
    trained(
        held(l1=0.3), watch=lambda progress: False, after_step=lambda model: first.update(penal=model[0].weight.grad)
    )
    trained(PLAIN, watch=lambda progress: False, after_step=lambda model: first.update(plain=model[0].weight.grad))
    assert torch.allclose(first["penal"] - first["plain"], 0.3 * net()[0].weight.sign(), atol=1e-6)


def test_smoothed_labels_keep_the_model_from_being_sure():
    def sureness(model):
        with torch.no_grad():
            return float(torch.softmax(model(torch.from_numpy(rows().x)), 1).max(1).values.mean())

    settings = replace(PLAIN, epochs=60)
    plain, smooth = trained(settings), trained(replace(settings, regular=Regular(smoothing=0.3)))
    assert sureness(smooth.model) < 0.87 < sureness(plain.model)


def test_smoothing_is_not_part_of_the_loss_on_what_is_held_back():
    settings = replace(PLAIN, patience=50, lr=1e-9)
    plain, smooth = trained(settings), trained(replace(settings, regular=Regular(smoothing=0.3)))
    assert plain.scores == pytest.approx(smooth.scores, abs=1e-6)
    assert plain.history[0] != pytest.approx(smooth.history[0], abs=1e-4)


def test_dropout_replaces_that_of_the_network_and_a_network_without_any_is_refused():
    assert not torch.equal(flat(trained(held(dropout=0.5)).model), flat(trained().model))
    assert {each.p for each in trained(held(dropout=0.5)).model.modules() if isinstance(each, nn.Dropout)} == {0.5}
    with pytest.raises(NoEffectError, match="no dropout layers"):
        fit(nn.Linear(6, 3), rows(), held(dropout=0.5))


@pytest.mark.parametrize("bad", [{"ema": 1.0}, {"smoothing": -0.1}, {"clip_norm": -1.0}, {"l1": math.nan}])
def test_bounds_that_contradict_themselves_are_refused(bad):
    with pytest.raises(BadInputError, match="cannot be used"):
        trained(held(**bad))


def test_smoothing_values_is_refused():
    data = Arrays(rows().x, rows().x[:, :1])
    with pytest.raises(BadInputError, match="smoothed"):
        fit(nn.Linear(6, 1), data, held(smoothing=0.1), how=How(task=Task.REGRESS))


def test_the_average_is_the_recurrence_it_says_with_what_batch_norm_remembers():
    norm = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    seen = []

    def remember(model):
        seen.append({name: each.detach().clone() for name, each in model.state_dict().items()})

    done = trained(held(ema=0.9), norm, after_step=remember).model.state_dict()
    start = dict(norm.state_dict())
    for name in ("0.weight", "1.running_mean"):
        kept = start[name].clone()
        for number, each in enumerate(seen, 1):
            kept = torch.lerp(kept, each[name], 1 - min(0.9, (1 + number) / (10 + number)))
        assert torch.allclose(done[name], kept, atol=1e-6)
        assert not torch.allclose(done[name], seen[-1][name], atol=1e-4)
    assert int(done["1.num_batches_tracked"]) == len(seen)


def test_showing_the_average_changes_nothing():
    model = net()
    average = Average(model, 0.5)
    with torch.no_grad():
        model[0].weight.add_(1)
    average.update()
    before = flat(model).clone()
    with average.shown():
        assert not torch.equal(flat(model), before)
    assert torch.equal(flat(model), before)


def test_a_first_step_that_float16_leaves_out_leaves_no_rubbish_in_the_momentum():
    far = Arrays(rows().x, np.full((96, 3), 100.0, dtype=np.float32))  # its gradients overflow at the first scale
    losses = fit(net(), far, replace(PLAIN, lr=1e-3, precision="float16"), how=How(task=Task.REGRESS)).history
    assert losses[-1] < losses[0] < 1e5


def test_products_in_float16_learn_and_a_step_that_overflows_is_left_out():
    done = trained(replace(PLAIN, precision="float16", epochs=20))
    assert done.history[-1] < done.history[0] / 2
    assert {each.dtype for each in done.model.parameters()} == {torch.float32}
    model, rule = net(), None
    rule, precision = stepper(model, PLAIN, 10), Precision("float16")
    before = flat(model).clone()
    precision.backward(model(torch.full((1, 6), 1e35)).sum())
    precision.step(rule, lambda: None)
    assert torch.equal(flat(model), before)
    assert precision.state()["scale"] == 2.0**15


def test_one_cycle_and_cosine_are_torchs_own():
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), 0.5)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.5, total_steps=41, pct_start=round(0.25 * 41) / 41, cycle_momentum=False
    )
    for at in range(40):
        assert 0.5 * rate(replace(PLAIN, schedule="onecycle"), at, 40) == pytest.approx(
            cycle.get_last_lr()[0], rel=1e-9
        )
        optimizer.step()
        cycle.step()
    assert [rate(replace(PLAIN, schedule="cosine"), at, 4) for at in range(4)] == pytest.approx(
        [1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125)]
    )


def test_warm_up_climbs_stable_stays_and_decay_falls():
    rates = [rate(replace(PLAIN, schedule="wsd", warmup=0.1), at, 100) for at in range(100)]
    assert rates[:10] == pytest.approx([(at + 1) / 11 for at in range(10)])
    assert set(rates[10:80]) == {1.0}
    assert rates[80:] == sorted(rates[80:], reverse=True)
    assert rates[-1] < 0.03
    with pytest.raises(BadInputError, match="warm-up"):
        trained(replace(PLAIN, warmup=1.0))


def test_lamb_takes_a_step_as_long_as_the_tensor_times_the_rate():
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    weight.grad = torch.tensor([1.0, -1.0])
    Lamb([weight], lr=0.1).step()
    way = torch.tensor([1.0, -1.0]) / math.sqrt(2)
    assert torch.allclose(weight.detach(), torch.tensor([3.0, 4.0]) - 0.1 * 5 * way, atol=1e-5)


def test_momentum_and_nesterov_are_those_of_the_settings():
    ends = {
        (momentum, nesterov): flat(trained(replace(PLAIN, momentum=momentum, nesterov=nesterov)).model)
        for momentum, nesterov in ((0.9, False), (0.9, True), (0.0, False))
    }
    assert not torch.equal(ends[0.9, False], ends[0.9, True])
    assert not torch.equal(ends[0.9, False], ends[0.0, False])


@pytest.mark.parametrize("settings", [held(clip_norm=1.0, ema=0.9, l1=1e-4), replace(PLAIN, precision="float16")])
def test_equal_seeds_repeat_all_of_it(settings):
    assert torch.equal(flat(trained(settings, seed=4).model), flat(trained(settings, seed=4).model))
    assert not torch.equal(flat(trained(settings, seed=4).model), flat(trained(settings, seed=5).model))
