from copy import deepcopy
from dataclasses import replace

import pytest

from pennyweight.catalog.accelerators import accelerator, accelerators
from pennyweight.errors import BadInputError, UnknownNameError

NAMES = ("h100", "h200", "b200", "b300", "gb200", "gb300", "a100-80gb", "a100-40gb", "v100", "l4", "l40s", "t4", "a10")
NAMES += ("a10g", "a40", "mi300x", "mi325x", "mi355x", "tpu-v5p", "tpu-v6e", "ironwood", "gaudi3", "trainium2")


@pytest.mark.parametrize("name", NAMES)
def test_the_accelerators_people_rent_are_known_with_a_source(name):
    found = accelerator(name)
    assert name in {found.name, *found.aliases}
    assert len(found.source) > 20


@pytest.mark.parametrize("each", accelerators(), ids=lambda each: each.name)
def test_figures_agree_with_each_other(each):
    ladder = [each.flop_s[name] for name in ("fp32", "tf32", "bf16", "fp8", "fp4") if name in each.flop_s]
    assert ladder == sorted(ladder)
    assert all(1e12 < rate < 1e17 for rate in each.flop_s.values())
    assert all(0.3 < rate / each.flop_s[name] < 1 for name, rate in each.measured_flop_s.items())
    assert 1e10 < each.memory_byte < 5e11
    assert each.memory_byte / each.hbm_byte_s < 0.5
    assert 0 < each.idle_w < each.busy_w <= 2000
    assert each.fast_byte_s >= each.net_byte_s
    assert each.net_latency_s >= each.fast_latency_s
    assert each.fast_devices in {1, 4, 8, 16, 72, 256, 4096, 8960, 9216}


@pytest.mark.parametrize("said", ["NVIDIA H100 SXM", "h100_sxm", "H100-80GB", " h100 "])
def test_an_accelerator_is_found_however_it_is_written(said):
    assert accelerator(said).name == "h100"


def test_an_unknown_accelerator_is_refused_with_the_nearest_names():
    with pytest.raises(UnknownNameError, match=r"no accelerator named 'h1000'.*use one of: h100"):
        accelerator("h1000")


def test_what_was_measured_is_taken_and_what_was_not_follows_from_it():
    h100 = accelerator("h100")
    assert h100.measured("bf16")
    assert h100.achievable("bf16") == 794.5e12
    assert not h100.measured("tf32")
    share = h100.achievable("bf16") / h100.peak("bf16")
    assert h100.achievable("tf32") == pytest.approx(share * h100.peak("tf32"))


def test_a_device_that_nobody_measured_reaches_the_usual_share():
    shares = {each.achievable("bf16") / each.peak("bf16") for each in map(accelerator, ("mi250", "tpu-v4", "a40"))}
    assert len(shares) == 1
    assert 0.7 < shares.pop() < 0.85


@pytest.mark.parametrize(
    ("name", "precision", "units"),
    [
        ("a100", "fp8", "bf16"),
        ("v100", "fp8", "fp16"),
        ("v100", "bf16", "fp32"),
        ("h100", "nvfp4", "fp8"),
        ("b200", "nvfp4", "fp4"),
        ("h100", "mxfp8", "fp8"),
        ("t4", "int8", "int8"),
        ("h100", "int4", "bf16"),
    ],
)
def test_a_precision_without_units_is_computed_by_wider_ones(name, precision, units):
    found = accelerator(name)
    assert found.units(precision) == units
    assert found.peak(precision) == found.flop_s[units]


def test_a_precision_that_is_none_or_that_no_unit_computes_is_refused():
    with pytest.raises(UnknownNameError, match="bf16"):
        accelerator("h100").peak("bf61")
    with pytest.raises(BadInputError, match="tpu-v4 has no known rate in fp32"):
        accelerator("tpu-v4").peak("fp32")


def test_nvl72_links_seventy_two_devices_and_machines_hold_fewer():
    found = accelerator("gb200-nvl72")
    assert (found.fast_devices, found.node_devices) == (72, 4)


def test_guesses_are_named_as_guesses():
    assert "busy_w" in accelerator("trainium2").assumed
    assert "busy_w" not in accelerator("h100").assumed
    for each in accelerators():
        assert all(hasattr(each, name) for name in each.assumed)


def test_an_accelerator_is_a_value():
    found = accelerator("h100")
    assert deepcopy(found) == found
    assert len({found, accelerator("h100-sxm")}) == 1
    with pytest.raises(BadInputError, match="no hbm_byte_s above zero"):
        replace(found, hbm_byte_s=0.0)
