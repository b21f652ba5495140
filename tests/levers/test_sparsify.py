"""Sparsifying sets exactly as many weights to zero as the paper says, and keeps them there."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pennyweight import backends
from pennyweight.core import Form
from pennyweight.cost.count import count
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError
from pennyweight.levers.sparsify import Sparsify, largest, two_of_four
from pennyweight.testing import cnn_job, gpt_job, mlp_job

TORCH = backends.load("torch")


@pytest.fixture(scope="module")
def mlp():
    return trained(TORCH.open(mlp_job()))


def zeros(weight):
    return int((weight == 0).sum())


@pytest.mark.parametrize("make_job", [cnn_job, mlp_job, gpt_job])
@pytest.mark.parametrize(
    "lever", [Sparsify(0.8, "any", 1.0), Sparsify(0.5, "2:4", 1.0), Sparsify(0.5, "any", 0.0)], ids=str
)
def test_the_zeros_are_those_on_paper(make_job, lever):
    work = trained(TORCH.open(make_job()))
    thin = lever.pull(work)
    density = {op.name: op.density for op in thin.spec.ops}
    for name, weight in thin.model.named_parameters():
        row = density.get(name.removesuffix(".weight"), density.get(name.removesuffix(".weight").replace(".0.", ".*.")))
        if weight.ndim > 1 and row is not None and row < 1:
            assert zeros(weight) == round((1 - row) * weight.numel())
    assert sum(map(zeros, thin.model.parameters())) > 0.4 * sum(each.numel() for each in thin.model.parameters())


def test_two_of_every_four_weights_are_zero(mlp):
    thin = Sparsify(0.5, "2:4", 2.0).pull(mlp)
    fours = thin.model[2].weight.detach().reshape(-1, 4)
    assert bool(((fours == 0).sum(1) == 2).all())


def test_the_stored_model_shrinks_and_the_arithmetic_does_not(mlp):
    thin = Sparsify(0.75, "any", 1.0).rewrite(mlp.spec)
    assert count(thin).flop == count(mlp.spec).flop
    assert count(thin).hbm_byte == count(mlp.spec).hbm_byte
    assert count(thin).disk_byte < 0.4 * count(mlp.spec).disk_byte
    assert thin.tune_rows == mlp.spec.data.rows


def test_training_on_keeps_zeros_and_moves_the_rest(mlp):
    once, tuned = Sparsify(0.5, "any", 0.0).pull(mlp), Sparsify(0.5, "any", 3.0).pull(mlp)
    assert zeros(once.model[2].weight) == zeros(tuned.model[2].weight) == 64 * 48 // 2
    kept = (once.model[2].weight != 0) & (tuned.model[2].weight != 0)
    assert not torch.equal(once.model[2].weight[kept], tuned.model[2].weight[kept])


def test_biases_and_small_matrices_stay_dense(mlp):
    thin = Sparsify(0.9, "any", 0.0).pull(mlp)
    assert zeros(thin.model[4].weight) == 0
    assert zeros(thin.model[0].bias) == 0
    assert next(op.density for op in thin.spec.ops if op.name == "4") == 1


@given(st.integers(1, 12), st.floats(0, 1), st.integers(0, 1000))
def test_the_smallest_go_first(rows, share, seed):
    weight = torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed))
    gone = round(share * weight.numel())
    kept = largest(weight, gone)
    assert int((kept == 0).sum()) == gone
    if 0 < gone < weight.numel():
        assert weight[kept == 0].abs().max() <= weight[kept == 1].abs().min()
    fours = two_of_four(weight, 1.0).reshape(-1, 4)
    small = weight.abs().reshape(-1, 4)
    assert bool((fours.sum(1) == 2).all())
    assert bool(((small * fours).sum(1) >= (small * (1 - fours)).sum(1)).all())


def test_more_zeros_can_follow_but_not_fewer(mlp):
    thin = Sparsify(0.5, "any", 0.0).pull(mlp)
    assert "denser" in Sparsify(0.4, "any", 0.0).fits(thin.spec).reason
    thinner = Sparsify(0.8, "any", 0.0).pull(thin)
    assert zeros(thinner.model[2].weight) == round(0.8 * 64 * 48)


def test_what_makes_no_sense_says_why(mlp):
    assert "pattern" in Sparsify(0.5, "3:4").fits(mlp.spec).reason
    assert "between 0 and 1" in Sparsify(1.5).fits(mlp.spec).reason
    assert "quantising" in Sparsify().fits(replace(mlp.spec, form=Form.GRAPH)).reason
    shared = replace(mlp.spec, ops=tuple(replace(op, disk_bits=4.0) for op in mlp.spec.ops))
    assert "shared" in Sparsify().fits(shared).reason
    with pytest.raises(BadInputError, match="train it first"):
        Sparsify().pull(TORCH.open(mlp_job()))
