"""Merging lets the neurons that stay say what the others said, without labels and without training."""

from dataclasses import replace
from itertools import starmap

import numpy as np
import pytest
import torch

from pennyweight import backends
from pennyweight.cost.count import count
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.levers.merge import Merge
from pennyweight.levers.prune import Prune
from pennyweight.testing import cnn_job, gpt_job, mlp_job

TORCH = backends.load("torch")


@pytest.fixture(scope="module")
def mlp():
    return trained(TORCH.open(mlp_job()))


def answers(work):
    return TORCH.predict(work, work.data.select.x)


def test_neurons_that_repeat_each_other_merge_without_loss(mlp):
    model = trained(TORCH.open(mlp_job())).model
    times = torch.arange(1, 49)
    with torch.no_grad():
        model[0].weight[16:] = model[0].weight[:16].repeat(3, 1) * times[:, None]
        model[0].bias[16:] = model[0].bias[:16].repeat(3) * times
    only_first = replace(mlp.spec, ops=unnamed(mlp.spec.ops, "2"))
    work = mlp.having(model=model, spec=only_first)
    merged = Merge(0.75).pull(work)
    assert (merged.model[0].out_features, merged.model[2].in_features, merged.model[2].out_features) == (16, 16, 48)
    assert np.abs(answers(merged) - answers(work)).max() < 0.02 * np.abs(answers(work)).max()


def unnamed(ops, group):
    return tuple(
        replace(op, reads="" if op.reads == group else op.reads, writes="" if op.writes == group else op.writes)
        for op in ops
    )


def test_it_loses_less_than_cutting_the_same_share_by_chance(mlp):
    from pennyweight.backends.torch_channels import Channels, narrowed
    from pennyweight.backends.torch_weights import sample
    from pennyweight.train.tuning import copy_of

    merged = Merge(0.5).pull(mlp)
    model = copy_of(mlp, "Testing")
    x, _ = sample(mlp)
    channels = Channels(model, mlp.spec, narrowed(mlp.spec, 0.5), x)
    rng = np.random.default_rng(0)
    channels.narrow({tie.root: rng.random(tie.width) for tie in channels.ties})
    whole = answers(mlp)
    ours = np.square(answers(merged) - whole).mean()
    chance = np.square(answers(mlp.having(model=model)) - whole).mean()
    assert ours < chance


@pytest.mark.parametrize("make_job", [cnn_job, gpt_job])
def test_the_merged_network_counts_what_the_paper_says(make_job):
    work = trained(TORCH.open(make_job()))
    merged = Merge(0.5).pull(work)
    assert count(replace(merged.spec, ops=TORCH.table(merged))) == count(merged.spec)
    assert replace(merged.spec, tune_rows=0.0) == replace(Prune(0.5, 0.0).rewrite(work.spec), tune_rows=0.0)


def test_it_needs_no_labels(mlp):
    hidden = replace(mlp.data.train, y=np.zeros_like(mlp.data.train.y))
    blind = mlp.having(data=replace(mlp.data, train=hidden))
    ours, theirs = Merge(0.5).pull(mlp), Merge(0.5).pull(blind)
    assert all(starmap(torch.equal, zip(ours.model.parameters(), theirs.model.parameters(), strict=True)))


def test_what_it_looks_at_is_on_the_bill(mlp):
    assert Merge(0.5).rewrite(mlp.spec).tune_rows == pytest.approx(mlp.spec.data.rows / 3)
    assert Merge(0.5, 2.0).rewrite(mlp.spec).tune_rows == pytest.approx(mlp.spec.data.rows * (2 + 1 / 3))


def test_untrained_networks_and_shares_too_small_are_refused(mlp):
    with pytest.raises(BadInputError, match="train it first"):
        Merge().pull(TORCH.open(mlp_job()))
    with pytest.raises(NoEffectError, match="larger share"):
        Merge(0.01).pull(mlp)
    assert not Merge(0.01).fits(mlp.spec)
