from dataclasses import replace

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.core import Form
from pennyweight.data.splits import Arrays, Splits
from pennyweight.errors import NoEffectError
from pennyweight.jobs import sklearn_job
from pennyweight.levers.coreset import Coreset

ODD = 3  # rows of class 0 that are unlike all others


def work_with(x, y, floor="accuracy=10%"):
    from sklearn.linear_model import LogisticRegression, Ridge

    rng = np.random.default_rng(9)
    rest = Arrays(rng.random((40, x.shape[1])), np.resize(y, 40) if y.dtype.kind == "i" else rng.random(40))
    model = LogisticRegression() if y.dtype.kind == "i" else Ridge()
    job = sklearn_job("many", model, Splits(Arrays(x, y), rest, rest), floor)
    return job, backends.load("sklearn").open(job)


def two_clouds():
    rng = np.random.default_rng(0)
    y = np.arange(240) % 4 // 3  # three of class 0 for one of class 1
    x = rng.normal(size=(240, 5)) + 4 * y[:, None]
    x[np.flatnonzero(y == 0)[:ODD]] += np.array([40.0, -40, 40, -40, 40])
    return x, y


@pytest.mark.parametrize("pick", ["herding", "kmeans"])
def test_every_class_keeps_its_share_as_foretold(pick):
    job, work = work_with(*two_clouds())
    lever = Coreset(0.3, pick)
    done = lever.pull(work)
    assert done.spec.data.rows == len(done.data.train) == lever.rewrite(job.spec).data.rows == 72
    assert (done.data.train.y == 1).sum() == 18
    assert len(np.unique(done.data.train.x, axis=0)) == 72


def test_herded_rows_have_the_mean_of_all_better_than_rows_drawn_by_chance():
    rng = np.random.default_rng(1)
    x, y = rng.gamma(0.5, size=(600, 4)), np.arange(600) % 2
    _, work = work_with(x, y)
    picked = Coreset(0.1).pull(work).data.train.x
    off = np.abs(picked.mean(axis=0) - x.mean(axis=0)).mean()
    by_chance = [np.abs(x[rng.permutation(600)[:60]].mean(axis=0) - x.mean(axis=0)).mean() for _ in range(40)]
    assert off < np.quantile(by_chance, 0.25)


@pytest.mark.parametrize("how", ["dbscan", "isolation"])
def test_rows_unlike_all_others_are_left_out_when_asked(how):
    x, y = two_clouds()
    _, work = work_with(x, y)
    assert np.abs(Coreset(0.9, "kmeans").pull(work).data.train.x).max() > 30
    assert np.abs(Coreset(0.9, "kmeans", how).pull(work).data.train.x).max() < 30


def test_values_are_spread_as_they_were():
    x = np.random.default_rng(2).normal(size=(400, 3))
    y = x[:, 0] ** 3
    _, work = work_with(x, y, "r2=10%")
    picked = Coreset(0.25).pull(work).data.train.y
    assert len(picked) == 100
    assert picked.std() == pytest.approx(y.std(), rel=0.25)


def test_holes_are_no_obstacle_and_are_counted_anew():
    from sklearn.ensemble import HistGradientBoostingClassifier

    x, y = two_clouds()
    x[::3, 1] = np.nan
    rest = Arrays(np.random.default_rng(9).random((40, 5)), np.arange(40) % 2)
    job = sklearn_job("holes", HistGradientBoostingClassifier(), Splits(Arrays(x, y), rest, rest), "accuracy=10%")
    done = Coreset(0.5).pull(backends.load("sklearn").open(job))
    assert done.spec.data.missing == np.isnan(done.data.train.x).any(axis=1).mean() > 0.1


def test_refusals_say_why():
    job, work = work_with(*two_clouds())
    assert "between 0 and 1" in Coreset(1.0).fits(job.spec).reason
    assert "fewer than 20 rows" in Coreset(0.05).fits(job.spec).reason
    assert "herding" in Coreset(0.5, "guess").fits(job.spec).reason
    assert "finished" in Coreset().fits(replace(job.spec, form=Form.GRAPH)).reason
    with pytest.raises(NoEffectError, match="smaller share"):
        Coreset(0.999).pull(work)
