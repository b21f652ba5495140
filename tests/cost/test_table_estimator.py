"""Tables of scikit-learn estimators: exact once fitted, near before."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_regression
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import Lasso, LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from pennyweight.core import DataSpec, Form, Kind, Spec
from pennyweight.cost.count import count, disk_byte, flop, weights
from pennyweight.cost.table_estimator import table_of_estimator
from pennyweight.errors import BadInputError


@pytest.fixture(scope="module")
def cancer():
    return load_breast_cancer(return_X_y=True)


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


def test_a_trees_path_is_the_mean_number_of_comparisons_of_its_training_rows(cancer):
    x, y = cancer
    tree = DecisionTreeClassifier(random_state=0).fit(x, y)
    (op,) = table_of_estimator(tree, 30, 2)
    visited = tree.decision_path(x).sum() / len(x)
    assert op.positions == pytest.approx(visited - 1), "the last node visited is a leaf, which compares nothing"
    assert (op.kind, op.fan, op.n_in, op.n_out, op.times) == (Kind.TREE, tree.tree_.node_count, 30, 2, 1)


def test_a_forest_is_one_row_of_its_mean_tree(digits):
    x, y = digits
    forest = RandomForestClassifier(7, random_state=0).fit(x, y)
    (op,) = table_of_estimator(forest, 64, 10)
    nodes = [tree.tree_.node_count for tree in forest.estimators_]
    assert (op.times, op.n_out, op.fan) == (7, 10, round(np.mean(nodes)))
    splits, leaves = sum(n // 2 for n in nodes), sum(n // 2 + 1 for n in nodes)
    assert weights(op) == pytest.approx(4 * splits + 10 * leaves, rel=0.01)


def test_boosting_grows_one_tree_per_class_and_round(digits):
    x, y = digits
    rows = slice(0, 600)
    for make in (GradientBoostingClassifier(n_estimators=2), HistGradientBoostingClassifier(max_iter=2)):
        (before,) = table_of_estimator(make, 64, 10, rows=600)
        (after,) = table_of_estimator(make.fit(x[rows], y[rows]), 64, 10)
        assert before.times == after.times == 20
        assert before.n_out == after.n_out == 1
        assert after.positions == pytest.approx(before.positions, rel=0.5)


def test_histogram_trees_are_walked_as_their_training_rows_were():
    x, y = make_regression(300, 5, random_state=0)
    model = HistGradientBoostingClassifier(max_iter=1, max_leaf_nodes=4).fit(x, y > 0)
    nodes = model._predictors[0][0].nodes
    leaf = nodes["is_leaf"].astype(bool)
    by_hand = (nodes["depth"][leaf] * nodes["count"][leaf]).sum() / nodes["count"][leaf].sum()
    (op,) = table_of_estimator(model, 5, 2)
    assert (op.positions, op.fan) == (pytest.approx(by_hand), 7)


@pytest.mark.parametrize(
    "forest",
    [
        RandomForestClassifier(10, random_state=0),
        ExtraTreesClassifier(10, random_state=0),
        RandomForestClassifier(10, max_depth=3, random_state=0),
        RandomForestClassifier(10, max_leaf_nodes=9, random_state=0),
        DecisionTreeClassifier(min_samples_leaf=20, random_state=0),
        GradientBoostingClassifier(n_estimators=10),
    ],
    ids=str,
)
def test_before_fitting_the_path_is_expected_within_a_third(forest, cancer):
    x, y = cancer
    (before,) = table_of_estimator(forest, 30, 2, rows=len(x))
    (after,) = table_of_estimator(clone(forest).fit(x, y), 30, 2)
    assert flop(before) == pytest.approx(flop(after), rel=1 / 3)
    assert (before.times, before.n_out) == (after.times, after.n_out)


def test_a_regression_forest_is_expected_to_have_a_leaf_for_almost_every_row():
    x, y = load_diabetes(return_X_y=True)
    forest = RandomForestRegressor(5, random_state=0)
    (before,) = table_of_estimator(forest, 10, 1, rows=len(x))
    (after,) = table_of_estimator(forest.fit(x, y), 10, 1)
    assert before.fan == pytest.approx(after.fan, rel=0.1)
    assert before.positions == pytest.approx(after.positions, rel=0.15)


def test_zeros_of_a_sparse_linear_model_are_its_density(cancer):
    x, y = cancer
    model = Lasso(0.1).fit(x, y)
    (op,) = table_of_estimator(model, 30, 1)
    assert op.density == pytest.approx(np.count_nonzero(model.coef_) / 30)
    assert 0 < op.density < 1
    dense = table_of_estimator(Ridge().fit(x, y), 30, 1)
    sparse, full = (Spec(Form.ESTIMATOR, ops, DataSpec(1, 1)) for ops in ((op,), dense))
    assert disk_byte(sparse) < disk_byte(full)
    assert count(sparse).flop == count(full).flop


def test_two_classes_need_one_row_of_coefficients_and_ten_need_ten(cancer, digits):
    (binary, _) = table_of_estimator(make_pipeline(LogisticRegression(max_iter=5000)), 30, 2)
    assert (flop(binary), weights(binary)) == (60, 31)
    (many,) = table_of_estimator(SGDClassifier().fit(*digits), 64, 10)
    assert (flop(many), weights(many)) == (1280, 650)


def test_a_pipeline_is_the_rows_of_its_steps(cancer):
    x, y = cancer
    pipeline = make_pipeline(StandardScaler(), SelectKBest(k=7), LinearSVC()).fit(x, y)
    scale, choose, model = table_of_estimator(pipeline, 30, 2)
    assert (scale.kind, weights(scale)) == (Kind.NORM, 60)
    assert (choose.kind, choose.n_out) == (Kind.COPY, 7)
    assert (model.n_in, flop(model)) == (7, 14)


def test_features_that_are_made_are_counted_where_they_are_used(cancer):
    x, y = cancer
    model = make_pipeline(MinMaxScaler(), PolynomialFeatures(2), Ridge()).fit(x[:, :3], y)
    assert table_of_estimator(model, 3, 1)[-1].n_in == 10


def test_a_perceptron_is_its_layers_and_hidden_ones_may_change_width(cancer):
    x, y = cancer
    model = MLPClassifier((16, 8), max_iter=400, random_state=0, tol=1.0)
    before, after = table_of_estimator(model, 30, 2), table_of_estimator(model.fit(x, y), 30, 2)
    assert before == after
    layers = [op for op in after if op.kind is Kind.LINEAR]
    assert [(op.n_in, op.n_out) for op in layers] == [(30, 16), (16, 8), (8, 1)]
    assert [(op.reads, op.writes) for op in layers] == [("", "hidden.0"), ("hidden.0", "hidden.1"), ("hidden.1", "")]
    assert sum(map(weights, layers)) == sum(w.size for w in model.coefs_ + model.intercepts_)


def test_ensembles_of_others_are_the_sum_of_their_members(cancer):
    x, y = cancer
    members = [("a", LogisticRegression(max_iter=5000)), ("b", DecisionTreeClassifier(max_depth=2))]
    voting = VotingClassifier(members)
    kinds = [Kind.LINEAR, Kind.SOFTMAX, Kind.TREE]
    assert [op.kind for op in table_of_estimator(voting, 30, 2)] == kinds
    assert [op.kind for op in table_of_estimator(clone(voting).fit(x / x.max(0), y), 30, 2)] == kinds
    (bagged,) = table_of_estimator(BaggingClassifier(n_estimators=4), 30, 2)
    (boosted,) = table_of_estimator(AdaBoostClassifier(n_estimators=4), 30, 2)
    assert (bagged.times, boosted.times, boosted.fan) == (4, 4, 3)


def test_a_search_is_what_it_found(cancer):
    x, y = cancer
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2]}).fit(x, y)
    assert table_of_estimator(search, 30, 2) == table_of_estimator(search.best_estimator_, 30, 2)


def test_any_other_estimator_uses_what_it_learned_once(cancer):
    x, y = cancer
    model = GaussianNB().fit(x, y)
    (op,) = table_of_estimator(model, 30, 2)
    assert weights(op) == pytest.approx(model.theta_.size + model.var_.size + 4, abs=2)


def test_rows_have_names_of_their_own(cancer):
    voting = VotingClassifier([("a", DecisionTreeClassifier(max_depth=2)), ("b", DecisionTreeClassifier(max_depth=5))])
    names = [op.name for op in table_of_estimator(voting, 30, 2)]
    assert len(names) == len(set(names)) == 2


def test_what_is_no_estimator_is_refused():
    with pytest.raises(BadInputError, match="fit and predict"):
        table_of_estimator(object(), 30, 2)
