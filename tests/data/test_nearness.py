"""Near rows are found without comparing all with all, and the distances said are the true ones."""

import numpy as np
import pytest

from pennyweight.data.nearness import merged, near_pairs, signatures


def test_nearly_all_near_rows_are_found_among_thousands():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 20)).astype(np.float32)
    x[2000:2300] = x[:300] + rng.normal(size=(300, 20)) * 0.05
    pairs, far = near_pairs(x, np.zeros(4000, int), 0.15, 0)
    found = {tuple(sorted(pair)) for pair in pairs.tolist()}
    assert len(found & {(row, row + 2000) for row in range(300)}) >= 290
    assert np.all(np.diff(far) >= 0)


def test_far_is_the_distance_in_units_of_that_between_two_random_rows():
    x = np.random.default_rng(1).normal(size=(500, 30)).astype(np.float32)
    x /= x.std(axis=0)
    x[1] = x[0] + 0.1
    x /= x.std(axis=0)
    pairs, far = near_pairs(x, np.zeros(500, int), 0.3, 0)
    usual = np.median([np.linalg.norm(x[row] - x[row + 250]) for row in range(250)])
    assert sorted(pairs[0]) == [0, 1]
    assert far[0] == pytest.approx(np.linalg.norm(x[0] - x[1]) / usual, rel=0.05)


def test_signatures_estimate_what_two_texts_have_in_common():
    rng = np.random.default_rng(2)
    one = rng.integers(0, 1000, size=60)
    other = one.copy()
    other[45:] = rng.integers(1000, 2000, size=15)
    runs = [{tuple(row[at : at + 3]) for at in range(58)} for row in (one, other)]
    jaccard = len(runs[0] & runs[1]) / len(runs[0] | runs[1])
    same = np.equal(*signatures(np.stack([one, other]), 0)).mean()
    assert same == pytest.approx(jaccard, abs=0.12)


def test_texts_with_a_word_changed_are_near_and_others_are_not():
    rng = np.random.default_rng(3)
    x = rng.integers(0, 500, size=(300, 80))
    x[200:250] = x[:50]
    x[200:250, 40] = 999
    pairs, _ = near_pairs(x, x, 0.2, 0)
    assert {tuple(sorted(pair)) for pair in pairs.tolist()} >= {(row, row + 200) for row in range(45)}
    assert len(pairs) == 50


def test_values_with_far_answers_are_no_pair():
    x = np.random.default_rng(4).normal(size=(100, 5))
    x[50:] = x[:50]
    y = np.zeros(100)
    y[50:75] = 10.0
    pairs, _ = near_pairs(x, y, 0.1, 0)
    assert {tuple(sorted(pair)) for pair in pairs.tolist()} == {(row, row + 50) for row in range(25, 50)}


def test_a_row_that_stands_for_another_is_not_passed_on():
    index, times = merged(np.array([[0, 1], [1, 2], [2, 3]]), 4, 4)
    assert index.tolist() == [0, 2]
    assert times.tolist() == [2, 2]


def test_a_crowd_of_equal_rows_does_not_cost_all_pairs():
    pairs, far = near_pairs(np.ones((3000, 4), np.float32), np.zeros(3000, int), 0.1, 0)
    assert len(pairs) < 3000 * 30
    assert far.max() == 0
    left, times = merged(pairs, 3000, 3000)
    assert len(left) < 1000
    assert times.sum() == 3000
