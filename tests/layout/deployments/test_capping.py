"""The cheapest power limit of a job, told from one measured run of it."""

import numpy as np
import pytest

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.deployments.capping import Run, best_limit
from pennyweight.layout.energy.power import Tariff

HUNGRY = Run("v100", 250.0, 3600.0, 220.0)


def test_a_hungry_job_is_cheaper_under_a_lower_limit_and_little_slower():
    found = best_limit(HUNGRY, 0.1)
    assert 125 <= found.limit_w < 250
    assert 0 < found.slower <= 0.1
    assert 0.05 < found.saved < 0.4
    assert found.seconds[1] <= found.seconds[0] <= found.seconds[2]
    assert found.joule < HUNGRY.seconds * HUNGRY.watts
    assert not found.outside


def test_a_job_that_draws_little_gains_little():
    frugal = best_limit(Run("v100", 250.0, 100.0, 39.0), 0.05)
    assert abs(frugal.saved) < 0.05


def test_where_time_is_dear_nothing_is_slowed():
    found = best_limit(HUNGRY, 0.5, Tariff(usd_hour=3.0, usd_kwh=0.1))
    assert found.limit_w >= 225


def test_the_batch_size_that_needs_fewer_epochs_wins():
    runs = [Run("v100", 250.0, 100.0, 180.0, 128, 30), Run("v100", 250.0, 90.0, 200.0, 1024, 60)]
    assert best_limit(runs, 0.2).batch == 128


def test_a_device_never_measured_gets_a_wider_interval_and_is_said_to_be_outside():
    known, new = (best_limit(run, 0.3, limits_w=(150.0,)) for run in (HUNGRY, Run("h100", 250.0, 3600.0, 220.0)))
    assert "nearest" in new.outside
    assert known.limit_w == new.limit_w == 150
    widths = [np.log(each.seconds[2] / each.seconds[1]) for each in (known, new)]
    assert widths[1] > 1.1 * widths[0]


def test_what_cannot_be_is_refused():
    with pytest.raises(BadInputError, match="above zero"):
        Run("v100", 250.0, 0.0, 200.0)
    with pytest.raises(BadInputError, match="highest limit"):
        best_limit(HUNGRY, limits_w=(300.0,))
    with pytest.raises(BadInputError, match="one run per batch size"):
        best_limit([])
    with pytest.raises(UnknownNameError, match="v100"):
        best_limit(Run("v1000", 250.0, 10.0, 100.0))
