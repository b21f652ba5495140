"""The compact trees answer as scikit-learn's do, everywhere."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingRegressor

from pennyweight.cost.learn.boosted import Boosted, Growth
from pennyweight.errors import BadInputError, CorruptError


def rows_of(random, n, width=4):
    x = random.normal(size=(n, width)).round(2)
    x[random.random(x.shape) < 0.05] = np.nan
    return x


def grown(seed=0, trees=20, leaves=6, **more):
    random = np.random.default_rng(seed)
    x = rows_of(random, 200)
    y = np.nansum(np.sin(2 * x), axis=1) + np.isnan(x[:, 1])
    model = HistGradientBoostingRegressor(
        max_iter=trees, max_leaf_nodes=leaves, min_samples_leaf=5, early_stopping=False, **more
    )
    return model.fit(x, y), random


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(2, 8))
def test_predictions_are_those_of_scikit_learn_at_thresholds_gaps_and_extremes(seed, trees, leaves):
    model, random = grown(seed, trees, leaves)
    kept = Boosted.of(model)
    thresholds = [split.threshold for tree in kept.trees for split in tree.splits] or [0.0]
    at = random.choice(thresholds, size=(300, 4))
    asked = np.vstack(
        [at, np.nextafter(at, np.inf), rows_of(random, 300), np.full((1, 4), np.inf), np.full((1, 4), -np.inf)]
    )
    assert kept.predict(asked) == pytest.approx(model.predict(asked), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
def test_fit_learns_and_is_what_scikit_learn_fits(loss):
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 3))
    y = np.where(x[:, 0] > 0, 1.0, -1.0) + 0.1 * x[:, 1]
    kept = Boosted.fit(x, y, Growth(loss=loss, rows=20, ridge=0.5))
    model = HistGradientBoostingRegressor(
        loss=loss, max_iter=64, max_leaf_nodes=4, min_samples_leaf=20, l2_regularization=0.5, early_stopping=False
    ).fit(x, y)
    assert kept.predict(x) == pytest.approx(model.predict(x), rel=1e-12, abs=1e-12)
    assert np.abs(kept.predict(x) - y).mean() < 0.15


def test_a_direction_that_was_asked_for_is_kept():
    random = np.random.default_rng(0)
    x = random.uniform(size=(200, 1))
    kept = Boosted.fit(x, x[:, 0] + random.normal(size=200), Growth(monotonic=(1,)))
    answers = kept.predict(np.linspace(0, 1, 500)[:, None])
    assert (np.diff(answers) >= -1e-12).all()
    assert answers[-1] > answers[0] + 0.3


def test_rows_that_weigh_nothing_teach_nothing():
    x = np.array([[0.0], [1.0]] * 40)
    y = np.where(np.arange(80) < 40, 1.0, 100.0)
    kept = Boosted.fit(x, y, weight=np.where(np.arange(80) < 40, 1.0, 0.0))
    assert kept.predict(x) == pytest.approx(np.ones(80))


def test_trees_that_never_split_answer_the_base():
    kept = Boosted.fit(np.zeros((30, 2)), np.full(30, 0.25))
    assert kept.predict([[5.0, np.nan]]) == pytest.approx([0.25])


def test_trees_survive_json_to_the_last_digit_and_stay_small():
    model, random = grown(trees=64, leaves=4)
    kept = Boosted.of(model)
    text = json.dumps(kept.to_dict(), allow_nan=False)
    again, asked = Boosted.from_dict(json.loads(text)), rows_of(random, 500)
    assert again == kept
    assert (again.predict(asked) == kept.predict(asked)).all()
    assert len(text) < 20_000


@pytest.mark.parametrize("damage", [{"trees": 3}, {"trees": [[[[9, 0.0, 0, 1, 0]], [1.0, 2.0]]]}, {"width": None}])
def test_damaged_trees_are_refused(damage):
    kept = Boosted.of(grown(trees=2)[0]).to_dict()
    with pytest.raises(CorruptError):
        Boosted.from_dict({**kept, **damage})


def test_large_trees_and_wrong_rows_are_refused():
    with pytest.raises(BadInputError, match="2 to 8 leaves"):
        Growth(leaves=9)
    with pytest.raises(BadInputError, match="up to 8 leaves"):
        Boosted.of(grown(leaves=31)[0])
    with pytest.raises(BadInputError, match="4 features"):
        Boosted.of(grown()[0]).predict(np.zeros((2, 3)))
    with pytest.raises(BadInputError, match="cannot learn"):
        Boosted.fit([[1.0], [2.0]], [np.nan, 1.0])
