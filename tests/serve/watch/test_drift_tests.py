"""Drift tests keep their level, say what SciPy says, and see drifts of stated size."""

import numpy as np
import pytest
from scipy.stats import binom, ks_2samp

from pennyweight.core import Artifact
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.serve.watch.drift import TOGETHER, drifts
from pennyweight.serve.watch.ks import ks
from pennyweight.serve.watch.looks import Spending, benjamini_hochberg, holm
from pennyweight.serve.watch.mmd import mmd, width
from pennyweight.serve.watch.psi import LARGE, SMALL, counts, edges, psi
from pennyweight.serve.watch.reference import Reference, recorded, with_reference


@pytest.mark.parametrize("digits", [1, 6])
def test_kolmogorov_smirnov_is_that_of_scipy_ties_included(digits):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 5)).round(digits), (rng.normal(size=(120, 5)) + np.arange(5) / 5).round(digits)
    apart, p = ks(a, b)
    for n in range(5):
        told = ks_2samp(a[:, n], b[:, n], method="asymp")
        assert apart[n] == pytest.approx(told.statistic)
        assert p[n] == pytest.approx(told.pvalue, rel=1e-6)


def test_the_stability_index_is_small_without_drift_and_large_with():
    rng = np.random.default_rng(1)
    reference = rng.normal(size=20_000)
    inner = edges(reference)
    before = counts(reference, inner)
    assert len(inner) == 9
    still, p_still = psi(before, counts(rng.normal(size=5000), inner))
    moved, p_moved = psi(before, counts(rng.normal(size=5000) + 0.6, inner))
    assert still < SMALL / 10 < LARGE < moved
    assert p_moved < 1e-6 < p_still


def test_the_stability_index_of_classes_keeps_its_level():
    rng = np.random.default_rng(2)
    draws = [rng.multinomial(n, [0.7, 0.2, 0.07, 0.03], size=2000) for n in (1000, 300)]
    _, p = psi(*draws)
    assert (p <= 0.01).sum() <= binom.ppf(0.999, 2000, 0.015)


def test_few_values_have_a_bin_each_and_an_empty_bin_is_not_infinitely_far():
    inner = edges(np.array([0, 0, 1, 1, 2]))
    np.testing.assert_allclose(inner, [0.5, 1.5])
    np.testing.assert_array_equal(counts(np.array([0, 1, 1, 7]), inner), [1, 2, 1])
    index, _ = psi(np.array([50, 50, 0]), np.array([50, 0, 50]))
    assert np.isfinite(index)


def test_discrepancy_keeps_its_level_and_sees_what_no_column_shows():
    rng = np.random.default_rng(3)
    found = []
    for _ in range(200):
        a, b = rng.normal(size=(150, 3)), rng.normal(size=(150, 3))
        found.append(mmd(a, b, width(a), rng)[1])
    assert (np.array(found) <= 0.05).sum() <= binom.ppf(0.999, 200, 0.05)
    a, b = rng.normal(size=(500, 2)), rng.normal(size=(500, 2))
    b[:, 1] = 0.8 * b[:, 0] + 0.6 * b[:, 1]
    assert min(ks(a, b)[1]) > 1e-3
    assert mmd(a, b, width(a), rng)[1] <= 2e-3


def test_discrepancy_of_blocks_is_near_that_of_all_rows():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(3000, 2)), rng.normal(size=(3000, 2)) + 0.5
    wide = width(a)
    apart = [((u[:, None] - v[None]) ** 2).sum(axis=-1) for u, v in ((a, a), (b, b), (a, b))]
    means = [np.exp(-each / (2 * wide**2)).mean() for each in apart]
    whole = means[0] + means[1] - 2 * means[2]
    assert mmd(a, b, wide, rng)[0] == pytest.approx(whole, rel=0.15)
    with pytest.raises(BadInputError, match="no sample"):
        mmd(a, b[:1], wide, rng)


def test_corrections_are_those_of_the_books():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(holm(p), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(benjamini_hochberg(p), [0.02, 0.04, 0.04, 0.02])
    np.testing.assert_allclose(holm(np.array([p, p[::-1]]))[1], holm(p)[::-1])
    with pytest.raises(BadInputError, match="cannot be spent"):
        Spending(0.05, 0)


def traffic(rng, rows, shift=0.0):
    x = rng.normal(size=(rows, 4)) + shift * np.eye(4)[0]
    odds = np.exp(x[:, :3])
    return x, odds / odds.sum(axis=1, keepdims=True)


def test_weeks_without_drift_seldom_raise_an_alarm():
    weeks, looks, false = 60, 7, 0
    for week in range(weeks):
        rng = np.random.default_rng(week)
        reference, spending = Reference.of(*traffic(rng, 500)), Spending(0.05, looks)
        false += any(drifts(reference, traffic(rng, 200), spending, rng)[0].drifted for _ in range(looks))
    assert false <= binom.ppf(0.999, weeks, 0.05)


def test_one_input_that_moves_half_a_deviation_is_named():
    rng = np.random.default_rng(5)
    reference, seen = Reference.of(*traffic(rng, 2000)), 0
    for _ in range(20):
        first = drifts(reference, traffic(rng, 500, 0.5), Spending(), rng)[0]
        seen += first.drifted and first.of == "input 0"
    assert seen >= 19
    assert "input 0 drifted (KS" in str(first)
    assert first.index > SMALL


def test_answers_that_change_are_seen_where_inputs_did_not():
    rng = np.random.default_rng(6)
    reference, (x, p) = Reference.of(*traffic(rng, 2000)), traffic(rng, 500)
    found = drifts(reference, (x, np.roll(p, 1, axis=1) ** 3 / (np.roll(p, 1, axis=1) ** 3).sum(axis=1)[:, None]))
    assert {each.of for each in found if each.drifted} <= {"class", "confidence"}
    assert any(each.drifted for each in found)
    assert not next(each for each in found if each.of == TOGETHER).drifted


def test_values_drift_too_and_constant_inputs_are_no_trouble():
    rng = np.random.default_rng(7)
    x = np.column_stack([np.zeros(400), rng.normal(size=400)])
    reference = Reference.of(x, x[:, 1:])
    assert not drifts(reference, (x[:200], x[:200, 1:]))[0].drifted
    found = drifts(reference, (x[:200] + np.array([1, 0]), x[:200, 1:] + 2))
    assert {each.of for each in found if each.drifted} >= {"input 0", "output"}


def test_a_reference_goes_with_its_artifact_and_damage_is_said():
    rng = np.random.default_rng(8)
    x, p = traffic(rng, 120)
    artifact = Artifact("onnx", (("model.onnx", b"x"),))
    assert recorded(artifact) is None
    kept = with_reference(artifact, Reference.of(x, p, np.zeros(120, np.int64)))
    found = recorded(kept)
    assert kept.digest != artifact.digest
    np.testing.assert_array_equal(found.rows, x)
    np.testing.assert_array_equal(found.labels, np.zeros(120))
    with pytest.raises(CorruptError, match="reference is damaged"):
        recorded(Artifact("onnx", (("reference.safetensors", b"no"),)))
    with pytest.raises(BadInputError, match="no reference"):
        Reference.of(x[:10], p[:10])
    with pytest.raises(BadInputError, match="not equally many"):
        Reference.of(x, p[:50])
