"""Distilling trains a smaller student, narrower or of another shape, by what its teacher answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pennyweight import backends
from pennyweight.core import DataSpec, Floor, Form, Plan, TrainSpec
from pennyweight.cost.count import count
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.jobs import torch_job
from pennyweight.levers.distill import Distill
from pennyweight.levers.merge import Merge
from pennyweight.levers.quantize import Quantize
from pennyweight.levers.sparsify import Sparsify
from pennyweight.testing import check_lever, gpt_job, mlp_job, tiny_mlp
from pennyweight.train.tuning import can_teach

TORCH = backends.load("torch")


def shallow():
    return nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 3))


def tiny():
    return nn.Sequential(nn.Linear(24, 8), nn.Tanh(), nn.Linear(8, 3))


class Family:
    """The tiny perceptron, and two students with a layer less."""

    def __init__(self, **students):
        self.students = students

    def __call__(self):
        return tiny_mlp()


def family_job(**students):
    splits = mlp_job().material.splits
    train = TrainSpec(12, 32, lr=3e-3)
    return torch_job("family", Family(**students), splits, Floor("accuracy", 0.2), train=train)


@pytest.fixture(scope="module")
def mlp():
    return trained(TORCH.open(mlp_job()))


@pytest.fixture(scope="module")
def parent():
    """The tiny perceptron, trained, of a job that offers students."""
    return trained(TORCH.open(family_job(tiny=tiny, shallow=shallow)))


def right(work):
    rows = work.data.select
    return float((TORCH.predict(work, rows.x).argmax(1) == rows.y).mean())


def test_the_student_has_the_widths_on_paper_and_is_as_good(mlp):
    student = Distill(0.25, 12.0).pull(mlp)
    assert (student.model[0].out_features, student.model[2].out_features) == (16, 16)
    assert count(replace(student.spec, ops=TORCH.table(student))) == count(student.spec)
    assert right(student) > right(mlp) - 0.1


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


def test_a_student_of_another_shape_is_what_was_counted_and_as_good(parent):
    student = Distill(epochs=48.0, student="tiny").pull(parent)
    assert [type(layer) for layer in student.model] == [nn.Linear, nn.Tanh, nn.Linear]
    assert TORCH.table(student) == student.spec.ops
    assert count(student.spec).flop == 2 * (24 * 8 + 8 * 3)
    assert right(student) > right(parent) - 0.1


def test_a_student_of_another_shape_starts_from_the_seed(parent):
    lever, x = Distill(epochs=1.0, student="tiny"), parent.data.select.x
    one, other, third = (TORCH.predict(lever.pull(parent.having(seed=seed)), x) for seed in (0, 0, 1))
    assert np.array_equal(one, other)
    assert not np.allclose(one, third, atol=1e-2)


def test_a_student_of_another_shape_learns_from_its_teacher(parent):
    wrong = replace(parent.data.train, y=(parent.data.train.y + 1) % 3)
    misled = Distill(epochs=24.0, student="shallow").pull(parent.having(data=replace(parent.data, train=wrong)))
    x = parent.data.select.x
    teacher, student = (torch.from_numpy(TORCH.predict(work, x)).softmax(1) for work in (parent, misled))
    assert float((student * teacher).sum(1).mean()) > 1 / 3


def test_students_of_another_shape_keep_all_laws():
    job = family_job(shallow=shallow)
    assert next(Distill.choices(job)).student == "shallow"
    check_lever(Distill, (job,))


def test_the_choices_are_in_the_order_of_what_is_left_of_the_network(parent):
    job = family_job(tiny=tiny, shallow=shallow)
    found = list(Distill.choices(job))
    flops = [count(lever.rewrite(job.spec)).flop for lever in found]
    assert flops == sorted(flops, reverse=True)
    assert [lever.student for lever in found if lever.student] == ["shallow", "tiny"]
    assert {lever.epochs for lever in found if lever.student} == {48.0}
    assert all(lever.fits(parent.spec) for lever in found)


def test_only_the_network_as_asked_is_replaced_by_another_shape(parent):
    lever = Distill(epochs=1.0, student="tiny")
    changed = [Merge(0.5).rewrite(parent.spec), Sparsify(0.5).rewrite(parent.spec), lever.rewrite(parent.spec)]
    for spec in changed:
        assert "before changing it" in lever.fits(spec).reason
        with pytest.raises(BadInputError, match="not as asked any more"):
            lever.rewrite(spec)
    assert "quantising" in lever.fits(Quantize().rewrite(parent.spec)).reason
    assert "tiny" in replace(lever, student="huge").fits(parent.spec).reason
    assert "no student" in lever.fits(mlp_job().spec).reason
    assert "epochs" in replace(lever, epochs=0.0).fits(parent.spec).reason
    assert "memory" in lever.fits(replace(parent.spec, data=DataSpec(10**7, 100.0, classes=1000))).reason


def test_what_comes_after_works_on_the_student():
    plan = Plan(family_job(shallow=shallow)).then(Distill(epochs=1.0, student="shallow")).then(Merge(0.5))
    assert plan.spec.widths() == {"0": 32}
    work = trained(TORCH.open(plan.job))
    for lever in plan.levers:
        work = lever.pull(work)
    assert (work.model[0].out_features, work.spec.ops) == (32, plan.spec.ops)


def test_teaching_is_counted_in_rows_of_the_student(parent):
    spec = Distill(epochs=6.0, student="tiny").rewrite(parent.spec)
    teacher = (24 * 64 + 64 * 48 + 48 * 3) / (24 * 8 + 8 * 3)
    assert spec.tune_rows == pytest.approx(parent.spec.data.rows * (6 + teacher / 3))


def test_a_student_that_is_another_one_each_time_is_refused():
    widths = iter((8, 16))
    job = family_job(moody=lambda: nn.Linear(24, 3) if next(widths) == 8 else tiny())
    with pytest.raises(BadInputError, match="another network than the one that was counted"):
        Distill(epochs=1.0, student="moody").pull(trained(TORCH.open(job)))


def test_a_plan_names_the_student_instead_of_a_width():
    assert str(Distill(epochs=8.0, student="4x256")) == "distill(student=4x256, epochs=8)"
    assert str(Distill(0.25, 8.0)) == "distill(width=0.25, epochs=8)"


def test_answers_too_large_for_memory_are_refused_on_paper(mlp):
    many = replace(mlp.spec, data=DataSpec(10**7, 100.0, classes=1000))
    assert not can_teach(many)
    assert "memory" in Distill().fits(many).reason
    assert can_teach(mlp.spec)


def test_what_does_not_fit_says_why(mlp):
    assert "quantising" in Distill().fits(replace(mlp.spec, form=Form.GRAPH)).reason
    with pytest.raises(NoEffectError, match="smaller width"):
        Distill(0.99).pull(mlp)
    for lever in (Distill(), Distill(student="tiny")):
        with pytest.raises(BadInputError, match="train it first"):
            lever.pull(TORCH.open(family_job(tiny=tiny)))


def test_narrower_students_are_trained_longer():
    choices = list(Distill.choices(mlp_job()))
    assert [each.width for each in choices] == sorted((each.width for each in choices), reverse=True)
    assert [each.epochs for each in choices] == sorted(each.epochs for each in choices)
