"""What passes by is held within bounds of rows and of bytes, sampled fairly, and costs a request next to nothing."""

import time

import numpy as np
import pytest

from pennyweight.serve.watch.monitor import Monitor, all_noted, noted
from pennyweight.serve.watch.reference import MOST_COLUMNS, Reference
from pennyweight.serve.watch.seen import MOST_ANSWERS, MOST_BYTE, SAMPLE, Passed, Seen
from pennyweight.serve.watch.window import Window
from pennyweight.store.team.registry import Version

VERSION = Version("digits", 3, "", "")


def rows(count, wide=3, value=1.0):
    return np.full((count, wide), value, np.float32)


def test_what_passes_by_is_held_within_bounds_and_the_next_look_begins_anew():
    seen = Seen()
    for n in range(MOST_ANSWERS):
        seen.add(f"r{n}", rows(2), rows(2, 5))
    held = seen.take()
    assert sum(len(answers) for *_, answers in held.requests) == MOST_ANSWERS
    assert sum(len(each) for _, _, each, _ in held.requests if each is not None) == SAMPLE
    assert held.missed == MOST_ANSWERS
    assert seen.take().requests == []


def test_however_large_rows_and_answers_are_only_so_many_bytes_are_held():
    seen = Seen()
    for n in range(100):
        seen.add(f"r{n}", rows(1, 2**20), rows(1, 2**17))
    held = seen.take()
    byte = sum((0 if x is None else x.nbytes) + y.nbytes for _, _, x, y in held.requests)
    assert 0.9 * MOST_BYTE < byte <= MOST_BYTE
    assert held.missed == 100 - len(held.requests)
    assert len(held.requests) > 4  # where an input is too large its answer may still fit


def test_of_a_share_that_is_kept_no_part_holds_the_whole_batch():
    seen, batch = Seen(0.5), rows(256)
    for n in range(2000):
        seen.add(f"r{n}", rows(1), batch[n % 256 : n % 256 + 1])
    later = [answers for _, _, x, answers in seen.take().requests if x is None]
    assert 600 < len(later) < 900
    assert all(each.base is None for each in later)


def test_to_remember_a_request_takes_microseconds():
    seen, x, y = Seen(), rows(1, 784), rows(1, 10)
    begin_s = time.process_time()
    for _ in range(5):
        for _ in range(MOST_ANSWERS):
            seen.add("0123456789abcdef01234567", x, y)
        seen.take()
    assert (time.process_time() - begin_s) / (5 * MOST_ANSWERS) < 10e-6


def test_many_answers_are_noted_together_as_they_are_one_by_one():
    rng, passed = np.random.default_rng(0), Passed()
    for n in range(50):
        passed.requests.append((f"r{n}", n, None, rng.random((1 + n % 4, 5)).astype(np.float32)))
    alone = [each for request, at_ns, _, y in passed.requests for each in noted(VERSION, request, at_ns, y)]
    assert all_noted(VERSION, passed.requests) == alone
    assert [each.request for each in alone if each.row == 3] == [f"r{n}" for n in range(50) if n % 4 == 3]
    assert all_noted(VERSION, []) == []
    values = [("a", 1, None, np.float32([1.5, np.nan])), ("b", 2, None, rows(1, 7))]
    assert [(each.said, each.sure) for each in all_noted(VERSION, values)] == [
        (1.5, -1.0)
    ]  # neither nan nor another width


def test_every_row_has_the_same_chance_to_be_in_a_window():
    found = np.zeros(40)
    for seed in range(400):
        window = Window(10, rng=np.random.default_rng(seed))
        for n in range(40):
            window.add([(rows(1, value=n), rows(1, 2))])
        found[window.take()[0][:, 0].astype(int)] += 1
    assert found.sum() == 4000
    assert found.min() > 60  # of 100 expected
    assert found.max() < 140


def test_a_window_is_not_given_before_it_is_full_nor_with_rows_that_say_nothing():
    window = Window(4)
    window.add([(rows(2), rows(2, 5)), (rows(9, 7), rows(9, 5)), (rows(9), rows(9, 6))])
    window.add([(rows(9, value=np.nan), rows(9, 5)), (rows(9), rows(9, 5, np.inf))])
    assert len(window) == 2
    assert window.take() is None
    window.add([(rows(2, value=2.0), rows(2, 5))])
    x, y = window.take()
    assert (x.shape, y.shape, x.sum()) == ((4, 3), (4, 5), 18.0)
    assert len(window) == 0


def test_wide_rows_are_thinned_out_alike_where_they_are_recorded_and_where_they_pass_by():
    wide = np.tile(np.arange(3 * MOST_COLUMNS, dtype=np.float32), (200, 1))
    reference = Reference.of(wide, rows(200, 2))
    window = Window(5, (MOST_COLUMNS, 2))
    window.add([(wide[:5].reshape(5, 3, -1), rows(5, 2))])
    np.testing.assert_array_equal(window.take()[0], reference.rows[:5])


def test_where_labels_are_recorded_calibration_begins_with_the_first_look_and_not_before():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([5, 1, 1], 300)
    monitor = Monitor(VERSION, Reference.of(rows(300), p, p.argmax(axis=1)), 0.5)
    assert monitor._cbpe is None
    assert monitor.estimated is not None
    monitor.look((rows(500), p[:300].repeat(2, axis=0)[:500]))
    assert monitor._cbpe is not None
    assert monitor.estimated.quality == pytest.approx(1.0, abs=0.01)
