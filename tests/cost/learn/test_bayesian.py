"""Misfits are thrown out of the line, and how sure it is holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import BayesianRidge as Plain

from pennyweight.cost.learn.bayesian import BayesianRidge

SLOPES = np.array([3.0, -2.0, 0.5])


def line(random, n=120, noise=0.1):
    x = random.normal(size=(n, 3)) * [1.0, 10.0, 0.1] + [5.0, 0.0, 2.0]
    return x, x @ SLOPES + 7.0 + noise * random.normal(size=n)


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.2))
def test_misfits_are_found_and_do_not_move_the_line(seed, share):
    random = np.random.default_rng(seed)
    x, y = line(random)
    odd = random.random(len(y)) < share
    y[odd] += 30 + 10 * random.random(odd.sum())
    found = BayesianRidge().fit(x, y)
    assert not found.kept_[odd].any()
    assert found.kept_[~odd].mean() > 0.9
    assert found.noise_ == pytest.approx(0.1, rel=0.4)
    assert found.coef_[:2] == pytest.approx(SLOPES[:2], abs=0.06)
    assert np.abs(x @ found.coef_ + found.intercept_ - found.predict(x)).max() < 1e-9


def test_without_misfits_it_is_scikit_learns_line():
    x, y = line(np.random.default_rng(0))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    found, plain = BayesianRidge(misfit=100).fit(x, y), Plain().fit(x, y)
    assert found.kept_.all()
    assert found.rounds_ == 1
    for ours, theirs in zip(found.predict(x, return_std=True), plain.predict(x, return_std=True), strict=True):
        assert ours == pytest.approx(theirs)


def test_the_predictive_deviation_covers_new_rows():
    random = np.random.default_rng(1)
    found = BayesianRidge().fit(*line(random, 40))
    x, y = line(random, 4000)
    mean, sd = found.predict(x, return_std=True)
    assert (np.abs(y - mean) < 1.96 * sd).mean() == pytest.approx(0.95, abs=0.05)
    _, far = found.predict(x + 1000, return_std=True)
    assert (far > 10 * sd).all()


def test_fits_end_when_nothing_changes_and_never_drop_more_than_allowed():
    random = np.random.default_rng(2)
    x = random.normal(size=(60, 1))
    y = np.where(np.arange(60) < 30, 5.0, -5.0) * (1 + random.random(60))
    greedy = BayesianRidge(misfit=0.5, rounds=50, keep=0.8).fit(x, y)
    assert greedy.kept_.sum() >= 48
    assert greedy.rounds_ <= 50
    assert BayesianRidge(misfit=0.5, rounds=3).fit(x, y).rounds_ <= 3
