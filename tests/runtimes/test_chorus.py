"""Texts of different lengths that are continued together say what each would say alone, whoever joins or leaves."""

import sys
from pathlib import Path

import numpy as np
import pytest

from pennyweight.core import Artifact, ServeSpec
from pennyweight.engine.answers import open_session
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.chorus import OnnxChorus, Rereading, open_chorus
from pennyweight.runtimes.tokens import Characters, tokenizer_of

sys.path.append(str(Path(__file__).parents[1] / "serve"))

from speaking_parts import ALPHABET, CONTEXT, artifact, network

SERVE = ServeSpec("onnxruntime")


def alone(tokens):
    """What the network says follows a text that nobody shares a batch with."""
    import torch

    with torch.inference_mode():
        return network()(torch.tensor([list(tokens)]))[0, -1].numpy()


@pytest.fixture(params=["keeping", "rereading"])
def chorus(request):
    made = artifact(together=request.param == "keeping")
    found = open_chorus(made, SERVE, open_session(made))
    assert isinstance(found, OnnxChorus if request.param == "keeping" else Rereading)
    return found


@pytest.mark.parametrize("sizes", [(7, 1, 30), (9, 8, 10), (30, 7, 31)], ids=str)
def test_texts_that_join_and_leave_go_on_as_if_alone(chorus, sizes):
    rng = np.random.default_rng(1)
    texts = [list(rng.integers(0, len(ALPHABET), size)) for size in sizes]
    logits, memory = chorus.prefill([np.array(each) for each in texts])
    for step in range(12):
        for row, text in enumerate(texts):
            np.testing.assert_allclose(logits[row], alone(text), atol=2e-4)
        if step == 4:  # the last, the longest, leaves, and what only padded the others must be forgotten
            memory = chorus.gather([(memory, [0, 1])])
            texts.pop()
        if step == 7:  # a longer one joins, and another leaves, in one go
            fresh = list(rng.integers(0, len(ALPHABET), 21))
            _, read = chorus.prefill([np.array(fresh)])
            memory = chorus.gather([(memory, [1]), (read, [0])])
            texts = [texts[1], fresh]
        tokens = rng.integers(0, len(ALPHABET), len(texts))
        logits, memory = chorus.step(tokens, memory)
        for text, token in zip(texts, tokens.tolist(), strict=True):
            text.append(token)


@pytest.mark.parametrize("bite", [1, 5, 40])
def test_a_text_that_is_read_in_parts_is_read_as_if_at_once(chorus, bite):
    texts = np.random.default_rng(2).integers(0, len(ALPHABET), (2, 41))
    _, memory = chorus.prefill(list(texts[:, :1]))
    for at in range(1, 41, bite):
        logits, memory = chorus.read(texts[:, at : at + bite], memory)
    for told, text in zip(logits, texts, strict=True):
        np.testing.assert_allclose(told, alone(text), atol=2e-4)


def test_a_text_may_be_as_long_as_the_context_and_no_longer(chorus):
    text = np.random.default_rng(2).integers(0, len(ALPHABET), CONTEXT)
    logits, memory = chorus.prefill([text[:-1]])
    logits, memory = chorus.step(text[-1:], memory)
    np.testing.assert_allclose(logits[0], alone(text), atol=2e-4)
    with pytest.raises(BadInputError):
        chorus.step(text[:1], memory)


def test_a_graph_that_is_none_is_refused():
    made = artifact()
    broken = Artifact("onnx", (("model.onnx", made.file("model.onnx")), ("ragged.onnx", b"no graph")), made.meta)
    with pytest.raises(CorruptError):
        open_chorus(broken, SERVE, open_session(made))


def test_characters_are_told_as_they_were_read_one_by_one_too():
    tokenizer = tokenizer_of(artifact())
    assert isinstance(tokenizer, Characters)
    text = "a bad cab.\né"
    tokens = tokenizer.encode(text).tolist()
    assert len(tokens) == len(text)
    assert tokenizer.decode(tokens) == text
    pieces = tokenizer.pieces()
    assert "".join([*map(pieces.put, tokens), pieces.end()]) == text


def test_a_character_that_was_never_seen_is_named():
    with pytest.raises(BadInputError, match="never seen the character 'z'"):
        Characters("abc").encode("abz")
    with pytest.raises(BadInputError, match="each character once"):
        Characters("aa")
