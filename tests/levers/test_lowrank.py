"""Low rank: one matrix becomes two thin ones that do the same to what they are really given."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pennyweight import backends
from pennyweight.core import Form, Kind, Op
from pennyweight.cost.count import count
from pennyweight.engine.making import trained
from pennyweight.errors import NoEffectError
from pennyweight.levers.lowrank import LowRank, factors, pair
from pennyweight.levers.prune import Prune
from pennyweight.testing import cnn_job, gpt_job, mlp_job

TORCH = backends.load("torch")


@pytest.fixture(scope="module")
def mlp():
    return trained(TORCH.open(mlp_job()))


def test_a_matrix_of_low_rank_is_found_out(mlp):
    model = trained(TORCH.open(mlp_job())).model
    with torch.no_grad():
        model[2].weight.copy_(torch.randn(48, 8) @ torch.randn(8, 64))
    work = mlp.having(model=model)
    thin = LowRank(0.4).pull(work)
    assert isinstance(thin.model[2], nn.Sequential)
    assert thin.model[2][0].out_features == 8
    whole, split = (TORCH.predict(each, mlp.data.select.x) for each in (work, thin))
    alone = nn.Sequential(model[0], nn.ReLU(), thin.model[2], nn.ReLU(), model[4])
    only = TORCH.predict(work.having(model=alone), mlp.data.select.x)
    assert np.abs(only - whole).max() < 0.01 * np.abs(whole).max()
    assert split.shape == whole.shape


@pytest.mark.parametrize("make_job", [cnn_job, mlp_job, gpt_job])
@pytest.mark.parametrize("keep", [0.75, 0.5])
def test_the_split_network_counts_what_the_paper_says(make_job, keep):
    work = trained(TORCH.open(make_job()))
    thin = LowRank(keep).pull(work)
    assert count(replace(thin.spec, ops=TORCH.table(thin))) == count(thin.spec)
    assert count(thin.spec).flop < count(work.spec).flop


def test_strides_padding_and_bias_survive(mlp):
    layer = nn.Conv2d(16, 32, 3, stride=2, padding=1)
    thin = pair(layer, 32, None)
    x = torch.randn(2, 16, 9, 9)
    assert torch.allclose(thin(x), layer(x), atol=1e-5)
    assert [each.bias is None for each in thin] == [True, False]


@given(st.integers(2, 6), st.integers(0, 10_000))
def test_knowing_the_inputs_never_loses_more_on_them(rank, seed):
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(8, 10))
    inputs = rng.normal(size=(60, 10)) * np.exp(rng.normal(size=10))
    aware = factors(weight, rank, inputs.T @ inputs)
    blind = factors(weight, rank, None)
    lost = [np.square(inputs @ (wide @ thin - weight).T).sum() for thin, wide in (aware, blind)]
    assert lost[0] <= lost[1] * (1 + 1e-3)


def test_the_last_matrix_and_small_ones_stay(mlp):
    thin = LowRank(0.5).pull(mlp)
    assert [type(each).__name__ for each in thin.model] == ["Sequential", "ReLU", "Sequential", "ReLU", "Linear"]
    small = replace(mlp.spec, ops=tuple(replace(op, n_in=8) for op in mlp.spec.ops))
    assert "large enough" in LowRank().fits(small).reason
    with pytest.raises(NoEffectError, match="leave lowrank out"):
        LowRank(0.01).pull(mlp)


def test_grouped_and_upsampling_layers_stay_as_they_are():
    grouped = Op("a", Kind.CONV, 64, 64, fan=9, groups=4)
    upsampling = Op("b", Kind.CONV, 64, 64, fan=9, intake=0.25)
    bare = Op("attention.in_proj_weight", Kind.LINEAR, 64, 64)
    plain = Op("c", Kind.LINEAR, 64, 64)
    spec = replace(mlp_job().spec, ops=(grouped, upsampling, bare, plain, Op("head", Kind.LINEAR, 64, 64)))
    names = [op.name for op in LowRank(0.5).rewrite(spec).ops]
    assert names == ["a", "b", "attention.in_proj_weight", "c.0", "c.1", "head"]


def test_it_goes_together_with_pruning_in_both_orders(mlp):
    for first, second in ((Prune(0.25, 0.0), LowRank(0.5)), (LowRank(0.5), Prune(0.25, 0.0))):
        both = second.pull(first.pull(mlp))
        assert count(replace(both.spec, ops=TORCH.table(both))) == count(both.spec)


def test_sparse_networks_and_other_forms_are_refused(mlp):
    sparse = replace(mlp.spec, ops=tuple(replace(op, density=0.5) for op in mlp.spec.ops))
    assert "sparse" in LowRank().fits(sparse).reason
    assert "quantising" in LowRank().fits(replace(mlp.spec, form=Form.GRAPH)).reason
