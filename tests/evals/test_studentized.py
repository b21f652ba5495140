import math

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from pennyweight.errors import BadInputError
from pennyweight.evals.studentized import RESAMPLES, p_value, weight_of_unseen


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_without_any_loss_it_answers_as_the_exact_binomial_test(alpha):
    margin = 0.01
    enough = math.log(alpha) / math.log1p(-margin)
    assert p_value(margin, np.zeros(math.ceil(1.05 * enough)), 1.0, alpha) < alpha
    assert p_value(margin, np.zeros(math.floor(0.9 * enough)), 1.0, alpha) > alpha


def test_the_weight_solves_its_equation():
    for alpha in (0.001, 0.05, 0.2):
        k = weight_of_unseen(alpha)
        assert k + norm.isf(alpha) * math.sqrt(k) == pytest.approx(-math.log(alpha))


def test_with_many_even_units_it_is_students_t():
    units = np.random.default_rng(0).normal(size=20_000)
    units -= units.mean()
    effect = 1.8 * units.std(ddof=1) / math.sqrt(len(units))
    assert p_value(effect, units, None, 0.05) == pytest.approx(student.sf(1.8, 19_999), abs=0.01)


def test_equal_input_gives_an_equal_answer():
    units = np.random.default_rng(0).exponential(size=300) - 1
    assert p_value(0.1, units, None, 0.05) == p_value(0.1, units, None, 0.05)


def test_few_distinct_values_and_many_give_the_same():
    generator = np.random.default_rng(0)
    units = generator.choice([-1.0, 0.0, 1.0], p=[0.1, 0.8, 0.1], size=600)
    units -= units.mean()
    nudged = units + 1e-9 * generator.normal(size=600)
    assert p_value(0.03, units, None, 0.05) == pytest.approx(p_value(0.03, nudged, None, 0.05), abs=0.012)


def test_answers_that_never_differ_are_as_sure_as_the_resamples_allow():
    assert p_value(0.1, np.zeros(50), None, 0.05) == 1 / (RESAMPLES + 1)
    assert p_value(0.0, np.zeros(50), None, 0.05) == 1


@pytest.mark.parametrize("law", ["normal", "skewed", "coin"])
def test_the_level_is_kept_on_skewed_and_discrete_influences(law):
    generator = np.random.default_rng(3)
    n, repeats = 120, 500
    rejected = 0
    for _ in range(repeats):
        x = {
            "normal": lambda: generator.normal(size=n),
            "skewed": lambda: 1 - generator.exponential(size=n),  # rare large losses
            "coin": lambda: 0.03 - (generator.random(n) < 0.03),
        }[law]()
        rejected += p_value(x.mean(), x - x.mean(), 1.0 if law == "coin" else None, 0.05) <= 0.05
    assert rejected / repeats <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)


def test_too_few_units_are_refused():
    with pytest.raises(BadInputError, match="29 independent"):
        p_value(1.0, np.zeros(29), None, 0.05)
