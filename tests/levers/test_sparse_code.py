"""The features a sparse model would use are found, and nothing looks at the others any more."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pennyweight import backends
from pennyweight.backends.sklearn_columns import columns_in_order, kept_columns
from pennyweight.core import Floor, Form
from pennyweight.cost.count import count
from pennyweight.errors import NoEffectError
from pennyweight.jobs import sklearn_job
from pennyweight.levers.prune_trees import PruneTrees
from pennyweight.levers.sparse_code import SparseCode
from pennyweight.train.estimator import fit_estimator

FEATURES, TOLD = 12, 4


def work_of(estimator, data, floor):
    backend = backends.load("sklearn")
    work = backend.open(sklearn_job("columns", estimator, data, Floor(floor, 0.2)))
    model = fit_estimator(work.model, work.data.train, work.spec.train, seed=work.seed)
    work = work.having(model=model, trained=True)
    return work.having(spec=replace(work.spec, ops=backend.table(work)))


def classes(count):
    """Rows whose first features tell the class, and whose others are noise."""
    x, y = make_classification(
        300, FEATURES, n_informative=TOLD, n_redundant=0, n_classes=count, shuffle=False, class_sep=2.0, random_state=0
    )
    return x, y


@pytest.fixture(scope="module")
def logistic():
    return work_of(make_pipeline(StandardScaler(), LogisticRegression()), classes(3), "accuracy")


@pytest.fixture(scope="module")
def linear():
    x, y = make_regression(200, FEATURES, n_informative=TOLD, shuffle=False, noise=1.0, random_state=0)
    return work_of(LinearRegression(), (x, y), "rmse")


@pytest.mark.parametrize("count_of", [0, 2, 3])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_features_that_tell_something_come_before_noise(count_of, l1_ratio):
    if count_of:
        x, y = classes(count_of)
    else:
        x, y = make_regression(200, FEATURES, n_informative=TOLD, shuffle=False, noise=1.0, random_state=0)
    order = columns_in_order(x * np.logspace(-3, 3, FEATURES), y, count_of, l1_ratio)
    assert sorted(order) == list(range(FEATURES))
    # One of the four may say little that the others do not.
    assert len(set(order[:TOLD]) & set(range(TOLD))) >= TOLD - 1


def test_a_constant_feature_comes_last():
    x, y = classes(2)
    x[:, 0] = 7.0
    assert columns_in_order(x, y, 2, 1.0)[-1] == 0


def test_the_other_features_may_be_anything_afterwards(logistic, linear):
    for work, told in ((logistic, 0.4), (linear, 0.34)):
        after = SparseCode(told).pull(work)
        kept = kept_columns(after.model)
        x = work.data.select.x.astype(np.float32)
        spoiled = np.where(np.isin(np.arange(FEATURES), kept), x, np.float32(1e9))
        assert len(kept) == round(FEATURES * told)
        assert np.array_equal(
            backends.load("sklearn").predict(after, spoiled), backends.load("sklearn").predict(after, x)
        )


def test_quality_is_kept_while_only_noise_goes(logistic, linear):
    for work, keep in ((logistic, 0.5), (linear, 0.34)):
        after = SparseCode(keep).pull(work)
        x, y = work.data.select.x, work.data.select.y
        assert after.model.score(x, y) > work.model.score(x, y) - 0.05


def test_paper_and_reality_agree_exactly_for_linear_models(logistic, linear):
    for work in (logistic, linear):
        for keep in (0.75, 0.5, 0.25):
            lever = SparseCode(keep)
            paper, real = count(lever.rewrite(work.spec)), count(lever.pull(work).spec)
            assert paper == real
            assert paper.flop < count(work.spec).flop


def test_paper_and_reality_agree_within_trust_for_trees_and_networks():
    data = classes(3)
    network = MLPClassifier((FEATURES, FEATURES), tol=10.0, n_iter_no_change=2, random_state=0)
    for estimator in (RandomForestClassifier(8, max_depth=5), network):
        work = work_of(estimator, data, "accuracy")
        lever = SparseCode(0.5)
        real = count(lever.pull(work).spec)
        assert count(lever.rewrite(work.spec)).flop == pytest.approx(real.flop, rel=lever.trust)


def test_pulled_twice_it_gives_the_same(logistic):
    first, second = (SparseCode(0.5).pull(logistic).model.predict_proba(logistic.data.select.x) for _ in range(2))
    assert np.array_equal(first, second)


def test_pulled_after_each_other_features_go_from_those_that_are_left(logistic):
    once = SparseCode(0.5).pull(logistic)
    twice = SparseCode(0.5).pull(once)
    assert set(kept_columns(twice.model)) < set(kept_columns(once.model))
    assert len(kept_columns(twice.model)) == FEATURES // 4
    assert count(SparseCode(0.5).rewrite(once.spec)) == count(twice.spec)


def test_the_result_survives_storing_and_onnx(logistic, linear):
    from pennyweight.runtimes.sklearn_arrays import decode

    backend = backends.load("sklearn")
    for work in (logistic, linear):
        after = SparseCode(0.1).pull(work)
        x = work.data.select.x.astype(np.float32)
        expected = backend.predict(after, x)
        model = decode(backend.export(after, "sklearn"))
        answer = model.predict_proba(x) if work is logistic else model.predict(x)
        assert np.array_equal(answer, expected)
        graph = after.having(model=backend.export(after, "onnx").file("model.onnx"))
        graph = graph.having(spec=replace(graph.spec, form=Form.GRAPH))
        np.testing.assert_allclose(backend.predict(graph, x), expected, rtol=1e-4, atol=1e-4)


def test_trees_behind_chosen_features_can_still_be_pruned():
    work = work_of(RandomForestClassifier(8), classes(2), "accuracy")
    narrow = SparseCode(0.5).pull(work)
    for method in ("thin", "cost_complexity", "reduced_error"):
        after = PruneTrees(method, 0.5).pull(narrow)
        assert np.array_equal(kept_columns(after.model), kept_columns(narrow.model))
        assert count(after.spec).flop < count(narrow.spec).flop


def test_refusals_say_what_to_do(linear):
    spec = linear.spec
    assert "estimators" in SparseCode().fits(replace(spec, form=Form.MODULE)).reason
    assert "clean" in SparseCode().fits(replace(spec, data=replace(spec.data, missing=0.1))).reason
    assert "share" in SparseCode(1.0).fits(spec).reason
    assert "smaller share" in SparseCode(0.99).fits(spec).reason
    assert SparseCode().fits(spec)


def test_keeping_everything_is_an_error_that_says_what_to_do(linear):
    with pytest.raises(NoEffectError, match="smaller share"):
        SparseCode(0.99).pull(linear)


def test_choices_keep_less_and_less(linear):
    job = sklearn_job("columns", LinearRegression(), linear.data, Floor("rmse", 0.2))
    keeps = [lever.keep for lever in SparseCode.choices(job)]
    assert keeps == sorted(keeps, reverse=True)
    assert all(SparseCode(keep).fits(job.spec) for keep in keeps)
