"""A hundred at once, some of whom hang up: what clients are told, the rows, and the tokenizer say the same."""

import asyncio

import openai
import pytest
from multiples import until
from speaking_parts import ALPHABET, CONTEXT, likeliest, rows, slowed, speaking
from sqlalchemy import text

from pennyweight.store.team.opened import opened, reading

MANY = 100
PROMPTS = ("abc", "a bad cab", "hé", "d" * 20)


def asked(n):
    """A request of some kind; the kinds follow each other."""
    prompt, most = PROMPTS[n % 4], 2 + n % 31
    how = {"temperature": 0.0} if n % 3 else {"temperature": 1.2, "top_p": 0.9, "seed": n}
    stop = {"stop": likeliest(prompt, most)[most // 2]} if n % 5 == 0 else {}
    return {"model": "gpt", "messages": [{"role": "user", "content": prompt}], "max_tokens": most, **how, **stop}


async def whole(client, n):
    told = await client.chat.completions.create(**asked(n))
    return told.id, told.choices[0], told.usage, told.choices[0].message.content


async def streamed(client, n):
    stream = await client.chat.completions.create(**asked(n), stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    said = "".join(each.choices[0].delta.content or "" for each in chunks[:-1])
    return chunks[0].id, chunks[-2].choices[0], chunks[-1].usage, said


async def hung_up(client, n):
    """Read a few pieces of a long text, then go."""
    stream = await client.chat.completions.create(**asked(n) | {"max_tokens": 40, "stop": None}, stream=True)
    said, id_ = "", ""
    async for chunk in stream:
        said, id_ = said + (chunk.choices[0].delta.content or ""), chunk.id
        if len(said) > n % 7:
            break
    await stream.close()
    return id_, said


async def vanished(client, n):
    """Do not even wait for the first word of it."""
    asking = asyncio.create_task(client.chat.completions.create(**asked(n) | {"max_tokens": 40, "stop": None}))
    await asyncio.sleep(0.002 * (n % 11))
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def everybody(here):
    kinds = {0: whole, 1: streamed, 2: hung_up, 3: vanished}
    async with openai.AsyncOpenAI(api_key=here.key, base_url=f"{here.address}/v1", max_retries=0) as client:
        told = await asyncio.gather(*(kinds[n % 4](client, n) for n in range(MANY)))
    return {kind.__name__: [each for n, each in enumerate(told) if n % 4 == key] for key, kind in kinds.items()}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    place = tmp_path_factory.mktemp("mixed")
    with speaking(place / "team.db", place, limit_nusd=10**9) as here:
        choir = slowed(here, 0.004)
        told = asyncio.run(everybody(here))
        until(lambda: not here.face.talking.till.open)
        batches = choir.chorus.batches
        with opened(here.store) as engine, reading(engine) as link:
            spent = link.execute(text("SELECT sum(spent_nusd) FROM window")).scalar()
        yield told, rows(here.store), batches, spent
    with opened(here.store) as engine, reading(engine) as link:
        assert link.execute(text("SELECT sum(reserved_nusd) FROM window")).scalar() == 0


def test_what_clients_are_told_is_what_the_rows_say_and_what_the_tokenizer_counts(seen):
    told, kept, _, _ = seen
    for n, (id_, choice, used, said) in zip(
        [n for n in range(MANY) if n % 4 < 2],
        [each for pair in zip(told["whole"], told["streamed"], strict=True) for each in pair],
        strict=True,
    ):
        fed, made, status, _ = kept[id_.removeprefix("chatcmpl-")]
        assert (used.prompt_tokens, used.completion_tokens, status) == (fed, made, 200)
        assert fed == len(PROMPTS[n % 4])
        assert made == len(said) + (choice.finish_reason == "stop")
        assert set(said) <= set(ALPHABET)
        if "seed" not in asked(n):
            assert likeliest(PROMPTS[n % 4], made).startswith(said)


def test_who_hung_up_pays_for_at_least_what_was_seen(seen):
    told, kept, _, _ = seen
    for n, (id_, said) in enumerate(told["hung_up"]):
        fed, made, status, _ = kept[id_.removeprefix("chatcmpl-")]
        assert status in {200, 499}
        assert fed == len(PROMPTS[(4 * n + 2) % 4])
        assert len(said) <= made <= 40
    gone = [each for each in kept.values() if each[2] == 499]
    assert len(gone) > MANY / 8
    assert sum(each[1] for each in gone) < 0.8 * 40 * len(gone)


def test_every_row_is_somebodys_and_the_budget_has_paid_for_exactly_all_of_them(seen):
    told, kept, _, spent = seen
    named = {each[0].removeprefix("chatcmpl-") for kind in ("whole", "streamed", "hung_up") for each in told[kind]}
    assert len(named) == 3 * MANY // 4 == len(named & kept.keys())
    rest = [kept[name] for name in kept.keys() - named]  # of those who vanished when they were being answered
    assert all(each[2] == 499 and each[1] <= 40 for each in rest)
    assert len(rest) <= MANY // 4
    assert all(cost == 10 * fed + 100 * made for fed, made, _, cost in kept.values())
    assert spent == sum(each[3] for each in kept.values())


def test_they_were_continued_together(seen):
    _, kept, batches, _ = seen
    assert max(batches) > 16
    assert len(batches) < sum(each[1] for each in kept.values()) / 4
    assert max(batches) <= 32 < MANY
    assert max(fed + made for fed, made, _, _ in kept.values()) <= CONTEXT
