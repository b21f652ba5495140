"""Evidence holds whenever one looks: claims that are true are rarely refuted, changes are found, intervals cover."""

import numpy as np
import pytest
from scipy.stats import binom

from pennyweight.errors import BadInputError
from pennyweight.serve.watch.bets import Capital, Claim, bet, interval

REPEATS = 400


def most(level):
    """As many of the repeats as chance allows a test of that level to be wrong in."""
    return binom.ppf(0.999, REPEATS, level)


@pytest.mark.parametrize("mean", [0.02, 0.3])
def test_a_claim_that_is_just_true_is_refuted_at_any_moment_in_at_most_a_twentieth(mean):
    claim = Claim(mean, 0.02)
    x = np.random.default_rng(0).random((REPEATS, 5000)) < mean
    after, _ = bet(Capital.begin(claim, (REPEATS,)), claim, x)
    assert (after.p_value <= 0.05).sum() <= most(0.05)


def test_a_mean_above_the_claim_is_found_and_p_values_only_fall():
    claim = Claim(0.05, 0.02)
    x = np.random.default_rng(1).random((REPEATS, 5000)) < 0.07
    capital, found = Capital.begin(claim, (REPEATS,)), []
    for part in np.split(x, 10, axis=1):
        capital, _ = bet(capital, claim, part)
        found.append(capital.p_value)
    assert (np.diff(found, axis=0) <= 0).all()
    assert (capital.p_value <= 0.05).mean() > 0.95


@pytest.mark.parametrize("horizon", [0, 1000])
def test_evidence_is_the_same_in_one_piece_and_in_many(horizon):
    claim = Claim(0.4, 0.1, horizon=horizon)
    x = np.random.default_rng(2).random((3, 100))
    whole, path = bet(Capital.begin(claim, (3,)), claim, x)
    pieces, paths = Capital.begin(claim, (3,)), []
    for part in np.split(x, [1, 7, 7, 60], axis=1):
        pieces, sums = bet(pieces, claim, part)
        paths.append(sums)
    np.testing.assert_allclose(np.concatenate(paths, axis=1), path, rtol=1e-9)
    np.testing.assert_allclose(pieces.logs, whole.logs, rtol=1e-9)
    np.testing.assert_allclose(pieces.peak, whole.peak, rtol=1e-9)


def test_with_a_horizon_false_alarms_within_it_are_at_most_a_twentieth():
    claim = Claim(0.1, 0.02, horizon=3000)
    x = np.random.default_rng(3).random((REPEATS, 3000)) < 0.1
    after, _ = bet(Capital.begin(claim, (REPEATS,)), claim, x)
    assert (after.peak >= np.log(20)).sum() <= most(0.05)


def test_with_a_horizon_a_change_is_found_no_matter_how_long_all_was_well():
    delays = {}
    for horizon in (0, 20_000):
        claim = Claim(0.05, 0.05, horizon=horizon)
        x = np.random.default_rng(4).random((50, 20_000)) < np.where(np.arange(20_000) < 15_000, 0.02, 0.12)
        _, sums = bet(Capital.begin(claim, (50,)), claim, x)
        found = np.where((sums >= np.log(20)).any(axis=1), np.argmax(sums >= np.log(20), axis=1), 20_000)
        delays[horizon] = np.median(found) - 15_000
    assert 0 < delays[20_000] < 500
    assert delays[0] > 2 * delays[20_000]


def test_no_value_however_far_can_lose_more_than_half_the_capital():
    claim = Claim(0.0, 0.01, low=-20.0, high=20.0)
    after, sums = bet(Capital.begin(claim), claim, np.array([-20.0]))
    assert np.isfinite(after.logs).all()
    assert sums[0] >= np.log(0.5)


@pytest.mark.parametrize("facts", [{"most": 1.0, "gap": 0.1}, {"most": 0.5, "gap": 0.0}, {"most": -0.1, "gap": 0.1}])
def test_what_cannot_be_bet_on_is_said(facts):
    with pytest.raises(BadInputError, match="cannot be tested"):
        Claim(**facts)


@pytest.mark.parametrize("mean", [0.03, 0.5])
def test_an_interval_covers_at_all_moments_at_once_and_only_narrows(mean):
    x = np.random.default_rng(5).random((REPEATS, 3000)) < mean
    low, high = interval(x, 0.05)
    assert (((low > mean) | (high < mean)).any(axis=1)).sum() <= most(0.05)
    assert (np.diff(high - low, axis=1) <= 1e-12).all()
    assert (high - low)[:, -1].max() < 0.15


def test_an_interval_of_other_bounds_is_the_same_stretched():
    x = np.random.default_rng(6).random(200)
    low, high = interval(x, 0.05)
    wide = interval(10 * x - 5, 0.05, -5, 5)
    np.testing.assert_allclose(wide[0], 10 * low - 5, atol=1e-9)
    np.testing.assert_allclose(wide[1], 10 * high - 5, atol=1e-9)
