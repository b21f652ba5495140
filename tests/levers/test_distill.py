"""Distilling trains a narrower student of the same make by what its teacher answers."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pennyweight import backends
from pennyweight.core import DataSpec, Form
from pennyweight.cost.count import count
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.levers.distill import Distill
from pennyweight.testing import gpt_job, mlp_job
from pennyweight.train.tuning import can_teach

TORCH = backends.load("torch")


@dataclass(frozen=True)
class OwnStudent:
    """A material that brings its own student."""

    make_student: Any
    dtype: str = "float32"


@pytest.fixture(scope="module")
def mlp():
    return trained(TORCH.open(mlp_job()))


def test_the_student_has_the_widths_on_paper_and_is_as_good(mlp):
    student = Distill(0.25, 12.0).pull(mlp)
    assert (student.model[0].out_features, student.model[2].out_features) == (16, 16)
    assert count(replace(student.spec, ops=TORCH.table(student))) == count(student.spec)
    x, y = mlp.data.select.x, mlp.data.select.y
    right = [float((TORCH.predict(work, x).argmax(1) == y).mean()) for work in (mlp, student)]
    assert right[1] > right[0] - 0.1


def test_a_transformer_is_distilled_in_its_hidden_widths():
    student = Distill(0.5, 1.0).pull(trained(TORCH.open(gpt_job())))
    assert [block.fc.out_features for block in student.model.blocks] == [64, 64]
    assert student.model.head.out_features == 16


def test_labels_alone_do_not_decide(mlp):
    wrong = replace(mlp.data.train, y=(mlp.data.train.y + 1) % 3)
    misled = Distill(0.5, 12.0).pull(mlp.having(data=replace(mlp.data, train=wrong)))
    x = mlp.data.select.x
    teacher, student = (torch.from_numpy(TORCH.predict(work, x)).softmax(1) for work in (mlp, misled))
    assert float((student * teacher).sum(1).mean()) > 1 / 3


def test_a_student_of_ones_own_is_taken_and_starts_from_the_seed(mlp):
    def make_student(width):
        hidden = int(64 * width), int(48 * width)
        return nn.Sequential(
            nn.Linear(24, hidden[0]), nn.ReLU(), nn.Linear(*hidden), nn.ReLU(), nn.Linear(hidden[1], 3)
        )

    work = mlp.having(material=OwnStudent(make_student))
    one, other = Distill(0.5, 1.0).pull(work), Distill(0.5, 1.0).pull(work)
    assert one.model[0].out_features == 32
    assert np.array_equal(TORCH.predict(one, mlp.data.select.x), TORCH.predict(other, mlp.data.select.x))
    with pytest.raises(BadInputError, match="width groups these sizes"):
        Distill(0.25, 1.0).pull(mlp.having(material=OwnStudent(lambda _: make_student(0.5))))


def test_answers_too_large_for_memory_are_refused_on_paper(mlp):
    many = replace(mlp.spec, data=DataSpec(10**7, 100.0, classes=1000))
    assert not can_teach(many)
    assert "memory" in Distill().fits(many).reason
    assert can_teach(mlp.spec)


def test_what_does_not_fit_says_why(mlp):
    assert "quantising" in Distill().fits(replace(mlp.spec, form=Form.GRAPH)).reason
    with pytest.raises(NoEffectError, match="smaller width"):
        Distill(0.99).pull(mlp)
    with pytest.raises(BadInputError, match="train it first"):
        Distill().pull(TORCH.open(mlp_job()))


def test_narrower_students_are_trained_longer():
    choices = list(Distill.choices(mlp_job()))
    assert [each.width for each in choices] == sorted((each.width for each in choices), reverse=True)
    assert [each.epochs for each in choices] == sorted(each.epochs for each in choices)
