"""Training under a power limit: which run is the reference, which device it is, and how far off unseen networks are."""

import json

import numpy as np
import pytest

from bench.heldout_energy import limits, power_limits
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.layout.energy.limits import POWER, TIME
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables.power_limit import TABLE, Runs, devices


@pytest.fixture(scope="module")
def rows(samples):
    every = [Rows.read(samples / "energy" / f"summary_power_{name}.csv") for name in ("p100", "v100")]
    columns = {name: np.concatenate([each.columns[name] for each in every]) for name in every[0].columns}
    return Rows(columns, np.concatenate([each.lines for each in every]))


def table(text):
    lines = [line.split(",") for line in text.split()]
    columns = np.array(lines[1:], dtype=np.str_)
    return Rows({name: columns[:, at] for at, name in enumerate(lines[0])}, np.arange(2, 1 + len(lines)))


def test_the_run_with_the_highest_limit_is_the_reference_and_never_a_target(rows):
    runs, measured = Runs.of(rows), TABLE.measured(rows)
    assert (runs.reference_limit_w == 250).all()
    assert np.isnan(measured[TIME][runs.alone()]).all()
    assert np.isfinite(measured[TIME][~runs.alone()]).all()


def test_files_that_follow_each_other_are_different_devices(rows):
    assert set(devices(rows)) == {"p100", "v100-16gb"}
    assert (devices(rows) == "p100").sum() == 270


def test_the_device_is_as_its_column_says():
    head = "gpu,network,batch_size,optimizer,power_limit,time_per_epoch,average_power"
    found = table(f"{head}\nl4,net,8,sgd,72,10,70\nl4,net,8,sgd,50,14,50")
    assert set(devices(found)) == {"l4"}


def test_time_and_watts_of_a_network_never_seen_are_close(rows):
    rows = Rows({**rows.columns, "gpu": devices(rows)}, rows.lines)
    network = rows.text("network") == "resnet50"
    learnt, asked = TABLE.learn(rows.take(~network)), rows.take(network)
    told, measured = learnt.predict(asked), TABLE.measured(asked)
    known = np.isfinite(measured[TIME])
    for name, most in ((TIME, 0.06), (POWER, 0.06)):
        off = np.abs(told[name].value[known] / measured[name][known] - 1)
        assert off.mean() < most
    assert np.isnan(told[TIME].value[~known]).all()
    assert all(told[TIME].outside[~known])


def test_what_is_learned_is_kept_and_read_again(rows):
    learnt = TABLE.learn(rows)
    again = TABLE.restore(json.loads(json.dumps(learnt.to_dict())))
    np.testing.assert_allclose(again.predict(rows)[POWER].value, learnt.predict(rows)[POWER].value, rtol=1e-3)
    with pytest.raises(CorruptError, match="fit them again"):
        TABLE.restore({"processes": {}})


def test_a_device_never_measured_has_an_interval_of_its_own(rows):
    known = Rows({**rows.columns, "gpu": devices(rows)}, rows.lines)
    learnt = TABLE.learn(known)
    strange = Rows({**rows.columns, "gpu": np.full(len(rows), "l4")}, rows.lines)
    for name in (TIME, POWER):
        alike, other = learnt.alone.abroad.factor(name, np.array(["p100", "l4"]))
        assert alike == 1
        assert 0 < other < 3
    told = learnt.predict(strange)[TIME]
    assert all(told.outside)


def test_intervals_hold_on_a_device_left_out(rows):
    known = Rows({**rows.columns, "gpu": devices(rows)}, rows.lines)
    left = known.text("gpu") == "p100"
    told, measured = TABLE.learn(known.take(~left)).predict(known.take(left)), TABLE.measured(known.take(left))
    asked = np.isfinite(measured[TIME])
    for name in (TIME, POWER):
        inside = (told[name].low <= measured[name]) & (measured[name] <= told[name].high)
        assert inside[asked].mean() > 0.7


def test_limits_chosen_for_networks_and_devices_left_out_cost_little_more_than_the_best(samples):
    found = {(line.target, line.split): line for line in limits(power_limits(samples))}
    for split in TABLE.splits:
        assert found["regret, 10% slower", split].rows > 200
        assert 0 <= found["regret, 10% slower", split].mape < 0.033
        assert 0 <= found["beyond 10% slower", split].mape < 0.012
        assert found["regret, any time", split].mape < 0.07
        for name in (TIME, POWER):
            assert 0.85 <= found[name, split].covered <= 0.95


def test_one_network_alone_teaches_nothing(rows):
    with pytest.raises(BadInputError, match="two networks"):
        TABLE.learn(rows.take(rows.text("network") == "ncf"))


def test_no_limit_makes_a_run_faster_or_hungrier_than_none(rows):
    network = rows.text("network") == "shufflenetv2"
    asked = rows.take(network)
    told, runs = TABLE.learn(rows.take(~network)).predict(asked), Runs.of(asked)
    others = ~runs.alone()
    assert (told[TIME].value[others] >= runs.reference_s[others]).all()
    assert (told[POWER].value[others] <= runs.reference_w[others]).all()
    assert (told[POWER].value[others] < 0.9 * runs.reference_w[others]).any()


def test_a_batch_size_far_from_the_best_is_known_to_wait_for_its_host(rows):
    runs, small = Runs.of(rows), rows.number("batch_size") == 8
    spare = runs.columns()["spare"]
    assert runs.compared().all()
    assert spare[small & (rows.text("network") == "shufflenetv2")].min() > 2
    assert np.median(spare) < 1


def test_one_batch_size_is_told_alone_and_of_several_a_waiting_one_is_slowed_less(rows):
    learnt = TABLE.learn(rows)
    names = ("device", "limit_w", "reference_limit_w", "reference_s", "reference_w", "fastest_s", "most_w")

    def told(fastest_s, most_w):
        one = ("v100-16gb", 100.0, 250.0, 60.0, 150.0, fastest_s, most_w)
        return learnt.under(Runs(**{name: np.array([each]) for name, each in zip(names, one, strict=True)}))

    alone, full, waiting = told(np.nan, np.nan), told(60.0, 150.0), told(20.0, 220.0)
    assert waiting[TIME].value < alone[TIME].value < full[TIME].value
