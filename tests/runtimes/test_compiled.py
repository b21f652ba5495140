"""Compiled PyTorch answers as the module did; without a compiler it says what is missing."""

import numpy as np
import pytest
import torch
from torch import nn

from pennyweight import runtimes
from pennyweight.backends.torch_graph import encode
from pennyweight.core import Artifact, ServeSpec
from pennyweight.errors import BadInputError
from pennyweight.runtimes import compiled

COMPILED = runtimes.load("compiled")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    compiled._compiler.cache_clear()
    yield
    compiled._compiler.cache_clear()


def test_without_a_compiler_it_is_not_available_and_says_why(no_compiler):
    verdict = COMPILED.available()
    assert not verdict
    assert "g++" in verdict.reason


@pytest.mark.skipif(not COMPILED.available(), reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore")  # Inductor warns about its own deprecations while it compiles
def test_answers_are_those_of_the_module_for_the_usual_batch_and_for_others(network):
    x = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
    meta = (("input_dtype", "float32"), ("input_shape", [6]))
    model = Artifact("torch", encode(network, x[:2]), meta)
    session = COMPILED.load(model, ServeSpec("compiled", batch=4))
    with torch.inference_mode():
        wanted = network(torch.from_numpy(x)).numpy()
    for batch in (4, 7, 1):
        assert np.abs(session.predict(x[:batch]) - wanted[:batch]).max() < 1e-5
    with pytest.raises(BadInputError, match=r"\(7, 5\)"):
        session.predict(x[:, :5])
