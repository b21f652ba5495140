"""A lane whose artifact says so waits for a fuller batch, no longer than it says, and no longer than it must."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pennyweight.core import ServeSpec
from pennyweight.serve.answering.lane import Lane, Terms
from pennyweight.serve.versions.loading import terms_of

ROW = np.ones((1, 4), np.float32)
LONG_S = 1.0


class Counting:
    """A session that says how large its batches were."""

    def __init__(self):
        self.batches = []

    def predict(self, x):
        self.batches.append(len(x))
        return 2 * x


def asked(terms, todo):
    """What a session saw of the batches of `todo(lane)`, and the seconds that it took."""
    session = Counting()

    async def ask():
        with ThreadPoolExecutor(1) as pool:
            lane = Lane(session, pool, terms)
            lane.pace.saw(1, 1e-6)
            begin_s = time.monotonic()
            await todo(lane)
            took_s = time.monotonic() - begin_s
            assert lane.idle
            return took_s

    return asyncio.run(ask()), session.batches


async def in_turn(lane, count=4, pause_s=0.01):
    waiting = []
    for _ in range(count):
        waiting.append(lane.ask(ROW))
        await asyncio.sleep(pause_s)
    for each in waiting:
        np.testing.assert_array_equal((await each).rows, 2 * ROW)
    await asyncio.sleep(0.01)


def test_those_who_come_while_the_first_waits_are_answered_with_it():
    took_s, batches = asked(Terms(wait_s=LONG_S, gather=64), in_turn)
    assert batches == [4]
    assert took_s >= LONG_S


def test_without_a_wait_nobody_waits_for_anybody():
    _, batches = asked(Terms(), in_turn)
    assert batches == [1, 1, 1, 1]


def test_a_full_batch_waits_no_longer():
    took_s, batches = asked(Terms(wait_s=60.0, gather=4), in_turn)
    assert batches == [4]
    assert took_s < 30.0


def test_what_is_beyond_a_full_batch_is_the_next_one():
    async def many(lane):
        await asyncio.gather(*(lane.ask(ROW) for _ in range(10)))
        await asyncio.sleep(0.01)

    _, batches = asked(Terms(wait_s=0.05, gather=4), many)
    assert batches == [4, 4, 2]


def test_a_request_larger_than_a_batch_is_answered_alone():
    async def large(lane):
        await lane.ask(np.repeat(ROW, 9, axis=0))
        await asyncio.sleep(0.01)

    _, batches = asked(Terms(wait_s=60.0, gather=4), large)
    assert batches == [9]


def test_one_who_was_cancelled_while_waiting_is_not_computed():
    async def left(lane):
        gone, stays = lane.ask(ROW), lane.ask(ROW)
        await asyncio.sleep(0.01)
        gone.cancel()
        await stays
        await asyncio.sleep(0.01)

    _, batches = asked(Terms(wait_s=0.05, gather=64), left)
    assert batches == [1]


@pytest.mark.parametrize("serve", [ServeSpec(), ServeSpec(batch=64)])
def test_an_artifact_that_says_nothing_is_served_as_ever(serve):
    assert terms_of(serve) == Terms()


def test_an_artifact_says_how_long_and_for_how_many():
    terms = terms_of(ServeSpec(batch=16, most=32, wait_s=0.02))
    assert (terms.wait_s, terms.gather) == (0.02, 32)
    assert terms.target_s == 0.02
    assert terms.most_rows == Terms().most_rows, "larger requests are still answered"
