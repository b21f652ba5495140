"""Intervals on a kind of device that was never measured are as wide as devices left out showed; others stay."""

import json

import numpy as np
import pytest

from pennyweight.cost.learn.conformal import Conformal
from pennyweight.errors import CorruptError
from pennyweight.layout.energy.abroad import Abroad

DEVICES = np.repeat(["a", "b", "c"], 200)


@pytest.fixture
def abroad():
    errors = np.random.default_rng(0).normal(0, 1, len(DEVICES))
    near = Conformal.of(errors, DEVICES)
    return Abroad.of(DEVICES, {"time_s": (3 * errors, np.ones(len(errors)))}, {"time_s": near})


def test_devices_left_out_that_were_three_times_as_far_off_make_strange_ones_three_times_as_wide(abroad):
    factor = abroad.factor("time_s", np.array(["a", "new"]))
    assert factor[0] == 1
    assert factor[1] == pytest.approx(3, rel=1e-6)


def test_a_strange_device_is_never_surer_than_is_asked_for():
    errors = np.random.default_rng(0).normal(0, 1, len(DEVICES))
    sure = {"time_s": (0.1 * errors, np.ones(len(errors)))}
    found = Abroad.of(DEVICES, sure, {"time_s": Conformal.of(errors, DEVICES)}, 1.0)
    assert found.factor("time_s", np.array(["new"]))[0] == 1


def test_what_is_kept_says_the_same(abroad):
    again = Abroad.from_dict(json.loads(json.dumps(abroad.to_dict())))
    assert again == abroad
    with pytest.raises(CorruptError, match="fit it again"):
        Abroad.from_dict({"known": 3})
