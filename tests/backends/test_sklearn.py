"""The sklearn backend opens jobs, answers, counts, and writes estimators as arrays and as ONNX graphs."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import make_classification, make_regression
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import ElasticNet, LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from pennyweight import backends
from pennyweight.backends.sklearn import SklearnMaterial
from pennyweight.backends.sklearn_arrays import encode, round_down
from pennyweight.core import DataSpec, Floor, Form, Job, Kind, Op, Spec, Task
from pennyweight.cost.count import flop
from pennyweight.data.splits import Arrays, Splits
from pennyweight.errors import BadInputError

ROWS, FEATURES = 240, 8

CLASSIFIERS = {
    "tree": lambda: DecisionTreeClassifier(random_state=0),
    "forest": lambda: RandomForestClassifier(7, random_state=0),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=5, random_state=0),
    "histogram": lambda: HistGradientBoostingClassifier(max_iter=5, random_state=0),
    "logistic": lambda: LogisticRegression(max_iter=1000),
    "against_the_rest": lambda: SGDClassifier(loss="log_loss", random_state=0),
    "scaled": lambda: make_pipeline(StandardScaler(), MinMaxScaler(), LogisticRegression()),
}
REGRESSORS = {
    "tree": lambda: DecisionTreeRegressor(random_state=0),
    "forest": lambda: RandomForestRegressor(7, random_state=0),
    "boosting": lambda: GradientBoostingRegressor(n_estimators=5, loss="huber", random_state=0),
    "histogram": lambda: HistGradientBoostingRegressor(max_iter=5, random_state=0),
    "linear": LinearRegression,
    "scaled": lambda: make_pipeline(StandardScaler(), ElasticNet(alpha=0.1)),
}


def rows_of(classes):
    if classes:
        x, y = make_classification(
            ROWS, FEATURES, n_informative=6, n_redundant=0, n_classes=classes, random_state=0, n_clusters_per_class=1
        )
    else:
        x, y = make_regression(ROWS, FEATURES, noise=5.0, random_state=0)
    return Arrays(x.astype(np.float32), y)


def job_of(estimator, rows, classes=0):
    task = Task.CLASSIFY if classes else Task.REGRESS
    spec = Spec(Form.ESTIMATOR, (Op("all", Kind.LINEAR, FEATURES, 1),), DataSpec(len(rows), 32.0, task, classes))
    material = SklearnMaterial(estimator, Splits(rows, rows, rows))
    floor = Floor("accuracy" if classes else "rmse", 0.1)
    return Job("small", spec, floor, backend="sklearn", material=material)


def trained_on(estimator, rows, classes=0):
    work = backends.load("sklearn").open(job_of(estimator, rows, classes))
    return work.having(model=work.model.fit(rows.x, rows.y), trained=True)


def answers_of_graph(body, x):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(body, options, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["x"]
    assert [each.name for each in session.get_outputs()] == ["y"]
    return session.run(["y"], {"x": x})[0]


@pytest.fixture(scope="module")
def backend():
    return backends.load("sklearn")


def test_opening_clones_the_estimator_and_takes_the_first_share_of_every_class(backend):
    rows = rows_of(3)
    given_one = LogisticRegression()
    work = backend.open(job_of(given_one, rows, 3), fidelity=0.25, seed=4)
    assert work.model is not given_one
    assert (work.seed, work.trained) == (4, False)
    assert work.spec.data.rows == len(work.data.train) == pytest.approx(ROWS / 4, abs=2)
    assert set(work.data.train.y) == {0, 1, 2}
    assert len(work.data.select) == ROWS


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_have_one_column_per_class_and_equal_scikit_learns(backend, name, classes):
    rows = rows_of(classes)
    work = trained_on(CLASSIFIERS[name](), rows, classes)
    answer = backend.predict(work, rows.x)
    assert answer.shape == (ROWS, classes)
    assert np.array_equal(answer, work.model.predict_proba(rows.x))


@pytest.mark.parametrize("name", REGRESSORS)
def test_values_have_one_number_per_row(backend, name):
    rows = rows_of(0)
    work = trained_on(REGRESSORS[name](), rows)
    assert backend.predict(work, rows.x).shape == (ROWS,)


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("classes", [2, 3])
def test_classifiers_as_onnx_give_the_same_probabilities(backend, name, classes):
    rows = rows_of(classes)
    work = trained_on(CLASSIFIERS[name](), rows, classes)
    artifact = backend.export(work, "onnx")
    answer = answers_of_graph(artifact.file("model.onnx"), rows.x)
    np.testing.assert_allclose(answer, backend.predict(work, rows.x), atol=2e-6)
    assert artifact.facts == {
        "classes": classes,
        "input_dtype": "float32",
        "input_shape": [FEATURES],
        "outputs": "probabilities",
        "task": "classify",
    }


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_as_onnx_give_the_same_values(backend, name):
    rows = rows_of(0)
    work = trained_on(REGRESSORS[name](), rows)
    artifact = backend.export(work, "onnx")
    answer = answers_of_graph(artifact.file("model.onnx"), rows.x)
    expected = backend.predict(work, rows.x)
    assert answer.shape == expected.shape
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-3)
    assert artifact.facts["outputs"] == "values"


def test_several_values_per_row_survive_onnx(backend):
    x, y = make_regression(ROWS, FEATURES, n_targets=3, random_state=0)
    rows = Arrays(x.astype(np.float32), y)
    for estimator in (Ridge(), ExtraTreesRegressor(4, random_state=0)):
        work = trained_on(estimator, rows)
        answer = answers_of_graph(backend.export(work, "onnx").file("model.onnx"), rows.x)
        assert answer.shape == (ROWS, 3)
        np.testing.assert_allclose(answer, backend.predict(work, rows.x), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("ulps", [0, 1])
def test_a_tree_written_as_onnx_decides_alike_right_at_its_thresholds(backend, ulps):
    """A threshold half way between two float32 neighbours must not be rounded up; of two pairs, one would be."""
    low = (np.array(100.1, dtype=np.float32).view(np.int32) + ulps).view(np.float32)
    high = np.nextafter(low, np.float32(np.inf))
    x = np.tile(np.array([[low], [high]], dtype=np.float32), (10, FEATURES))
    rows = Arrays(x, np.tile([0, 1], 10))
    work = trained_on(DecisionTreeClassifier(), rows, 2)
    threshold = work.model.tree_.threshold[0]
    assert low < threshold < high
    assert np.array_equal(answers_of_graph(backend.export(work, "onnx").file("model.onnx"), x).argmax(axis=1), rows.y)


@given(
    threshold=hnp.arrays(np.float64, 5, elements=st.floats(-(2.0**100), 2.0**100)),
    x=hnp.arrays(np.float32, 5, elements=st.floats(-(2.0**100), 2.0**100, width=32)),
)
def test_a_threshold_rounded_down_splits_float32_numbers_alike(threshold, x):
    near = np.concatenate([x, threshold.astype(np.float32)])
    both = np.concatenate([threshold, threshold])
    assert np.array_equal(near <= both, near <= round_down(both))


def test_missing_values_take_the_branch_of_training_in_onnx_too(backend):
    rows = rows_of(2)
    holes = np.random.default_rng(0).random(rows.x.shape) < 0.2
    rows = Arrays(np.where(holes, np.float32(np.nan), rows.x), rows.y)
    for estimator in (RandomForestClassifier(5, random_state=0), HistGradientBoostingClassifier(max_iter=5)):
        work = trained_on(estimator, rows, 2)
        answer = answers_of_graph(backend.export(work, "onnx").file("model.onnx"), rows.x)
        np.testing.assert_allclose(answer, backend.predict(work, rows.x), atol=2e-6)


def test_boosting_with_other_losses_survives_onnx(backend):
    two = rows_of(2)
    work = trained_on(GradientBoostingClassifier(loss="exponential", n_estimators=5, init="zero"), two, 2)
    answer = answers_of_graph(backend.export(work, "onnx").file("model.onnx"), two.x)
    np.testing.assert_allclose(answer, backend.predict(work, two.x), atol=2e-6)
    counts = rows_of(0)
    counts = Arrays(counts.x, np.exp(counts.y / 100))
    work = trained_on(HistGradientBoostingRegressor(loss="poisson", max_iter=5), counts)
    answer = answers_of_graph(backend.export(work, "onnx").file("model.onnx"), counts.x)
    np.testing.assert_allclose(answer, backend.predict(work, counts.x), rtol=1e-5)


def test_other_estimators_are_converted_and_keep_only_what_the_answer_needs(backend):
    rows = rows_of(2)
    work = trained_on(make_pipeline(PCA(3), GaussianNB()), rows, 2)
    body = backend.export(work, "onnx").file("model.onnx")
    np.testing.assert_allclose(answers_of_graph(body, rows.x), backend.predict(work, rows.x), atol=1e-4)
    assert not [node for node in onnx.load_from_string(body).graph.node if node.op_type == "ArgMax"]


def test_what_onnx_cannot_say_is_an_error_that_names_the_way(backend):
    rows = rows_of(2)
    rows = Arrays(np.abs(rows.x).round(), rows.y)
    work = trained_on(HistGradientBoostingClassifier(categorical_features=[0], max_iter=5), rows, 2)
    with pytest.raises(BadInputError, match="categories"):
        backend.export(work, "onnx")
    with pytest.raises(BadInputError, match="cannot hold"):
        backend.export(work, "sklearn")
    stacked = trained_on(GradientBoostingClassifier(init=LogisticRegression(max_iter=1000), n_estimators=2), rows, 2)
    with pytest.raises(BadInputError, match="init"):
        backend.export(stacked, "onnx")


def test_the_sklearn_format_refuses_what_it_does_not_know_and_names_onnx(backend):
    rows = rows_of(2)
    with pytest.raises(BadInputError, match=r"GaussianNB.*ONNX"):
        backend.export(trained_on(GaussianNB(), rows, 2), "sklearn")

    class Mine(LogisticRegression):
        """Somebody's own class."""

    with pytest.raises(BadInputError, match="Mine"):
        encode(Mine().fit(rows.x, rows.y))


def test_equal_models_have_equal_files(backend):
    rows = rows_of(3)
    first, second = (backend.export(trained_on(CLASSIFIERS["forest"](), rows, 3), "sklearn") for _ in range(2))
    assert first.digest == second.digest
    assert {name for name, _ in first.files} == {"model.json", "arrays.safetensors"}


def test_the_table_counts_the_real_estimator(backend):
    rows = rows_of(3)
    work = trained_on(CLASSIFIERS["forest"](), rows, 3)
    trees = [op for op in backend.table(work) if op.kind is Kind.TREE]
    assert sum(op.times for op in trees) == 7
    nodes = sum(tree.tree_.node_count for tree in work.model.estimators_)
    assert sum(op.times * op.fan for op in trees) == pytest.approx(nodes, rel=0.05)
    assert sum(map(flop, backend.table(work))) > 0


def test_a_graph_is_answered_counted_and_exported(backend):
    rows = rows_of(3)
    work = trained_on(CLASSIFIERS["forest"](), rows, 3)
    body = backend.export(work, "onnx").file("model.onnx")
    graph = work.having(model=body, spec=replace(work.spec, form=Form.GRAPH))
    np.testing.assert_allclose(backend.predict(graph, rows.x), backend.predict(work, rows.x), atol=2e-6)
    assert backend.export(graph, "onnx").file("model.onnx") == body
    assert sum(op.times for op in backend.table(graph) if op.kind is Kind.TREE) == 7
    with pytest.raises(BadInputError, match="onnx"):
        backend.export(graph, "sklearn")


def test_models_that_cannot_answer_are_refused_with_a_fix(backend):
    rows = rows_of(3)
    untrained = backend.open(job_of(LogisticRegression(), rows, 3))
    with pytest.raises(BadInputError, match="train it"):
        backend.predict(untrained, rows.x)
    machine = trained_on(LinearSVC(), rows, 3)
    with pytest.raises(BadInputError, match="probabilities"):
        backend.predict(machine, rows.x)
    shifted = Arrays(rows.x, rows.y + 1)
    with pytest.raises(BadInputError, match="number the classes from 0"):
        backend.predict(trained_on(LogisticRegression(max_iter=1000), shifted, 3), rows.x)
    with pytest.raises(BadInputError, match="sklearn or onnx"):
        backend.export(trained_on(LogisticRegression(max_iter=1000), rows, 3), "torch")
