from dataclasses import replace

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.core import Form
from pennyweight.data.splits import Arrays, Splits
from pennyweight.errors import NoEffectError
from pennyweight.jobs import sklearn_job
from pennyweight.levers.near_dup import NearDup


def work_with(x, y):
    from sklearn.linear_model import LogisticRegression

    rest = Arrays(np.random.default_rng(9).random((40, x.shape[1])), np.arange(40) % 2)
    job = sklearn_job("near", LogisticRegression(), Splits(Arrays(x, y), rest, rest), "accuracy=10%")
    return job, backends.load("sklearn").open(job)


def shaken(copies):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 12)), np.arange(200) % 2
    again = np.arange(copies)
    near = x[again] + rng.normal(size=(copies, 12)) * 0.01
    return np.concatenate([x, near]), np.concatenate([y, y[again]])


def test_near_copies_go_and_the_row_that_stays_counts_for_them():
    job, work = work_with(*shaken(50))
    lever = NearDup(0.2, within=0.1)
    done = lever.pull(work)
    assert len(done.data.train) == 200 == lever.rewrite(job.spec).data.rows
    weight = done.data.train.weight
    assert np.isclose(weight / weight.min(), 2).sum() == 50
    assert weight.mean() == pytest.approx(1)
    assert NearDup(0.2, within=0.1, keep_weight=False).pull(work).data.train.weight is None


def test_no_more_go_than_allowed_and_the_nearest_go_first():
    x, y = shaken(50)
    x[-1] = x[49]  # one copy is exact
    _, work = work_with(x, y)
    done = NearDup(0.004, within=0.1).pull(work)
    assert len(done.data.train) == 249
    assert not np.array_equal(done.data.train.x[-1], x[-1])


def test_near_rows_with_other_answers_both_stay():
    x, y = shaken(50)
    y[200:] = 1 - y[200:]
    _, work = work_with(x, y)
    with pytest.raises(NoEffectError, match="leave near_dup out"):
        NearDup(0.2, within=0.1).pull(work)


def test_refusals_say_why():
    job, _ = work_with(*shaken(5))
    assert "between 0 and 1" in NearDup(0.1, within=2.0).fits(job.spec).reason
    assert "finished" in NearDup().fits(replace(job.spec, form=Form.GRAPH)).reason
    assert "too few rows" in NearDup(0.99).fits(replace(job.spec, data=replace(job.spec.data, rows=5))).reason
