"""Steps are paced as published runs were, and no surer than these were."""

import pytest

from pennyweight.catalog.models import model
from pennyweight.errors import UnknownNameError
from pennyweight.layout.plans.estimating import estimate
from pennyweight.layout.plans.renting import Terms
from pennyweight.layout.plans.spreading import ANY, Choices
from pennyweight.layout.plans.stacks import choices_of, pace
from pennyweight.layout.plans.training import TrainWork

DENSE, MIXED = (TrainWork(model(name), 1e12) for name in ("llama-3-8b", "deepseek-v3"))


@pytest.mark.parametrize("work", [DENSE, MIXED], ids=lambda work: work.dims.name)
@pytest.mark.parametrize("stack", ["megatron", "fsdp"])
@pytest.mark.parametrize("accelerator", ["h100", "gb200", "a100-80gb", "a100-40gb", "mi300x", "tpu-v5p"])
def test_a_pace_is_near_physics_and_has_an_interval(stack, work, accelerator):
    found = pace(stack, work, accelerator)
    assert 0.5 < found.factor < 2.0
    assert found.low < found.factor < found.high
    low, high = found.interval(10.0)
    assert low < 10.0 < high
    assert "published runs" in found.said


def test_what_was_never_measured_is_less_sure():
    measured = pace("megatron", TrainWork(DENSE.dims, 1e12, precision="fp8"), "h100")
    strange = pace("megatron", TrainWork(DENSE.dims, 1e12, precision="fp8"), "gaudi3")
    assert strange.high / strange.low > measured.high / measured.low


def test_fsdp_shards_over_all_devices_unless_asked_otherwise():
    assert choices_of("megatron", ANY) is ANY
    assert choices_of("fsdp", ANY).tp == (1,)
    assert choices_of("fsdp", Choices(tp=(4,))).tp == (4,)
    told = estimate(DENSE, "h100", 64, terms=Terms(stack="fsdp"))
    assert (told.layout.tp, told.layout.pp, told.layout.dp) == (1, 1, 64)
    assert told.layout.zero in {2, 3}


def test_an_unknown_stack_lists_the_known():
    with pytest.raises(UnknownNameError, match="fsdp"):
        pace("deepspeed", DENSE, "h100")
