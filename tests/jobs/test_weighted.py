"""Class weights are reachable, and do what they are for."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from pennyweight import backends, evals
from pennyweight.core import Floor, TrainSpec
from pennyweight.data.balance import weights
from pennyweight.data.splits import Arrays
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError
from pennyweight.jobs import sklearn_job, torch_job

GENERATOR = np.random.default_rng(0)
Y = (np.arange(4000) % 20 == 0).astype(int)  # 5%
X = (GENERATOR.normal(size=(4000, 3)) + 1.2 * Y[:, None]).astype(np.float32)
FLOOR = Floor("balanced_accuracy", 0.3)


def network():
    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 2))


def of_torch(**asked):
    return torch_job("rare", network, (X, Y), FLOOR, train=TrainSpec(epochs=10, lr=1e-2), **asked)


def of_sklearn(estimator=None, **asked):
    return sklearn_job("rare", estimator or LogisticRegression(), (X, Y), FLOOR, **asked)


def in_a_pipeline(**asked):
    return of_sklearn(make_pipeline(StandardScaler(), LogisticRegression()), **asked)


def balanced_accuracy(job):
    backend = backends.load(job.backend)
    work = trained(backend.open(job))
    rows = job.material.splits.certify
    return evals.load("balanced_accuracy").score(rows.y, backend.predict(work, rows.x)).mean


@pytest.mark.parametrize("make", [of_torch, of_sklearn, in_a_pipeline])
def test_weights_raise_balanced_accuracy_on_uneven_classes(make):
    plain, weighted = balanced_accuracy(make()), balanced_accuracy(make(weighted=True))
    assert weighted > plain + 0.1
    assert weighted > 0.8


@pytest.mark.parametrize("make", [of_torch, of_sklearn])
def test_the_training_rows_alone_are_weighed_and_the_fingerprint_tells(make):
    job = make(weighted=True)
    splits = job.material.splits
    assert splits.train.weight == pytest.approx(weights(splits.train.y))
    assert (splits.select.weight, splits.certify.weight) == (None, None)
    assert make(weighted=False) == make()
    assert job.fingerprint != make().fingerprint
    assert job == make(weighted=True)


def test_a_job_without_classes_cannot_be_weighted():
    with pytest.raises(BadInputError, match=r"Only classes can be weighted.*leave weighted=True out"):
        torch_job("values", lambda: nn.Linear(3, 1), (X, X.sum(axis=1)), "rmse=1", weighted=True)


def test_an_estimator_that_cannot_weigh_says_so():
    with pytest.raises(BadInputError, match="KNeighborsClassifier cannot weigh examples"):
        balanced_accuracy(of_sklearn(KNeighborsClassifier(), weighted=True))


def test_weights_and_groups_of_three_given_parts_are_kept():
    thirds = [slice(start, start + 1200) for start in (0, 1200, 2400)]
    own = np.linspace(0.5, 1.5, 1200)
    parts = [Arrays(X[rows], Y[rows], np.arange(1200), own) for rows in thirds]
    splits = sklearn_job("own", LogisticRegression(), parts, FLOOR).material.splits
    assert np.array_equal(splits.train.weight, own)
    assert np.array_equal(splits.certify.groups, np.arange(1200))
    with pytest.raises(BadInputError, match="weights already"):
        sklearn_job("own", LogisticRegression(), parts, FLOOR, weighted=True)
