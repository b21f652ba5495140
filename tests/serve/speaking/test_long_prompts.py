"""A long prompt is read part by part while others go on, and what cannot be read fails nobody else."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from speaking_parts import ALPHABET, Slow, artifact, likeliest

from pennyweight.core import ServeSpec
from pennyweight.engine.answers import open_session
from pennyweight.runtimes.chorus import open_chorus
from pennyweight.runtimes.tokens import Characters, tokenizer_of
from pennyweight.serve.refused import RefusedError
from pennyweight.serve.speaking.choir import Choir, Limits
from pennyweight.serve.speaking.drawing import LOST, Draw, drawn
from pennyweight.serve.speaking.part import Wanted

LONG = "a bad cab he had" * 3


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as found:
        yield found


def choir(pool, step_s=0.0, made=None, **limits):
    made = made or artifact()
    chorus = Slow(open_chorus(made, ServeSpec("onnxruntime"), open_session(made)), step_s)
    return Choir(chorus, tokenizer_of(made), pool, Limits(inline_s=0.0, **limits))


def wanted(text, most=12):
    return Wanted(Characters(ALPHABET).encode(text), most, Draw(0.0))


async def soon(what):
    for _ in range(20_000):
        if what():
            return
        await asyncio.sleep(0.0005)
    pytest.fail("it did not come about in time")


async def said(part):
    return "".join([each async for each in part.texts()])


@pytest.mark.parametrize("bite", [1, 7, 16, 47])
def test_a_prompt_that_is_read_in_parts_goes_on_as_one_that_is_read_at_once(pool, bite):
    async def sing():
        mine = choir(pool, most_read=bite)
        parts = [(text, mine.begin(wanted(text))) for text in (LONG, "abc", LONG[1:], "h")]
        for text, part in parts:
            assert await said(part) == likeliest(text, 12)
            assert part.compute_ns > 0
        assert max(mine.chorus.reads) <= max(bite, 4)
        assert sum(mine.chorus.reads) == sum(len(text) for text, _ in parts)

    asyncio.run(sing())


def test_while_a_long_prompt_is_read_those_who_were_there_go_on(pool):
    async def sing():
        mine = choir(pool, 0.002, most_read=8)
        first = mine.begin(wanted("abc", 40))
        await soon(lambda: first.made)
        before = len(first.made)
        second = mine.begin(wanted(LONG))
        await soon(lambda: second.made)
        assert len(first.made) - before >= len(LONG) // 8
        assert (await said(first), await said(second)) == (likeliest("abc", 40), likeliest(LONG, 12))

    asyncio.run(sing())


def test_a_model_that_reads_everything_again_reads_a_long_prompt_at_once(pool):
    async def sing():
        mine = choir(pool, made=artifact(together=False), most_read=8)
        assert await said(mine.begin(wanted(LONG))) == likeliest(LONG, 12)
        assert mine.chorus.reads == [len(LONG)]

    asyncio.run(sing())


def test_who_hangs_up_while_it_is_read_is_read_no_further_and_the_next_is(pool):
    async def sing():
        mine = choir(pool, most_read=2)
        first, second = mine.begin(wanted(LONG)), mine.begin(wanted("h"))
        await soon(lambda: mine.chorus.reads)
        assert mine.running == 1
        first.end("gone")
        assert await said(second) == likeliest("h", 12)
        assert (first.begun, first.made) == (True, [])
        assert sum(mine.chorus.reads) < len(LONG)
        await soon(lambda: not mine.running)

    asyncio.run(sing())


def test_a_prompt_that_takes_too_long_to_read_makes_room_for_the_next(pool):
    async def sing():
        mine = choir(pool, most_read=2, longest_s=0.1)
        mine.chorus.read = lambda tokens, memory: (
            time.sleep(0.03) or type(mine.chorus).read(mine.chorus, tokens, memory)
        )
        first = mine.begin(wanted(LONG))
        await soon(lambda: first.reason)
        assert await said(mine.begin(wanted("h", 1))) == likeliest("h", 1)
        assert (first.begun, first.reason, first.made) == (True, "length", [])
        assert sum(mine.chorus.reads) < len(LONG)

    asyncio.run(sing())


@pytest.mark.parametrize("most_read", [4, 512], ids=["in parts", "at once"])
def test_a_prompt_that_cannot_be_read_fails_alone(pool, most_read):
    async def sing():
        mine = choir(pool, 0.002, most_read=most_read)
        first = mine.begin(wanted("abc", 30))
        await soon(lambda: first.made)
        poison = mine.begin(Wanted(np.full(9, len(ALPHABET) + 5), 5, Draw(0.0)))
        with pytest.raises(RefusedError, match="The model failed"):
            await said(poison)
        assert not first.reason
        assert await said(first) == likeliest("abc", 30)
        assert await said(mine.begin(wanted("h"))) == likeliest("h", 12)

    asyncio.run(sing())


def test_a_model_that_says_what_is_no_number_has_failed_at_that_text_and_no_other(pool):
    async def sing():
        mine = choir(pool, made=artifact(mad=True))
        sound, mad = mine.begin(wanted("abc", 3)), mine.begin(wanted("aé"))
        with pytest.raises(RefusedError, match="The model failed"):
            await said(mad)
        assert await said(sound) == likeliest("abc", 3)

    asyncio.run(sing())


def test_what_is_no_number_is_never_drawn():
    logits = np.array([[0.0, 1.0, 0.0], [np.nan, 1.0, 2.0], [0.0, np.inf, 0.0], [-np.inf, 0.0, -np.inf]], np.float32)
    for draw in (Draw(0.0), Draw(1.0, 0.9, seed=1)):
        found = drawn(logits, [draw] * 4)
        assert found[1] == found[2] == LOST
        assert found[3] == 1
        assert found[0] in {0, 1, 2}
