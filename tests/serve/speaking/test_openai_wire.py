"""OpenAI's protocol is read as its clients write it; what would change the answer and cannot be done is refused."""

import json

import pytest

from pennyweight.serve.refused import RefusedError
from pennyweight.serve.wire import openai, openai_asked

CHAT = {"model": "gpt", "messages": [{"role": "user", "content": "hello"}]}
TEXT = {"model": "gpt", "prompt": "hello"}


def chat(**more):
    return openai_asked.read_chat(json.dumps(CHAT | more).encode())


def completion(**more):
    return openai_asked.read_completion(json.dumps(TEXT | more).encode())


def test_a_chat_is_read_with_all_that_says_how():
    ask = chat(max_tokens=5, max_completion_tokens=7, temperature=0, top_p=0.5, seed=3, stop="x", stream=True)
    assert (ask.chat, ask.messages, ask.most, ask.stops) == (True, (("user", "hello"),), 7, ("x",))
    assert (ask.temperature, ask.top_p, ask.seed, ask.stream, ask.usage) == (0.0, 0.5, 3, True, False)


def test_content_may_come_in_parts_of_text():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert chat(messages=[{"role": "user", "content": parts}]).messages == (("user", "ab"),)


@pytest.mark.parametrize(
    ("prompt", "read"), [("hi", "hi"), (["hi"], "hi"), ([1, 2], (1, 2)), ([[1, 2]], (1, 2)), ([], ())]
)
def test_a_prompt_is_a_text_or_tokens(prompt, read):
    ask = completion(prompt=prompt)
    assert (ask.prompt, ask.most) == (read, 16)


def test_what_nobody_knows_and_what_says_nothing_is_passed_over():
    ask = chat(user="u", metadata={"a": "b"}, store=True, tools=[], logprobs=False, n=1, presence_penalty=0, stop=None)
    assert ask == chat()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"n": 2}, "n must be 1"),
        ({"tools": [{"type": "function"}]}, "tools is not supported"),
        ({"logprobs": True}, "logprobs is not supported"),
        ({"presence_penalty": 0.5}, "presence_penalty is not supported"),
        ({"logit_bias": {"1": 5}}, "logit_bias is not supported"),
        ({"response_format": {"type": "json_object"}}, "response_format must be text"),
        ({"temperature": 2.5}, "temperature must be from 0 to 2"),
        ({"top_p": -0.1}, "top_p must be from 0 to 1"),
        ({"max_tokens": 0}, "max_tokens must be 1"),
        ({"seed": -1}, "seed must be"),
        ({"stop": ["a"] * 5}, "stop may be up to 4"),
        ({"stop": [""]}, "stop may be up to 4"),
        ({"messages": []}, "messages must hold"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "must be text"),
        ({"messages": "hello"}, "no such request"),
        ({"max_tokens": "many"}, "no such request"),
    ],
)
def test_what_cannot_be_done_is_said(more, said):
    with pytest.raises(RefusedError, match=said) as error:
        chat(**more)
    assert error.value.status == 400


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"prompt": ["a", "b"]}, "ask again for each"),
        ({"prompt": [True]}, "ask again for each"),
        ({"prompt": [[1], [2]]}, "ask again for each"),
        ({"echo": True}, "echo is not supported"),
        ({"best_of": 3}, "best_of must be 1"),
        ({"prompt": None}, "no such request"),
    ],
)
def test_what_cannot_be_done_with_a_text_is_said(more, said):
    with pytest.raises(RefusedError, match=said):
        completion(**more)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"model": "gpt"}'])
def test_what_is_no_request_is_refused(body):
    for read in (openai_asked.read_chat, openai_asked.read_completion):
        with pytest.raises(RefusedError, match="no such request"):
            read(body)


@pytest.mark.parametrize(
    "wrong", [{"a": 1}, 3, [{"a": 1}], [[1], {"a": 1}], ["a", 3], ["a", None], [[{}]], [True], [[["a"]]]]
)
def test_what_is_neither_texts_nor_tokens_is_not_embedded(wrong):
    with pytest.raises(RefusedError) as refused:
        openai_asked.read_embedding(json.dumps({"model": "gpt", "input": wrong}).encode())
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("right", "inputs"),
    [("a", ("a",)), (["a"], ("a",)), (["a", "b"], ("a", "b")), ([1, 2], ((1, 2),)), ([[1], [2, 3]], ((1,), (2, 3)))],
)
def test_one_or_several_texts_or_tokens_are_embedded(right, inputs):
    assert openai_asked.read_embedding(json.dumps({"model": "gpt", "input": right}).encode()).inputs == inputs


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 503])
def test_every_refusal_has_the_shape_that_clients_read(status):
    told = json.loads(openai.refused(RefusedError(status, "Why.")))["error"]
    assert set(told) == {"message", "type", "param", "code"}
    assert told["message"] == "Why."
    quota = json.loads(openai.refused(RefusedError(429, "Why.", 1.0, "insufficient_quota")))["error"]
    assert quota["code"] == "insufficient_quota"
