from dataclasses import replace

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.core import Form, TrainSpec
from pennyweight.data.splits import split
from pennyweight.jobs import torch_job
from pennyweight.levers.curriculum import Curriculum
from pennyweight.train.how import How
from pennyweight.train.passes import Passes


def mlp():
    from torch import nn

    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))


@pytest.fixture
def job():
    """Points left and right of a line, a class each; how far from the line is how easy."""
    x = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    return torch_job("line", mlp, split(x, y), "accuracy=10%", train=TrainSpec(epochs=30, batch=32, lr=0.01))


def test_rows_far_from_the_border_come_first_and_no_class_before_another(job):
    work = backends.load("torch").open(job)
    train = Curriculum(look=5.0).pull(work).data.train
    assert sorted(map(tuple, train.x.tolist())) == sorted(map(tuple, work.data.train.x.tolist()))
    half = len(train) // 2
    far = np.abs(train.x[:, 0])
    assert far[:half].mean() > 2 * far[half:].mean()
    assert train.y[:half].mean() == pytest.approx(train.y.mean(), abs=0.03)
    np.testing.assert_array_equal(train.y, (train.x[:, 0] > 0).astype(np.int64))


def rows_of_each_pass(settings, rows=100):
    passes, met = Passes.over(rows, settings, How(), alone=True), []
    while passes.step < passes.steps:
        seen = passes.next().rows.tolist()
        if not passes.within or not met or len(met[-1]) >= rows:
            met.append([])
        met[-1] += seen
        if passes.ended:
            passes.close()
    return met


def test_more_rows_come_up_with_every_pass_until_all_have():
    met = rows_of_each_pass(TrainSpec(10, 10, pace=0.5, start=0.2))
    assert [max(rows) + 1 for rows in met] == [20, 36, 52, 68, 84, 100, 100, 100, 100, 100]
    assert all(len(rows) == 100 for rows in met)
    assert sorted(met[-1]) == list(range(100))


def test_rows_that_are_up_come_equally_often():
    first = rows_of_each_pass(TrainSpec(10, 10, pace=0.5, start=0.2))[0]
    assert sorted(first) == sorted(list(range(20)) * 5)


def test_without_a_pace_every_pass_has_every_row():
    assert all(sorted(rows) == list(range(100)) for rows in rows_of_each_pass(TrainSpec(3, 10)))


def test_a_training_that_was_cut_off_goes_on_with_the_same_rows():
    settings = TrainSpec(8, 10, pace=0.5)
    whole, cut = (Passes.over(60, settings, How(seed=3), alone=True) for _ in range(2))

    def take(passes):
        rows = passes.next().rows.tolist()
        if passes.ended:
            passes.close()
        return rows

    for _ in range(9):
        take(whole)
        take(cut)
    again = Passes.over(60, settings, How(seed=99), alone=True)
    again.restore(cut.state())
    assert [take(again) for _ in range(39)] == [take(whole) for _ in range(39)]


def test_looking_is_paid_for_and_epochs_are_saved(job):
    paper = Curriculum(0.5, look=3.0).rewrite(job.spec)
    assert paper.data.looked == 3 * job.spec.data.rows
    assert paper.train.epochs == 15
    assert Curriculum(0.5, look=3.0).pull(backends.load("torch").open(job)).spec == paper


def test_refusals_say_why(job):
    spec = job.spec
    assert "as long as is saved" in Curriculum(0.9, look=5.0).fits(spec).reason
    assert "too few epochs" in Curriculum().fits(replace(spec, train=replace(spec.train, epochs=5))).reason
    assert "order already" in Curriculum().fits(Curriculum().rewrite(spec)).reason
    assert "below 1" in Curriculum(start=1.0).fits(spec).reason
    assert "still to be trained" in Curriculum().fits(replace(spec, form=Form.ESTIMATOR)).reason
