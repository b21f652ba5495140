"""OpenAI's own Python client against a real server: chats, streams, usage, errors, stop sequences, hanging up."""

import asyncio
import json

import httpx
import openai
import pytest
from multiples import until
from speaking_parts import ALPHABET, CONTEXT, artifact, likeliest, rows, slowed, speaking
from sqlalchemy import text

from pennyweight.store.team.opened import opened, reading

SAID = likeliest("abc", 40)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    place = tmp_path_factory.mktemp("speaking")
    with speaking(place / "team.db", place) as found:
        yield found


@pytest.fixture
def client(here):
    with openai.OpenAI(api_key=here.key, base_url=f"{here.address}/v1", max_retries=0) as found:
        yield found


def row(here, id_):
    return rows(here.store)[id_.partition("-")[2]]


def hello(content="abc", **more):
    return {"model": "gpt", "messages": [{"role": "user", "content": content}], "temperature": 0} | more


def test_a_chat_is_answered_as_the_model_says_and_its_usage_is_the_row(here, client):
    told = client.chat.completions.create(**hello(max_tokens=20))
    (choice,) = told.choices
    assert (choice.message.role, choice.message.content) == ("assistant", SAID[:20])
    assert choice.finish_reason == "length"
    assert (told.object, told.model, told.system_fingerprint) == ("chat.completion", "gpt", "v1")
    used = told.usage
    assert (used.prompt_tokens, used.completion_tokens, used.total_tokens) == (3, 20, 23)
    assert row(here, told.id) == (3, 20, 200, 3 * 10 + 20 * 100)


def test_a_chat_of_several_messages_is_read_line_by_line(client):
    messages = [{"role": "system", "content": "ab"}, {"role": "user", "content": [{"type": "text", "text": "cd"}]}]
    told = client.chat.completions.create(model="gpt", messages=messages, temperature=0, max_tokens=9)
    assert told.choices[0].message.content == likeliest("ab\ncd", 9)
    assert told.usage.prompt_tokens == 5


def test_without_a_limit_a_chat_goes_on_to_the_end_of_the_context(client):
    told = client.chat.completions.create(**hello())
    assert told.usage.total_tokens == CONTEXT
    assert told.choices[0].finish_reason == "length"


def test_a_text_or_its_tokens_are_continued(here, client):
    for prompt in ("abc", ["abc"], [ALPHABET.index(each) for each in "abc"]):
        told = client.completions.create(model="gpt", prompt=prompt, temperature=0)
        assert (told.object, told.choices[0].text) == ("text_completion", SAID[:16])
        assert row(here, told.id)[:2] == (3, 16)


def test_a_stream_says_the_same_and_its_usage_is_the_row(here, client):
    stream = client.chat.completions.create(**hello(max_tokens=30), stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(each.choices[0].delta.content or "" for each in chunks[:-1]) == SAID[:30]
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].choices == []
    assert all(each.usage is None for each in chunks[:-1])
    used = chunks[-1].usage
    assert (used.prompt_tokens, used.completion_tokens) == (3, 30) == row(here, chunks[0].id)[:2]


def test_a_text_can_be_streamed_too(client):
    chunks = list(client.completions.create(model="gpt", prompt="abc", temperature=0, stream=True))
    assert "".join(each.choices[0].text for each in chunks) == SAID[:16]
    assert chunks[-1].choices[0].finish_reason == "length"
    assert all(each.usage is None for each in chunks)


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_sequence_ends_the_text_before_it_and_its_tokens_are_counted(here, client, stream):
    stop = SAID[7:10]
    at = SAID.index(stop)
    more = {"stop": ["éééé", stop], "max_tokens": 30}
    if stream:
        chunks = list(client.chat.completions.create(**hello(**more), stream=True))
        text = "".join(each.choices[0].delta.content or "" for each in chunks)
        id_, reason = chunks[0].id, chunks[-1].choices[0].finish_reason
    else:
        told = client.chat.completions.create(**hello(**more))
        text, id_, reason = told.choices[0].message.content, told.id, told.choices[0].finish_reason
        assert told.usage.completion_tokens == at + len(stop)
    assert (text, reason) == (SAID[:at], "stop")
    assert row(here, id_)[:2] == (3, at + len(stop))


def test_a_seed_says_the_same_again_and_another_does_not(client):
    said = [
        client.chat.completions.create(**hello(temperature=1.5, top_p=0.9, seed=seed)).choices[0].message.content
        for seed in (1, 1, 2)
    ]
    assert said[0] == said[1] != said[2]


def test_the_models_are_those_that_speak(client):
    (found,) = client.models.list().data
    assert (found.id, found.owned_by) == ("gpt", "pennyweight")
    assert client.chat.completions.create(**hello(max_tokens=1) | {"model": "gpt@1"}).system_fingerprint == "v1"


@pytest.mark.parametrize(
    ("more", "kind", "code", "said"),
    [
        ({"model": "none"}, openai.NotFoundError, "model_not_found", "no such model"),
        ({"model": "gpt@7"}, openai.NotFoundError, "model_not_found", "no such model"),
        ({"max_tokens": 100}, openai.BadRequestError, "context_length_exceeded", "3 are given, 100 asked"),
        ({"messages": [{"role": "user", "content": "xyz"}]}, openai.BadRequestError, None, "character 'x'"),
        ({"messages": [{"role": "user", "content": ""}]}, openai.BadRequestError, None, "nothing to go on with"),
        ({"n": 3}, openai.BadRequestError, None, "n must be 1"),
        ({"temperature": 9}, openai.BadRequestError, None, "temperature must be"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_refused_is_an_error_of_the_client_and_costs_nothing(here, client, stream, more, kind, code, said):
    before = rows(here.store)
    with pytest.raises(kind, match=said) as error:
        client.chat.completions.create(**hello() | more, stream=stream)
    assert error.value.code == code
    assert rows(here.store) == before


def test_embeddings_are_refused_in_a_sentence(client):
    with pytest.raises(openai.BadRequestError, match="This model makes no embeddings"):
        client.embeddings.create(model="gpt", input="abc")


def test_nobody_speaks_without_a_key(here):
    with (
        openai.OpenAI(api_key="pw_wrong", base_url=f"{here.address}/v1", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError, match="needs a key") as error,
    ):
        stranger.chat.completions.create(**hello())
    assert error.value.code == "invalid_api_key"


def test_a_body_that_is_too_long_is_refused(here):
    reply = httpx.post(
        f"{here.address}/v1/completions",
        content=b" " * (5 * 2**20),
        headers={"authorization": f"Bearer {here.key}"},
        timeout=20,
    )
    assert reply.status_code == 413
    assert reply.json()["error"]["code"] == "request_too_large"


def test_the_numbers_of_the_server_count_tokens(here, client):
    client.chat.completions.create(**hello(max_tokens=11))
    kept = rows(here.store).values()
    fed, made, cost = (sum(each[at] for each in kept) for at in (0, 1, 3))
    told = httpx.get(f"{here.address}/metrics", headers={"authorization": f"Bearer {here.admin}"}, timeout=20).text
    lines = dict(line.rsplit(" ", 1) for line in told.splitlines() if not line.startswith("#"))
    whose = '{model="gpt",tenant="acme",version="1"}'
    assert float(lines[f"pennyweight_input_units_total{whose}"]) == fed
    assert float(lines[f"pennyweight_output_units_total{whose}"]) == made
    (per_million,) = [float(each) for name, each in lines.items() if name.startswith("llm_cost_per_million_tokens")]
    assert per_million == pytest.approx(cost / 1e9 / (fed + made) * 1e6)


def test_rows_asked_by_the_other_protocol_are_counted_in_tokens_too(here):
    tensor = {"name": "x", "shape": [1, CONTEXT], "datatype": "INT64", "data": [1] * CONTEXT}
    headers = {"authorization": f"Bearer {here.key}"}
    reply = httpx.post(f"{here.address}/v2/models/gpt/infer", json={"inputs": [tensor]}, headers=headers, timeout=20)
    assert reply.status_code == 200
    assert rows(here.store)[reply.headers["x-request-id"]][:2] == (CONTEXT, CONTEXT)


def test_a_model_that_remembers_nothing_speaks_as_well(tmp_path):
    with (
        speaking(tmp_path / "team.db", tmp_path, made=artifact(together=False)) as plain,
        openai.OpenAI(api_key=plain.key, base_url=f"{plain.address}/v1", max_retries=0) as client,
    ):
        assert client.chat.completions.create(**hello(max_tokens=20)).choices[0].message.content == SAID[:20]


def test_who_hangs_up_pays_for_what_was_made_and_no_more(tmp_path):
    with speaking(tmp_path / "team.db", tmp_path, limit_nusd=10**9) as busy:
        slowed(busy, 0.02)
        with openai.OpenAI(api_key=busy.key, base_url=f"{busy.address}/v1", max_retries=0) as client:
            stream = client.chat.completions.create(**hello(max_tokens=60), stream=True)
            seen = ""
            for chunk in stream:
                seen += chunk.choices[0].delta.content or ""
                if len(seen) >= 5:
                    break
            stream.close()
            ((used, made, status, cost),) = until(lambda: list(rows(busy.store).values()))
            assert (used, status) == (3, 499)
            assert len(seen) <= made < 40
            assert cost == 3 * 10 + made * 100
            assert until(lambda: not busy.face.teller.purse.live() or idle(busy))
            assert client.chat.completions.create(**hello(max_tokens=2)).choices[0].message.content == SAID[:2]


def idle(here):
    """Whether nothing that was reserved is still out."""
    return all(coin.out == 0 for coin in here.face.teller.purse.by_id.values())


def test_too_many_are_told_to_come_again_later(tmp_path):
    with speaking(tmp_path / "team.db", tmp_path) as busy:
        choir = slowed(busy, 0.01)
        choir.limits = type(choir.limits)(most_texts=2, most_waiting=3, inline_s=0.0)

        async def ask():
            async with openai.AsyncOpenAI(api_key=busy.key, base_url=f"{busy.address}/v1", max_retries=0) as client:
                asked = (client.chat.completions.create(**hello(max_tokens=30)) for _ in range(12))
                return await asyncio.gather(*asked, return_exceptions=True)

        told = asyncio.run(ask())
        late = [each for each in told if isinstance(each, openai.RateLimitError)]
        good = [each for each in told if not isinstance(each, Exception)]
        assert late
        assert len(late) + len(good) == 12
        assert {each.choices[0].message.content for each in good} == {SAID[:30]}
        assert int(late[0].response.headers["retry-after"]) >= 1
        assert max(choir.chorus.batches) == 2


def test_a_budget_that_is_used_up_says_so_before_anything_is_made(tmp_path):
    with speaking(tmp_path / "team.db", tmp_path, limit_nusd=5000) as poor:
        with openai.OpenAI(api_key=poor.key, base_url=f"{poor.address}/v1", max_retries=0) as client:
            for _ in range(2):
                client.chat.completions.create(**hello(max_tokens=20))
            with pytest.raises(openai.RateLimitError, match="budget of the tenant per day is used up") as error:
                client.chat.completions.create(**hello(max_tokens=20), stream=True)
            assert error.value.code == "insufficient_quota"
            told = client.chat.completions.create(**hello(max_tokens=9))
            assert told.usage.completion_tokens == 9
        assert sum(each[3] for each in rows(poor.store).values()) == 2 * 2030 + 930 <= 5000


def test_a_text_that_outlives_its_reservation_is_paid_from_what_is_there_then(tmp_path):
    with speaking(tmp_path / "team.db", tmp_path, limit_nusd=10**9) as here:
        slowed(here, 0.02)
        with openai.OpenAI(api_key=here.key, base_url=f"{here.address}/v1", max_retries=0) as client:
            stream = client.chat.completions.create(**hello(max_tokens=30), stream=True)
            next(stream)
            with opened(here.store) as engine, engine.begin() as link:
                link.execute(text("DELETE FROM lease"))
            chunks = list(stream)
        assert chunks[-1].choices[0].finish_reason == "length"
        assert list(rows(here.store).values()) == [(3, 30, 200, 3030)]
        with opened(here.store) as engine, reading(engine) as link:
            assert link.execute(text("SELECT sum(spent_nusd) FROM window")).scalar() == 3030


def test_a_store_that_cannot_be_written_lets_no_answer_seem_whole(tmp_path):
    with speaking(tmp_path / "team.db", tmp_path) as here:
        with opened(here.store) as engine, engine.begin() as link:
            link.execute(text("CREATE TRIGGER full BEFORE INSERT ON usage BEGIN SELECT RAISE(ABORT, 'full'); END"))
        headers = {"authorization": f"Bearer {here.key}"}
        asked = hello(max_tokens=4)
        reply = httpx.post(f"{here.address}/v1/chat/completions", json=asked, headers=headers, timeout=20)
        assert reply.status_code == 503
        assert reply.json()["error"]["code"] == "service_unavailable"
        reply = httpx.post(
            f"{here.address}/v1/chat/completions", json=asked | {"stream": True}, headers=headers, timeout=20
        )
        assert "[DONE]" not in reply.text
        assert 'finish_reason":"' not in reply.text
        assert "cannot be written" in json.loads(reply.text.strip().rpartition("data: ")[2])["error"]["message"]
        assert rows(here.store) == {}
