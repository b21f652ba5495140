"""The online unit learns in one pass, follows a drift, and forgets nothing it should keep."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.cost.learn.adaline import Adaline
from pennyweight.errors import BadInputError


def stream(seed, n=600, noise=0.05):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 3)) * [1.0, 100.0, 0.01] + [0.0, 1e4, 5.0]
    return x, x @ [2.0, 0.03, 50.0] + 4.0 + noise * random.normal(size=n)


@given(st.integers(0, 2**32 - 1))
def test_one_pass_learns_rows_of_any_size(seed):
    x, y = stream(seed)
    unit = Adaline().fit(x[:500], y[:500])
    assert np.abs(unit.predict(x[500:]) - y[500:]).mean() < 0.1 * y.std()
    assert x[500:] @ unit.coef_ + unit.intercept_ == pytest.approx(unit.predict(x[500:]))


@given(st.integers(0, 1000), st.lists(st.integers(1, 99), min_size=1, max_size=5))
def test_pieces_teach_what_the_whole_teaches(seed, cuts):
    x, y = stream(seed, 100)
    whole, pieces = Adaline().fit(x, y), Adaline()
    for rows, targets in zip(np.split(x, sorted({*cuts})), np.split(y, sorted({*cuts})), strict=True):
        pieces.partial_fit(rows, targets)
    assert pieces.seen_ == whole.seen_ == 100
    assert pieces.predict(x) == pytest.approx(whole.predict(x))


def test_the_running_moments_are_those_of_all_rows():
    x, y = stream(0)
    unit = Adaline().fit(x, y)
    assert unit._mean == pytest.approx(x.mean(axis=0))
    assert unit._spread() == pytest.approx(x.std(axis=0))


def test_without_decay_it_follows_a_cost_that_drifts_and_with_decay_it_settles():
    x, y = stream(0, 1000)
    moved = y + np.where(np.arange(1000) < 500, 0.0, 10.0)
    follows, settled = Adaline(decay=0.0).fit(x, moved), Adaline(decay=1.0).fit(x, moved)
    off = [np.abs(unit.predict(x[900:]) - moved[900:]).mean() for unit in (follows, settled)]
    assert off[0] < 1.0 < off[1]


def test_fit_begins_anew():
    x, y = stream(0)
    assert Adaline().fit(x, y).fit(x[:50], y[:50]).predict(x) == pytest.approx(Adaline().fit(x[:50], y[:50]).predict(x))


def test_plain_lms_learns_with_a_small_rate_and_a_large_one_is_refused():
    x, y = stream(0)
    small = Adaline(rate=0.05, decay=0.0, normalised=False).fit(x, y)
    assert np.abs(small.predict(x) - y).mean() < 0.2 * y.std()
    with pytest.raises(BadInputError, match="ran away"), np.errstate(all="ignore"):
        Adaline(rate=5.0, decay=0.0, normalised=False).fit(x, y)
