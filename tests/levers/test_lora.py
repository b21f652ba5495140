from dataclasses import replace

import numpy as np
import pytest
import torch

from pennyweight import backends
from pennyweight.core import Kind
from pennyweight.cost.count import count_training, learning_share
from pennyweight.cost.partly import adapted, passes
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError, UntraceableError
from pennyweight.levers.lora import Lora
from pennyweight.testing import cnn_job, pretrained_job
from pennyweight.train.checkpoint import Checkpoints
from pennyweight.train.loop import How, fit
from pennyweight.train.partly import adaptable, only_part, whole_again


@pytest.fixture
def opened():
    return backends.load("torch").open(pretrained_job())


def test_the_updates_are_of_the_rank_and_merged(opened):
    done = trained(Lora(2).pull(opened))
    assert done.model.state_dict().keys() == opened.model.state_dict().keys()
    for name in ("0.weight", "2.weight"):
        update = (done.model.get_parameter(name) - opened.model.get_parameter(name)).detach()
        values = torch.linalg.svdvals(update)
        assert values[1] > 1e-4
        assert values[2] < 1e-5 * values[0]
    assert torch.equal(done.model[0].bias, opened.model[0].bias)
    assert not torch.equal(done.model[4].bias, opened.model[4].bias)
    assert backends.load("torch").table(done) == opened.spec.ops


def test_convolutions_are_adapted_too_and_answer_as_before_the_merge():
    work = backends.load("torch").open(cnn_job())
    settings = replace(work.spec.train, pretrained=True, learns=("2.3",), adapt=2)
    x = torch.from_numpy(work.data.train.x[:8]) / 100
    tiny = backends.load("torch").open(cnn_job()).model
    assert adaptable(tiny, settings) == ["1.around.0", "1.around.3", "2.1"]
    model = only_part(work.model, settings)
    for name, each in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(each, std=0.05)
    with torch.no_grad():
        model.eval()
        before, after = model(x), whole_again(model, settings)(x)
        plain = tiny.eval()(x)
    assert torch.allclose(before, after, atol=1e-4)
    assert not torch.allclose(before, plain, atol=1e-2)


def test_an_update_that_would_cost_more_than_the_layer_is_left_out():
    spec = Lora(16).rewrite(pretrained_job().spec)
    assert [op.name for op in adapted(replace(spec, train=replace(spec.train, adapt=2)))] == ["0", "2"]
    assert adapted(replace(spec, train=replace(spec.train, adapt=16))) == ()
    assert "lower" in Lora(16).fits(pretrained_job().spec).reason
    assert [each.rank for each in Lora.choices(pretrained_job())] == [4, 1]


def test_the_count_is_one_pass_of_three_less_and_the_updates_more():
    spec = Lora(2).rewrite(pretrained_job().spec)
    linear = [op for op in spec.ops if op.kind is Kind.LINEAR]
    base = sum(op.n_in * op.n_out for op in linear[:2]) * 2 + linear[2].n_in * linear[2].n_out * 3
    extra = sum(2 * (op.n_in + op.n_out) for op in linear[:2]) * 3
    assert count_training(spec).flop == 2 * (base + extra) * spec.passes
    assert learning_share(spec) == pytest.approx((base + extra) / (3 * sum(op.n_in * op.n_out for op in linear)))
    assert sum(share for _, share in passes(replace(spec, train=replace(spec.train, learns=(), adapt=0)))) == 5


def test_a_resumed_fine_tuning_goes_on_to_the_bit(opened):
    settings, states = Lora(2).rewrite(opened.spec).train, []
    keep = Checkpoints(states.append, every=1)
    whole = fit(opened.model, opened.data.train, settings, how=How(checkpoints=keep)).model
    rest = Checkpoints(lambda _: None, states[len(states) // 2])
    again = fit(opened.model, opened.data.train, settings, how=How(checkpoints=rest)).model
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert np.array_equal(one.detach().numpy(), other.detach().numpy())


def test_matrices_that_are_no_layers_are_refused(opened):
    class Bare(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.zeros(24, 64))
            self.last = torch.nn.Linear(64, 3)

        def forward(self, x):
            return self.last(x @ self.w)

    model = Bare()
    spec = opened.spec
    work = opened.having(model=model)
    work = work.having(spec=replace(spec, ops=backends.load("torch").table(work)))
    assert Lora(1).fits(work.spec)
    with pytest.raises(UntraceableError, match="no layers of their own"):
        Lora(1).pull(work)
    with pytest.raises(BadInputError, match="rank 1"):
        only_part(model, Lora(1).rewrite(work.spec).train)
