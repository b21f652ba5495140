"""Small models are what was counted, take rows as they are, and differ from member to member."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pennyweight import backends
from pennyweight.backends.joining import as_graph
from pennyweight.core import Spec
from pennyweight.cost.count import count
from pennyweight.cost.table_graph import table_of_graph
from pennyweight.engine.making import trained
from pennyweight.testing import cnn_job, forest_job, mlp_job
from pennyweight.train.small import Small, suits

TORCH, SKLEARN = backends.load("torch"), backends.load("sklearn")


def counted(spec, ops):
    return count(Spec(spec.form, tuple(ops), spec.data))


@pytest.mark.parametrize("make_job", [cnn_job, mlp_job])
def test_a_small_network_is_what_was_counted_without_making_it(make_job):
    work = TORCH.open(make_job())
    small = Small("net", 6)
    real = table_of_graph(as_graph(work, small.train(work, 0.1)))
    assert counted(work.spec, real) == counted(work.spec, small.ops(work.spec))


@pytest.mark.parametrize("shape", [(3, 96, 64), (1, 28, 28), (2, 7, 9)])
def test_images_of_any_size_are_counted_as_they_are(shape):
    work = TORCH.open(cnn_job())
    spec = replace(work.spec, data=replace(work.spec.data, shape=shape))
    net = Small("net", 5).fresh(spec).eval()
    x = np.zeros((2, *shape), dtype=np.float32)
    from pennyweight.backends.torch_onnx import to_onnx

    assert counted(spec, table_of_graph(to_onnx(net, x))) == counted(spec, Small("net", 5).ops(spec))


@pytest.mark.parametrize("make_job", [cnn_job, mlp_job])
def test_it_learns_although_rows_come_unscaled(make_job):
    work = TORCH.open(make_job())
    model = Small("net", 16).train(work, 20)
    rows = work.data.certify
    with torch.inference_mode():
        right = (model(torch.from_numpy(rows.x)).argmax(1).numpy() == rows.y).mean()
    assert right > 0.7


def test_a_teacher_is_asked_where_answers_to_all_rows_fit():
    work = trained(TORCH.open(mlp_job()))
    told = Small("net", 4).taught(work, TORCH.predict)
    assert told.shape == (len(work.data.train), 3)
    assert Small("trees", 4).taught(work, TORCH.predict) is None
    huge = work.having(spec=replace(work.spec, data=replace(work.spec.data, rows=2**30)))
    assert Small("net", 4).taught(huge, TORCH.predict) is None


@pytest.mark.parametrize("sort", ["trees", "linear"])
def test_estimators_learn_and_members_differ(sort):
    work = SKLEARN.open(forest_job())
    full = np.nan_to_num(work.data.train.x)
    work = work.having(data=replace(work.data, train=replace(work.data.train, x=full)))
    one, two, again = (Small(sort, 6).train(work, 1, member=member) for member in (1, 2, 1))
    x, y = np.nan_to_num(work.data.certify.x), work.data.certify.y
    first, second, third = (each.predict_proba(x) for each in (one, two, again))
    assert (first.argmax(1) == y).mean() > 0.7
    assert np.abs(first - second).max() > 0.01
    assert np.array_equal(first, third)


def test_what_cannot_learn_a_job_says_why():
    spec = mlp_job().spec
    assert not suits("net", spec)
    assert "go with" in suits("trees", spec)
    assert "holes" in suits("linear", forest_job().spec)
    assert not suits("trees", forest_job().spec)
