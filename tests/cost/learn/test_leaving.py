"""Groups are left out whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.cost.learn.leaving import folds_of, predict_left_out
from pennyweight.errors import BadInputError


@given(st.lists(st.sampled_from("abcdefghijklmno"), min_size=1, max_size=60), st.integers(1, 12))
def test_every_row_is_left_out_once_and_no_group_is_torn(groups, folds):
    masks = folds_of(groups, folds)
    assert (np.sum(masks, axis=0) == 1).all()
    names = np.array(groups)
    for mask in masks:
        assert mask.any()
        assert not set(names[mask]) & set(names[~mask])


def test_folds_are_about_equally_large():
    sizes = [mask.sum() for mask in folds_of(np.repeat(np.arange(40), 5), 10)]
    assert sizes == [20] * 10


def test_a_row_is_predicted_from_other_groups_alone():
    y, groups = np.array([1.0, 1.0, 5.0, 9.0]), ["a", "a", "b", "c"]
    found = predict_left_out(lambda learned, asked: np.full(asked.sum(), y[learned].mean()), groups)
    assert found.tolist() == [7.0, 7.0, pytest.approx(11 / 3), pytest.approx(7 / 3)]


def test_one_group_cannot_be_left_out():
    with pytest.raises(BadInputError, match="at least two groups"):
        predict_left_out(lambda _, asked: np.zeros(asked.sum()), ["a", "a"])
    with pytest.raises(BadInputError, match="no groups"):
        folds_of([])
