"""The sklearn runtime reads stored estimators back, bit by bit alike, and refuses files that would harm."""

import json
import pickle  # ruff: ignore[suspicious-pickle-import] - to show that it is refused
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    ElasticNet,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, ExtraTreeRegressor

from pennyweight import runtimes
from pennyweight.backends.sklearn_arrays import encode
from pennyweight.backends.sklearn_columns import with_columns
from pennyweight.core import Artifact, ServeSpec
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.sklearn_arrays import decode

ROWS, FEATURES = 200, 6
SERVE = ServeSpec(runtime="sklearn")

CLASSIFIERS = (
    DecisionTreeClassifier(max_leaf_nodes=9, random_state=0),
    RandomForestClassifier(6, random_state=0),
    ExtraTreesClassifier(6, random_state=0),
    GradientBoostingClassifier(n_estimators=4, random_state=0),
    GradientBoostingClassifier(n_estimators=4, init="zero", random_state=0),
    HistGradientBoostingClassifier(max_iter=4, random_state=0),
    LogisticRegression(max_iter=1000),
    SGDClassifier(loss="log_loss", random_state=0),
    make_pipeline(StandardScaler(), RobustScaler(), MinMaxScaler(), MaxAbsScaler(), Normalizer(), LogisticRegression()),
)
REGRESSORS = (
    ExtraTreeRegressor(random_state=0),
    RandomForestRegressor(6, random_state=0),
    GradientBoostingRegressor(n_estimators=4, random_state=0),
    HistGradientBoostingRegressor(max_iter=4, loss="absolute_error", random_state=0),
    LinearRegression(),
    RidgeCV(),
    LassoCV(),
    ElasticNet(),
    SGDRegressor(random_state=0),
)


def classes_of(count):
    x, y = make_classification(
        ROWS, FEATURES, n_informative=5, n_redundant=0, n_classes=count, n_clusters_per_class=1, random_state=1
    )
    return x.astype(np.float32), y


def values():
    x, y = make_regression(ROWS, FEATURES, noise=3.0, random_state=1)
    return x.astype(np.float32), y


def stored(model, outputs):
    facts = {"input_shape": [FEATURES], "input_dtype": "float32", "outputs": outputs}
    return Artifact("sklearn", encode(model), tuple(facts.items()))


def answer(model, outputs, x):
    return runtimes.load("sklearn").load(stored(model, outputs), SERVE).predict(x)


@pytest.fixture(scope="module")
def forest():
    return RandomForestClassifier(3, max_depth=4, random_state=0).fit(*classes_of(2))


def with_model(artifact, change):
    """The same artifact with its JSON changed by `change`."""
    body = json.loads(artifact.file("model.json"))
    change(body)
    return Artifact(
        "sklearn",
        (("model.json", json.dumps(body).encode()), ("arrays.safetensors", artifact.file("arrays.safetensors"))),
        artifact.meta,
    )


def with_arrays(artifact, change):
    arrays = {name: array.copy() for name, array in load(artifact.file("arrays.safetensors")).items()}
    change(arrays)
    return Artifact(
        "sklearn", (("model.json", artifact.file("model.json")), ("arrays.safetensors", save(arrays))), artifact.meta
    )


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda model: type(model).__name__)
def test_stored_classifiers_answer_bit_by_bit_alike(model, count):
    x, y = classes_of(count)
    model.fit(x, y)
    assert np.array_equal(answer(model, "probabilities", x), model.predict_proba(x))


@pytest.mark.parametrize("model", REGRESSORS, ids=lambda model: type(model).__name__)
def test_stored_regressors_answer_bit_by_bit_alike(model):
    x, y = values()
    model.fit(x, y)
    assert np.array_equal(answer(model, "values", x), model.predict(x))


@pytest.mark.parametrize("rest", [[LogisticRegression()], [StandardScaler(), LogisticRegression()]])
def test_a_step_that_only_chooses_columns_is_done_by_indexing_and_answers_alike(rest):
    x, y = classes_of(2)
    model = with_columns(make_pipeline(*rest), (1, 4), FEATURES).fit(x, y)
    session = runtimes.load("sklearn").load(stored(model, "probabilities"), SERVE)
    assert np.array_equal(session.predict(x), model.predict_proba(x))
    assert not hasattr(session._call.__self__, "steps") or len(session._call.__self__.steps) == len(rest)


def test_missing_values_take_the_same_branch_after_storing():
    x, y = classes_of(2)
    x[::3, 0] = np.nan
    for model in (RandomForestClassifier(4, random_state=0), HistGradientBoostingClassifier(max_iter=4)):
        model.fit(x, y)
        assert np.array_equal(answer(model, "probabilities", x), model.predict_proba(x))


def test_storing_twice_is_storing_once(forest):
    artifact = stored(forest, "probabilities")
    assert decode(artifact).get_params(deep=False)["n_estimators"] == 3
    assert stored(decode(artifact), "probabilities").file("arrays.safetensors") == artifact.file("arrays.safetensors")


def test_a_stored_forest_is_smaller_than_a_pickled_one(forest):
    assert stored(forest, "probabilities").disk_byte < len(pickle.dumps(forest))


def test_one_value_per_row_stays_one_number():
    x, y = values()
    model = LinearRegression().fit(x, y[:, None])
    assert answer(model, "values", x).shape == (ROWS,)


def test_float64_rows_are_served_as_float32():
    x, y = classes_of(2)
    model = LogisticRegression().fit(x, y)
    wide = x.astype(np.float64) + 1e-12
    assert np.array_equal(answer(model, "probabilities", wide), model.predict_proba(x))


def test_a_row_of_the_wrong_width_is_refused_with_the_width_wanted(forest):
    session = runtimes.load("sklearn").load(stored(forest, "probabilities"), SERVE)
    with pytest.raises(BadInputError, match=f"{FEATURES} features"):
        session.predict(np.zeros((1, FEATURES + 1), dtype=np.float32))


def test_other_formats_and_precisions_are_refused():
    runtime = runtimes.load("sklearn")
    assert runtime.available()
    with pytest.raises(BadInputError, match="loads sklearn"):
        runtime.load(Artifact("onnx", ()), SERVE)
    with pytest.raises(BadInputError, match="float32"):
        runtime.load(Artifact("sklearn", ()), ServeSpec(runtime="sklearn", precision="int8"))


def test_threads_are_those_asked_for(forest):
    for threads in (1, 2):
        session = runtimes.load("sklearn").load(stored(forest, "probabilities"), ServeSpec("sklearn", threads=threads))
        assert session._call.__self__.n_jobs == threads


def test_an_unknown_class_is_never_imported(forest):
    def elsewhere(body):
        body["model"]["class"] = "os.system"

    with pytest.raises(CorruptError, match="not allowed"):
        decode(with_model(stored(forest, "probabilities"), elsewhere))


def test_an_unknown_loss_is_never_imported():
    model = GradientBoostingClassifier(n_estimators=2).fit(*classes_of(2))

    def elsewhere(body):
        body["model"]["state"]["_loss"]["class"] = "BaseLoss"

    with pytest.raises(CorruptError, match="not allowed"):
        decode(with_model(stored(model, "probabilities"), elsewhere))


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays["tree.left_child"].__setitem__(0, 10_000),
        lambda arrays: arrays["tree.right_child"].__setitem__(0, -7),
        lambda arrays: arrays["tree.left_child"].__setitem__(0, 0),
        lambda arrays: arrays["tree.feature"].__setitem__(0, FEATURES),
        lambda arrays: arrays["tree.feature"].__setitem__(0, -3),
        lambda arrays: arrays.__setitem__("tree.left_child", arrays["tree.left_child"][:-1]),
        lambda arrays: arrays.__setitem__("tree.feature", arrays["tree.feature"].astype(np.int64)),
        lambda arrays: arrays.__setitem__("leaf2.value", arrays["leaf2.value"][:-1]),
    ],
)
def test_a_tree_that_would_be_left_while_walking_is_refused(forest, change):
    with pytest.raises(CorruptError, match="export it again"):
        decode(with_arrays(stored(forest, "probabilities"), change))


def test_a_tree_over_more_features_than_its_forest_asks_for_is_refused(forest):
    def widen(body):
        body["model"]["state"]["n_features_in_"] = FEATURES - 1

    with pytest.raises(CorruptError, match="other features"):
        decode(with_model(stored(forest, "probabilities"), widen))


def test_a_histogram_tree_over_a_missing_feature_is_refused():
    model = HistGradientBoostingClassifier(max_iter=2).fit(*classes_of(2))
    with pytest.raises(CorruptError, match="other features"):
        decode(
            with_arrays(
                stored(model, "probabilities"), lambda arrays: arrays["boosted.feature_idx"].__setitem__(0, FEATURES)
            )
        )


def test_stages_that_would_write_past_their_sums_are_refused():
    model = GradientBoostingClassifier(n_estimators=2).fit(*classes_of(3))

    def narrow(body):
        body["model"]["state"]["estimators_"]["shape"] = [1, 6]

    with pytest.raises(CorruptError, match="another width"):
        decode(with_model(stored(model, "probabilities"), narrow))


@pytest.mark.parametrize(
    "files",
    [
        (),
        (("model.json", b"{}"), ("arrays.safetensors", b"")),
        (("model.json", b"not json"), ("arrays.safetensors", b"")),
        (("model.json", b'{"schema": 99, "model": null}'), ("arrays.safetensors", save({}))),
        (("model.json", b'{"schema": 1, "model": {"$": "array", "name": "a0"}}'), ("arrays.safetensors", save({}))),
        (("model.json", b'{"schema": 1, "model": {"$": "evil"}}'), ("arrays.safetensors", save({}))),
        (("model.json", b'{"schema": 1, "model": ' + b"[" * 100_000), ("arrays.safetensors", save({}))),
    ],
)
def test_files_that_are_no_model_are_corrupt(files):
    with pytest.raises(CorruptError):
        decode(Artifact("sklearn", files))


JUNK = (None, True, -1, 0, 3, 10**6, 2**63, 1.5, "x", [], {}, {"$": "array", "name": "a0"}, {"$": "tuple", "items": []})


def places(node, path=()):
    """The paths of all values in a JSON body."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, value in inside for place in places(value, (*path, key)))]


@pytest.fixture(scope="module")
def kinds(forest):
    x, y = classes_of(3)
    boosted = GradientBoostingClassifier(n_estimators=2).fit(x, y), HistGradientBoostingClassifier(max_iter=2).fit(x, y)
    linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    return [stored(model, "probabilities") for model in (forest, *boosted, linear)]


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32))
def test_a_damaged_file_is_refused_or_answers_but_never_harms(kinds, seed):
    dice = Random(seed)
    artifact = dice.choice(kinds)

    def damage_model(body):
        *path, last = dice.choice(places(body)[1:])
        for key in path:
            body = body[key]
        body[last] = dice.choice(JUNK)

    def damage_arrays(arrays):
        array = arrays[dice.choice(sorted(arrays))]
        array.flat[dice.randrange(array.size)] = dice.choice([0, 1, 2, 5, 100])

    damaged = with_model(artifact, damage_model) if dice.random() < 0.5 else with_arrays(artifact, damage_arrays)
    try:
        session = runtimes.load("sklearn").load(damaged, SERVE)
    except CorruptError:
        return
    assert len(session.predict(np.zeros((2, FEATURES), dtype=np.float32))) == 2


def test_a_pickle_is_never_opened(tmp_path):
    marker = tmp_path / "opened"

    class Bomb:
        def __reduce__(self):
            return open, (str(marker), "w")

    body = pickle.dumps(Bomb())
    with pytest.raises(CorruptError):
        decode(Artifact("sklearn", (("model.json", body), ("arrays.safetensors", body))))
    assert not marker.exists()
