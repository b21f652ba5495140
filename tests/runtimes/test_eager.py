"""PyTorch executes stored graphs as the module itself would be executed."""

import numpy as np
import pytest
import torch
from torch import nn

from pennyweight import runtimes
from pennyweight.backends.torch_graph import encode
from pennyweight.core import Artifact, ServeSpec
from pennyweight.errors import BadInputError, CorruptError

TORCH = runtimes.load("torch")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)).eval()


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(9, 1, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def model(network, x):
    meta = (("input_dtype", "float32"), ("input_shape", [1, 8, 8]))
    return Artifact("torch", encode(network, x[:2]), meta)


def answers(network, x):
    with torch.inference_mode():
        return network(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))).numpy()


@pytest.mark.parametrize("batch", [1, 9])
def test_answers_are_those_of_the_module_bit_by_bit(network, model, x, batch):
    session = TORCH.load(model, ServeSpec("torch"))
    assert np.array_equal(session.predict(x[:batch]), answers(network, x[:batch]))


def test_rows_that_may_not_be_written_are_answered_without_a_warning(network, model, x):
    given = np.frombuffer(x.tobytes(), np.float32).reshape(x.shape)
    assert np.array_equal(TORCH.load(model, ServeSpec("torch")).predict(given), answers(network, x))


def test_bfloat16_is_close_but_not_equal(network, model, x):
    wanted = answers(network, x)
    found = TORCH.load(model, ServeSpec("torch", precision="bfloat16")).predict(x)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


def test_tokens_stay_whole_numbers_in_bfloat16():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(500, 8), nn.Linear(8, 5)).eval()
    tokens = np.arange(490, 500).reshape(2, 5)
    model = Artifact("torch", encode(network, tokens), (("input_dtype", "int64"), ("input_shape", [5])))
    found = TORCH.load(model, ServeSpec("torch", precision="bfloat16")).predict(tokens)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(tokens)).numpy()
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


def test_threads_are_those_asked_for(model, x):
    TORCH.load(model, ServeSpec("torch", threads=2)).predict(x)
    assert torch.get_num_threads() == 2
    TORCH.load(model, ServeSpec("torch", threads=1)).predict(x)
    assert torch.get_num_threads() == 1


def test_other_types_and_views_are_taken_too(network, model, x):
    turned = x.astype(np.float64).transpose(0, 1, 3, 2)
    found = TORCH.load(model, ServeSpec("torch")).predict(turned)
    assert np.abs(found - answers(network, turned)).max() < 1e-6


def test_a_wrong_shape_is_refused_with_what_was_given(model, x):
    with pytest.raises(BadInputError, match=r"\(9, 1, 8, 7\)"):
        TORCH.load(model, ServeSpec("torch")).predict(x[..., :7])


def test_files_that_hold_no_graph_are_corrupt(model):
    files = dict(model.files)
    for name in files:
        with pytest.raises(CorruptError):
            TORCH.load(Artifact("torch", tuple({**files, name: b"{}"}.items()), model.meta), ServeSpec("torch"))
