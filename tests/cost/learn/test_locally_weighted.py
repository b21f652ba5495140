"""Local lines, their closed forms, and the rows that do not fit."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pennyweight.cost.learn import weighted
from pennyweight.cost.learn.kernels import apart, weights
from pennyweight.cost.learn.weighted import LocallyWeightedRegression
from pennyweight.errors import UnknownNameError

KERNELS = ("rbf", "polynomial", "laplacian")


def hills(seed=0, n=200, noise=0.05):
    random = np.random.default_rng(seed)
    x = random.uniform(-3, 3, size=(n, 2))
    return x, np.sin(x[:, 0]) * x[:, 1] + noise * random.normal(size=n)


@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=10)
@given(seed=st.integers(0, 1000), bandwidth=st.sampled_from([0.2, 0.7, 3.0]))
def test_each_answer_is_a_weighted_least_squares_fit_of_its_own(kernel, seed, bandwidth):
    x, y = hills(seed, 60)
    found = LocallyWeightedRegression(kernel, bandwidth).fit(x, y)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    for place in ([0.0, 0.0], [1.0, -2.0]):
        at = (np.array(place) - x.mean(axis=0)) / x.std(axis=0)
        mass = weights(kernel, apart(kernel, at[None], z), bandwidth, 2)[0] + 1e-3
        design = np.column_stack([np.ones(60), z - at])
        penalty = np.diag([0.0, 1e-2, 1e-2])
        line = np.linalg.solve(design.T @ (mass[:, None] * design) + penalty, design.T @ (mass * y))
        assert found.predict([place])[0] == pytest.approx(line[0], abs=1e-8)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_closed_form_is_what_leaving_each_row_out_gives(kernel):
    x, y = hills(n=50)
    found = LocallyWeightedRegression(kernel).fit(x, y)
    for at in range(50):
        without = LocallyWeightedRegression(kernel, found.bandwidth_).fit(x, y)
        without._trust = (np.arange(50) != at).astype(float)
        assert without.predict(x[at : at + 1])[0] == pytest.approx(found.left_out_[at], abs=1e-9)


def test_leaving_groups_out_uses_no_row_of_the_group():
    x, y = hills(n=60)
    groups = np.arange(60) // 10
    found = LocallyWeightedRegression().fit(x, y, groups)
    without = LocallyWeightedRegression(bandwidth=found.bandwidth_).fit(x, y)
    without._trust = (groups != 2).astype(float)
    assert without.predict(x[groups == 2]) == pytest.approx(found.left_out_[groups == 2])


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_bandwidth_chosen_is_local_for_hills_and_wide_for_a_plane(kernel):
    x, y = hills()
    local = LocallyWeightedRegression(kernel).fit(x, y)
    plane = LocallyWeightedRegression(kernel).fit(x, x @ [1.0, 2.0] + np.random.default_rng(1).normal(size=len(x)))
    assert local.bandwidth_ < 1.0 < plane.bandwidth_
    assert local.score(x, y) > 0.95


@pytest.mark.parametrize("kernel", KERNELS)
def test_far_from_all_rows_the_line_is_the_global_one(kernel):
    x, y = hills()
    found = LocallyWeightedRegression(kernel, 0.3, ridge=0.0).fit(x, y)
    glob = LocallyWeightedRegression(kernel, 1e6, ridge=0.0).fit(x, y)
    far = [[1e3, 0.0], [0.0, -1e3]]
    assert found.predict(far) == pytest.approx(glob.predict(far), rel=0.05)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_cost_that_does_not_fit_is_found_wherever_it_is(kernel):
    random = np.random.default_rng(0)
    x = random.uniform(size=(150, 2))
    y = x @ [1.0, 2.0] + 0.3 * np.sin(3 * x[:, 0]) + 0.02 * random.normal(size=150)
    found = 0
    for at in range(0, 150, 15):
        odd = y.copy()
        odd[at] -= 0.5
        score = LocallyWeightedRegression(kernel).anomaly_score(x, odd)
        found += int(np.argmin(score)) == at and score[at] < -6
        assert (np.abs(np.delete(score, at)) < 4).mean() > 0.97
    assert found == 10


def test_scores_of_rows_that_all_fit_are_standard():
    x, y = hills(3, 400)
    score = LocallyWeightedRegression().anomaly_score(x, y)
    assert np.median(np.abs(score)) == pytest.approx(0.67, abs=0.1)
    assert (np.abs(score) > 5).mean() < 0.02


def test_memory_does_not_grow_with_the_number_of_questions(monkeypatch):
    monkeypatch.setattr(weighted, "_CELLS", 1 << 16)
    x, y = hills()
    found = LocallyWeightedRegression(bandwidth=0.5).fit(x, y)
    peaks = []
    for repeats in (10, 200):
        asked = np.repeat(x, repeats, axis=0)
        tracemalloc.start()
        answers = found.predict(asked)
        peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
        assert answers[::repeats] == pytest.approx(found.predict(x))
    assert peaks[1] < peaks[0] + 16


def test_an_unknown_kernel_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="laplacian"):
        LocallyWeightedRegression("laplace").fit(*hills(n=20))
