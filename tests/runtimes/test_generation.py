"""Continuing texts: the same tokens in every runtime, pasts that stay what they are, refusals that help."""

import importlib.util
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from pennyweight.backends import onnx_quantize
from pennyweight.backends.torch_cached import to_cached_onnx
from pennyweight.core import Artifact, ServeSpec
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.generation import OnnxGenerator, TorchGenerator, generate, open_generator

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "char_gpt.py"
CONTEXT, VOCABULARY = 32, 13


@pytest.fixture(scope="module")
def network():
    spec = importlib.util.spec_from_file_location("recipe_of_generation", RECIPE)
    recipe = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = recipe
    spec.loader.exec_module(recipe)
    torch.manual_seed(1)
    model = recipe.CharGPT(recipe.Shape(VOCABULARY, layers=2, heads=2, width=64, context=CONTEXT)).eval()
    for weight in model.parameters():
        if weight.dim() == 2:
            torch.nn.init.normal_(weight, std=0.15)
    return model


@pytest.fixture(scope="module")
def graph(network):
    return to_cached_onnx(network)


@pytest.fixture(scope="module")
def generators(network, graph):
    artifact = Artifact("onnx", (("cached.onnx", graph),), (("input_shape", [CONTEXT]),))
    return {
        "torch": TorchGenerator(network),
        "onnxruntime": open_generator(artifact, ServeSpec("onnxruntime")),
        "openvino": open_generator(artifact, ServeSpec("openvino")),
        "openvino bf16": open_generator(artifact, ServeSpec("openvino", precision="bfloat16")),
    }


@pytest.fixture
def prompt():
    return np.random.default_rng(3).integers(0, VOCABULARY, (3, 7))


def by_reading_again(network, prompt, tokens):
    text = torch.from_numpy(prompt)
    with torch.no_grad():
        for _ in range(tokens):
            text = torch.cat((text, network(text)[:, -1:].argmax(-1)), dim=1)
    return text[:, prompt.shape[1] :].numpy()


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime", "openvino"])
def test_tokens_are_those_of_reading_everything_again(network, generators, runtime, prompt):
    tokens = CONTEXT - prompt.shape[1]
    written = np.stack(list(generate(generators[runtime], prompt, tokens)), axis=1)
    assert np.array_equal(written, by_reading_again(network, prompt, tokens))
    assert len(np.unique(written)) > 2


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime", "openvino"])
def test_two_continuations_of_one_past_do_not_disturb_each_other(generators, runtime, prompt):
    model = generators[runtime]
    _, past = model.step(prompt, model.start(3))
    one, _ = model.step(prompt[:, :1], past)
    before = one.copy()
    other, _ = model.step((prompt[:, :1] + 1) % VOCABULARY, past)
    again, _ = model.step(prompt[:, :1], past)
    assert np.array_equal(one, before)
    assert not np.allclose(one, other)
    np.testing.assert_allclose(again, one, atol=1e-6)


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime", "openvino"])
def test_tokens_that_are_a_slice_of_others_are_read_from_memory_that_lives(generators, runtime):
    model, rng = generators[runtime], np.random.default_rng(0)
    for streams in (1, 3, 64):
        wide = rng.integers(0, VOCABULARY, (streams, CONTEXT))
        sliced, _ = model.step(wide[:, :20], model.start(streams))
        whole, _ = model.step(wide[:, :20].copy(), model.start(streams))
        np.testing.assert_allclose(sliced, whole, atol=1e-5)


def test_bfloat16_is_close(generators, prompt):
    whole, _ = generators["torch"].step(prompt, generators["torch"].start(3))
    rough, _ = generators["openvino bf16"].step(prompt, generators["openvino bf16"].start(3))
    assert 0 < np.abs(whole - rough).max() < 0.1 * np.abs(whole).max()


@pytest.mark.parametrize("how", ["dynamic", "blocks"])
def test_quantised_graphs_stay_close_token_by_token(network, graph, how, prompt):
    made = onnx_quantize.dynamic(graph) if how == "dynamic" else onnx_quantize.blocks(graph, 8)
    assert onnx_quantize.has_integers(made)
    model, x = OnnxGenerator(made), np.resize(prompt, (2, CONTEXT))
    past, parts = model.start(2), []
    for at in range(CONTEXT):
        logits, past = model.step(x[:, at : at + 1], past)
        parts.append(logits)
    with torch.no_grad():
        whole = network(torch.from_numpy(x)).numpy()
    gap = np.abs(np.concatenate(parts, axis=1) - whole)
    assert 0 < gap.max() < 0.1 * np.abs(whole).max()


def test_drawing_follows_the_models_own_odds_and_the_seed(generators, prompt):
    model, many = generators["onnxruntime"], np.repeat(prompt[:1], 4000, axis=0)
    logits, _ = model.step(prompt[:1], model.start(1))
    odds = np.exp(logits[0, -1] - np.logaddexp.reduce(logits[0, -1]))
    drawn = next(generate(model, many, 1, temperature=1.0, seed=5))
    share = np.bincount(drawn, minlength=VOCABULARY) / len(drawn)
    assert np.abs(share - odds).max() < 5 * np.sqrt(0.25 / len(drawn))
    same = next(generate(model, many, 1, temperature=1.0, seed=5))
    assert np.array_equal(drawn, same)


def test_a_generator_writes_no_more_than_asked_for(generators, prompt):
    assert len(list(generate(generators["torch"], prompt, 2))) == 2
    assert len(list(islice(generate(generators["torch"], prompt, 9), 1))) == 1


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime", "openvino"])
def test_a_text_longer_than_the_context_is_refused(generators, runtime):
    model = generators[runtime]
    with pytest.raises(BadInputError, match="longer"):
        model.step(np.zeros((1, CONTEXT + 1), np.int64), model.start(1))


def test_prompts_and_temperatures_that_make_no_sense_are_refused(generators, prompt):
    with pytest.raises(BadInputError, match="prompt"):
        next(generate(generators["torch"], prompt[:, :0], 1))
    with pytest.raises(BadInputError, match="temperature"):
        next(generate(generators["torch"], prompt, 1, temperature=-1.0))


def test_an_artifact_without_a_graph_that_continues_is_refused(graph):
    with pytest.raises(CorruptError, match=r"cached\.onnx"):
        open_generator(Artifact("onnx", (("model.onnx", graph),)), ServeSpec("onnxruntime"))
    with pytest.raises(BadInputError, match="bfloat16"):
        open_generator(Artifact("onnx", (("cached.onnx", graph),)), ServeSpec("onnxruntime", precision="bfloat16"))
