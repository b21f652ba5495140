"""What devices hold adds up to the model, whatever the layout, and memory and time count it alike."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pennyweight.catalog.accelerators import accelerator
from pennyweight.core.dims import Dims
from pennyweight.core.layout import Layout
from pennyweight.cost.transformer_parameters import parameters, split_parameters
from pennyweight.layout.memory import training as memory
from pennyweight.layout.timing import weights
from pennyweight.layout.timing.cases import Cases, Layouts, Machines, Models
from pennyweight.layout.timing.rates import machine

VOCAB = 128 * 64  # no padding up to 64 devices
DENSE = Dims("dense", 8, 512, 8, 2048, VOCAB)
ROUTED = replace(DENSE, name="routed", experts=8, experts_per_token=2, moe_ffn=256, moe_hidden=512, shared_ffn=512)
MIXED = replace(ROUTED, name="mixed", dense_layers=3)
MODELS = st.sampled_from([DENSE, replace(DENSE, tied=True), ROUTED, replace(ROUTED, tied=True), MIXED])
DEGREE = st.sampled_from([1, 2, 4, 8])
H100 = Machines.one(machine(accelerator("h100")))


@st.composite
def layouts(draw):
    found = {name: draw(DEGREE) for name in ("tp", "pp", "dp", "cp", "ep", "etp")}
    ranks = found["tp"] * found["dp"] * found["cp"]
    assume(ranks % (found["ep"] * found["etp"]) == 0)
    return found


def over_stages(first, last, *, ends, pp):
    """The sum over the stages of a pipeline; those between have no `ends`."""
    return first if pp == 1 else first + last + (pp - 2) * (first - ends)


@given(MODELS, layouts())
def test_what_all_devices_hold_in_memory_is_the_model(dims, degrees):
    setting = memory.Setting(seq=1, **degrees)
    parts, tp, pp = split_parameters(dims), degrees["tp"], degrees["pp"]
    (body, bank), (late, _) = (memory.held(dims, setting, last=last) for last in (False, True))
    assert setting.expert_replicas * degrees["ep"] * degrees["etp"] == tp * setting.replicas
    devices = tp * setting.replicas  # of a stage
    whole = over_stages(body, late, ends=parts.embedding / tp, pp=pp) * devices / setting.replicas
    routed = bank * pp * devices / setting.expert_replicas
    copies = (tp - 1) * parts.beside + (pp > 1) * dims.tied * VOCAB * dims.hidden
    assert whole + routed == pytest.approx(parameters(dims) + copies, rel=1e-9)
    assert routed == pytest.approx(parts.experts)


@given(MODELS, layouts())
def test_what_all_devices_compute_with_is_the_model(dims, degrees):
    layout = Layouts.at(**{name: np.float64(value) for name, value in degrees.items()})
    cases = Cases(Models.one(dims), layout, H100, 4096.0, 64.0)
    tp, pp, replicas = degrees["tp"], degrees["pp"], degrees["dp"] * degrees["cp"]
    (body, bank), (late, _) = (weights.held(cases, last=last) for last in (False, True))
    whole = over_stages(body, late, ends=float(cases.model.ends) / tp, pp=pp) * tp * replicas / layout.replicas
    routed = bank * pp * tp * replicas / layout.expert_replicas
    copies = (pp > 1) * dims.tied * VOCAB * dims.hidden
    assert whole + routed == pytest.approx(parameters(dims) + copies, rel=1e-9)


@given(MODELS, DEGREE, DEGREE, DEGREE, st.sampled_from([1, 2, 4, 8]))
def test_memory_and_time_split_a_layout_alike(dims, tp, pp, dp, ep):
    assume((tp * dp) % ep == 0)
    layout = Layout(tp=tp, pp=pp, dp=dp, ep=ep if dims.experts else 1)
    setting, columns = memory.setting_of(layout, 4096), Layouts.of([layout])
    cases = Cases(Models.one(dims), columns, H100, 4096.0, 64.0)
    assert columns.expert_replicas == setting.expert_replicas
    for last in (False, True):
        (body, bank), (timed, grouped) = memory.held(dims, setting, last=last), weights.held(cases, last=last)
        assert grouped == pytest.approx(bank)
        norms = split_parameters(dims).beside * (1 - 1 / tp) / pp  # split where time is asked, whole in memory
        assert timed + norms == pytest.approx(body, rel=1e-9)


def test_experts_that_are_not_spread_are_split_like_everything_else():
    layout = Layouts.of([Layout(tp=4), Layout(tp=4, dp=2, ep=8)])
    assert layout.etp.tolist() == [4.0, 1.0]
    banks = weights.held(Cases(Models.one(ROUTED), layout, H100, 4096.0, 64.0))[1]
    assert banks == pytest.approx(float(split_parameters(ROUTED).experts) / np.array([4.0, 8.0]))
