"""Kept answers are those that were given, to the same row, for the same tenant, and the oldest goes first."""

import numpy as np
import pytest

from pennyweight.runtimes.kept import Kept, Rounded, hit_share, rounded

ROW = np.array([[1.0, 2.0]], np.float32)
ANSWER = np.array([[7.0]], np.float32)


def test_a_row_is_found_after_it_was_kept_and_only_then():
    kept = Kept(4)
    assert kept.find(ROW) is None
    kept.keep(ROW, ANSWER)
    np.testing.assert_array_equal(kept.find(ROW), ANSWER)
    assert kept.find(ROW + 1) is None


def test_a_request_is_found_only_as_a_whole():
    kept = Kept(4)
    kept.keep(ROW, ANSWER)
    assert kept.find(np.concatenate([ROW, ROW + 1])) is None
    np.testing.assert_array_equal(kept.find(np.concatenate([ROW, ROW])), [[7.0], [7.0]])


def test_a_request_of_no_rows_is_not_found():
    assert Kept(4).find(ROW[:0]) is None


def test_nobody_is_answered_by_what_another_has_asked():
    kept = Kept(4)
    kept.keep(ROW, ANSWER, "acme")
    assert kept.find(ROW, "other") is None
    assert kept.find(ROW, "acme") is not None


def test_rows_of_another_shape_with_the_same_bytes_are_other_rows():
    kept = Kept(4)
    kept.keep(np.arange(4.0).reshape(1, 4), ANSWER)
    assert kept.find(np.arange(4.0).reshape(1, 2, 2)) is None


def test_the_one_that_was_not_asked_for_longest_goes_first():
    kept = Kept(2)
    for n in range(2):
        kept.keep(ROW + n, ANSWER + n)
    kept.find(ROW)
    kept.keep(ROW + 2, ANSWER + 2)
    assert [kept.find(ROW + n) is not None for n in range(3)] == [True, False, True]
    assert len(kept) == 2


def test_what_is_kept_is_a_copy():
    kept, answers = Kept(4), np.zeros((1, 1), np.float32)
    kept.keep(ROW, answers)
    answers += 1
    np.testing.assert_array_equal(kept.find(ROW), [[0.0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_one_cell_are_one_row(dtype):
    near = np.array([[0.04, -0.04], [-0.04, 0.02], [0.06, 0.0]], dtype)
    middle = rounded(near, 0.1)
    assert middle.dtype == dtype
    assert middle[0].tobytes() == middle[1].tobytes(), "zero has one sign"
    assert middle[2].tobytes() != middle[0].tobytes()
    kept = Kept(4, 0.1)
    kept.keep(near[:1], ANSWER)
    assert kept.find(near[1:2]) is not None
    assert kept.find(near[2:]) is None


def test_whole_numbers_and_no_grid_stay_as_they_are():
    tokens = np.arange(3)
    assert rounded(tokens, 0.5) is tokens
    assert rounded(ROW, 0.0) is ROW


def test_a_rounding_session_answers_the_middle_whoever_came_first():
    class Echo:
        def predict(self, x):
            return x

    session = Rounded(Echo(), 0.5)
    for x in (np.float32([[0.2]]), np.float32([[-0.2]])):
        np.testing.assert_array_equal(session.predict(x), [[0.0]])


def test_a_traces_hits_are_counted_in_the_order_in_which_it_came():
    trace = [ROW, ROW + 1, ROW, ROW + 2, ROW + 1, ROW]
    assert hit_share(trace, 8) == 3 / 6
    assert hit_share(trace, 1) == 0.0
    assert hit_share([], 1) == 0.0
