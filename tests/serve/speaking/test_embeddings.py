"""An encoder's checkpoint, asked for vectors with OpenAI's own client: those of transformers, paid for by the token."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import openai
import pytest
import torch
from llamas import write_llama
from speaking_parts import rows, speaking
from transformers import AutoModel, AutoTokenizer

from pennyweight.runtimes.hf.embedding import calls
from pennyweight.serve.answering.pace import Pace
from pennyweight.serve.refused import RefusedError
from pennyweight.serve.versions.registering import kept
from pennyweight.serve.wire.openai_asked import Embed

TEXTS = ["The mill", "A sack of wheat was forty pounds, a sack of rye was thirty-six", "é", "In winter"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("encoder") / "bert", family="bert", context=64, noise=1.0)


@pytest.fixture(scope="module")
def here(tmp_path_factory, folder):
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENNYWEIGHT_HOME", str(home))
        with speaking(home / "team.db", home, version=kept(folder, "gpt"), limit_nusd=10_000) as found:
            yield found


@pytest.fixture
def client(here):
    with openai.OpenAI(api_key=here.key, base_url=f"{here.address}/v1", max_retries=0) as found:
        yield found


@pytest.fixture(scope="module")
def wanted(folder):
    """The mean of what transformers makes of each text, of length one."""
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        told = [model(**tokenizer(each, return_tensors="pt")).last_hidden_state[0].mean(0).numpy() for each in TEXTS]
    sizes = [len(tokenizer(each)["input_ids"]) for each in TEXTS]
    return np.stack([each / np.linalg.norm(each) for each in told]), sizes


@pytest.mark.parametrize("form", ["float", "base64"])
def test_vectors_are_those_of_transformers_and_every_token_is_on_the_row(here, client, wanted, form):
    vectors, sizes = wanted
    told = client.embeddings.with_raw_response.create(model="gpt", input=TEXTS, encoding_format=form)
    found = client.embeddings.create(model="gpt", input=TEXTS) if form == "base64" else told.parse()
    assert np.abs(np.array([each.embedding for each in found.data]) - vectors).max() < 1e-5
    assert [each.index for each in found.data] == [0, 1, 2, 3]
    assert found.usage.prompt_tokens == found.usage.total_tokens == sum(sizes)
    assert rows(here.store)[told.headers["x-request-id"]] == (sum(sizes), 0, 200, 10 * sum(sizes))


def test_one_text_or_its_tokens_are_embedded_alone(client, wanted):
    vectors, _ = wanted
    for given in (TEXTS[0], [TEXTS[0]]):
        (found,) = client.embeddings.create(model="gpt", input=given).data
        assert np.abs(np.array(found.embedding) - vectors[0]).max() < 1e-5
    (one,) = client.embeddings.create(model="gpt", input=[5, 6, 7]).data
    both = client.embeddings.create(model="gpt", input=[[5, 6, 7], [8]]).data
    assert np.abs(np.array(one.embedding) - np.array(both[0].embedding)).max() < 1e-5


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"input": ""}, "must have tokens"),
        ({"input": []}, "must have tokens"),
        ({"input": ["a"] * 2049}, "1 to 2048"),
        ({"input": [9999]}, "0 to 383"),
        ({"input": [[-1]]}, "0 to 383"),
        ({"input": [1.5]}, "one text, or the tokens"),
        ({"input": "word " * 64}, "maximum context length is 64"),
        ({"input": "a", "dimensions": 4}, "dimensions is not supported"),
    ],
)
def test_what_cannot_be_embedded_is_refused_and_costs_nothing(here, client, more, said):
    before = rows(here.store)
    with pytest.raises(openai.BadRequestError, match=said):
        client.embeddings.create(model="gpt", **more)
    assert rows(here.store) == before


def test_an_encoder_is_listed_and_does_not_chat(client):
    assert [each.id for each in client.models.list().data] == ["gpt"]
    with pytest.raises(openai.BadRequestError, match="no language model"):
        client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "a"}])


def test_a_budget_that_is_used_up_says_so(here, client):
    with pytest.raises(openai.RateLimitError, match="used up"):
        client.embeddings.create(model="gpt", input=[[1] * 60] * 20)


def test_long_texts_are_read_a_few_at_a_time_and_others_have_their_turn_in_between(here):
    embedder, turns = here.face.shelf.get("gpt").embedder, []

    async def ask():
        with ThreadPoolExecutor(1) as pool:
            embedder.pool, before = pool, embedder.pool
            try:
                many = asyncio.ensure_future(embedder.embed([np.array([5, 6])] * 100))
                many.add_done_callback(lambda _: turns.append("many"))
                await asyncio.sleep(0)
                await embedder.embed([np.array([7])])
                turns.append("one")
                return (await many)[0]
            finally:
                embedder.pool = before

    assert asyncio.run(ask()).shape == (100, 64)
    assert turns == ["one", "many"]
    assert [len(each) for each in calls([np.zeros(4000, int)] * 3)] == [2, 1]
    assert [len(each) for each in calls([np.zeros(9000, int)] * 2)] == [1, 1]


def test_more_than_one_request_may_take_is_refused(here):
    embedder = here.face.shelf.get("gpt").embedder
    with pytest.raises(RefusedError, match="too much for one request"):
        asyncio.run(replace(embedder, pace=Pace(1000.0)).embed([np.array([5])]))


def test_too_much_that_waits_is_told_to_come_again(here):
    embedder = replace(here.face.shelf.get("gpt").embedder, pace=Pace(0.01))
    embedder.pace.saw(10, 0.01)
    embedder._waiting = 10**9
    with pytest.raises(RefusedError, match="Too many requests wait"):
        asyncio.run(embedder.embed(embedder.tokens(Embed("gpt", ("a",)))))
