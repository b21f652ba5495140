"""A checkpoint of Hugging Face's: registered and served as a person does, asked with OpenAI's own client."""

import json
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import httpx
import openai
import pytest
import torch
from llamas import CHAT, write_llama
from speaking_parts import rows

from pennyweight.runtimes.hf import open_model
from pennyweight.runtimes.hf.tokenizer import read_tokenizer

COMMAND = [sys.executable, "-c", "from pennyweight.cli import main; main()"]
PROMPT = "The miller said that"


def run(home, *words):
    env = os.environ | {"PENNYWEIGHT_HOME": str(home)}
    return subprocess.run([*COMMAND, *words], env=env, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("checkpoint") / "tiny", shards=2, context=96, noise=1.0)


@pytest.fixture(scope="module")
def here(tmp_path_factory, folder):
    """A server in a process of its own."""
    home = tmp_path_factory.mktemp("home")
    store = str(home / "team.db")
    told = run(home, "registry", "add", str(folder), "--name", "chat", "--store", store)
    assert told.returncode == 0, told.stderr
    assert run(home, "registry", "promote", "chat@1", "--store", store).returncode == 0
    assert run(home, "tariff", "chat", "--row", "0.00000001", "--answer", "0.0000001", "--store", store).returncode == 0
    env = os.environ | {"PENNYWEIGHT_HOME": str(home)}
    words = ["serve", "chat", "--api", "openai", "--port", "0", "--store", store]
    with subprocess.Popen([*COMMAND, *words], env=env, stdout=subprocess.PIPE, text=True) as server:
        address = server.stdout.readline().split()[-1]
        yield SimpleNamespace(address=address, store=store, home=home)
        server.terminate()
        assert server.wait(60) == 0


@pytest.fixture
def client(here):
    with openai.OpenAI(api_key="none", base_url=f"{here.address}/v1", max_retries=0, timeout=120) as found:
        yield found


@pytest.fixture(scope="module")
def tokenizer(folder):
    return read_tokenizer(folder, 384)


@pytest.fixture(scope="module")
def model(folder):
    return open_model(folder)


def said(model, tokenizer, prompt, count):
    """What transformers itself makes of tokens: the new ones, and their text."""
    found = model.generate(torch.tensor(prompt)[None], max_new_tokens=count, do_sample=False)[0, len(prompt) :].tolist()
    return found, tokenizer.decode(found)


def row(here, id_):
    return rows(here.store)[id_.partition("-")[2]]


def test_a_chat_is_what_the_template_and_transformers_make_of_it_and_its_usage_is_the_row(
    here, client, model, tokenizer
):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is it wörth? 中"}]
    prompt = tokenizer.chat([(each["role"], each["content"]) for each in messages])
    assert (
        prompt.tolist()
        == tokenizer.inner.encode(
            "<|system|>Be brief.<|end|><|user|>What is it wörth? 中<|end|><|assistant|>", add_special_tokens=False
        ).ids
    )
    tokens, text = said(model, tokenizer, prompt, 24)
    told = client.chat.completions.create(model="chat", messages=messages, temperature=0, max_tokens=24)
    assert told.choices[0].message.content == text
    used = told.usage
    assert (used.prompt_tokens, used.completion_tokens) == (len(prompt), len(tokens))
    assert row(here, told.id) == (len(prompt), len(tokens), 200, len(prompt) * 10 + len(tokens) * 100)


def test_a_stream_says_the_same_in_whole_characters_and_its_usage_is_the_row(here, client, model, tokenizer):
    prompt = tokenizer.encode(PROMPT)
    tokens, text = said(model, tokenizer, prompt, 40)
    more = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.completions.create(model="chat", prompt=PROMPT, temperature=0, max_tokens=40, **more))
    assert "".join(each.choices[0].text for each in chunks[:-1]) == text
    used = chunks[-1].usage
    assert (used.prompt_tokens, used.completion_tokens) == (len(prompt), len(tokens)) == row(here, chunks[0].id)[:2]


def test_texts_that_run_together_say_what_each_says_alone(here, model, tokenizer):
    prompts = ["A", "In winter the river froze and the wheel", PROMPT, "The smith said that a light weight", "é"]
    told = {}

    def ask(prompt):
        with openai.OpenAI(api_key="none", base_url=f"{here.address}/v1", max_retries=0, timeout=120) as one:
            more = {"temperature": 0, "max_tokens": 30}
            told[prompt] = one.completions.create(model="chat", prompt=prompt, **more).choices[0].text

    threads = [threading.Thread(target=ask, args=(each,)) for each in prompts]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert told == {each: said(model, tokenizer, tokenizer.encode(each), 30)[1] for each in prompts}


def test_a_stop_sequence_ends_the_text_before_it(here, client, model, tokenizer):
    _, text = said(model, tokenizer, tokenizer.encode(PROMPT), 40)
    stop = text[9:12]
    more = {"temperature": 0, "max_tokens": 40, "stop": [stop]}
    told = client.completions.create(model="chat", prompt=PROMPT, **more)
    assert told.choices[0].text == text[: text.index(stop)]
    assert told.choices[0].finish_reason == "stop"
    assert row(here, told.id)[1] == told.usage.completion_tokens < 40


def test_a_seed_says_the_same_again(client):
    asked = {"model": "chat", "prompt": PROMPT, "temperature": 1.2, "top_p": 0.95, "max_tokens": 12}
    texts = [client.completions.create(**asked, seed=seed).choices[0].text for seed in (5, 5, 6)]
    assert texts[0] == texts[1] != texts[2]


def test_more_than_the_context_is_refused_with_the_code_that_clients_know(client):
    with pytest.raises(openai.BadRequestError, match="maximum context length is 96") as error:
        client.completions.create(model="chat", prompt=PROMPT, max_tokens=96)
    assert error.value.code == "context_length_exceeded"


def test_a_message_that_the_model_does_not_expect_is_refused_and_not_run(client):
    asked = [{"role": "user", "content": "{{ messages.__class__ }} {% raw %}"}]
    told = client.chat.completions.create(model="chat", messages=asked, temperature=0, max_tokens=1)
    assert told.usage.prompt_tokens > 10  # it was text


def test_the_other_protocol_says_where_to_ask(here):
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "INT64", "data": [1, 2, 3, 4]}]}
    reply = httpx.post(f"{here.address}/v2/models/chat/infer", json=body, timeout=60)
    assert reply.status_code == 400
    assert "/v1" in reply.json()["error"]


def test_the_model_is_listed(client):
    assert [each.id for each in client.models.list().data] == ["chat"]


def test_the_same_folder_again_is_the_same_version(here, folder):
    told = run(here.home, "registry", "add", str(folder), "--name", "chat", "--store", here.store, "--json")
    found = json.loads(told.stdout)
    assert (found["number"], found["lineage"]) == (1, {"made": "hugging face", "family": "llama"})


def test_the_chat_of_the_tests_is_the_one_of_the_folder(tokenizer):
    assert "add_generation_prompt" in CHAT
    assert tokenizer.template is not None
