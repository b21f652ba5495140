import time

import numpy as np
import pytest

from pennyweight.core import Task
from pennyweight.data.answers import Tokens, Values
from pennyweight.data.balance import Balance
from pennyweight.data.parts import Leak, leaks, parts
from pennyweight.data.splits import Arrays, Splits


def three(x, y, groups=None):
    third = len(x) // 3
    cuts = (slice(0, third), slice(third, 2 * third), slice(2 * third, None))
    return Splits(*(Arrays(x, y, groups).take(cut) for cut in cuts))


def test_a_part_says_its_size_its_holes_its_copies_and_its_classes():
    x = np.arange(36, dtype=np.float32).reshape(12, 3)
    x[1, 2] = np.nan
    x[2, 0] = np.inf
    x[3] = x[0]
    train, select, _ = parts(three(x, np.array([0, 1, 1, 0] * 3)), Task.CLASSIFY)
    assert (train.name, train.rows, train.shape, train.dtype) == ("train", 4, (3,), "float32")
    assert train.byte == 4 * 3 * 4 + 4 * 8
    assert (train.missing, train.columns, train.doubled) == (2, (0, 2), 1)
    assert train.answers == Balance((0, 1), (2, 2))
    assert (select.missing, select.columns, select.doubled, select.groups) == (0, (), 0, None)


def test_a_copy_with_another_answer_is_no_copy():
    x = np.zeros((9, 2), dtype=np.float32)
    assert [part.doubled for part in parts(three(x, np.arange(9)), Task.CLASSIFY)] == [0, 0, 0]


def test_values_and_tokens_are_summed_up_as_what_they_are():
    y = np.arange(9.0)
    assert parts(three(y[:, None], y), Task.REGRESS)[0].answers == Values(1.0, pytest.approx(np.sqrt(2 / 3)), 0.0, 2.0)
    tokens = np.arange(18).reshape(9, 2) % 5
    last = parts(three(tokens, tokens), Task.LANGUAGE)[2]
    assert last.answers == Tokens(6, 5)
    assert (last.missing, last.columns) == (0, ())


def test_rows_and_groups_that_are_in_two_parts_are_found():
    x = np.arange(24.0).reshape(12, 2)
    x[8:10] = x[0:2]
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 3])
    assert leaks(three(x, np.zeros(12), groups)) == (
        Leak("train", "certify", rows=2, groups=0, of=4),
        Leak("select", "certify", rows=0, groups=1, of=4),
    )


def test_parts_of_one_deal_have_no_leak():
    assert leaks(three(np.random.default_rng(0).normal(size=(90, 2)), np.zeros(90), np.arange(90))) == ()


def test_ten_times_the_rows_take_about_ten_times_as_long():
    generator = np.random.default_rng(0)

    def seconds(n):
        x, y = generator.normal(size=(n, 8)), np.arange(n) % 3
        before = time.process_time()
        parts(three(x, y), Task.CLASSIFY)
        leaks(three(x, y))
        return time.process_time() - before

    seconds(1000)
    assert seconds(300_000) < 40 * seconds(30_000)
