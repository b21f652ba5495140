"""A Gaussian process over rows: it learns levels, is honest about what it has not seen, and is kept exactly."""

import json

import numpy as np
import pytest

from pennyweight.cost.learn.process import Part, Process
from pennyweight.errors import BadInputError, CorruptError

PARTS = (Part(1.0), Part(0.5, ("model",)), Part(0.3, ("model",), {"size": 1.0}), Part(0.2, line="size", origin=1.0))


def rows(models, sizes):
    return {"model": np.array(models, dtype=np.str_), "size": np.array(sizes, dtype=np.float64)}


@pytest.fixture
def process():
    random = np.random.default_rng(1)
    models, sizes = np.repeat(["a", "b", "c"], 6), np.tile(np.linspace(0, 3, 6), 3)
    values = np.where(models == "a", 1.0, -0.5) + 0.2 * sizes + random.normal(0, 0.02, 18)
    return Process(PARTS, 0.05, rows(models, sizes), values)


def test_measured_rows_are_found_again_and_unlike_rows_are_doubted(process):
    mean, sd = process.at(process.columns)
    assert np.abs(mean - process.values).max() < 0.06
    _, far = process.at(rows(["strange"], [1.0]))
    assert far[0] > 5 * sd.max()


def test_an_unseen_name_gets_what_all_share(process):
    mean, _ = process.at(rows(["strange", "a"], [1.0, 1.0]))
    assert -0.5 < mean[0] < mean[1]


def test_a_slope_is_learned_by_all_together(process):
    mean, _ = process.at(rows(["strange", "strange"], [0.5, 2.5]))
    assert mean[1] - mean[0] == pytest.approx(0.4, abs=0.2)


def test_leaving_a_group_out_is_the_same_as_never_having_seen_it(process):
    groups = process.columns["model"]
    mean, sd = process.left_out(groups)
    kept = groups != "b"
    other = Process(PARTS, 0.05, {name: each[kept] for name, each in process.columns.items()}, process.values[kept])
    asked = {name: each[~kept] for name, each in process.columns.items()}
    again, doubt = other.at(asked)
    np.testing.assert_allclose(mean[~kept], again, rtol=1e-6)
    np.testing.assert_allclose(sd[~kept], doubt, rtol=1e-6)


def test_the_nearest_row_shares_the_name_and_is_close(process):
    (at,) = process.nearest(rows(["b"], [2.9]))
    assert process.columns["model"][at] == "b"
    assert process.columns["size"][at] == 3.0


def test_what_is_kept_says_the_same(process):
    again = Process.restore(PARTS, 0.05, json.loads(json.dumps(process.to_dict())))
    asked = rows(["a", "strange"], [0.3, 5.0])
    for one, other in zip(process.at(asked), again.at(asked), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


def test_what_is_kept_has_no_measured_value_in_it(process):
    body = process.to_dict()
    assert set(body) == {"columns", "weights"}
    assert body["columns"]["model"] == {"names": ["a", "b", "c"], "at": [0] * 6 + [1] * 6 + [2] * 6}
    kept = np.array(body["weights"]["at"]) * body["weights"]["step"]
    np.testing.assert_allclose(kept, process.weights, rtol=1e-3)
    assert not np.isin(np.round(process.values, 6), np.round(kept, 6)).any()


def test_what_is_read_again_can_leave_groups_out_as_well(process):
    again = Process.restore(PARTS, 0.05, json.loads(json.dumps(process.to_dict())))
    groups = process.columns["model"]
    np.testing.assert_allclose(again.left_out(groups)[0], process.left_out(groups)[0], atol=1e-4)


def test_weights_that_nearly_cancel_are_kept_with_enough_digits():
    parts, sizes = (Part(30.0), Part(0.01, (), {"size": 1.0})), np.linspace(0, 5, 400)
    process = Process(parts, 0.01, {"size": sizes}, 5 + 0.01 * np.sin(sizes))
    again = Process.restore(parts, 0.01, json.loads(json.dumps(process.to_dict())))
    np.testing.assert_allclose(again.at(process.columns)[0], process.at(process.columns)[0], rtol=1e-5)


def test_what_was_kept_with_its_values_is_still_read(process):
    columns = {name: each.tolist() for name, each in process.columns.items()}
    again = Process.restore(PARTS, 0.05, {"columns": columns, "values": process.values.tolist()})
    for one, other in zip(process.at(process.columns), again.at(process.columns), strict=True):
        np.testing.assert_allclose(one, other)


def test_rows_without_a_value_are_refused():
    with pytest.raises(BadInputError, match="measured rows only"):
        Process(PARTS, 0.05, rows(["a"], [1.0]), np.array([np.nan]))
    with pytest.raises(BadInputError, match="no rows"):
        Process(PARTS, 0.05, rows([], []), np.array([]))


@pytest.mark.parametrize("body", [{}, {"columns": {"size": [1.0]}, "values": ["x"]}, {"columns": 3, "values": [1.0]}])
def test_what_was_not_kept_by_it_is_refused(body):
    with pytest.raises(CorruptError, match="fit again"):
        Process.restore(PARTS, 0.05, body)
