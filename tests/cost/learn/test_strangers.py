"""Intervals for names never measured: makers that are foreseen badly get wider ones, and the others do not pay."""

import json

import numpy as np
import pytest

from pennyweight.cost.learn.process import Part
from pennyweight.cost.learn.strangers import Strangeness, Strangers
from pennyweight.errors import CorruptError

KIND = Strangeness("chip", (Part(1.0), Part(1.0, ("maker",))))
ROWS = 12


def errors_of(random, makers):
    """Rows of a chip per maker given: those of `wild` are five times farther off than the learner thought."""
    wild = np.repeat(np.array(makers) == "wild", ROWS)
    bias = np.repeat(random.normal(0, 0.1, len(makers)), ROWS)
    chips = np.repeat([f"{maker} {at}" for at, maker in enumerate(makers)], ROWS)
    columns = {"chip": chips, "maker": np.repeat(makers, ROWS), "size": np.zeros(len(chips))}
    return columns, (bias + random.normal(0, 0.1, len(chips))) * np.where(wild, 5.0, 1.0)


@pytest.fixture(scope="module")
def learnt():
    columns, errors = errors_of(np.random.default_rng(1), ["tame"] * 12 + ["wild"] * 5)
    return Strangers.of(KIND, columns, errors, np.full(len(errors), 0.15))


def asked(makers):
    return {"chip": np.array([f"new {each}" for each in makers]), "maker": np.array(makers)}


def test_a_name_that_was_measured_is_not_new(learnt):
    columns = {"chip": np.array(["tame 0", "wild 12", "tame 99"]), "maker": np.array(["tame", "wild", "tame"])}
    assert list(learnt.new(columns)) == [False, False, True]


def test_a_maker_that_was_foreseen_badly_gets_wider_intervals(learnt):
    makers = ["tame", "wild", "unheard of"]
    _, high = learnt.ends(np.ones(3), np.full(3, 0.15), asked(makers))
    tame, wild, other = np.log(high)
    assert wild > 2.5 * tame
    assert tame < other < wild


def test_both_kinds_of_maker_are_held_nine_times_in_ten():
    random, held = np.random.default_rng(2), {"tame": [], "wild": []}
    for _ in range(40):
        columns, errors = errors_of(random, ["tame"] * 12 + ["wild"] * 5)
        found = Strangers.of(KIND, columns, errors, np.full(len(errors), 0.15))
        for maker, told in held.items():
            later, off = errors_of(random, [maker])
            later["chip"] = np.full(ROWS, "new")
            low, high = found.ends(np.ones(ROWS), np.full(ROWS, 0.15), later)
            told.append(((np.log(low) <= off) & (off <= np.log(high))).mean())
    assert 0.82 <= np.mean(held["tame"]) <= 0.98
    assert 0.82 <= np.mean(held["wild"]) <= 1.0


def test_two_names_are_too_few_to_say_anything():
    columns, errors = errors_of(np.random.default_rng(3), ["tame", "wild"])
    assert Strangers.of(KIND, columns, errors, np.ones(len(errors))) is None


def test_what_is_kept_says_the_same(learnt):
    again = Strangers.restore(KIND, json.loads(json.dumps(learnt.to_dict())))
    told = np.ones(2), np.ones(2), asked(["tame", "wild"])
    np.testing.assert_allclose(again.ends(*told), learnt.ends(*told), rtol=1e-3)
    assert list(again.new({"chip": np.array(["tame 0", "who"])})) == [False, True]


def test_what_was_not_kept_by_it_is_refused():
    with pytest.raises(CorruptError, match="new names"):
        Strangers.restore(KIND, {"interval": {}})
