"""Branches and trees really go, in the order that costs least, and paper says how much that saves."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, make_classification, make_regression
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from pennyweight import backends
from pennyweight.backends.sklearn_branches import HeldOut, saved_in_training, saved_on, weakest_links
from pennyweight.backends.sklearn_members import best_members
from pennyweight.backends.sklearn_trees import averaged, cut, nodes_of, trees_of, visits, with_members
from pennyweight.core import Floor, Form, Kind
from pennyweight.cost.count import count
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.jobs import sklearn_job
from pennyweight.levers.prune_trees import PruneTrees
from pennyweight.train.estimator import fit_estimator

METHODS = ("cost_complexity", "reduced_error", "thin", "regrow")
MODELS = {
    "tree": DecisionTreeClassifier,
    "forest": lambda: RandomForestClassifier(12),
    "extra": lambda: ExtraTreesClassifier(12),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=12),
    "histogram": lambda: HistGradientBoostingClassifier(max_iter=12),
    "pipeline": lambda: make_pipeline(StandardScaler(), RandomForestClassifier(8)),
}


def work_of(estimator, x, y, floor="accuracy"):
    backend = backends.load("sklearn")
    work = backend.open(sklearn_job("trees", estimator, (x, y), Floor(floor, 0.2)))
    model = fit_estimator(work.model, work.data.train, work.spec.train, seed=work.seed)
    work = work.having(model=model, trained=True)
    return work.having(spec=replace(work.spec, ops=backend.table(work)))


@pytest.fixture(scope="module")
def works():
    x, y = make_classification(420, 8, n_informative=5, n_classes=3, flip_y=0.1, random_state=0)
    return {name: work_of(make(), x, y) for name, make in MODELS.items()}


def sizes(model):
    return [len(nodes_of(tree).left) for tree in trees_of(model[-1] if hasattr(model, "steps") else model)]


def fitting(work, share=0.5):
    return [lever for lever in (PruneTrees(method, share) for method in METHODS) if lever.fits(work.spec)]


@pytest.mark.parametrize("name", MODELS)
def test_every_method_that_fits_makes_the_model_smaller_and_leaves_the_original_alone(works, name):
    work = works[name]
    before, answers = sizes(work.model), work.model.predict_proba(work.data.select.x)
    for lever in fitting(work):
        after = lever.pull(work)
        assert sum(sizes(after.model)) < 0.8 * sum(before), lever
        assert sizes(work.model) == before
        assert np.array_equal(work.model.predict_proba(work.data.select.x), answers)
        assert after.model.predict_proba(work.data.select.x).shape == answers.shape


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("share", [0.5, 0.75])
def test_paper_and_reality_agree_within_trust(works, name, share):
    work = works[name]
    for lever in fitting(work, share):
        paper, real = count(lever.rewrite(work.spec)), count(lever.pull(work).spec)
        assert paper.flop == pytest.approx(real.flop, rel=lever.trust), lever
        assert paper.disk_byte == pytest.approx(real.disk_byte, rel=lever.trust), lever
        assert paper.flop < count(work.spec).flop


@pytest.mark.parametrize("name", MODELS)
def test_thinning_and_regrowing_are_exact_in_the_number_of_trees(works, name):
    work = works[name]
    for lever in fitting(work, 0.7):
        if lever.method in {"thin", "regrow"}:
            paper = sum(op.times for op in lever.rewrite(work.spec).ops if op.kind is Kind.TREE)
            assert len(sizes(lever.pull(work).model)) == paper


@pytest.mark.parametrize("name", MODELS)
def test_pulled_twice_with_one_seed_it_gives_the_same(works, name):
    work = works[name]
    for lever in fitting(work):
        first, second = (lever.pull(work).model.predict_proba(work.data.select.x) for _ in range(2))
        assert np.array_equal(first, second)


@pytest.mark.parametrize("name", MODELS)
def test_what_was_pruned_survives_storing_and_onnx(works, name):
    from pennyweight.runtimes.sklearn_arrays import decode

    backend, work = backends.load("sklearn"), works[name]
    for lever in fitting(work, 0.75):
        after = lever.pull(work)
        x = work.data.select.x.astype(np.float32)
        expected = backend.predict(after, x)
        assert np.array_equal(decode(backend.export(after, "sklearn")).predict_proba(x), expected)
        graph = after.having(model=backend.export(after, "onnx").file("model.onnx"))
        graph = graph.having(spec=replace(graph.spec, form=Form.GRAPH))
        close = np.abs(backend.predict(graph, x) - expected).max(axis=1) < 1e-5
        # What a scaler computes in float32 may fall on the other side of a threshold, in few rows.
        assert close.mean() > (0.95 if name == "pipeline" else 0.999)


def test_regressors_are_pruned_too():
    x, y = make_regression(300, 6, noise=10.0, random_state=0)
    for estimator in (RandomForestRegressor(10), GradientBoostingRegressor(n_estimators=10)):
        work = work_of(estimator, x, y, "rmse")
        levers = fitting(work)
        assert len(levers) >= 3
        for lever in levers:
            assert sum(sizes(lever.pull(work).model)) < 0.8 * sum(sizes(work.model))


def test_cost_complexity_of_one_tree_follows_scikit_learns_own_path(works):
    """Cutting all splits that scikit-learn's alpha cuts gives scikit-learn's tree."""
    work = works["tree"]
    x, y = work.data.train.x.astype(np.float32), work.data.train.y
    path = work.model.cost_complexity_pruning_path(x, y)
    nodes = nodes_of(work.model.tree_)
    splits = (~nodes.is_leaf).sum()
    for alpha in path.ccp_alphas[1:-1:4]:
        theirs = DecisionTreeClassifier(random_state=0, ccp_alpha=alpha * (1 + 1e-9)).fit(x, y)
        gone = splits - (theirs.tree_.node_count - 1) // 2
        ends = weakest_links([nodes], saved_in_training(work.model), (gone + 0.5) / splits)[0]
        ours = cut(work.model.tree_, ends, nodes.value)
        assert ours.node_count == theirs.tree_.node_count
        assert np.array_equal(ours.predict(x), theirs.tree_.predict(x))


@settings(max_examples=25)
@given(seed=st.integers(0, 50), share=st.floats(0.01, 0.99))
def test_no_more_than_the_share_of_splits_goes_and_trees_stay_whole(seed, share):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(60, 3)).astype(np.float32), rng.integers(0, 2, 60)
    model = RandomForestClassifier(3, random_state=seed).fit(x, y)
    trees = trees_of(model)
    nodes = [nodes_of(tree) for tree in trees]
    ends = weakest_links(nodes, saved_in_training(model), share)
    after = [cut(tree, end, each.value) for tree, end, each in zip(trees, ends, nodes, strict=True)]
    splits = [sum((tree.children_left >= 0).sum() for tree in some) for some in (trees, after)]
    assert splits[0] - splits[1] == int(share * splits[0])
    for tree in after:
        left, right = tree.children_left, tree.children_right
        inner = left >= 0
        assert np.all(left[inner] > np.flatnonzero(inner))
        assert sorted([0, *left[inner], *right[inner]]) == list(range(tree.node_count))
        assert tree.max_depth <= max(each.max_depth for each in trees)


def test_held_out_rows_find_the_splits_that_do_harm():
    """Labels are noise beyond the first feature, so on fresh rows only the first split can help."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)).astype(np.float32)
    y = ((x[:, 0] > 0) ^ (rng.random(400) < 0.2)).astype(int)
    model = DecisionTreeClassifier(random_state=0).fit(x[:200], y[:200])
    held = HeldOut(x[200:], y[200:], (np.arange(200),))
    saved = saved_on(held, model)[0]
    assert saved[0] > 0
    assert saved[1:].sum() < 0
    ends = weakest_links([nodes_of(model.tree_)], [saved], 0.95)[0]
    pruned = cut(model.tree_, ends, nodes_of(model.tree_).value)
    right = [(each.predict(x[200:]).argmax(axis=1) == y[200:]).mean() for each in (model.tree_, pruned)]
    assert right[1] > right[0] + 0.03


def test_the_held_out_loss_of_boosting_is_that_of_the_ensemble():
    """What all splits of the first stage save is, to second order, what the stage does to the loss."""
    x, y = load_breast_cancer(return_X_y=True)
    x = x.astype(np.float32)
    model = GradientBoostingClassifier(n_estimators=3, learning_rate=0.01, random_state=0).fit(x[:300], y[:300])
    held = HeldOut(x[300:], y[300:], (np.arange(269),) * 3)
    raw = model._raw_predict_init(x[300:])[:, 0]
    stage = 0.01 * model.estimators_[0, 0].tree_.predict(x[300:])[:, 0]
    root = 0.01 * averaged(nodes_of(model.estimators_[0, 0].tree_))[0, 0]
    loss = model._loss.loss
    truth = y[300:].astype(float)
    gained = loss(y_true=truth, raw_prediction=raw + root).sum() - loss(y_true=truth, raw_prediction=raw + stage).sum()
    assert saved_on(held, model)[0].sum() == pytest.approx(gained, rel=0.02)


def test_rows_are_followed_to_the_leaf_that_answers(works):
    for name in ("boosting", "histogram"):
        model = works[name].model
        x = works[name].data.select.x.astype(np.float32)
        for tree in trees_of(model)[:4]:
            found = nodes_of(tree).value[visits(tree, x), 0]
            if name == "histogram":
                none = np.zeros((0, 8), dtype=np.uint32)
                expected = tree.predict(x.astype(np.float64), none, np.zeros(x.shape[1], dtype=np.uint32), 1)
            else:
                expected = tree.predict(x)[:, 0]
            assert np.array_equal(found, expected)


def test_the_first_tree_chosen_is_the_best_and_the_next_the_one_that_helps_it_most():
    rng = np.random.default_rng(1)
    x, y = make_classification(300, 6, random_state=1)
    x = x.astype(np.float32)
    model = RandomForestClassifier(8, max_depth=3, random_state=0).fit(x[:150], y[:150])
    held = HeldOut(x[150:], y[150:], (np.arange(150),) * 8)
    chosen = best_members(model, held, 3)
    assert len(set(chosen)) == 3

    def error(places):
        return ((with_members(model, places).predict_proba(x[150:])[:, 1] - y[150:]) ** 2).mean()

    assert error(chosen[:1]) == min(error([place]) for place in range(8))
    assert error(chosen[:2]) == min(error([chosen[0], place]) for place in range(8) if place != chosen[0])
    assert error(chosen) <= np.mean([error(list(rng.choice(8, 3, replace=False))) for _ in range(20)])


def test_a_bagged_forest_is_thinned_without_training_again(works):
    work = works["forest"]
    trees = {id(tree) for tree in trees_of(work.model)}
    assert all(id(tree) in trees for tree in trees_of(PruneTrees("thin", 0.5).pull(work).model))


def test_regrown_stages_take_longer_steps(works):
    work = works["boosting"]
    after = PruneTrees("regrow", 0.5).pull(work)
    assert after.model.n_estimators_ == 6
    assert after.model.learning_rate == pytest.approx(0.2)


def test_two_prunings_after_each_other_take_out_more(works):
    work = works["forest"]
    once = PruneTrees("thin", 0.5).pull(work)
    twice = PruneTrees("cost_complexity", 0.5).pull(once)
    assert sum(sizes(twice.model)) < 0.6 * sum(sizes(once.model))
    assert count(twice.spec).flop < count(once.spec).flop


def test_refusals_say_what_to_do(works):
    forest, tree, boosting = (works[name].spec for name in ("forest", "tree", "boosting"))
    assert "boosted" in PruneTrees("regrow").fits(forest).reason
    assert "only one tree" in PruneTrees("thin").fits(tree).reason
    assert "method" in PruneTrees("burn").fits(forest).reason
    assert "share" in PruneTrees("thin", 1.0).fits(forest).reason
    assert "estimators" in PruneTrees().fits(replace(boosting, form=Form.GRAPH)).reason
    stumps = replace(forest, ops=tuple(replace(op, fan=1) for op in forest.ops))
    assert "no splits left" in PruneTrees().fits(stumps).reason


def test_a_model_without_trees_is_refused(works):
    x, y = make_classification(100, 4, random_state=0)
    linear = work_of(LogisticRegression(), x, y)
    assert "no trees" in PruneTrees().fits(linear.spec).reason
    with pytest.raises(BadInputError, match="leave prune_trees out"):
        PruneTrees().pull(linear)
    with pytest.raises(BadInputError, match="thin"):
        PruneTrees("regrow").pull(works["forest"])


def test_nothing_to_cut_is_an_error_that_says_what_to_do(works):
    with pytest.raises(NoEffectError, match="larger share"):
        PruneTrees("cost_complexity", 0.001).pull(works["tree"])


def test_choices_fit_and_get_stronger():
    x, y = load_breast_cancer(return_X_y=True)
    wanted = {
        "thin": RandomForestClassifier(20),
        "regrow": GradientBoostingClassifier(),
        "cost_complexity": DecisionTreeClassifier(),
        "reduced_error": DecisionTreeRegressor(),
    }
    for method, estimator in wanted.items():
        floor = Floor("rmse" if method == "reduced_error" else "accuracy", 0.2)
        job = sklearn_job(method, estimator, (x, y), floor)
        levers = list(PruneTrees.choices(job))
        assert {lever.method for lever in levers} == {method}
        assert [lever.share for lever in levers] == sorted(lever.share for lever in levers)
        assert all(lever.fits(job.spec) for lever in levers)
    assert not list(PruneTrees.choices(sklearn_job("line", LogisticRegression(), (x, y), Floor("accuracy", 0.2))))
