import numpy as np
import pytest

from pennyweight import backends
from pennyweight.data.splits import Arrays, Splits
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.jobs import sklearn_job
from pennyweight.levers.clean import Clean


def work_with(x, y):
    from sklearn.ensemble import HistGradientBoostingClassifier

    rest = Arrays(np.random.default_rng(1).random((40, 3)), np.arange(40) % 2)
    splits = Splits(Arrays(x, y), rest, rest)
    job = sklearn_job("dirty", HistGradientBoostingClassifier(max_iter=2), splits, "accuracy=10%")
    return job, backends.load("sklearn").open(job)


def dirty():
    x = np.random.default_rng(0).random((50, 3))
    x[3, 1] = x[7, 0] = np.nan
    return x, np.arange(50) % 2


def test_incomplete_rows_are_dropped_and_the_others_kept_in_order():
    x, y = dirty()
    job, work = work_with(x, y)
    done = Clean().pull(work)
    assert np.array_equal(done.data.train.x, np.delete(x, [3, 7], axis=0))
    assert done.spec.data.rows == 48 == Clean().rewrite(job.spec).data.rows


def test_select_and_certify_rows_are_left_alone():
    _, work = work_with(*dirty())
    done = Clean().pull(work)
    assert done.data.select is work.data.select
    assert done.data.certify is work.data.certify


def test_rows_whose_twins_disagree_go_when_asked():
    x, y = dirty()
    x[10] = x[11]
    _, work = work_with(x, y)
    assert len(Clean(contradictions=True).pull(work).data.train) == 46


def test_clean_data_is_no_effect():
    _, work = work_with(np.random.default_rng(0).random((20, 3)), np.arange(20) % 2)
    with pytest.raises(NoEffectError, match="leave clean out"):
        Clean().pull(work)


def test_data_with_a_hole_in_every_row_is_an_error_that_says_what_to_do():
    x, y = dirty()
    x[:, 2] = np.nan
    _, work = work_with(x, y)
    with pytest.raises(BadInputError, match="drop the column"):
        Clean().pull(work)
