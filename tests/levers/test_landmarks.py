from dataclasses import replace

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.backends.torch_landmarks import suited
from pennyweight.core import Form, Plan, Task
from pennyweight.levers.landmarks import Landmarks
from pennyweight.levers.quantize import Quantize
from pennyweight.testing import cnn_job, gpt_job, mlp_job


@pytest.fixture
def opened():
    return backends.load("torch").open(cnn_job())


def test_images_are_answered_without_training_by_descent(opened):
    done = Landmarks(100).pull(opened)
    answers = backends.load("torch").predict(done, done.data.select.x).argmax(1)
    assert done.trained
    assert (answers == done.data.select.y).mean() > 0.6


def test_the_module_answers_as_the_machine_it_was_made_of(opened):
    import torch

    done = Landmarks(50).pull(opened)
    x = done.data.select.x[:20]
    rows = suited(opened.spec.data.shape)(x)
    with torch.no_grad():
        found = done.model[:6](torch.from_numpy(x)).numpy()
    assert np.allclose(found, rows, atol=1e-5)


def test_values_are_learned_as_values(opened):
    job = cnn_job()
    train = replace(opened.data.train, y=opened.data.train.y.astype(np.float32))
    spec = replace(job.spec, data=replace(job.spec.data, task=Task.REGRESS, classes=0))
    done = Landmarks(100).pull(opened.having(spec=spec, data=replace(opened.data, train=train)))
    answers = backends.load("torch").predict(done, train.x)
    assert np.abs(answers[:, 0] - train.y).mean() < np.abs(train.y - train.y.mean()).mean()


def test_it_can_be_quantised_like_any_network(opened):
    plan = Plan(cnn_job(), (Landmarks(100), next(iter(Quantize.choices(cnn_job())))))
    assert plan.spec.form is Form.GRAPH


@pytest.mark.parametrize("make", [mlp_job, gpt_job])
def test_rows_that_are_no_images_are_refused_with_a_reason(make):
    assert not tuple(Landmarks.choices(make()))
    assert len(Landmarks().fits(make().spec).reason.split()) > 4


def test_more_landmarks_than_half_of_the_rows_are_refused():
    assert "too many" in Landmarks(5000).fits(cnn_job().spec).reason
