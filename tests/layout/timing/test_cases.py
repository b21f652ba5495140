"""Cases as columns: what they hold of a model, and how they are chosen from."""

import numpy as np
import pytest

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model
from pennyweight.core.layout import Layout
from pennyweight.cost.transformer import parameters, split_parameters
from pennyweight.layout.timing import weights
from pennyweight.layout.timing.cases import Cases, Layouts, Machines, Models
from pennyweight.layout.timing.rates import machine

H100 = Machines.one(machine(accelerator("h100")))


@pytest.mark.parametrize("name", ["llama-3-70b", "deepseek-v3", "qwen3-235b-a22b", "nemotron-3-nano", "gpt-oss-120b"])
def test_one_device_alone_holds_the_whole_model(name):
    whole = Cases(Models.one(model(name)), Layouts.of([Layout()]), H100, 4096.0, 8.0)
    body, bank = weights.held(whole)
    assert body + bank == pytest.approx(parameters(model(name)), rel=1e-6)


def test_products_have_the_weights_of_the_layers():
    facts = Models.one(model("deepseek-v3"))
    mixers = facts.layers * facts.hidden * (facts.mixer_in + facts.mixer_out)
    assert mixers == pytest.approx(split_parameters(model("deepseek-v3")).mixers, rel=1e-6)


def test_experts_are_shared_out_beside_everything_else():
    spread = Cases(Models.one(model("qwen3-30b-a3b")), Layouts.of([Layout(tp=2, dp=8, ep=8)]), H100, 4096.0, 8.0)
    alone = Cases(Models.one(model("qwen3-30b-a3b")), Layouts.of([Layout()]), H100, 4096.0, 8.0)
    (body, bank), (whole, every) = weights.held(spread), weights.held(alone)
    assert bank == pytest.approx(every / 8)
    assert body == pytest.approx(whole / 2)


def test_chosen_cases_are_those_chosen():
    layouts = [Layout(tp=tp, recompute=how) for tp, how in ((1, "none"), (2, "selective"), (4, "full"))]
    cases = Cases(Models.one(model("llama-3-8b")), Layouts.of(layouts), H100, np.array([1.0, 2.0, 3.0]), 8.0)
    chosen = cases.take(np.array([False, True, True]))
    assert chosen.layout.tp.tolist() == [2.0, 4.0]
    assert chosen.layout.recompute.tolist() == [1.0, 2.0]
    assert chosen.sequence.tolist() == [2.0, 3.0]
    assert chosen.model.layers == cases.model.layers
    assert chosen.shape == (2,)


def test_layouts_by_column_are_those_by_name():
    given, listed = Layouts.at(tp=np.array([2.0]), pp=np.array([4.0])), Layouts.of([Layout(tp=2, pp=4)])
    for name in ("tp", "pp", "dp", "zero", "recompute", "micro_batch", "overlap", "trained"):
        assert (
            np.broadcast_to(getattr(given, name), (1,)).tolist()
            == np.broadcast_to(getattr(listed, name), (1,)).tolist()
        )
