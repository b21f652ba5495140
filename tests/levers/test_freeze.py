from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pennyweight import backends
from pennyweight.core import Form, TrainSpec
from pennyweight.cost.count import count_training
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError
from pennyweight.levers.freeze import Freeze
from pennyweight.levers.lora import Lora
from pennyweight.testing import cnn_job, gpt_job, pretrained_job
from pennyweight.train.loop import How, fit


@pytest.fixture
def opened():
    return backends.load("torch").open(pretrained_job())


def changed(before, after):
    pairs = zip(before.state_dict().items(), after.state_dict().values(), strict=True)
    return {name for (name, old), new in pairs if not torch.equal(old, new)}


def test_only_the_last_layers_learn_and_all_are_free_again(opened):
    done = trained(Freeze(1).pull(opened))
    assert changed(opened.model, done.model) == {"4.weight", "4.bias"}
    assert all(each.requires_grad for each in done.model.parameters())
    two = trained(Freeze(2).pull(opened))
    assert changed(opened.model, two.model) == {"2.weight", "2.bias", "4.weight", "4.bias"}


def test_what_is_counted_is_what_torch_does(opened):
    spec, train = opened.spec, opened.data.train
    one = replace(spec, train=replace(spec.train, epochs=1, batch=len(train)))
    flop = {}
    for layers in (1, 2):
        settings = Freeze(layers).rewrite(one).train
        with FlopCounterMode(display=False) as counter:
            fit(opened.model, train, settings)
        tried = 2 / len(train) * count_training(one).flop / 3  # two rows are tried before the first step
        flop[layers] = counter.get_total_flops() - tried
        first = 2 * spec.ops[-1 if layers == 1 else -3].n_in * spec.ops[-1 if layers == 1 else -3].n_out * len(train)
        assert flop[layers] == pytest.approx(count_training(replace(one, train=settings)).flop - first, rel=1e-6)


def test_a_batch_norm_that_is_kept_keeps_its_statistics():
    job = cnn_job()
    work = backends.load("torch").open(job)
    settings = replace(job.spec.train, epochs=1, pretrained=True, learns=("2.1", "2.3"))
    after = fit(work.model, work.data.train, settings).model
    assert changed(work.model, after) == {"2.1.weight", "2.1.bias", "2.3.weight", "2.3.bias"}
    own = replace(settings, learns=("1.around.4", "2.1"))
    assert {"1.around.4.running_mean", "1.around.4.weight"} <= changed(
        work.model, fit(work.model, work.data.train, own).model
    )
    assert not any(each._forward_pre_hooks for each in after.modules())


def test_repeated_blocks_and_tokens_can_be_kept():
    job = gpt_job()
    spec = replace(job.spec, train=replace(job.spec.train, epochs=0.2, pretrained=True))
    work = backends.load("torch").open(job)
    names = Freeze(2).rewrite(spec).train.learns
    assert names == ("blocks.*.out", "ln", "head")
    after = fit(work.model, work.data.train, Freeze(2).rewrite(spec).train, how=How(task=spec.data.task)).model
    assert {name.partition(".weight")[0].partition(".bias")[0] for name in changed(work.model, after)} == {
        "blocks.0.out",
        "blocks.1.out",
        "ln",
        "head",
    }


def test_random_features_are_not_frozen():
    job = cnn_job()
    assert not list(Freeze.choices(job))
    assert "pretrained" in Freeze().fits(job.spec).reason
    known = replace(job.spec, train=replace(job.spec.train, pretrained=True))
    assert Freeze(3).fits(known)
    assert "not all" in Freeze(5).fits(known).reason
    assert "already" in Freeze().fits(Lora(1).rewrite(known)).reason
    assert "networks" in Freeze().fits(replace(known, form=Form.ESTIMATOR)).reason


def test_a_name_that_is_no_layer_is_said(opened):
    with pytest.raises(BadInputError, match="'nowhere'"):
        fit(opened.model, opened.data.train, TrainSpec(learns=("nowhere",)))


def test_weights_that_are_given_are_part_of_what_the_job_is():
    from pennyweight import torch_job

    job = pretrained_job()
    splits, floor, train = job.material.splits, job.floor, job.spec.train

    def other():
        model = job.material.make_model()
        with torch.no_grad():
            model[0].weight += 1
        return model

    other.__qualname__ = job.material.make_model.__qualname__
    names = {torch_job("x", make, splits, floor, train=train).fingerprint for make in (job.material.make_model, other)}
    assert len(names) == 2
    fresh = replace(train, pretrained=False)
    made = {torch_job("x", make, splits, floor, train=fresh).fingerprint for make in (job.material.make_model, other)}
    assert len(made) == 1
