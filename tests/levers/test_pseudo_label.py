from dataclasses import replace

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.core import Form, TrainSpec
from pennyweight.data.splits import Arrays, Splits, split
from pennyweight.errors import BadInputError
from pennyweight.jobs import torch_job
from pennyweight.levers.pseudo_label import PseudoLabel
from pennyweight.testing import gpt_job


def mlp():
    from torch import nn

    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))


def points(rows, seed):
    """Points left and right of a line, a class each; how far from the line is how easy."""
    x = np.random.default_rng(seed).normal(size=(rows, 2)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64)


def job_with(unlabelled, weighted=False):
    parts = replace(split(*points(500, 0)), unlabelled=unlabelled)
    train = TrainSpec(epochs=20, batch=32, lr=0.01)
    return torch_job("line", mlp, parts, "accuracy=10%", train=train, weighted=weighted)


@pytest.fixture
def job():
    return job_with(points(200, 1)[0])


def added(job, done):
    return done.data.train.x[len(job.material.splits.train) :], done.data.train.y[len(job.material.splits.train) :]


def test_rows_far_from_the_border_are_the_surest_and_get_the_right_label(job):
    done = PseudoLabel(0.5, look=10.0).pull(backends.load("torch").open(job))
    x, y = added(job, done)
    assert len(x) == 100
    assert np.array_equal(y, x[:, 0] > 0)
    everything = job.material.splits.unlabelled
    left_out = np.array([row for row in everything.tolist() if row not in x.tolist()])
    assert np.abs(x[:, 0]).min() > np.median(np.abs(left_out[:, 0]))


def test_all_of_them_are_added_when_asked_and_none_is_left_over(job):
    done = PseudoLabel(1.0, look=5.0).pull(backends.load("torch").open(job))
    assert sorted(added(job, done)[0].tolist()) == sorted(job.material.splits.unlabelled.tolist())
    assert done.data.unlabelled is None
    assert "no rows without labels" in PseudoLabel().fits(done.spec).reason


def test_labelling_and_the_further_rows_are_paid_for_on_paper_and_in_reality(job):
    lever = PseudoLabel(0.5, 0.4, look=3.0)
    paper = lever.rewrite(job.spec)
    assert paper.data.rows == job.spec.data.rows + 100
    assert paper.data.looked == 3 * job.spec.data.rows
    assert paper.train.epochs == pytest.approx(8)
    done = lever.pull(backends.load("torch").open(job)).spec
    assert done == replace(paper, data=replace(paper.data, duplicates=done.data.duplicates))


def test_the_settings_worth_trying_take_three_quarters_of_the_training(job):
    for lever in PseudoLabel.choices(job):
        assert lever.rewrite(job.spec).passes == pytest.approx(0.75 * job.spec.passes, rel=0.01)


def test_new_rows_weigh_what_others_of_their_class_do():
    x, y = points(600, 0)
    rare = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:60]])
    parts = replace(split(x[rare], y[rare]), unlabelled=points(100, 1)[0])
    job = torch_job("rare", mlp, parts, "accuracy=20%", train=TrainSpec(20, 32, lr=0.01), weighted=True)
    done = PseudoLabel(1.0, look=10.0).pull(backends.load("torch").open(job)).data.train
    for name in (0, 1):
        assert len(np.unique(done.weight[done.y == name].round(5))) == 1
    assert done.weight[done.y == 1][0] > 2 * done.weight[done.y == 0][0]


def test_at_lower_fidelity_there_are_fewer_of_them(job):
    work = backends.load("torch").open(job, fidelity=0.25)
    assert work.spec.data.unlabelled == len(work.data.unlabelled) == 50


def test_a_job_with_other_unlabelled_rows_is_another_job(job):
    assert job_with(points(200, 2)[0]).fingerprint != job.fingerprint != job_with(None).fingerprint


def test_rows_it_is_judged_by_are_refused_among_those_without_labels():
    parts = split(*points(500, 0))
    with pytest.raises(BadInputError, match="3 of the rows without labels are in the certify split"):
        job_with(np.concatenate([points(50, 3)[0], parts.certify.x[:3]]))


@pytest.mark.parametrize(
    ("rows", "match"), [(np.zeros((9, 3), np.float32), "another shape"), (np.full((9, 2), np.nan), "NaN or infinity")]
)
def test_rows_that_the_model_cannot_read_are_refused(rows, match):
    with pytest.raises(BadInputError, match=match):
        job_with(rows)


def test_they_are_refused_beside_groups():
    part = Arrays(*points(300, 0), np.arange(300))
    rest = [Arrays(*points(300, seed), np.arange(300)) for seed in (1, 2)]
    with pytest.raises(BadInputError, match="groups"):
        torch_job("groups", mlp, Splits(part, *rest, unlabelled=points(50, 3)[0]), "accuracy=20%")


def test_refusals_say_why(job):
    spec = job.spec
    assert "packed already" in PseudoLabel().fits(replace(spec, data=replace(spec.data, stored=0.5))).reason
    assert "up to 1" in PseudoLabel(1.5).fits(spec).reason
    assert "larger share" in PseudoLabel(0.001).fits(spec).reason
    assert "tells classes apart" in PseudoLabel().fits(gpt_job().spec).reason
    assert "tells classes apart" in PseudoLabel().fits(replace(spec, form=Form.ESTIMATOR)).reason
