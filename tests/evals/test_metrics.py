import inspect

import numpy as np
import pytest
from sklearn import metrics as sk

from pennyweight import evals
from pennyweight.errors import BadInputError, UnknownNameError

CLASSIFY = {
    "accuracy": lambda y, p, a: sk.accuracy_score(y, a),
    "balanced_accuracy": lambda y, p, a: sk.balanced_accuracy_score(y, a),
    "precision": lambda y, p, a: sk.precision_score(y, a, average="macro", zero_division=0),
    "recall": lambda y, p, a: sk.recall_score(y, a, average="macro", zero_division=0),
    "f1": lambda y, p, a: sk.f1_score(y, a, average="macro", zero_division=0),
    "precision_micro": lambda y, p, a: sk.precision_score(y, a, average="micro"),
    "recall_micro": lambda y, p, a: sk.recall_score(y, a, average="micro"),
    "f1_micro": lambda y, p, a: sk.f1_score(y, a, average="micro"),
    "roc_auc": lambda y, p, a: sk.roc_auc_score(y, p if p.shape[1] > 2 else p[:, 1], multi_class="ovr"),
    "pr_auc": lambda y, p, a: sk.average_precision_score(y, p if p.shape[1] > 2 else p[:, 1]),
    "log_loss": lambda y, p, a: sk.log_loss(y, p),
    "perplexity": lambda y, p, a: np.exp(sk.log_loss(y, p)),
}
REGRESS = {"mae": sk.mean_absolute_error, "rmse": sk.root_mean_squared_error, "r2": sk.r2_score}


def classification(classes, n=400, seed=0, imbalance=0.7):
    generator = np.random.default_rng(seed)
    share = np.arange(1.0, classes + 1) ** -imbalance
    y = generator.choice(classes, size=n, p=share / share.sum())
    z = generator.normal(size=(n, classes)).round(1)  # rounded, so that there are ties
    z[np.arange(n), y] += 1.3
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return y, p


def regression(n=400, seed=0):
    generator = np.random.default_rng(seed)
    y = 3 * generator.normal(size=n)
    return y, y + generator.standard_t(6, size=n)


def data_for(name, seed=0):
    return regression(seed=seed) if name in REGRESS else classification(3, seed=seed)


def test_every_metric_is_found_by_its_file():
    assert set(evals.names()) == set(CLASSIFY) | set(REGRESS)
    for name in evals.names():
        metric = evals.load(name)
        assert metric.name == name
        assert inspect.getdoc(type(metric))
        assert hash(metric) == hash(evals.load(name))


def test_an_unknown_metric_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"roc_auc"):
        evals.load("auc_roc")
    with pytest.raises(UnknownNameError):
        evals.load("paired")


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("name", CLASSIFY)
def test_classification_values_are_those_of_scikit_learn(name, classes):
    y, p = classification(classes)
    assert evals.load(name).score(y, p).mean == pytest.approx(CLASSIFY[name](y, p, p.argmax(axis=1)), abs=1e-12)


@pytest.mark.parametrize("name", REGRESS)
def test_regression_values_are_those_of_scikit_learn(name):
    y, p = regression()
    assert evals.load(name).score(y, p).mean == pytest.approx(REGRESS[name](y, p), abs=1e-12)


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_classes_never_answered_or_never_true_count_as_in_scikit_learn(name):
    y, answer = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 0, 3, 2, 2])
    p = np.eye(5)[answer]  # class 1 is never answered, class 3 never true, class 4 neither
    assert evals.load(name).score(y, p).mean == pytest.approx(CLASSIFY[name](y, p, answer))


@pytest.mark.parametrize("name", [*CLASSIFY, *REGRESS])
def test_standard_errors_are_those_of_the_bootstrap(name):
    metric = evals.load(name)
    y, p = data_for(name)
    draws = np.random.default_rng(1).integers(len(y), size=(400, len(y)))
    spread = np.std([metric.measure(y[draw], p[draw]).value for draw in draws])
    assert metric.score(y, p).se == pytest.approx(spread, rel=0.15)


@pytest.mark.parametrize("name", [*CLASSIFY, *REGRESS])
def test_influence_has_mean_zero_and_says_what_one_more_example_does(name):
    metric = evals.load(name)
    y, p = data_for(name)
    measured = metric.measure(y, p)
    assert abs(measured.influence.mean()) < 1e-9
    for i in (0, 17, 101):
        more = metric.measure(np.append(y, y[i]), np.concatenate([p, p[i : i + 1]])).value
        assert (more - measured.value) * (len(y) + 1) == pytest.approx(measured.influence[i], rel=0.1, abs=0.03)


@pytest.mark.parametrize("name", sorted(set(CLASSIFY) - {"log_loss", "perplexity", "pr_auc"}))
def test_no_single_answer_moves_the_influence_by_more_than_the_span(name):
    metric = evals.load(name)
    y, p = classification(3, n=300)
    span = metric.measure(y, p).span
    best = worst = None
    for i in np.flatnonzero(y == 2)[:3]:
        moved = []
        for answer in range(3):
            other = p.copy()
            other[i] = np.eye(3)[answer]
            moved.append(metric.measure(y, other).value * len(y))
        best, worst = max(moved), min(moved)
        assert best - worst <= 1.1 * span
    assert best - worst > 0


@pytest.mark.parametrize("name", [*CLASSIFY, *REGRESS])
def test_losses_order_models_as_the_metric_does(name):
    metric = evals.load(name)
    y, p = data_for(name)
    losses = metric.losses(y, p)
    if losses is None:
        assert name in {"precision", "recall", "f1", "roc_auc", "pr_auc"}
        return
    assert losses.shape == (len(y),)
    worse = p[np.random.default_rng(0).permutation(len(p))]
    fell = metric.score(y, worse).mean < metric.score(y, p).mean
    assert fell == metric.higher_is_better
    assert metric.losses(y, worse).mean() > losses.mean()


def test_groups_that_move_together_widen_the_error():
    y, p = classification(3)
    twice = np.repeat(np.arange(len(y)), 2)
    metric = evals.load("f1")
    alone = metric.score(y, p).se
    doubled = metric.score(y[twice], p[twice]).se
    grouped = metric.score(y[twice], p[twice], groups=twice).se
    assert doubled == pytest.approx(alone / np.sqrt(2), rel=0.01)
    assert grouped == pytest.approx(alone, rel=0.01)


def test_a_faultless_answer_has_an_error_bar_all_the_same():
    y = np.arange(100) % 2
    score = evals.load("accuracy").score(y, np.eye(2)[y])
    assert score.mean == 1
    assert score.se == pytest.approx(0.01, rel=0.02)


def test_the_error_of_the_area_is_that_of_delong():
    y, p = classification(2)
    pos, neg = p[y == 1, 1], p[y == 0, 1]
    wins = (pos[:, None] > neg) + 0.5 * (pos[:, None] == neg)
    delong = wins.mean(axis=1).var(ddof=1) / len(pos) + wins.mean(axis=0).var(ddof=1) / len(neg)
    assert evals.load("roc_auc").score(y, p).se == pytest.approx(np.sqrt(delong), rel=0.005)


def test_two_logits_rank_by_their_difference():
    y, p = classification(2)
    logits = np.log(p) + np.random.default_rng(0).normal(size=(len(y), 1))
    assert evals.load("roc_auc").score(y, logits).mean == pytest.approx(
        evals.load("roc_auc").score(y, p).mean, abs=1e-3
    )


@pytest.mark.parametrize("name", ["accuracy", "f1", "balanced_accuracy"])
def test_class_numbers_are_taken_as_answers(name):
    y, p = classification(3)
    assert evals.load(name).score(y, p.argmax(axis=1)).mean == evals.load(name).score(y, p).mean


@pytest.mark.parametrize("name", CLASSIFY)
def test_nan_is_refused(name):
    y, p = classification(3)
    p[7, 1] = np.nan
    with pytest.raises(BadInputError, match="NaN or infinite in 1 of 400 rows"):
        evals.load(name).score(y, p)


@pytest.mark.parametrize("name", REGRESS)
def test_nan_and_columns_that_do_not_fit_are_refused_in_regression(name):
    y, p = regression()
    with pytest.raises(BadInputError, match="finite"):
        evals.load(name).score(np.where(y > 5, np.nan, y), p)
    with pytest.raises(BadInputError, match="shape"):
        evals.load(name).score(y, np.stack([p, p], axis=1))
    with pytest.raises(BadInputError, match="shape"):
        evals.load(name).score(y, p[:-1])
    assert evals.load(name).score(y[:, None], p[:, None]) == evals.load(name).score(y, p)


@pytest.mark.parametrize("name", CLASSIFY)
def test_shapes_that_do_not_fit_are_refused(name):
    y, p = classification(3)
    with pytest.raises(BadInputError, match="rows"):
        evals.load(name).score(y[:-1], p)
    with pytest.raises(BadInputError, match="shape"):
        evals.load(name).score(y, p[..., None])
    with pytest.raises(BadInputError, match="class numbers"):
        evals.load(name).score(y + 0.5, p)
    with pytest.raises(BadInputError, match="number the classes"):
        evals.load(name).score(y + 1, p)


@pytest.mark.parametrize("name", ["roc_auc", "pr_auc", "f1", "precision", "recall", "balanced_accuracy"])
def test_one_class_only_is_refused(name):
    with pytest.raises(BadInputError, match="class"):
        evals.load(name).score(np.zeros(20, dtype=int), np.full((20, 2), 0.5))


@pytest.mark.parametrize("name", ["log_loss", "perplexity"])
def test_logits_are_refused_where_probabilities_are_needed(name):
    with pytest.raises(BadInputError, match="softmax"):
        evals.load(name).score(np.array([0, 1]), np.array([[2.0, 1.0], [0.0, 1.0]]))


def test_no_examples_and_constant_values_are_refused():
    with pytest.raises(BadInputError, match="no examples"):
        evals.load("accuracy").score(np.empty(0, dtype=int), np.empty((0, 2)))
    with pytest.raises(BadInputError, match="no examples"):
        evals.load("mae").score(np.empty(0), np.empty(0))
    with pytest.raises(BadInputError, match="no variance"):
        evals.load("r2").score(np.ones(5), np.arange(5.0))


def test_groups_of_another_length_are_refused():
    y, p = classification(2)
    with pytest.raises(BadInputError, match="one group per example"):
        evals.load("accuracy").score(y, p, groups=np.arange(3))
