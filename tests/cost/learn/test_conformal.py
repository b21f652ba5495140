"""Intervals that promise a coverage are held to it, by simulation."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pennyweight.cost.learn.conformal import Conformal, independent, share_between
from pennyweight.errors import BadInputError, CorruptError

REPEATS = 300


def grouped(random, groups, rows, share):
    """Log errors whose variance lies between groups by `share`; and their groups."""
    codes = np.repeat(np.arange(groups), rows)
    between = random.normal(size=groups)[codes] * math.sqrt(share)
    return between + random.normal(size=groups * rows) * math.sqrt(1 - share), codes


def coverage(random, groups, rows, share, repeats=REPEATS, **how):
    """The mean share of a new group's rows that the interval holds, over many worlds."""
    held = []
    for _ in range(repeats):
        errors, codes = grouped(random, groups + 1, rows, share)
        seen = codes < groups
        interval = Conformal.of(errors[seen], codes[seen], **how)
        held.append(interval.holds(errors[~seen]).mean())
    return float(np.mean(held))


@given(st.integers(9, 60), st.sampled_from([0.8, 0.9]), st.integers(0, 2**32 - 1))
def test_split_conformal_takes_the_finite_sample_rank(n, wanted, seed):
    errors = np.random.default_rng(seed).standard_t(3, size=n)
    rank = min(math.ceil((n + 1) * wanted - 1e-9), n)
    found = Conformal.of(errors, coverage=wanted)
    assert found.width == np.sort(np.abs(errors))[rank - 1]
    assert found.promised == pytest.approx(rank / (n + 1))


@settings(max_examples=25)  # each of so many worlds that five points are more than five deviations
@given(st.integers(10, 40), st.sampled_from([1, 4]), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_a_strict_interval_holds_its_share_of_a_group_never_seen(groups, rows, share, seed):
    assert coverage(np.random.default_rng(seed), groups, rows, share, 4 * REPEATS, strict=True) > 0.9 - 0.05


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_usual_interval_holds_about_nine_rows_in_ten_of_a_group_never_seen(share):
    random = np.random.default_rng(0)
    assert 0.85 <= coverage(random, 12, 10, share) <= 0.97


def test_where_rows_of_a_group_are_not_alike_the_usual_interval_is_narrower_than_the_strict_one():
    random = np.random.default_rng(1)
    assert coverage(random, 12, 20, 0.0) < 0.93
    assert coverage(random, 12, 20, 0.0, strict=True) > 0.95


@given(st.integers(1, 8), st.integers(1, 5))
def test_few_groups_promise_less_and_say_so(groups, rows):
    errors, codes = grouped(np.random.default_rng(groups), groups, rows, 0.5)
    found = Conformal.of(errors, codes, strict=True)
    assert found.promised <= groups / (groups + 1)
    assert found.width == np.abs(errors).max()
    if groups < 8:
        assert f"only {100 * found.promised:.0f}% can be promised" in str(found)


def test_enough_groups_promise_what_was_asked():
    errors, codes = grouped(np.random.default_rng(0), 40, 3, 0.5)
    found = Conformal.of(errors, codes, strict=True)
    assert found.promised >= 0.9
    assert "at least 90%" in str(found)


def test_every_group_counts_the_same_however_many_rows_it_has():
    errors = np.concatenate([np.full(1000, 0.01), np.linspace(1, 2, 19)])
    groups = np.array(["large"] * 1000 + [f"small {at}" for at in range(19)])
    assert Conformal.of(errors, groups, strict=True).width > 1.8
    assert Conformal.of(errors).width == pytest.approx(0.01)


def test_a_scale_makes_hard_rows_wider_and_keeps_both_kinds_covered():
    random = np.random.default_rng(0)
    scale = np.where(random.random(4000) < 0.5, 1.0, 5.0)
    errors = random.normal(size=4000) * 0.02 * scale
    found = Conformal.of(errors[:2000], scale=scale[:2000])
    for kind in (1.0, 5.0):
        chosen = scale[2000:] == kind
        assert found.holds(errors[2000:][chosen], kind).mean() == pytest.approx(0.9, abs=0.03)
    low, high = found.interval(np.array([10.0, 10.0]), np.array([1.0, 5.0]))
    assert np.log(high / low) == pytest.approx(2 * found.width * np.array([1.0, 5.0]))


def test_the_interval_is_about_the_value_in_logarithms():
    low, high = Conformal.of(np.full(30, math.log(2))).interval(8.0)
    assert (low, high) == (pytest.approx(4.0), pytest.approx(16.0))


@pytest.mark.parametrize(("share", "rows"), [(0.0, 400), (1.0, 20)])
def test_scores_count_as_rows_where_groups_do_not_matter_and_as_groups_where_they_do(share, rows):
    errors, codes = grouped(np.random.default_rng(3), 20, 20, share)
    amounts = independent(np.bincount(codes), share_between(np.abs(errors), codes))
    assert amounts.sum() == pytest.approx(rows, rel=0.25)


def test_a_group_counts_as_one_score_where_its_rows_are_alike_and_as_its_rows_where_they_are_not():
    counts = np.array([1, 2, 100])
    assert list(independent(counts, 1.0)) == [1.0, 1.0, 1.0]
    assert list(independent(counts, 0.0)) == [1.0, 2.0, 100.0]
    some = independent(counts, 0.1)
    assert some[0] == 1.0
    assert 1.0 < some[1] < some[2] < 10.0  # however many rows, never more than 1 / share


def test_a_group_of_one_odd_row_widens_less_than_one_of_many_unless_it_is_strict():
    random = np.random.default_rng(5)
    large = random.normal(size=400) * 0.02
    groups = np.array([f"large {at // 100}" for at in range(400)] + ["a", "b"])
    errors = np.concatenate([large, [0.5, 0.6]])
    assert Conformal.of(errors, groups).width < 0.05
    assert Conformal.of(errors, groups, strict=True).width == 0.6


def test_of_groups_of_unequal_sizes_nine_rows_in_ten_of_a_new_one_are_held():
    random, held = np.random.default_rng(6), []
    for _ in range(REPEATS):
        sizes = random.integers(1, 60, 15)
        codes = np.repeat(np.arange(15), sizes)
        errors = random.normal(size=15)[codes] * 0.5 + random.normal(size=len(codes)) * 0.8
        seen = codes < 14
        held.append(Conformal.of(errors[seen], codes[seen]).holds(errors[~seen]).mean())
    assert 0.87 <= np.mean(held) <= 0.94


def test_rows_that_were_not_measured_do_not_count():
    errors = np.array([0.1, np.nan, 0.2, np.nan])
    assert Conformal.of(errors, ["a", "a", "b", "c"]).groups == 2


@pytest.mark.parametrize(
    ("errors", "groups", "scale", "share"),
    [
        ([], None, None, 0.9),
        ([np.nan], None, None, 0.9),
        ([0.1], ["a", "b"], None, 0.9),
        ([0.1], None, [0.0], 0.9),
        ([0.1], None, None, 1.0),
    ],
)
def test_what_cannot_make_an_interval_is_refused(errors, groups, scale, share):
    with pytest.raises(BadInputError):
        Conformal.of(errors, groups, scale, coverage=share)


def test_an_interval_survives_json_and_damage_is_said():
    found = Conformal.of(np.linspace(0, 1, 50), np.arange(50) // 2)
    assert Conformal.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    with pytest.raises(CorruptError):
        Conformal.from_dict({"width": 1.0})
