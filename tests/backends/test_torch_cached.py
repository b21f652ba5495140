"""A graph with a past answers like the network that reads everything again."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from pennyweight.backends.torch_cached import to_cached_onnx
from pennyweight.errors import BadInputError, UntraceableError
from pennyweight.runtimes.generation import OnnxGenerator, TorchGenerator

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "char_gpt.py"


@pytest.fixture(scope="module")
def recipe():
    spec = importlib.util.spec_from_file_location("recipe_of_cached", RECIPE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def network(recipe):
    torch.manual_seed(0)
    model = recipe.CharGPT(recipe.Shape(vocabulary=11, layers=2, heads=2, width=16, context=24)).eval()
    for weight in model.parameters():
        if weight.dim() == 2:
            torch.nn.init.normal_(weight, std=0.4)
    return model


@pytest.fixture(scope="module")
def graph(network):
    return to_cached_onnx(network)


@pytest.mark.parametrize("kind", ["torch", "onnx"])
@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("cuts", [(24,), (10, 11, 12, 24), tuple(range(1, 25))])
def test_reading_in_parts_is_reading_at_once(network, graph, kind, streams, cuts):
    model = TorchGenerator(network) if kind == "torch" else OnnxGenerator(graph)
    x = np.random.default_rng(0).integers(0, 11, (streams, 24))
    past, parts, start = model.start(streams), [], 0
    for stop in cuts:
        logits, past = model.step(x[:, start:stop], past)
        parts.append(logits)
        start = stop
    with torch.no_grad():
        whole = network(torch.from_numpy(x)).numpy()
    assert np.abs(whole).max() > 1
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=2e-5)


def test_the_graph_names_what_goes_in_and_out(graph):
    body = onnx.ModelProto.FromString(graph).graph
    assert [each.name for each in body.input] == ["x", *(f"past.{n}" for n in range(4))]
    assert [each.name for each in body.output] == ["y", *(f"now.{n}" for n in range(4))]


def test_exporting_leaves_the_network_as_it_was_and_is_reproducible(network, graph):
    network.train()
    assert to_cached_onnx(network) == graph
    assert network.training
    network.eval()


def test_a_network_that_cannot_continue_says_what_it_lacks():
    with pytest.raises(BadInputError, match="no_past"):
        to_cached_onnx(torch.nn.Linear(2, 2))


def test_a_network_that_cannot_be_traced_says_so(recipe):
    class Peeks(recipe.CharGPT):
        def cached(self, x, past):
            if int(x.sum()) > 3:
                return super().cached(x, past)
            return super().cached(x + 1, past)

    with pytest.raises(UntraceableError, match="cached"):
        to_cached_onnx(Peeks(recipe.Shape(vocabulary=5, layers=1, heads=1, width=8, context=8)))
