"""An estimate hangs together: its figures follow from each other, and what cannot be is refused."""

import math
from dataclasses import replace

import pytest

from pennyweight.catalog.models import model
from pennyweight.core.dims import Dims
from pennyweight.core.layout import Layout
from pennyweight.errors import BadInputError, OverBudgetError, UnknownNameError
from pennyweight.layout.plans.drawing import device_w, grid_of
from pennyweight.layout.plans.estimating import Range, estimate
from pennyweight.layout.plans.renting import Rented, Terms, rentable
from pennyweight.layout.plans.spreading import Choices
from pennyweight.layout.plans.training import TrainWork

WORK = TrainWork(model("llama-3-8b"), 1e12)


@pytest.fixture(scope="module")
def found():
    return estimate(WORK, "h100", 64)


def test_its_figures_follow_from_each_other(found):
    assert sum(found.parts_s.values()) == pytest.approx(found.step.value)
    assert found.seconds.value == pytest.approx(found.step.value * WORK.steps * float(found.upkeep.factor))
    assert found.usd.value == pytest.approx(found.seconds.value / 3600 * found.rented.usd_hour)
    assert sum(found.memory.values()) == pytest.approx(found.memory_byte)
    assert found.layout.devices == 64
    assert found.fits


@pytest.mark.parametrize("name", ["step", "mfu", "seconds", "usd", "joule", "kg_co2e"])
def test_every_figure_has_an_interval_around_it(found, name):
    figure = getattr(found, name)
    assert 0 < figure.low < figure.value < figure.high


def test_energy_is_less_sure_than_time(found):
    assert found.joule.high / found.joule.value > found.seconds.high / found.seconds.value


def test_utilisation_is_plausible_and_carbon_is_that_of_the_region(found):
    assert 0.25 < found.mfu.value < 0.75
    power = grid_of(None, found.rented.offer)
    assert found.kg_co2e.value == pytest.approx(power.kg_co2e(found.joule.value))


def test_the_layout_given_is_the_layout_timed():
    layout = Layout(tp=4, pp=2, dp=8, zero=1, sequence_parallel=True, recompute="selective")
    told = estimate(WORK, "h100", 64, layout)
    assert told.layout == layout
    assert told.step.value >= estimate(WORK, "h100", 64).step.value


def test_a_layout_that_does_not_fit_is_timed_and_said():
    told = estimate(WORK, "h100", 1, Layout())
    assert not told.fits
    assert told.seconds.value > 0


def test_what_is_fixed_stays_and_the_rest_is_chosen():
    told = estimate(WORK, "h100", 64, Choices(tp=(4,), recompute=("full",)))
    assert told.layout.tp == 4
    assert told.layout.recompute == "full"


def test_a_model_too_large_says_how_many_devices_it_needs():
    with pytest.raises(OverBudgetError, match="fits on 8 h100") as error:
        estimate(TrainWork(model("llama-3.1-405b"), 1e12), "h100", 8)
    needed = int(error.value.fix.split()[1])
    assert estimate(TrainWork(model("llama-3.1-405b"), 1e12), "h100", needed).fits


def test_a_model_too_large_for_any_number_is_said():
    wide = Dims("wide", layers=1, hidden=65536, heads=1, kv_heads=1, ffn=262144, vocab=1000)
    with pytest.raises(OverBudgetError, match="in no layout"):
        estimate(TrainWork(wide, 1e9, 8192, 1), "t4", 1)


def test_spare_machines_are_never_cheaper_than_their_price_times_their_time():
    told = estimate(WORK, "h100", 64, terms=Terms(spare=True))
    assert told.rented.spare
    least = told.step.value * WORK.steps / 3600 * told.rented.offer.spot_usd_hour * told.rented.machines
    assert told.usd.value >= least
    assert float(told.upkeep.factor) > 1


def test_devices_that_nobody_sells_are_timed_without_dollars():
    told = estimate(WORK, "h800", 64)
    assert told.usd is None
    assert any("nobody" in line for line in told.said)
    with pytest.raises(BadInputError, match="Nobody sells 64 h800"):
        estimate(WORK, "h800", 64, terms=Terms(spare=True))


def test_whole_machines_are_paid():
    told = estimate(replace(WORK, global_batch=510), "h100", 6, terms=Terms(cloud="aws"))
    assert told.rented.machines == -(-6 // told.rented.offer.devices)
    assert told.rented.usd_hour >= 6 / told.rented.offer.devices * told.rented.offer.usd_hour


def test_parts_of_machines_without_a_known_network_make_no_cluster():
    whole = estimate(WORK, "h100", 64).rented.offer
    part = replace(whole, cloud="somebody", instance="one", devices=1)
    assert rentable(part, 1)
    assert not rentable(part, 2)
    assert math.isinf(Rented(None, 8, spare=False).usd_hour)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((WORK, "h1000", 8), "h1000"),
        ((WORK, "h100", 0), "0 devices"),
        ((WORK, "h100", 8, Layout(tp=3, dp=2)), "no multiple|cannot share"),
        ((WORK, "h100", 8, Layout(dp=8, offload="optimizer")), "offload"),
    ],
)
def test_what_cannot_be_is_refused(asked, said):
    with pytest.raises(BadInputError, match=said):
        estimate(*asked)


def test_impossible_terms_are_refused():
    with pytest.raises(BadInputError, match=r"PUE of 0\.9"):
        Terms(pue=0.9)
    with pytest.raises(UnknownNameError, match="megatron"):
        estimate(WORK, "h100", 8, terms=Terms(stack="megatrom"))
    with pytest.raises(UnknownNameError, match="grid"):
        estimate(WORK, "h100", 8, terms=Terms(grid="atlantis"))


def test_a_range_of_a_product_is_wider_than_each():
    wide = Range(10.0, 8.0, 12.5).wider(1.25)
    assert wide.value == 10.0
    assert wide.low < 8.0
    assert 12.5 < wide.high < 12.5 * 1.25


def test_a_device_draws_more_the_busier_it_is():
    busy = {"matmul": 1.0, "attention": 0.1, "elementwise": 0.1, "recompute": 0.0, "optimizer": 0.01, "bubble": 0.0}
    idle = busy | {"bubble": 2.0}
    from pennyweight.catalog.accelerators import accelerator

    device = accelerator("h100")
    assert device_w(device, idle, 0.2) < device_w(device, busy, 0.55) <= 1.5 * device.busy_w


def test_a_precision_without_units_of_its_own_is_said():
    said = estimate(replace(WORK, precision="fp8"), "a100-80gb", 64).said
    assert "a100-80gb has no units for fp8 and computes in bf16" in said
    assert not any("no units" in line for line in estimate(replace(WORK, precision="mxfp8"), "h100", 64).said)
