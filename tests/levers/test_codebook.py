"""A codebook leaves every matrix a few values, close to those it had, trained on together."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pennyweight import backends
from pennyweight.core import Form
from pennyweight.cost.count import count
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError
from pennyweight.levers.codebook import Codebook, means, nearest
from pennyweight.levers.sparsify import Sparsify
from pennyweight.testing import cnn_job, gpt_job, mlp_job

TORCH = backends.load("torch")


@pytest.fixture(scope="module")
def mlp():
    return trained(TORCH.open(mlp_job()))


def loss(work):
    answers = torch.from_numpy(TORCH.predict(work, work.data.train.x))
    return float(torch.nn.functional.cross_entropy(answers, torch.from_numpy(work.data.train.y)))


@pytest.mark.parametrize("make_job", [cnn_job, mlp_job, gpt_job])
@pytest.mark.parametrize("epochs", [0.0, 1.0])
def test_large_matrices_keep_few_values(make_job, epochs):
    work = trained(TORCH.open(make_job()))
    shared = Codebook(4, epochs).pull(work)
    few = [weight for weight in shared.model.parameters() if weight.unique().numel() <= 16 < weight.numel()]
    assert sum(weight.numel() for weight in few) > 0.8 * sum(each.numel() for each in work.model.parameters())
    assert count(shared.spec).disk_byte < 0.35 * count(work.spec).disk_byte
    assert count(shared.spec).flop == count(work.spec).flop


def test_eight_bits_hardly_change_the_answers(mlp):
    shared = Codebook(8, 0.0).pull(mlp)
    one, other = (TORCH.predict(work, mlp.data.select.x) for work in (mlp, shared))
    assert np.abs(one - other).max() < 0.05 * np.abs(one).max()


def test_training_the_values_brings_back_what_sharing_took(mlp):
    raw, tuned = Codebook(1, 0.0).pull(mlp), Codebook(1, 6.0).pull(mlp)
    assert loss(tuned) < loss(raw)
    assert tuned.model[2].weight.unique().numel() <= 2
    assert tuned.spec.tune_rows == 6 * mlp.spec.data.rows


def test_zeros_stay_zeros_and_are_not_in_the_table(mlp):
    thin = Sparsify(0.5, "any", 0.0).pull(mlp)
    shared = Codebook(3, 1.0).pull(thin)
    before, after = thin.model[2].weight, shared.model[2].weight
    assert torch.equal(before == 0, after == 0)
    assert after.unique().numel() <= 9
    assert count(shared.spec).disk_byte < count(thin.spec).disk_byte


def test_the_table_is_on_the_bill(mlp):
    op = next(op for op in Codebook(4, 0.0).rewrite(mlp.spec).ops if op.name == "2")
    assert op.disk_bits == pytest.approx(4 + 16 * 32 / (64 * 48))
    head = next(op for op in Codebook(8, 0.0).rewrite(mlp.spec).ops if op.name == "4")
    assert head.disk_bits == 32


values = st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=60).map(np.array)


@given(values, st.integers(1, 16))
def test_means_are_ascending_few_and_no_worse_than_even_steps(x, size):
    centres = means(x, size)
    assert len(centres) <= size
    assert (np.diff(centres) >= 0).all()
    index = nearest(x, centres)
    assert np.allclose(np.abs(x - centres[index]), np.abs(x[:, None] - centres).min(1))
    steps = np.linspace(x.min(), x.max(), size)
    error = np.square(x[:, None] - steps).min(1).sum()
    assert np.square(x - centres[index]).sum() <= error + 1e-9


def test_values_that_are_few_already_are_found_exactly():
    assert np.array_equal(means(np.repeat([1.0, 2.0, 3.0], 5), 3), [1.0, 2.0, 3.0])


def test_what_does_not_fit_says_why(mlp):
    assert "1 to 8" in Codebook(9).fits(mlp.spec).reason
    assert "quantising" in Codebook().fits(replace(mlp.spec, form=Form.GRAPH)).reason
    shared = Codebook(4, 0.0).rewrite(mlp.spec)
    assert "fewer bits" in Codebook(4).fits(shared).reason
    with pytest.raises(BadInputError, match="train it first"):
        Codebook().pull(TORCH.open(mlp_job()))
