"""The training loop learns, repeats itself by its seed, stops when told, and says what is wrong."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from pennyweight.core import Task, TrainSpec
from pennyweight.data.splits import Arrays
from pennyweight.errors import BadInputError, PennyweightError, UnknownNameError
from pennyweight.train.loop import How, fit
from pennyweight.train.objective import Batch, Objective
from pennyweight.train.optimizers import OPTIMIZERS
from pennyweight.train.rows import answer_width
from pennyweight.train.schedule import SCHEDULES, stepper


def blobs(count=200, classes=3, features=4):
    generator = np.random.default_rng(0)
    y = np.arange(count) % classes
    x = generator.normal(size=(count, features)) + 3 * np.eye(classes, features)[y]
    return Arrays(x.astype(np.float32), y)


def network(classes=3, features=4):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(features, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, classes)
    )


def weights_of(model):
    return torch.cat([each.detach().flatten().float() for each in model.state_dict().values()])


def right(model, data):
    with torch.no_grad():
        return float((model(torch.from_numpy(data.x)).argmax(1).numpy() == data.y).mean())


def test_it_learns_and_leaves_the_given_model_as_it_was():
    model, data = network(), blobs()
    before = weights_of(model).clone()
    trained = fit(model, data, TrainSpec(epochs=10, batch=32, lr=1e-2))
    assert torch.equal(weights_of(model), before)
    assert right(trained.model, data) > 0.95
    assert trained.history[-1] < trained.history[0] / 2
    assert (trained.epochs, trained.rows, len(trained.history)) == (10, 2000, 10)
    assert not trained.model.training


@pytest.mark.parametrize("threads", [1, 2])
def test_equal_seeds_give_equal_weights_bit_by_bit(threads):
    torch.set_num_threads(threads)
    generator = np.random.default_rng(1)
    data = Arrays(generator.normal(size=(90, 1, 8, 8)).astype(np.float32), np.arange(90) % 3)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(288, 3))
    settings = TrainSpec(epochs=2, batch=32, patience=3)
    one, two, other = (fit(model, data, settings, how=How(seed=seed)) for seed in (5, 5, 6))
    assert torch.equal(weights_of(one.model), weights_of(two.model))
    assert one.history == two.history
    assert not torch.equal(weights_of(one.model), weights_of(other.model))


def test_arrays_that_may_not_be_written_are_trained_on_without_a_warning():
    data = blobs(40)
    data.x.flags.writeable = False
    assert fit(network(), data, TrainSpec()).rows == 40


def test_training_leaves_the_global_generator_alone():
    model, before = network(), torch.get_rng_state()
    fit(model, blobs(40), TrainSpec())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("optimizer", "schedule"), [*itertools.product(OPTIMIZERS, SCHEDULES)])
def test_every_optimiser_and_schedule_learns(optimizer, schedule):
    lr = {"adagrad": 0.1, "radam": 0.1}.get(optimizer, 2e-2)  # these begin carefully
    trained = fit(network(), blobs(), TrainSpec(8, 32, optimizer, lr, 1e-4, schedule))
    assert right(trained.model, blobs()) > 0.9


@pytest.mark.parametrize("what", [{"optimizer": "adamm"}, {"schedule": "onecycl"}, {"precision": "float61"}])
def test_an_unknown_name_is_answered_with_the_nearest(what):
    with pytest.raises(UnknownNameError, match=r"adam|onecycle|float32"):
        fit(network(), blobs(), TrainSpec(**what))


@given(steps=st.integers(1, 40), schedule=st.sampled_from(["cosine", "onecycle"]))
def test_schedules_of_any_length_stay_below_the_rate_asked_for_and_end_near_zero(steps, schedule):
    model = nn.Linear(1, 1)
    rule = stepper(model, TrainSpec(lr=0.1, schedule=schedule, optimizer="sgd"), steps)
    rates = []
    for _ in range(steps):
        rates.append(rule.lr)
        model(torch.ones(1, 1)).sum().backward()
        rule.step()
    assert max(rates) <= 0.1 + 1e-9
    if steps > 8:
        assert max(rates) > 0.09
        assert rates[-1] < 0.2 * max(rates)


def test_products_in_bfloat16_learn_as_well_and_the_weights_stay_in_float32():
    trained = fit(network(), blobs(), TrainSpec(10, 32, lr=1e-2, precision="bfloat16"))
    assert right(trained.model, blobs()) > 0.95
    assert {each.dtype for each in trained.model.parameters()} == {torch.float32}
    plain = fit(network(), blobs(), TrainSpec(10, 32, lr=1e-2))
    assert not torch.equal(weights_of(trained.model), weights_of(plain.model))


def test_parts_of_an_epoch_are_parts_of_the_steps():
    steps = []
    trained = fit(
        network(), blobs(), TrainSpec(epochs=1.5, batch=50), how=How(watch=lambda progress: not steps.append(progress))
    )
    assert [each.step for each in steps] == [1, 2, 3, 4, 5, 6]
    assert [each.epoch for each in steps] == [1, 1, 1, 1, 2, 2]
    assert {each.steps for each in steps} == {6}
    assert steps[-1].rows == trained.rows == 300
    assert trained.epochs == pytest.approx(1.5)


def test_a_watcher_can_stop_it_and_nothing_is_lost():
    trained = fit(network(), blobs(), TrainSpec(50, 32), how=How(watch=lambda progress: progress.step < 3))
    assert trained.stopped
    assert trained.rows == 96
    assert right(trained.model, blobs()) > 0.2


@pytest.mark.parametrize("count", [33, 65, 2])
def test_a_last_batch_of_one_row_does_not_break_batch_norm(count):
    assert fit(network(), blobs(count), TrainSpec(2, 32)).rows == 2 * count


def test_a_last_short_batch_is_trained_on():
    assert fit(nn.Linear(4, 3), blobs(33), TrainSpec(1, 32)).rows == 33


def test_batches_of_one_row_are_refused_where_batch_norm_needs_two():
    with pytest.raises(BadInputError, match="batch"):
        fit(network(), blobs(9), TrainSpec(1, 1))


def test_patience_stops_holds_a_tenth_of_every_class_back_and_keeps_the_best():
    generator = np.random.default_rng(0)
    noise = Arrays(generator.normal(size=(200, 4)).astype(np.float32), np.arange(200) % 4)
    trained = fit(network(4), noise, TrainSpec(200, 16, lr=2e-2, patience=3))
    assert len(trained.scores) < 60
    assert min(trained.scores) == trained.scores[-4]
    assert trained.rows == 180 * len(trained.scores)
    assert not trained.stopped


def test_the_best_weights_are_those_of_the_best_epoch():
    settings, data = TrainSpec(12, 16, lr=0.3, optimizer="sgd", patience=20), blobs(60)
    trained = fit(network(), data, settings)
    best = int(np.argmin(trained.scores)) + 1
    assert best < 12
    again = fit(network(), data, settings, how=How(watch=lambda progress: progress.step < 4 * best))
    assert torch.equal(weights_of(trained.model), weights_of(again.model))


def test_whole_groups_are_held_back():
    data = blobs(100)
    groups = np.repeat(np.arange(10), 10)
    seen = set()

    def remember(x, y):
        seen.update(row.tobytes() for row in x.numpy())
        return x, y

    fit(nn.Linear(4, 3), Arrays(data.x, data.y, groups), TrainSpec(1, patience=1), how=How(augment=remember))
    used = np.array([row.tobytes() in seen for row in data.x])
    assert {int(used[groups == each].sum()) for each in range(10)} == {0, 10}
    assert used.sum() == 90


def test_row_weights_decide_what_is_learned():
    x = np.ones((60, 2), dtype=np.float32)
    y = np.arange(60) % 2
    model = nn.Linear(2, 2)
    for favourite in (0, 1):
        weight = np.where(y == favourite, 9.0, 1.0)
        trained = fit(model, Arrays(x, y, weight=weight), TrainSpec(60, 20, lr=0.05))
        chance = torch.softmax(trained.model(torch.ones(1, 2)).detach(), 1)[0, favourite]
        assert float(chance) == pytest.approx(0.9, abs=0.02)


def test_weights_that_are_all_alike_change_nothing():
    data = blobs(64)
    plain = fit(network(), data, TrainSpec(2, 16))
    sevens = np.full(64, 7, dtype=np.float32)
    even = fit(network(), Arrays(data.x, data.y, weight=sevens), TrainSpec(2, 16))
    assert set(sevens) == {7}
    assert torch.allclose(weights_of(plain.model), weights_of(even.model), atol=1e-5)


def test_a_student_learns_what_only_the_teacher_knows():
    data = blobs(300)
    shuffled = Arrays(data.x, np.random.default_rng(0).permutation(data.y))
    teacher = 6 * np.eye(3)[data.y]
    taught = fit(network(), shuffled, TrainSpec(8, 32, lr=1e-2), how=How(teacher_logits=teacher, mix=0.9))
    assert right(taught.model, data) > 0.9
    assert right(fit(network(), shuffled, TrainSpec(8, 32, lr=1e-2)).model, data) < 0.7


def test_the_distillation_loss_is_the_formula_in_its_docstring():
    out, teacher = torch.randn(5, 4), torch.randn(5, 4)
    y = torch.tensor([0, 1, 2, 3, 0])
    soft = (torch.softmax(teacher / 3, 1) * (torch.log_softmax(teacher / 3, 1) - torch.log_softmax(out / 3, 1))).sum(1)
    expected = 0.7 * 9 * soft.mean() + 0.3 * functional.cross_entropy(out, y)
    ours = Objective(Task.CLASSIFY, 3.0, 0.7).mixed(out, Batch(out, y, teacher=teacher))
    assert torch.allclose(ours, expected, atol=1e-6)


def test_a_teacher_of_other_rows_is_refused():
    with pytest.raises(BadInputError, match="teacher"):
        fit(network(), blobs(20), TrainSpec(), how=How(teacher_logits=np.zeros((19, 3))))


def test_values_are_learned_by_squared_error():
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    y = x @ np.array([1.0, -2.0, 0.5]) + 3
    trained = fit(nn.Linear(3, 1), Arrays(x, y), TrainSpec(60, 32, lr=0.05), how=How(task=Task.REGRESS))
    answers = trained.model(torch.from_numpy(x)).detach().numpy()[:, 0]
    assert np.abs(answers - y).max() < 0.05


def test_tokens_are_learned_and_weighted():
    tokens = (np.arange(40)[:, None] + np.arange(6)) % 5
    data = Arrays(tokens, (tokens + 1) % 5, weight=np.ones(40))
    model = nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 5))
    trained = fit(model, data, TrainSpec(40, 8, lr=0.05), how=How(task=Task.LANGUAGE))
    assert np.array_equal(trained.model(torch.from_numpy(tokens)).argmax(-1).numpy(), data.y)


def test_augmenting_and_what_comes_after_each_step():
    def doubled(x, y):
        return x * 2, y

    def masked(model):
        with torch.no_grad():
            model.weight[:, 0] = 0

    trained = fit(nn.Linear(4, 3), blobs(40), TrainSpec(2, 16), how=How(augment=doubled, after_step=masked))
    assert torch.count_nonzero(trained.model.weight[:, 0]) == 0
    plain = fit(nn.Linear(4, 3), blobs(40), TrainSpec(2, 16))
    assert trained.history != plain.history


def test_a_loss_that_is_no_number_says_what_to_do():
    data = blobs(40)
    with pytest.raises(PennyweightError, match="lower the learning rate"):
        fit(network(), Arrays(data.x * np.float32("inf"), data.y), TrainSpec())


@pytest.mark.parametrize(
    ("model", "y", "said"),
    [
        (nn.Linear(9, 3), [0, 1], "shape the model expects"),
        (nn.Linear(4, 2), [0, 2], "from 0 to 2, but the model knows 2"),
        (nn.Linear(4, 3), [-1, 2], "number the classes from 0"),
        (nn.Flatten(0), [0, 1], "logits of shape"),
        (nn.LSTM(4, 3), [0, 1], "return one tensor"),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_refused_before_the_first_step(model, y, said):
    with pytest.raises(BadInputError, match=said):
        fit(model, Arrays(np.ones((2, 4), dtype=np.float32), np.array(y)), TrainSpec())


@pytest.mark.parametrize("settings", [TrainSpec(epochs=0), TrainSpec(batch=0), TrainSpec(epochs=float("nan"))])
def test_settings_that_train_nothing_are_refused(settings):
    with pytest.raises(BadInputError, match="cannot be done"):
        fit(network(), blobs(20), settings)


def test_one_row_is_nothing_to_train_on():
    with pytest.raises(BadInputError, match="at least two"):
        fit(network(), blobs(1), TrainSpec())


def test_the_width_of_the_answers():
    assert answer_width(network(), blobs(10), Task.CLASSIFY) == 3
    values = Arrays(np.ones((4, 4), dtype=np.float32), np.ones((4, 2)))
    assert answer_width(nn.Linear(4, 2), values, Task.REGRESS) == 2
    with pytest.raises(BadInputError, match="one value per label"):
        answer_width(nn.Linear(4, 3), values, Task.REGRESS)
