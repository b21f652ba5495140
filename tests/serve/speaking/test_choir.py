"""Who is late, gone, or let down by the model: each ends by itself, and the others go on."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from speaking_parts import ALPHABET, Slow, artifact, likeliest

from pennyweight.core import ServeSpec
from pennyweight.engine.answers import open_session
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.chorus import open_chorus
from pennyweight.runtimes.tokens import Characters, tokenizer_of
from pennyweight.serve.answering.shelf import Served, Shelf
from pennyweight.serve.refused import RefusedError
from pennyweight.serve.speaking.choir import Choir, Limits
from pennyweight.serve.speaking.drawing import Draw
from pennyweight.serve.speaking.opening import must_speak, open_choir, prove
from pennyweight.serve.speaking.part import Wanted
from pennyweight.store.team.registry import Version

GREEDY = Draw(0.0)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as found:
        yield found


def choir(pool, step_s=0.0, **limits):
    made = artifact()
    chorus = open_chorus(made, ServeSpec("onnxruntime"), open_session(made))
    slow = {"inline_s": 0.0} if step_s else {}
    return Choir(Slow(chorus, step_s) if step_s else chorus, tokenizer_of(made), pool, Limits(**slow | limits))


def wanted(text="abc", most=20, **more):
    return Wanted(Characters(ALPHABET).encode(text), most, GREEDY, **more)


async def said(part):
    return "".join([each async for each in part.texts()])


@pytest.mark.parametrize("step_s", [0.0, 0.001], ids=["inline", "in the pool"])
def test_texts_that_begin_at_different_times_say_what_each_says_alone(pool, step_s):
    async def sing():
        mine = choir(pool, step_s)
        parts = []
        for text in ("abc", "h", "a bad cab" * 3, "é.é"):
            parts.append((text, mine.begin(wanted(text, 25))))
            await asyncio.sleep(0.004)
        for text, part in parts:
            assert await said(part) == likeliest(text, 25)
            assert (part.reason, len(part.made)) == ("length", 25)
            assert part.compute_ns > 0
        assert mine.running == mine.waiting == 0 or not await asyncio.sleep(0.01)
        assert mine.running == mine.waiting == 0

    asyncio.run(sing())


def test_one_more_than_there_is_room_for_waits_for_the_first_to_end(pool):
    async def sing():
        mine = choir(pool, 0.001, most_texts=2)
        parts = [mine.begin(wanted(most=most)) for most in (4, 12, 6)]
        assert [await said(each) for each in parts] == [likeliest("abc", most) for most in (4, 12, 6)]
        assert max(mine.chorus.batches) == 2

    asyncio.run(sing())


def test_texts_begin_when_the_model_has_room_for_all_of_their_tokens(pool):
    async def sing():
        mine = choir(pool, 0.001)
        mine.chorus.room = 2 * (3 + 10)
        parts = [mine.begin(wanted(most=10)) for _ in range(5)]
        assert [await said(each) for each in parts] == [likeliest("abc", 10)] * 5
        assert max(mine.chorus.batches) == 2

    asyncio.run(sing())


def test_where_texts_are_padded_each_takes_the_room_of_the_longest(pool):
    async def sing():
        mine = choir(pool, 0.001)
        mine.chorus.room, mine.chorus.pads = 60, True
        parts = [(most, mine.begin(wanted(most=most))) for most in (27, 2, 2, 2)]  # 45 tokens in all, or 120 padded
        for most, part in parts:
            assert await said(part) == likeliest("abc", most)
        assert max(mine.chorus.batches) == 2

    asyncio.run(sing())


def test_who_hangs_up_before_its_turn_is_never_begun_and_the_others_go_on(pool):
    async def sing():
        mine = choir(pool, 0.002, most_texts=1)
        first, second, third = (mine.begin(wanted(most=6)) for _ in range(3))
        second.end("gone")
        assert (await said(first), await said(third)) == (likeliest("abc", 6),) * 2
        assert (second.begun, second.made) == (False, [])

    asyncio.run(sing())


def test_who_waits_for_too_long_is_told_to_come_again(pool):
    async def sing():
        mine = choir(pool, 0.02, most_texts=1, patience_s=0.1)
        mine.pace.saw(1, 1e-6)  # so fast that nobody is refused at the door
        first, second = mine.begin(wanted(most=20)), mine.begin(wanted(most=20))
        assert await said(first) == likeliest("abc", 20)
        with pytest.raises(RefusedError, match="waited for too long") as error:
            await said(second)
        assert (error.value.status, second.begun) == (429, False)

    asyncio.run(sing())


def test_a_text_that_takes_too_long_ends_with_what_there_is(pool):
    async def sing():
        mine = choir(pool, 0.02, longest_s=0.1)
        part = mine.begin(wanted(most=40))
        text = await said(part)
        assert part.reason == "length"
        assert 0 < len(text) == len(part.made) < 40
        assert likeliest("abc", 40).startswith(text)

    asyncio.run(sing())


def test_who_comes_when_the_line_is_long_is_refused_with_how_long_to_wait(pool):
    async def sing():
        mine = choir(pool, 0.01, most_texts=1, patience_s=0.5)
        for _ in range(50):
            mine.pace.saw(1, 0.01)
        parts = [mine.begin(wanted(most=40)) for _ in range(2)]
        with pytest.raises(RefusedError, match="Too many") as error:
            parts.extend(mine.begin(wanted(most=40)) for _ in range(10))
        assert error.value.retry_s >= 1
        await asyncio.sleep(0)
        assert 2 <= len(parts) < 12
        for part in parts:
            part.end("gone")

    asyncio.run(sing())


def test_a_model_that_fails_fails_those_who_were_there_and_serves_the_next(pool):
    async def sing():
        mine = choir(pool, 0.001)
        works, mine.chorus.step = mine.chorus.step, None
        parts = [mine.begin(wanted()) for _ in range(3)]
        for part in parts:
            with pytest.raises(RefusedError, match="The model failed") as error:
                await said(part)
            assert error.value.status == 500
        mine.chorus.step = works
        assert await said(mine.begin(wanted())) == likeliest("abc", 20)

    asyncio.run(sing())


def test_a_token_that_ends_texts_ends_it_and_is_counted_and_not_told(pool):
    async def sing():
        mine = choir(pool)
        text = likeliest("abc", 20)
        mine.tokenizer = Characters(ALPHABET, frozenset({ALPHABET.index(text[6])}))
        at = text.index(text[6])
        part = mine.begin(wanted())
        assert await said(part) == text[:at]
        assert (part.reason, len(part.made)) == ("stop", at + 1)

    asyncio.run(sing())


def test_a_model_is_proved_before_it_speaks(pool):
    made = artifact()
    assert open_choir("gpt@1", made, open_session(made), pool) is not None
    mine = choir(pool)
    x = np.random.default_rng(0).integers(0, len(ALPHABET), (2, 16))
    with pytest.raises(CorruptError, match="gpt@1 continues its probes differently"):
        prove("gpt@1", mine, x, np.zeros((2, 16, len(ALPHABET))))
    wrong = artifact(alphabet=ALPHABET[:-1])
    with pytest.raises(CorruptError, match="has an alphabet of 11, and answers for 12"):
        open_choir("gpt@1", wrong, open_session(wrong), pool)
    assert open_choir("gpt@1", artifact(alphabet=""), open_session(made), pool) is None


def test_a_protocol_that_a_model_does_not_speak_is_refused_before_it_is_served(pool):
    version, made = Version("gpt", 1, "", ""), choir(pool)
    speaks, mute = Shelf({"gpt": Served(version, None, None, choir=made)}), Shelf({"gpt": Served(version, None, None)})
    must_speak("openai", speaks)
    must_speak("", mute)
    with pytest.raises(BadInputError, match="gpt@1 is no language model"):
        must_speak("openai", mute)
    with pytest.raises(BadInputError, match="no protocol named 'smtp'"):
        must_speak("smtp", speaks)
