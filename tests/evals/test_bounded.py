import math

import numpy as np
import pytest

from pennyweight.evals.bounded import betting, hoeffding_bentkus


def test_the_bound_is_the_smaller_of_hoeffdings_and_bentkus():
    from scipy.stats import binom

    losses = np.array([0.0] * 95 + [1.0] * 5)
    entropy = 0.05 * math.log(0.05 / 0.15) + 0.95 * math.log(0.95 / 0.85)
    assert hoeffding_bentkus(losses, 0.15) == pytest.approx(
        min(math.exp(-100 * entropy), math.e * binom.cdf(5, 100, 0.15))
    )
    assert hoeffding_bentkus(losses, 0.05) == 1
    assert hoeffding_bentkus(losses, 0.0) == 1
    assert hoeffding_bentkus(np.zeros(10), 1.0) == 0


@pytest.mark.parametrize("law", ["coin", "beta", "rare"])
def test_neither_rejects_more_often_than_its_level(law):
    generator = np.random.default_rng(0)
    repeats, n = 1500, 150
    draws = {
        "coin": lambda: generator.random((repeats, n)) < 0.3,
        "beta": lambda: generator.beta(3, 7, (repeats, n)),
        "rare": lambda: 0.29 + 0.71 * (generator.random((repeats, n)) < 0.01 / 0.71),
    }[law]()
    tolerance = 3 * math.sqrt(0.1 * 0.9 / repeats)
    losses = np.array([hoeffding_bentkus(row, 0.3) for row in draws])
    gains = np.array([betting(1.0 - row, 0.7, 0.1) for row in draws])
    assert (losses <= 0.1).mean() <= 0.1 + tolerance
    assert (gains <= 0.1).mean() <= 0.1 + tolerance


def test_both_see_what_is_there():
    generator = np.random.default_rng(1)
    values = generator.beta(40, 10, 300)  # mean 0.8
    assert hoeffding_bentkus(1 - values, 0.3) < 0.01
    assert betting(values, 0.7, 0.05) < 0.001
    assert betting(values, 0.9, 0.05) > 0.5


def test_betting_gains_from_small_variance_where_a_bound_on_the_mean_cannot():
    values = np.random.default_rng(2).uniform(0.53, 0.55, 400)
    assert betting(values, 0.5, 0.05) < 1e-6
    assert hoeffding_bentkus(1 - values, 0.5) > 0.1


def test_impossible_and_certain_hypotheses():
    assert betting(np.ones(5), 1.0, 0.05) == 1
    assert betting(np.ones(5), 0.0, 0.05) == 0
    assert betting(np.zeros(5), 0.0, 0.05) == 1
