import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight import backends
from pennyweight.data.splits import Arrays, Splits
from pennyweight.errors import NoEffectError
from pennyweight.jobs import sklearn_job
from pennyweight.levers.dedup import Dedup, distinct


def work_with(x, y):
    from sklearn.linear_model import LogisticRegression

    rest = Arrays(np.random.default_rng(1).random((40, 2)), np.arange(40) % 2)
    job = sklearn_job("twice", LogisticRegression(), Splits(Arrays(x, y), rest, rest), "accuracy=10%")
    return job, backends.load("sklearn").open(job)


def test_copies_are_dropped_as_foretold():
    x = np.random.default_rng(0).random((30, 2))
    x, y = np.concatenate([x, x[:10]]), np.concatenate([np.arange(30) % 2, np.arange(10) % 2])
    job, work = work_with(x, y)
    done = Dedup().pull(work)
    assert len(done.data.train) == 30 == Dedup().rewrite(job.spec).data.rows


def test_the_row_that_stays_can_count_for_its_copies():
    x = np.array([[0.0, 1], [0, 1], [0, 1], [2, 3]])
    _, work = work_with(x, np.array([0, 0, 0, 1]))
    weight = Dedup(keep_weight=True).pull(work).data.train.weight
    assert weight[0] / weight[1] == 3
    assert weight.mean() == 1


def test_equal_inputs_with_different_answers_both_stay():
    x = np.array([[0.0, 1], [0, 1], [2, 3]])
    _, work = work_with(x, np.array([0, 1, 1]))
    with pytest.raises(NoEffectError, match="leave dedup out"):
        Dedup().pull(work)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_distinct_finds_each_kind_once_and_counts_all_rows(values):
    x = np.array(values)[:, None]
    first, times = distinct(x, np.zeros(len(values), dtype=int))
    assert sorted(x[first, 0]) == sorted(set(values))
    assert times.sum() == len(values)
