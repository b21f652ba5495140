"""Likeness of rows: equal rows are one point, the interval holds on groups left out, and strangers are named."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pennyweight.cost.learn.process import Part
from pennyweight.cost.learn.strangers import Strangeness
from pennyweight.errors import CorruptError
from pennyweight.layout.tables.likeness import Likeness, Settings, nothing, same_rows, spread_over
from pennyweight.layout.tables.table import Forecast

SETTINGS = Settings(
    parts=(Part(1.0), Part(0.5, ("kind",)), Part(0.2, ("maker",)), Part(0.3, line="size")),
    noise=0.05,
    spread=0.02,
    named=("kind",),
    group="maker",
)


def columns(kinds, makers, sizes):
    names = {"kind": np.array(kinds, dtype=np.str_), "maker": np.array(makers, dtype=np.str_)}
    return {**names, "size": np.array(sizes, dtype=np.float64)}


@pytest.fixture
def learnt():
    random = np.random.default_rng(2)
    makers = np.repeat([f"maker {at}" for at in range(20)], 6)
    kinds, sizes = np.tile(["red", "red", "red", "blue", "blue", "blue"], 20), np.tile([0.0, 1.0, 2.0], 40)
    bias = np.repeat(random.normal(0, 0.2, 20), 6)
    values = np.where(kinds == "red", 1.0, 0.2) + 0.3 * sizes + bias + random.normal(0, 0.05, 120)
    labels = np.char.add(np.char.add(kinds, " of "), makers)
    return Likeness.of(SETTINGS, columns(kinds, makers, sizes), values, labels)


def test_equal_rows_are_one_point():
    found = columns(["a", "b", "a"], ["x", "x", "x"], [1.0, 1.0, 1.0])
    first, point = same_rows(found)
    assert list(first[point]) == [0, 1, 0]


def test_the_interval_holds_for_makers_never_seen(learnt):
    random = np.random.default_rng(3)
    makers = [f"new {at}" for at in range(400)]
    truth = 1.0 + 0.3 + random.normal(0, 0.2, 400) + random.normal(0, 0.05, 400)
    mean, sd = learnt.at(columns(["red"] * 400, makers, [1.0] * 400))
    low, high = learnt.interval.interval(np.exp(mean), sd)
    inside = (np.log(low) <= truth) & (truth <= np.log(high))
    assert 0.85 <= inside.mean() <= 0.97


def test_only_names_never_measured_have_the_interval_of_strangers():
    random, kind = np.random.default_rng(4), replace(SETTINGS, strange=Strangeness("maker", (Part(1.0),)))
    makers, kinds = np.repeat([f"maker {at}" for at in range(10)], 4), np.tile(["red", "blue"], 20)
    sizes = np.tile([0.0, 0.0, 1.0, 1.0], 10)
    values = 0.3 * sizes + np.repeat(random.normal(0, 0.2, 10), 4) + random.normal(0, 0.05, 40)
    rows = columns(kinds, makers, sizes)
    plain, strange = (Likeness.of(each, rows, values, makers) for each in (SETTINGS, kind))
    asked = columns(["red", "red"], ["maker 1", "who"], [1.0, 1.0])
    told = [each.ends(np.ones(2), each.at(asked)[1], asked)[1] for each in (plain, strange)]
    assert told[0][0] == told[1][0]
    assert told[0][1] != told[1][1]
    again = Likeness.restore(kind, json.loads(json.dumps(strange.to_dict())))
    np.testing.assert_allclose(again.ends(np.ones(2), again.at(asked)[1], asked)[1], told[1], rtol=1e-3)


def test_a_new_name_and_a_far_row_are_said_with_the_nearest(learnt):
    asked = columns(["red", "green", "red"], ["maker 1", "maker 1", "maker 1"], [1.0, 1.0, 40.0])
    near, new, far = learnt.outside(asked)
    assert not near
    assert new.startswith("nothing measured with kind green; nearest measured row: ")
    assert far == "nearest measured row: red of maker 1"


def test_what_is_kept_says_the_same(learnt):
    again = Likeness.restore(SETTINGS, json.loads(json.dumps(learnt.to_dict())))
    asked = columns(["red", "green"], ["maker 1", "who"], [1.0, 3.0])
    for one, other in zip(learnt.at(asked), again.at(asked), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3)
    assert list(learnt.outside(asked)) == list(again.outside(asked))
    assert again.interval == learnt.interval


def test_what_was_not_kept_by_it_is_refused():
    with pytest.raises(CorruptError, match="fit it again"):
        Likeness.restore(SETTINGS, {"labels": []})


def test_rows_that_cannot_be_predicted_say_why():
    part = Forecast(*(np.array([float(each)]) for each in (2, 1, 3)), np.array(["near"]))
    problems = np.array(["no such chip", ""])
    whole = spread_over(part, np.array([False, True]), problems)
    assert np.isnan(whole.value[0])
    assert list(whole.outside) == ["no such chip", "near"]
    assert (whole.value[1], whole.low[1], whole.high[1]) == (2.0, 1.0, 3.0)
    assert np.isnan(nothing(problems).high).all()
