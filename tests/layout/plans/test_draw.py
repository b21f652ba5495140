"""Watts, carbon and the cheapest setting, from arithmetic and from the published traces of Zeus."""

import numpy as np
import pytest

from pennyweight.catalog.accelerators import accelerator
from pennyweight.errors import BadInputError
from pennyweight.layout.energy.power import Choices, Draw, Tariff, kg_co2e
from pennyweight.layout.rows import Rows


def choices(**more):
    facts = {
        "limit_w": np.array([100.0, 150.0, 200.0, 250.0]),
        "batch": np.full(4, 32.0),
        "seconds": np.array([180.0, 130.0, 108.0, 100.0]),
        "watts": np.array([99.0, 147.0, 185.0, 220.0]),
    }
    return Choices(**{**facts, **more})


def test_the_more_a_device_is_utilised_the_more_it_draws_up_to_its_limit():
    h100, shares = accelerator("h100"), np.linspace(0, 1, 11)
    watts = Draw().watts(h100, shares, shares)
    assert (np.diff(watts) >= 0).all()
    assert watts[0] == pytest.approx(0.467 * h100.busy_w)
    assert watts[-1] == h100.busy_w
    assert (Draw().watts(h100, shares, shares, 400.0) <= 400.0).all()


def test_a_share_above_one_is_refused():
    with pytest.raises(BadInputError, match="above 1"):
        Draw().watts(accelerator("h100"), 1.2, 0.5)


def test_carbon_is_energy_times_the_grid_times_what_the_building_adds():
    assert kg_co2e(3.6e6, 0.5) == pytest.approx(0.5)
    np.testing.assert_allclose(kg_co2e([3.6e6, 7.2e6], 0.5, 1.2), [0.6, 1.2])
    with pytest.raises(BadInputError, match="PUE"):
        kg_co2e(1.0, 0.5, 0.9)


def test_the_cheapest_setting_is_found_within_the_slowdown():
    found = choices()
    assert found.limit_w[found.best(slowdown=0.0)] == 250
    assert found.limit_w[found.best(slowdown=0.1)] == 200
    assert found.limit_w[found.best()] == 100
    renting = Tariff(usd_hour=10.0, usd_kwh=0.1)
    assert found.limit_w[found.best(renting)] == 250, "where the device is dear, its time is what counts"


def test_settings_that_never_reach_the_target_are_left_out():
    some = choices(seconds=np.array([np.inf, np.nan, 108.0, 100.0]))
    assert some.limit_w[some.best()] == 200
    none = choices(seconds=np.full(4, np.inf))
    with pytest.raises(BadInputError, match="ask for less"):
        none.best()
    with pytest.raises(BadInputError, match="ask for less"):
        none.balanced(0.5, 250.0)


def test_impossible_wishes_are_refused():
    with pytest.raises(BadInputError, match="0 or more"):
        choices().best(slowdown=-0.1)
    with pytest.raises(BadInputError, match="between 0 and 1"):
        choices().balanced(1.5, 250.0)
    with pytest.raises(BadInputError, match="differ in length"):
        choices(watts=np.ones(3))


def until(samples, target):
    """Of every batch size and limit of ShuffleNet on V100: how long, and at which watts, the target is reached."""
    trained = Rows.read(samples / "energy" / "summary_train.csv")
    trained = trained.take(
        (trained.text("network") == "shufflenetv2") & (np.abs(trained.number("target_metric") - target) < 1e-9)
    )
    limited = Rows.read(samples / "energy" / "summary_power_v100.csv")
    limited = limited.take((limited.text("network") == "shufflenetv2") & (limited.text("optimizer") == "adadelta"))
    sizes, batch = limited.number("batch_size"), trained.number("batch_size")
    tries = trained.number("target_epoch")
    reached = {
        size: np.nanmean(tries[batch == size]) for size in np.unique(batch) if np.isfinite(tries[batch == size]).any()
    }
    epochs = np.array([reached.get(size, np.inf) for size in sizes])
    return Choices(
        limited.number("power_limit"), sizes, limited.number("time_per_epoch") * epochs, limited.number("average_power")
    )


def test_batch_size_and_limit_are_chosen_together_on_the_traces_of_zeus(samples):
    found = until(samples, 0.6)
    joule = found.seconds * found.watts
    frugal, fast, between = found.balanced(1.0, 250.0), found.balanced(0.0, 250.0), found.balanced(0.5, 250.0)
    assert joule[frugal] == np.nanmin(joule)
    assert found.seconds[fast] == np.nanmin(found.seconds)
    assert joule[frugal] <= joule[between] <= joule[fast]
    assert found.seconds[fast] <= found.seconds[between] <= found.seconds[frugal]
    assert joule[frugal] < 0.9 * joule[fast], "on these traces the fastest way wastes more than a tenth"
    assert found.best() == frugal
    assert found.limit_w[frugal] < 250
