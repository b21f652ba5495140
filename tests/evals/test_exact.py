import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, multinomial

from pennyweight.evals import exact
from pennyweight.evals.exact import GAMMA, Pairs, binomial, clopper_pearson, points, ratio, statistic


def triangle(n):
    won, lost = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    return won[won + lost <= n], lost[won + lost <= n]


def chances(n, won, lost, p_won, p_lost):
    counts = np.stack([won, lost, n - won - lost], axis=1)
    return multinomial.pmf(counts, n, [p_won, p_lost, 1 - p_won - p_lost])


def test_the_binomial_test_is_that_of_scipy():
    for right, n, least in [(95, 100, 0.9), (990, 1000, 0.98), (0, 5, 0.5), (5, 5, 0.5)]:
        assert binomial(right, n, least) == pytest.approx(binomtest(right, n, least, alternative="greater").pvalue)
    assert binomial(5, 5, 1.0) == 1
    assert binomial(0, 5, 0.0) == 1


def test_the_interval_is_that_of_clopper_and_pearson():
    for right, n in [(0, 10), (3, 10), (10, 10)]:
        theirs = binomtest(right, n).proportion_ci(0.95, method="exact")
        assert clopper_pearson(right, n, 0.05) == pytest.approx((theirs.low, theirs.high))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 60), st.floats(0.001, 0.3))
@settings(deadline=None, max_examples=50)
def test_the_nuisance_in_the_statistic_is_the_likeliest(won, lost, more, margin):
    n = won + lost + more
    if won == 0 or lost == 0:
        return

    def minus_log(q):
        return -(won * np.log(q) + lost * np.log(q + margin) + more * np.log(1 - 2 * q - margin))

    best = minimize_scalar(
        minus_log, bounds=(1e-9, (1 - margin) / 2 - 1e-9), method="bounded", options={"xatol": 1e-10}
    ).x
    expected = (won - lost + n * margin) / np.sqrt(n * (2 * best + margin - margin**2))
    assert statistic(np.array(won), np.array(lost), n, margin) == pytest.approx(expected, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("n", [3, 17, 60])
@pytest.mark.parametrize("margin", [0.0, 0.003, 0.05, 0.4])
def test_given_the_disagreements_more_wins_are_always_better(n, margin):
    for disagree in range(n + 1):
        won = np.arange(disagree + 1)
        assert (np.diff(statistic(won, disagree - won, n, margin)) >= 0).all()


@pytest.mark.parametrize(
    ("n", "won", "lost", "margin"),
    [(12, 1, 1, 0.1), (20, 0, 0, 0.1), (30, 2, 1, 0.05), (30, 0, 3, 0.2), (25, 5, 4, 0.0), (40, 1, 0, 0.03)],
)
def test_the_p_value_is_the_largest_tail_over_everything_worse_than_the_margin(n, won, lost, margin):
    wins, losses = triangle(n)
    seen = statistic(np.array(won), np.array(lost), n, margin)
    extreme = statistic(wins, losses, n, margin) >= seen - 1e-9
    low, high = clopper_pearson(won + lost, n, GAMMA)
    tail = 0.0
    for share in np.linspace(max(low, margin, 1e-9), high, 300):
        for loss in np.linspace(margin, share, 5):  # the hypothesis is a whole region, not only its boundary
            tail = max(tail, chances(n, wins, losses, (share - loss) / 2, (share + loss) / 2)[extreme].sum())
    assert points(Pairs(n, won, lost, 0), margin) == pytest.approx(min(1, tail + GAMMA), abs=2e-5)


@pytest.mark.parametrize(("n", "margin"), [(25, 0.15), (40, 0.08), (30, 0.0)])
def test_the_level_is_kept_exactly_wherever_the_hypothesis_is_true(n, margin):
    wins, losses = triangle(n)
    p = np.array([points(Pairs(n, int(a), int(b), 0), margin) for a, b in zip(wins, losses, strict=True)])
    sizes = {alpha: [] for alpha in (0.01, 0.05, 0.1)}
    for q in np.linspace(0, (1 - margin) / 2, 40):
        law = chances(n, wins, losses, q, q + margin)
        for alpha, found in sizes.items():
            found.append(law[p <= alpha].sum())
    assert all(max(found) <= alpha + 1e-9 for alpha, found in sizes.items())
    assert max(sizes[0.05]) > 0.03  # and it is not merely timid


def test_the_usual_normal_approximation_would_not_keep_the_level():
    n, margin = 60, 0.06
    wins, losses = triangle(n)
    error = np.sqrt(np.maximum(wins + losses - (wins - losses) ** 2 / n, 0)) / n
    with np.errstate(divide="ignore"):
        wald = ((wins - losses) / n + margin) / error > 1.645
    assert max(chances(n, wins, losses, q, q + margin)[wald].sum() for q in np.linspace(0, 0.1, 20)) > 0.08


@given(st.integers(1, 400), st.data(), st.floats(0, 0.5))
@settings(deadline=None, max_examples=60)
def test_winning_more_or_giving_up_more_never_makes_one_less_sure(n, data, margin):
    disagree = data.draw(st.integers(0, n))
    won = data.draw(st.integers(0, disagree))
    here = Pairs(n, won, disagree - won, 0)
    p = points(here, margin)
    assert 0 < p <= 1
    if won < disagree:
        assert points(Pairs(n, won + 1, disagree - won - 1, 0), margin) <= p + 1e-6


def test_without_any_disagreement_it_is_the_rule_of_three():
    for n, margin in [(100, 0.03), (1000, 0.003), (500, 0.01)]:
        unseen = (1 - margin) ** n
        assert unseen <= points(Pairs(n, 0, 0, n), margin) <= 1.5 * unseen  # outcomes with as few losses count as well


def test_it_is_close_to_the_normal_approximation_where_that_is_good():
    from scipy.stats import norm

    for n, won, lost, margin in [(60_000, 3000, 3050, 0.003), (10_000, 1000, 1010, 0.003)]:
        z = float(statistic(np.array(won), np.array(lost), n, margin))
        assert points(Pairs(n, won, lost, 0), margin) == pytest.approx(norm.sf(z), rel=0.02)


def test_counts_come_from_who_is_right_where():
    first, second = np.array([1, 1, 0, 0, 1], dtype=bool), np.array([1, 0, 1, 0, 0], dtype=bool)
    assert Pairs.of(first, second) == Pairs(5, won=2, lost=1, right=2)


def test_a_share_of_a_faultless_control_is_a_margin():
    pairs = Pairs(1000, 3, 5, 1000)
    assert points(pairs, 0.01) < ratio(pairs, 0.01) < 1.2 * points(pairs, 0.01)


@pytest.mark.parametrize("control", [0.5, 0.9])
def test_the_level_is_kept_for_a_share_of_the_controls_accuracy(control):
    n, share, repeats = 400, 0.05, 800
    generator = np.random.default_rng(0)
    lost = share * control + 0.03  # the candidate is right on (1 - share) × control of all: exactly at the floor
    law = [0.03, lost, control - lost, 1 - control - 0.03]
    draws = generator.multinomial(n, law, size=repeats)
    p = np.array([ratio(Pairs(n, int(w), int(c), int(c + b)), share) for w, c, b, _ in draws])
    assert (p <= 0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)
    assert (p <= 0.05).mean() > 0.005


def test_margins_at_the_ends_are_handled():
    assert points(Pairs(10, 0, 0, 10), 0.0) == 1
    assert points(Pairs(10, 10, 0, 0), 0.0) < 0.01
    assert points(Pairs(10, 0, 10, 10), 1.0) > 0.9
    assert points(Pairs(10, 5, 0, 0), 1.0) < 0.01
    assert exact.ratio(Pairs(1, 0, 0, 1), 0.5) > 0.4
