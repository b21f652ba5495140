"""Texts of different lengths together, by torch and by OpenVINO on pages: what transformers makes of each alone."""

import json

import numpy as np
import pytest
import torch
from llamas import write_llama

from pennyweight.core import ServeSpec
from pennyweight.engine.shrinking import Wish, plan, shrink
from pennyweight.errors import BadInputError
from pennyweight.runtimes.hf import open_model
from pennyweight.runtimes.hf.chorus import TorchChorus
from pennyweight.runtimes.hf.opening import open_hf, runtime_for
from pennyweight.runtimes.hf.paged import Blocks

CONTEXT, VOCABULARY = 96, 384
LENGTHS = (1, 5, 33, 40, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("chorus") / "tiny", context=CONTEXT, noise=1.0)


@pytest.fixture(scope="module")
def model(folder):
    return open_model(folder)


@pytest.fixture(scope="module", params=["torch", "openvino"])
def chorus(request, folder):
    return open_hf(folder, ServeSpec(runtime=request.param))[0]


def prompts(*lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, VOCABULARY, size) for size in lengths]


def alone(model, prompt, count):
    """What transformers itself continues a text with."""
    more = {"max_new_tokens": count, "do_sample": False, "eos_token_id": None, "pad_token_id": 1}
    tokens = torch.tensor(prompt)[None]
    return model.generate(tokens, attention_mask=torch.ones_like(tokens), **more)[0, len(prompt) :].tolist()


def sung(chorus, texts, count):
    """What a chorus continues texts with, all of them together."""
    logits, memory = chorus.prefill(texts)
    made = [[int(each)] for each in logits.argmax(1)]
    for _ in range(count - 1):
        logits, memory = chorus.step(np.array([each[-1] for each in made]), memory)
        for row, token in zip(made, logits.argmax(1), strict=True):
            row.append(int(token))
    return made


def test_texts_of_different_lengths_go_on_as_transformers_says(chorus, model):
    texts = prompts(*LENGTHS)
    assert sung(chorus, texts, 20) == [alone(model, each, 20) for each in texts]


def test_who_joins_and_who_leaves_changes_nothing_for_the_others(chorus, model):
    first, second, third = prompts(7, 34, 12, seed=1)
    logits, memory = chorus.prefill([first, second])
    made = [[int(each)] for each in logits.argmax(1)]
    fresh, joined = chorus.prefill([third])
    memory = chorus.gather([(memory, [1]), (joined, [0])])
    made = [made[1], [int(fresh[0].argmax())]]
    for _ in range(11):
        logits, memory = chorus.step(np.array([each[-1] for each in made]), memory)
        for row, token in zip(made, logits.argmax(1), strict=True):
            row.append(int(token))
    assert made == [alone(model, second, 12), alone(model, third, 12)]


def test_a_text_read_in_parts_is_read_as_a_whole(chorus):
    (text,) = prompts(50, seed=2)
    whole, _ = chorus.prefill([text])
    _, memory = chorus.prefill([text[:20]])
    parts, _ = chorus.read(text[None, 20:], memory)
    assert np.abs(whole - parts).max() < 1e-4


def test_two_texts_may_go_on_from_one_memory(chorus):
    """Whichever goes first, the other one sees nothing of it; also in the middle of a block, and at its end."""
    for size in (20, 32, 40):
        (text,) = prompts(size, seed=size)
        _, memory = chorus.prefill([text])
        once, _ = chorus.step(np.array([3]), memory)
        other, later = chorus.step(np.array([9]), memory)
        again, _ = chorus.step(np.array([3]), memory)
        both, _ = chorus.step(np.array([3, 9]), chorus.gather([(memory, [0, 0])]))
        assert np.abs(once - again).max() < 1e-5
        assert np.abs(np.concatenate([once, other]) - both).max() < 1e-4
        assert np.abs(once - other).max() > 0.01
        whole, _ = chorus.prefill([np.array([*text, 9, 5])])
        assert np.abs(chorus.step(np.array([5]), later)[0] - whole).max() < 1e-4


def test_more_than_the_context_is_refused(chorus):
    with pytest.raises(BadInputError, match="cannot go on"):
        chorus.prefill(prompts(CONTEXT + 1))
    _, memory = chorus.prefill(prompts(CONTEXT))
    with pytest.raises(BadInputError, match="cannot go on"):
        chorus.step(np.array([1]), memory)


def test_a_token_that_the_model_does_not_have_is_refused(chorus):
    with pytest.raises(BadInputError, match="cannot go on"):
        chorus.prefill([np.array([1, VOCABULARY])])


def test_blocks_of_texts_that_nobody_has_are_free_again(folder):
    chorus, _ = open_hf(folder, ServeSpec(runtime="openvino"))
    before = chorus._blocks.free
    for _ in range(3):
        logits, memory = chorus.prefill(prompts(*LENGTHS))
        _, other = chorus.step(logits.argmax(1), memory)
        _, again = chorus.step(logits.argmax(1), memory)
        assert chorus._blocks.free < before
        del memory, other, again
    assert chorus._blocks.free == before


def test_a_text_that_another_thread_lets_go_of_is_counted_by_who_reads_next():
    blocks = Blocks(2)
    text = blocks.text()
    blocks.add(text)
    del text
    assert (blocks._free, list(blocks._left)) == ([1], [[0]])
    assert blocks.free == 2


def test_running_out_of_blocks_is_said(folder):
    chorus, _ = open_hf(folder, ServeSpec(runtime="openvino"))
    many = [prompts(CONTEXT)[0]] * (chorus._blocks.count // 3 + 1)
    with pytest.raises(BadInputError, match="no memory left"):
        chorus.prefill(many)
    chorus.prefill(many[:-1])


@pytest.mark.parametrize("family", ["mistral", "qwen2", "qwen3"])
def test_a_family_of_llamas_shape_is_served_on_pages_and_says_the_same(tmp_path, family):
    folder = write_llama(tmp_path / family, family=family, context=64, noise=1.0, tied=family == "qwen2")
    assert runtime_for(folder) == "openvino"
    texts = prompts(3, 20, seed=3)
    model = open_model(folder)
    assert sung(open_hf(folder, ServeSpec("openvino"))[0], texts, 12) == [alone(model, each, 12) for each in texts]


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "phi", "phi3", "gemma2", "mixtral", "qwen3_moe"])
def test_any_other_family_is_served_by_torch_and_says_the_same(tmp_path, family):
    folder = write_llama(tmp_path / family, family=family, context=64, noise=1.0)
    assert runtime_for(folder) == "torch"
    with pytest.raises(BadInputError, match="OpenVINO does not serve"):
        runtime_for(folder, "openvino")
    texts = prompts(3, 20, seed=3)
    model = open_model(folder)
    assert sung(TorchChorus(model, 64), texts, 12) == [alone(model, each, 12) for each in texts]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_weights_are_used_as_they_are(tmp_path, dtype):
    folder = write_llama(tmp_path / "half", dtype=dtype, context=64, noise=1.0)
    texts = prompts(3, 20, seed=4)
    model = open_model(folder, "float32")
    assert sung(open_hf(folder, ServeSpec("openvino"))[0], texts, 12) == [alone(model, each, 12) for each in texts]


def test_positions_that_are_slowed_for_long_texts_are_those_of_transformers(tmp_path):
    folder = write_llama(tmp_path / "long", context=64, noise=1.0)
    config = json.loads((folder / "config.json").read_text())
    for rope in (
        {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0},
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
            "rope_theta": 500.0,
        },
    ):
        (folder / "config.json").write_text(json.dumps(config | {"rope_parameters": rope}))
        (text,) = prompts(40, seed=5)
        told, _ = open_hf(folder, ServeSpec("openvino"))[0].prefill([text])
        with torch.inference_mode():
            wanted = open_model(folder)(torch.tensor(text)[None]).logits[0, -1].numpy()
        assert np.abs(told[0] - wanted).max() < 1e-4


@pytest.fixture(scope="module", params=["int8", "int4"])
def shrunk(request, tmp_path_factory):
    """A checkpoint with whole-number weights, and the same numbers as transformers widens them."""
    place = tmp_path_factory.mktemp(request.param)
    source = write_llama(place / "wide", width=128, context=64, noise=1.0)
    shrink(plan(source, Wish(to=request.param)), place / "small")
    return place / "small"


def test_weights_of_whole_numbers_stay_so_and_say_what_transformers_makes_of_them(shrunk):
    assert runtime_for(shrunk) == "openvino"
    texts, model = prompts(3, 20, seed=6), open_model(shrunk)
    chorus, _ = open_hf(shrunk, ServeSpec("openvino"))
    told, _ = chorus.prefill(texts)
    with torch.inference_mode():
        wanted = [model(torch.tensor(each)[None]).logits[0, -1].numpy() for each in texts]
    assert np.abs(told - np.stack(wanted)).max() < 1e-4


def test_rounding_what_goes_in_changes_little_but_something(shrunk):
    texts = prompts(3, 20, seed=7)
    exact, rounded = (
        open_hf(shrunk, ServeSpec("openvino", precision=each))[0].prefill(texts)[0] for each in ("float32", "int8")
    )
    assert 0 < np.abs(exact - rounded).max() < 0.2 * exact.std()
