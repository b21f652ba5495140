"""Widths are allotted so that no other way of the same room does less harm."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as some

from pennyweight.engine.shrinking.allotting import MOST_STEPS, allot

LAYERS = some.lists(
    some.tuples(
        some.lists(some.integers(0, 40), min_size=3, max_size=3), some.lists(some.floats(0, 9), min_size=3, max_size=3)
    ),
    min_size=1,
    max_size=5,
)


@given(layers=LAYERS, budget=some.integers(0, 150))
def test_no_choice_that_fits_does_less_harm(layers, budget):
    costs, harms = zip(*layers, strict=True)
    found = allot(costs, harms, budget)
    every = itertools.product(range(3), repeat=len(layers))
    fitting = [each for each in every if sum(c[at] for c, at in zip(costs, each, strict=True)) <= budget]
    if not fitting:
        assert found is None
        return
    least = min(sum(h[at] for h, at in zip(harms, each, strict=True)) for each in fitting)
    assert tuple(found) in fitting
    assert abs(sum(h[at] for h, at in zip(harms, found, strict=True)) - least) < 1e-9


@settings(max_examples=20)
@given(seed=some.integers(0, 2**32))
def test_sizes_without_a_common_divisor_are_kept_to_and_as_good_as_any_price_finds(seed):
    import numpy as np

    rng = np.random.default_rng(seed)
    counts = rng.integers(10**6, 10**8, 40)
    costs = [[int(count) * bits // 8 for bits in (3, 4, 8)] for count in counts]
    harms = [[4.0**-bits * weight for bits in (3, 4, 8)] for weight in rng.lognormal(0, 2, 40)]
    budget = sum(each[1] for each in costs)
    found = allot(costs, harms, budget)
    assert sum(each[at] for each, at in zip(costs, found, strict=True)) <= budget
    harm = sum(each[at] for each, at in zip(harms, found, strict=True))
    rounding = len(costs) * (
        (budget - sum(each[0] for each in costs)) / MOST_STEPS + 1
    )  # bytes that coarse steps may lose
    assert harm <= best_by_price(np.array(costs, float), np.array(harms), budget - rounding) + 1e-12


def best_by_price(costs, harms, budget):
    """The least harm of the choices that are best at some price of a byte and fit."""
    import numpy as np

    layers, found = np.arange(len(costs)), []
    for price in np.exp(np.linspace(-30, 5, 800)):
        at = (harms + price * costs).argmin(axis=1)
        if costs[layers, at].sum() <= budget:
            found.append(float(harms[layers, at].sum()))
    return min(found)
