"""Estimators are trained as clones, the same for the same seed, on numbers as they will be served."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from pennyweight.core import TrainSpec
from pennyweight.data.splits import Arrays
from pennyweight.errors import BadInputError
from pennyweight.train.estimator import fit_estimator

ONCE = TrainSpec(epochs=1)


@pytest.fixture(scope="module")
def data():
    return Arrays(*make_classification(200, 6, random_state=0))


def test_the_given_estimator_is_left_alone(data):
    given = LogisticRegression()
    fitted = fit_estimator(given, data, ONCE, seed=0)
    assert not hasattr(given, "coef_")
    assert hasattr(fitted, "coef_")


def test_one_seed_gives_one_model_and_another_seed_another(data):
    forest = make_pipeline(StandardScaler(), RandomForestClassifier(5, max_features=2))
    first, again, other = (fit_estimator(forest, data, ONCE, seed=seed).predict_proba(data.x) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_seed_zero_is_the_estimator_as_it_was_given(data):
    given = RandomForestClassifier(5, random_state=7)
    x = data.x.astype(np.float32)
    expected = RandomForestClassifier(5, random_state=7).fit(x, data.y).predict_proba(x)
    assert np.array_equal(fit_estimator(given, data, ONCE, seed=0).predict_proba(x), expected)
    assert fit_estimator(given, data, ONCE, seed=2).random_state == 9


def test_thresholds_are_chosen_between_numbers_as_they_are_served():
    """In float64 these rows can be told apart; in float32, as they are served, they cannot."""
    x = np.array([[1.0], [1.0 + 1e-12]] * 10)
    tree = fit_estimator(DecisionTreeClassifier(), Arrays(x, np.array([0, 1] * 10)), ONCE, seed=0)
    assert tree.tree_.node_count == 1


def test_linear_models_lose_no_further_precision(data):
    x = data.x.astype(np.float32).astype(np.float64)
    expected = LinearRegression().fit(x, data.y).coef_
    fitted = fit_estimator(LinearRegression(), data, ONCE, seed=0)
    assert fitted.coef_.dtype == np.float64
    assert np.array_equal(fitted.coef_, expected)


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_patience_switches_on_the_estimators_own_early_stopping(data, in_pipeline):
    for given in (GradientBoostingClassifier(n_estimators=200), HistGradientBoostingClassifier(max_iter=200)):
        model = make_pipeline(StandardScaler(), given) if in_pipeline else given
        fitted = fit_estimator(model, data, TrainSpec(patience=2), seed=0)
        last = fitted[-1] if in_pipeline else fitted
        stages = getattr(last, "n_estimators_", None) or last.n_iter_
        assert stages < 200


def test_patience_means_nothing_to_an_estimator_without_early_stopping(data):
    assert fit_estimator(LogisticRegression(), data, TrainSpec(patience=2), seed=0).coef_.shape == (1, 6)


@pytest.mark.parametrize("wrap", [lambda model: model, lambda model: make_pipeline(StandardScaler(), model)])
def test_weights_of_examples_are_passed_on(data, wrap):
    weight = np.where(data.y == 1, 50.0, 1.0)
    heavy = fit_estimator(wrap(LogisticRegression()), Arrays(data.x, data.y, weight=weight), ONCE, seed=0)
    plain = fit_estimator(wrap(LogisticRegression()), data, ONCE, seed=0)
    assert heavy.predict(data.x).sum() > plain.predict(data.x).sum()


def test_weights_that_a_model_cannot_use_are_an_error_with_a_fix(data):
    weighted = Arrays(data.x, data.y, weight=np.ones(len(data)))
    with pytest.raises(BadInputError, match="sample_weight"):
        fit_estimator(KNeighborsClassifier(), weighted, ONCE, seed=0)


def test_data_the_estimator_refuses_is_an_error_with_a_fix(data):
    holes = data.x.copy()
    holes[0, 0] = np.nan
    with pytest.raises(BadInputError, match="clean the data"):
        fit_estimator(LogisticRegression(), Arrays(holes, data.y), ONCE, seed=0)
