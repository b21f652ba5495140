"""The metrics say how many texts wait and run at this moment, and how many tokens were made how fast."""

import asyncio

import httpx
from prometheus_client.parser import text_string_to_metric_families
from speaking_parts import likeliest, rows, slowed, speaking

BODY = {"model": "gpt", "prompt": "abc", "max_tokens": 20, "temperature": 0}
OF = {"model": "gpt", "version": "1"}


async def numbers(client, here):
    """What is said of the version, by name."""
    told = await client.get("/metrics", headers={"authorization": f"Bearer {here.admin}"})
    families = text_string_to_metric_families(told.text)
    return {each.name: each.value for family in families for each in family.samples if each.labels == OF}


def test_texts_that_wait_and_run_and_their_tokens_are_counted(tmp_path):
    async def ask(here):
        headers = {"authorization": f"Bearer {here.key}"}
        async with httpx.AsyncClient(base_url=here.address, headers=headers, timeout=60) as client:
            before = await numbers(client, here)
            asking = [asyncio.create_task(client.post("/v1/completions", json=BODY)) for _ in range(5)]
            for _ in range(500):
                during = await numbers(client, here)
                if during["pennyweight_running_texts"] == 2 and during["pennyweight_waiting_texts"] == 3:
                    break
            told = [(await each).json()["choices"][0]["text"] for each in asking]
            return before, during, told, await numbers(client, here)

    with speaking(tmp_path / "team.db", tmp_path) as here:
        choir = slowed(here, 0.02)
        choir.limits = type(choir.limits)(most_texts=2, inline_s=0.0)
        before, during, told, after = asyncio.run(ask(here))
        assert told == [likeliest("abc", 20)] * 5
        made = sum(each[1] for each in rows(here.store).values())
    names = [f"pennyweight_{each}" for each in ("waiting_texts", "running_texts", "tokens_total", "steps_total")]
    assert [before[each] for each in names] == [0, 0, 0, 0]
    assert [during[each] for each in names[:2]] == [3, 2]
    assert [after[each] for each in names[:3]] == [0, 0, made]
    assert made / 2 <= after["pennyweight_steps_total"] < made
    assert after["pennyweight_tokens_per_second"] > 0
