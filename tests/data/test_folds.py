import math

import numpy as np
import pytest

from pennyweight import evals
from pennyweight.data.folds import cross_validate, folds
from pennyweight.data.splits import Arrays
from pennyweight.errors import BadInputError


def test_every_row_is_tested_once_and_never_trained_on_then():
    arrays = Arrays(np.arange(103), np.arange(103) % 4)
    tested = []
    for train, test in folds(arrays, 5):
        assert not set(train.x) & set(test.x)
        assert len(train) + len(test) == 103
        assert np.bincount(test.y, minlength=4).min() >= 4
        tested += list(test.x)
    assert sorted(tested) == list(range(103))


def test_groups_stay_whole():
    groups = np.repeat(np.arange(20), 5)
    arrays = Arrays(np.arange(100), np.arange(100) % 2, groups=groups)
    for train, test in folds(arrays, 4):
        assert not set(train.groups) & set(test.groups)


def test_the_score_is_the_mean_with_the_corrected_error():
    generator = np.random.default_rng(0)
    arrays = Arrays(generator.normal(size=(60, 1)), generator.normal(size=60))
    metric = evals.load("mae")
    score = cross_validate(lambda train, x: np.full(len(x), train.y.mean()), arrays, metric, k=5)
    each = [metric.score(test.y, np.full(len(test), train.y.mean())).mean for train, test in folds(arrays, 5)]
    assert score.mean == pytest.approx(np.mean(each))
    assert score.se == pytest.approx(math.sqrt((1 / 5 + 1 / 4) * np.var(each, ddof=1)))
    assert (score.metric, score.n) == ("mae", 60)


def test_the_error_covers_the_spread_over_fresh_data_better_than_the_plain_one():
    # The spread of cross-validated accuracy over data sets is what the standard error claims to be.
    def centroids(train, x):
        means = np.array([train.x[train.y == c].mean(axis=0) for c in (0, 1)])
        return np.argmin(((x[:, None] - means) ** 2).sum(axis=2), axis=1)

    scores = []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        y = np.arange(60) % 2
        x = generator.normal(size=(60, 5)) + 0.5 * y[:, None]
        scores.append(cross_validate(centroids, Arrays(x, y), evals.load("accuracy")))
    spread = np.std([score.mean for score in scores])
    claimed = math.sqrt(np.mean([score.se**2 for score in scores]))
    plain = claimed / math.sqrt((1 / 5 + 1 / 4) * 5)
    assert plain < spread < 1.35 * claimed


def test_one_fold_is_refused():
    with pytest.raises(BadInputError, match="1 folds"):
        folds(Arrays(np.arange(9), np.arange(9) % 2), 1)


def test_a_class_too_small_for_so_many_folds_is_said_before_anything_is_trained():
    with pytest.raises(BadInputError, match=r"Class 1 has 3 examples, too few to be in each of 4 folds.*fewer folds"):
        folds(Arrays(np.arange(40), (np.arange(40) > 36).astype(int)), 4)
