import weakref
from dataclasses import replace
from itertools import starmap

import pytest

from pennyweight import backends
from pennyweight.core import Form, Limits, TeamSpec, TrainSpec
from pennyweight.cost.activations import activation_byte, training_byte
from pennyweight.cost.count import count_training, learning_share
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError, UntraceableError
from pennyweight.levers.recompute import Recompute
from pennyweight.testing import cnn_job, gpt_job, tiny_gpt, tiny_mlp
from pennyweight.train.loop import fit
from pennyweight.train.recomputing import blocks_of, recomputing
from pennyweight.training.run import check_memory

ANEW = TrainSpec(recompute=True)


def large():
    from recipes.char_gpt import CharGPT, Shape

    return CharGPT(Shape(40, layers=6, heads=2, width=64, context=48))


def spec_of(model, shape, batch):
    from pennyweight.cost.table_module import table_of_module

    spec = gpt_job().spec
    ops = table_of_module(model, shape, dtype="int64")
    return replace(spec, ops=ops, train=replace(spec.train, batch=batch))


def kept_byte(model, x):
    """Bytes of all storages that forward leaves for backward, by torch's hooks; the weights' own do not count."""
    import torch

    own = {each.untyped_storage().data_ptr() for each in model.parameters()}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.train()(x)
    return sum(each.untyped_storage().nbytes() for key, each in kept.items() if key not in own)


def peak_byte(model, x, settings):
    """The most bytes of tensors that are alive at one time in a step, beyond those that are before it."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode  # ruff: ignore[import-private-name] - it has no public door
    from torch.utils._pytree import tree_leaves  # ruff: ignore[import-private-name] - as above

    class Alive(TorchDispatchMode):
        """Watches storages come and go."""

        def __init__(self):
            super().__init__()
            self.seen, self.now, self.most = set(), 0, 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # ruff: ignore[bad-dunder-method-name] - torch calls it
            out = func(*args, **(kwargs or {}))
            known = {each.untyped_storage()._cdata for each in tree_leaves((args, kwargs)) if is_tensor(each)}
            for each in filter(is_tensor, tree_leaves(out)):
                storage = each.untyped_storage()
                if storage._cdata not in known | self.seen:
                    self.begin(storage)
            return out

        def begin(self, storage):
            key, byte = storage._cdata, storage.nbytes()
            self.seen.add(key)
            self.now += byte
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self.end, key, byte)

        def end(self, key, byte):
            self.seen.discard(key)
            self.now -= byte

    is_tensor = torch.is_tensor
    with recomputing(model.train(), settings):
        model(x).sum().backward()  # so that gradients have their memory before
        with Alive() as alive:
            model(x).sum().backward()
    return alive.most


@pytest.mark.parametrize("make", [tiny_gpt, large])
def test_paper_knows_the_bytes_that_backward_keeps(make):
    import torch

    length = 12 if make is tiny_gpt else 48
    model, x = make(), torch.zeros((8, length), dtype=torch.int64)
    assert kept_byte(model, x) == pytest.approx(activation_byte(spec_of(model, (length,), 8)), rel=0.1)


def test_the_peak_of_a_step_falls_by_what_paper_says():
    import torch

    model, x = large(), torch.zeros((32, 48), dtype=torch.int64)
    spec = spec_of(model, (48,), 32)
    paper = activation_byte(spec) - activation_byte(Recompute().rewrite(spec))
    real = peak_byte(model, x, TrainSpec()) - peak_byte(model, x, ANEW)
    assert real == pytest.approx(paper, rel=0.1)
    assert paper > activation_byte(spec) / 2


def test_gradients_are_those_of_training_that_keeps_everything():
    import torch

    model, x = large(), torch.arange(96).view(2, 48) % 40
    found = []
    for settings in (TrainSpec(), ANEW):
        model.zero_grad()
        model.train()
        with recomputing(model, settings):
            model(x).logsumexp(-1).sum().backward()
        found.append(torch.cat([each.grad.flatten() for each in model.parameters()]))
    assert torch.allclose(*found, rtol=1e-5, atol=1e-6)
    assert found[0].abs().max() > 0


def test_dropout_is_drawn_alike_the_second_time():
    import torch
    from torch import nn

    blocks = [nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5)) for _ in range(3)]
    model, x = nn.Sequential(*blocks).train(), torch.ones(4, 8)
    found = []
    for settings in (TrainSpec(), ANEW):
        model.zero_grad()
        torch.manual_seed(0)
        with recomputing(model, settings):
            model(x).square().sum().backward()
        found.append([each.grad.clone() for each in model.parameters()])
    assert all(starmap(torch.equal, zip(*found, strict=True)))


def test_a_training_ends_with_the_same_weights():
    import torch

    work = backends.load("torch").open(gpt_job())
    one, other = trained(work), trained(Recompute().pull(work))
    for mine, theirs in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)
    assert "forward" not in vars(other.model.blocks[0])


def test_blocks_pass_forward_once_more_and_the_rest_does_not():
    spec = gpt_job().spec
    asked, anew = count_training(spec).flop, count_training(Recompute().rewrite(spec)).flop
    assert 1.2 * asked < anew < 4 / 3 * asked
    assert learning_share(Recompute().rewrite(spec)) == pytest.approx(anew / asked)


def test_a_batch_twice_as_large_takes_less_memory_than_the_one_that_was_asked_for():
    spec = spec_of(large(), (48,), 16)
    twice = Recompute().rewrite(replace(spec, train=replace(spec.train, batch=32)))
    assert training_byte(twice) < training_byte(spec)


def test_a_job_that_did_not_fit_into_its_memory_fits_with_blocks_computed_anew():
    job = gpt_job()
    anew = Recompute().rewrite(job.spec)
    limit = Limits(memory_byte=(training_byte(job.spec) + training_byte(anew)) / 2)
    with pytest.raises(BadInputError, match="--recompute"):
        check_memory(replace(job, limits=limit))
    check_memory(replace(job, spec=anew, limits=limit))
    check_memory(job)


def test_the_blocks_are_the_longest_list_of_modules_alike():
    assert len(blocks_of(tiny_gpt())) == 2
    assert len(blocks_of(large())) == 6
    assert blocks_of(tiny_mlp()) == []


def test_a_network_without_blocks_is_refused_on_paper_and_in_reality():
    import torch
    from torch import nn

    assert "repeats no block" in Recompute().fits(cnn_job().spec).reason
    rows = cnn_job().material.splits.train
    with pytest.raises(BadInputError, match="repeats no block"):
        fit(cnn_job().material.make_model(), rows, TrainSpec(1, recompute=True))
    norms = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(2)))
    with pytest.raises(BadInputError, match="batch norms"), recomputing(norms, ANEW):
        norms(torch.ones(2, 4))
    work = backends.load("torch").open(gpt_job())
    with pytest.raises(UntraceableError, match="no list"):
        Recompute().pull(work.having(model=tiny_mlp()))


def test_refusals_say_why():
    spec = gpt_job().spec
    assert "already" in Recompute().fits(Recompute().rewrite(spec)).reason
    assert "still to be trained" in Recompute().fits(replace(spec, form=Form.GRAPH)).reason
    served = replace(spec, train=replace(spec.train, team=TeamSpec(2, "async:4")))
    assert "parameter server" in Recompute().fits(served).reason
    bare = replace(spec, ops=tuple(replace(op, name=op.name.replace("*", "0")) for op in spec.ops))
    assert "repeats no block" in Recompute().fits(bare).reason
