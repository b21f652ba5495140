"""Modules survive as files with equal answers, and files that are no graph are refused."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from pennyweight.backends.torch_graph import encode, trace
from pennyweight.core import Artifact
from pennyweight.errors import CorruptError, UntraceableError
from pennyweight.runtimes.torch_graph import decode


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("scale", torch.tensor(0.5), persistent=False)

    def forward(self, x):
        return functional.relu(self.norm(self.conv(x)) * self.scale + x, inplace=True)


class Attention(nn.Module):
    def __init__(self, width=16, heads=2):
        super().__init__()
        self.heads = heads
        self.mixed = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        parts = self.mixed(x).split(width, dim=2)
        query, key, value = (each.view(batch, tokens, self.heads, -1).transpose(1, 2) for each in parts)
        score = query @ key.transpose(-2, -1) / (width // self.heads) ** 0.5
        hidden = torch.full((tokens, tokens), float("-inf")).triu(1)
        answer = torch.softmax(score + hidden, dim=-1) @ value
        return self.out(answer.transpose(1, 2).reshape(batch, tokens, width))


class Gpt(nn.Module):
    def __init__(self, vocabulary=20, tokens=6, width=16):
        super().__init__()
        self.token, self.place = nn.Embedding(vocabulary, width), nn.Embedding(tokens, width)
        self.attention, self.norm = Attention(width), nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.token.weight

    def forward(self, x):
        h = self.token(x) + self.place(torch.arange(x.shape[1]))
        mixed = h + self.attention(self.norm(h))
        return self.head(functional.gelu(mixed, approximate="tanh"))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(inplace=True),
        Residual(),
        nn.MaxPool2d(2),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(36, 5),
    )


IMAGES, TOKENS = (1, 8, 8), (6,)
MODELS = {
    "convolutional": (convolutional, IMAGES),
    "gpt": (Gpt, TOKENS),
    "recurrent": (Recurrent, (7, 5)),
    "perceptron": (lambda: nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.BatchNorm1d(8), nn.Linear(8, 2)), (6,)),
}


def rows(name, count):
    generator = np.random.default_rng(count)
    if name == "gpt":
        return generator.integers(0, 20, (count, *TOKENS))
    return generator.normal(size=(count, *MODELS[name][1])).astype(np.float32)


def stored(model, example):
    return Artifact("torch", encode(model, example))


@pytest.mark.parametrize("name", MODELS)
def test_a_stored_module_answers_as_the_original_bit_by_bit_on_any_batch(name):
    model = MODELS[name][0]().eval()
    again = decode(stored(model, rows(name, 2)))
    for count in (1, 2, 5):
        x = torch.from_numpy(rows(name, count))
        with torch.no_grad():
            assert torch.equal(model(x), again(x))


def test_storing_twice_gives_equal_bytes_and_leaves_the_model_in_its_mode():
    model = convolutional().train()
    assert encode(model, rows("convolutional", 2)) == encode(model, rows("convolutional", 2))
    assert model.training


def test_tied_weights_are_stored_once():
    model = Gpt()
    weights = sum(each.numel() for each in model.parameters())
    assert len(stored(model, rows("gpt", 2)).file("weights.safetensors")) < 4 * weights + 2_000


def sparse_and_shared():
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.Linear(64, 4))
    with torch.no_grad():
        model[0].weight.mul_(torch.rand(64, 64) < 0.1)
        model[2].weight.copy_((model[2].weight * 50).round())
    return model


def test_zeros_and_shared_values_make_the_file_smaller_and_come_back_bit_by_bit():
    model, example = sparse_and_shared(), np.ones((2, 64), dtype=np.float32)
    packed = stored(model, example)
    body = body_of(packed)
    assert body["schema"] == 2
    assert {name: record["parts"] for name, record in body["packed"].items()} == {
        "0.weight": ["bitmap", "signs", "values"],
        "2.weight": ["table", "indices"],
    }
    dense = 4 * sum(each.numel() for each in model.parameters())
    assert packed.disk_byte < dense / 2
    held = decode(packed).state_dict().values()
    for ours in model.parameters():
        assert any(ours.shape == each.shape and torch.equal(bits(ours), bits(each)) for each in held)


def bits(tensor):
    return tensor.detach().view(torch.int32)


def test_a_dense_module_is_stored_as_before(linear):
    body = body_of(linear)
    assert body["schema"] == 1
    assert "packed" not in body


class Branching(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


class FixedBatch(nn.Module):
    def forward(self, x):
        return x.reshape(2, -1) * torch.ones(2, 6)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls.add_(1)
        return x + self.calls


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Exotic(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


@pytest.mark.parametrize("kind", [Branching, FixedBatch, Counting, Pair, Exotic])
def test_a_model_that_cannot_be_stored_is_refused_with_what_to_do(kind):
    with pytest.raises(UntraceableError, match="To fix:"):
        encode(kind(), np.ones((2, 6), dtype=np.float32))


def test_a_model_that_breaks_when_called_is_untraceable_and_keeps_its_mode():
    model = nn.Linear(3, 2).train()
    with pytest.raises(UntraceableError, match="cannot be traced"):
        trace(model, np.ones((2, 7), dtype=np.float32))
    assert model.training


def body_of(artifact):
    return json.loads(artifact.file("graph.json"))


def with_body(artifact, body):
    return Artifact("torch", (("graph.json", json.dumps(body).encode()), artifact.files[1]))


@pytest.fixture(scope="module")
def linear():
    return stored(nn.Linear(3, 2), np.ones((2, 3), dtype=np.float32))


@pytest.mark.parametrize(
    "change",
    [
        {"op": "aten.from_file.default"},
        {"op": "aten.linear.nonsense"},
        {"op": "aten.linear.__class__"},
        {"op": "operator.attrgetter"},
        {"op": "os.system"},
        {"op": "builtins.eval"},
        {"op": None},
        {"args": [{"node": 0}]},
        {"args": [{"node": -1}]},
        {"args": [{"tensor": "other"}]},
        {"args": [{"tensor": []}]},
        {"args": [{"input": 1}]},
        {"args": [{"dtype": "os"}]},
        {"args": [{"code": "print()"}]},
        {"args": [[[[[[[[[[[0]]]]]]]]]]]},
        {"args": [1, 2, 3, 4, 5, 6, 7, 8]},
        {"args": None},
        {"kwargs": {"lambda": 1}},
        {"kwargs": {"x); print(1": 1}},
    ],
)
def test_a_graph_that_names_what_it_may_not_is_refused(linear, change):
    body = body_of(linear)
    body["nodes"][0].update(change)
    with pytest.raises(CorruptError, match="To fix:"):
        decode(with_body(linear, body))


@pytest.mark.parametrize(
    "change",
    [{"schema": 99}, {"schema": []}, {"schema": 2}, {"nodes": {}}, {"nodes": [1]}, {"output": 7}, {"output": None}],
)
def test_a_graph_of_another_shape_is_refused(linear, change):
    with pytest.raises(CorruptError):
        decode(with_body(linear, body_of(linear) | change))


def test_text_in_a_graph_stays_text(linear, tmp_path):
    marker = tmp_path / "ran"
    body = body_of(linear)
    text = f"tanh'); open({str(marker)!r}, 'w'); ('"
    gelu = {"op": "aten.gelu.default", "args": [{"node": 0}], "kwargs": {"approximate": text}}
    hostile = {"schema": 1, "nodes": [*body["nodes"], gelu], "output": {"node": 1}}
    with pytest.raises(RuntimeError):
        decode(with_body(linear, hostile))(torch.ones(1, 3))
    assert not marker.exists()


@pytest.mark.parametrize("files", [(), (("graph.json", b"{"),), (("graph.json", b"{}"), ("weights.safetensors", b"x"))])
def test_files_that_are_missing_or_broken_are_corrupt(files):
    with pytest.raises(CorruptError):
        decode(Artifact("torch", files))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["node", "input", "tensor", "float", "dtype", "op", "x"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(records=json_values)
def test_no_records_of_packed_tensors_make_the_reader_fail_in_another_way(linear, records):
    body = body_of(linear) | {"schema": 2, "packed": records}
    try:
        decode(with_body(linear, body))
    except CorruptError:
        return
    assert records == {}


@given(where=st.sampled_from(["op", "args", "kwargs", "output", "nodes"]), value=json_values)
def test_no_graph_makes_the_reader_fail_in_another_way(linear, where, value):
    body = body_of(linear)
    if where in body:
        body[where] = value
    else:
        body["nodes"][0][where] = value
    try:
        decode(with_body(linear, body))
    except CorruptError:
        return
