"""Pruning takes real channels out of real networks, and what is left agrees with the paper."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pennyweight import backends
from pennyweight.backends.torch_channels import Channels, narrowed
from pennyweight.core import Floor, Form
from pennyweight.cost.count import count, params
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError, NoEffectError, UntraceableError
from pennyweight.jobs import torch_job
from pennyweight.levers.prune import Prune
from pennyweight.testing import cnn_job, gpt_job, mlp_job

TORCH = backends.load("torch")


class Depthwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide = nn.Conv2d(1, 16, 3, padding=1)
        self.each = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.mix = nn.Conv2d(16, 24, 1)
        self.head = nn.Linear(24, 4)

    def forward(self, x):
        return self.head(self.mix(self.norm(self.each(self.wide(x).relu())).relu()).relu().mean((2, 3)))


class Tied(nn.Module):
    """Two branches whose sum is read by one layer: their channels come and go together."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(24, 32), nn.Linear(24, 32), nn.Linear(32, 3)

    def forward(self, x):
        return self.head((self.left(x) + self.right(x)).relu())


def work_on(job, epochs=2):
    return trained(TORCH.open(replace(job, spec=replace(job.spec, train=replace(job.spec.train, epochs=epochs)))))


def real(work):
    return replace(work.spec, ops=TORCH.table(work))


@pytest.fixture(scope="module")
def mlp():
    return work_on(mlp_job(), 12)


@pytest.mark.parametrize("make_job", [cnn_job, mlp_job, gpt_job])
@pytest.mark.parametrize("share", [0.25, 0.75])
def test_the_pruned_network_counts_what_the_paper_says(make_job, share):
    work = work_on(make_job())
    pruned = Prune(share, 0.0).pull(work)
    assert count(real(pruned)) == count(pruned.spec)
    assert params(pruned.spec) == sum(each.numel() for each in pruned.model.state_dict().values()) - counters(pruned)
    assert count(pruned.spec).flop < count(work.spec).flop


def counters(work):
    return sum(each.numel() for name, each in work.model.state_dict().items() if name.endswith("num_batches_tracked"))


def test_depthwise_convolutions_follow_the_channels_they_filter():
    images = np.random.default_rng(0).normal(size=(120, 1, 8, 8)).astype(np.float32)
    job = torch_job("depthwise", Depthwise, (images, np.arange(120) % 4), Floor("accuracy", 0.3))
    pruned = Prune(0.5, 0.0).pull(trained(TORCH.open(job)))
    assert (pruned.model.wide.out_channels, pruned.model.each.groups, pruned.model.mix.in_channels) == (8, 8, 8)
    assert count(real(pruned)) == count(pruned.spec)


def test_channels_that_are_added_up_go_together():
    splits = mlp_job().material.splits
    job = torch_job("tied", Tied, splits, Floor("accuracy", 0.3))
    pruned = Prune(0.5, 0.0).pull(trained(TORCH.open(job)))
    assert (pruned.model.left.out_features, pruned.model.right.out_features, pruned.model.head.in_features) == (16,) * 3


def test_input_and_output_keep_their_width():
    pruned = Prune(0.75, 0.0).pull(work_on(gpt_job()))
    assert pruned.model.head.out_features == 16
    assert [block.fc.out_features for block in pruned.model.blocks] == [32, 32]
    assert [block.qkv.out_features for block in pruned.model.blocks] == [96, 96]


def test_a_channel_that_does_nothing_goes_first_and_nothing_is_lost(mlp):
    model = trained(TORCH.open(mlp_job())).model
    idle = torch.arange(0, 64, 8)
    with torch.no_grad():
        model[2].weight[:, idle] = 0
    pruned = Prune(0.125, 0.0).pull(mlp.having(model=model))
    assert pruned.model[0].out_features == 56
    x = mlp.data.select.x
    sizes = narrowed(mlp.spec, 0.875)
    assert sizes["0"] == 56
    kept = {tuple(row) for row in pruned.model[0].weight.tolist()}
    assert not kept & {tuple(row) for row in model[0].weight[idle].tolist()}
    assert TORCH.predict(pruned, x).shape == (len(x), 3)


def test_what_lost_channels_carried_is_handed_to_those_that_stay(mlp):
    twins = trained(TORCH.open(mlp_job())).model
    with torch.no_grad():
        twins[0].weight[32:] = 2 * twins[0].weight[:32]
        twins[0].bias[32:] = 2 * twins[0].bias[:32]
    work = mlp.having(model=twins)
    before = TORCH.predict(work, mlp.data.select.x)
    x = torch.from_numpy(mlp.data.train.x)
    channels = Channels(twins, mlp.spec, {"0": 32}, x)
    channels.narrow({twins[0]: np.arange(64.0)})
    after = TORCH.predict(mlp.having(model=twins), mlp.data.select.x)
    assert twins[0].out_features == 32
    assert np.abs(after - before).max() < 0.02 * np.abs(before).max()


def test_fine_tuning_brings_back_what_pruning_took(mlp):
    def loss(work):
        answers = torch.from_numpy(TORCH.predict(work, work.data.train.x))
        return float(nn.functional.cross_entropy(answers, torch.from_numpy(work.data.train.y)))

    raw, tuned = Prune(0.75, 0.0).pull(mlp), Prune(0.75, 6.0).pull(mlp)
    assert loss(tuned) < loss(raw)
    assert tuned.spec.tune_rows == mlp.spec.data.rows * 6


def test_only_the_training_split_is_looked_at(mlp):
    blind = replace(mlp.data, select=None, certify=None)
    pruned = Prune(0.5, 1.0).pull(mlp.having(data=blind))
    assert pruned.model[0].out_features == 32


def test_an_untrained_network_is_refused():
    with pytest.raises(BadInputError, match="train it first"):
        Prune().pull(TORCH.open(mlp_job()))


def test_what_does_not_fit_says_why(mlp):
    spec = mlp.spec
    sparse = replace(spec, ops=tuple(replace(op, density=0.5) for op in spec.ops))
    frozen = replace(spec, ops=tuple(replace(op, reads="", writes="") for op in spec.ops))
    for other, word in (
        (replace(spec, form=Form.GRAPH), "quantising"),
        (sparse, "sparse"),
        (frozen, "width"),
    ):
        verdict = Prune().fits(other)
        assert not verdict
        assert word in verdict.reason
    assert "narrow" in Prune(0.01).fits(spec).reason
    with pytest.raises(NoEffectError, match="larger share"):
        Prune(0.01).pull(mlp)


def test_widths_are_rounded_to_what_vector_units_like(mlp):
    op = mlp.spec.ops[0]
    spec = replace(mlp.spec, ops=tuple(replace(op, n_out=n, writes=str(n)) for n in (100, 64, 30, 12, 5, 1)))
    assert narrowed(spec, 0.5) == {"100": 48, "64": 32, "30": 16, "12": 6, "5": 3}
    assert narrowed(spec, 0.01) == {"100": 8, "64": 8, "30": 4, "12": 2, "5": 1}


def test_a_network_unlike_its_table_is_refused_rather_than_broken(mlp):
    other = nn.Sequential(nn.Linear(24, 64), nn.Unflatten(1, (8, 8)), nn.Flatten(), nn.ReLU(), nn.Linear(64, 3))
    ops = tuple(replace(op, name="4") if op.name == "2" else op for op in mlp.spec.ops)
    shuffled = mlp.having(model=other, spec=replace(mlp.spec, ops=ops))
    with pytest.raises(UntraceableError, match="leave this lever out"):
        Prune(0.5, 0.0).pull(shuffled)


def test_choices_are_few_and_mildest_first():
    shares = [lever.share for lever in Prune.choices(cnn_job())]
    assert shares == sorted(shares)
    assert 3 <= len(shares) <= 5
