import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.data.copies import copies, doubled, row_names, shared
from pennyweight.data.splits import split

small = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30)


@given(small)
def test_rows_have_one_name_exactly_if_they_are_equal(rows):
    x = np.array(rows, dtype=np.float32)
    called = row_names(x)
    for one in range(len(x)):
        for other in range(len(x)):
            assert (called[one] == called[other]) == np.array_equal(x[one], x[other])


@given(small)
def test_copies_are_the_rows_that_equal_an_earlier_one_answer_included(rows):
    x, y = np.array([[a] for a, _ in rows]), np.array([b for _, b in rows])
    assert doubled(x, y) == len(rows) - len(set(rows))


def test_every_kind_of_row_has_a_name():
    for x in (np.zeros(3), np.zeros((3, 2, 2)), np.zeros((3, 0)), np.zeros((3, 4), dtype=np.int64)[:, ::2]):
        assert len(set(row_names(x).tolist())) == 1
    assert len(row_names(np.zeros((0, 4)))) == 0


def test_rows_of_another_part_are_counted_as_often_as_they_occur():
    assert shared(row_names(np.array([1, 2])), row_names(np.array([2, 2, 3]))) == 2


def test_copies_as_groups_keep_equal_rows_in_one_part():
    x = np.repeat(np.random.default_rng(0).normal(size=(60, 3)), 3, axis=0)
    y = np.arange(180) % 2
    loose, tied = split(x, y), split(x, y, groups=copies(x))
    assert shared(row_names(loose.train.x), row_names(loose.certify.x)) > 0
    assert shared(row_names(tied.train.x), row_names(tied.certify.x)) == 0
