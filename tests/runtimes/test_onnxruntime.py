"""ONNX Runtime answers as the model did, whatever it is given, and refuses files that reach outside of themselves."""

import threading

import numpy as np
import onnx
import pytest
import torch
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper
from torch import nn

from pennyweight import runtimes
from pennyweight.backends.torch_onnx import to_onnx
from pennyweight.core import Artifact, ServeSpec
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.onnx_intake import admit

ORT = runtimes.load("onnxruntime")
SERVE = ServeSpec("onnxruntime")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)).eval()


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(9, 1, 8, 8)).astype(np.float32)


def artifact(body, shape=(1, 8, 8)):
    meta = (("input_dtype", "float32"), ("input_shape", list(shape)))
    return Artifact("onnx", (("model.onnx", body),), meta)


@pytest.fixture(scope="module")
def model(network, x):
    return artifact(to_onnx(network, x[:2]))


def answers(network, x):
    with torch.inference_mode():
        return network(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))).numpy()


def test_it_works_here():
    assert ORT.available()


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_answers_are_those_of_the_module_for_any_batch(network, model, x, batch):
    session = ORT.load(model, SERVE)
    assert np.abs(session.predict(x[:batch]) - answers(network, x[:batch])).max() < 1e-5


def test_other_types_and_views_are_taken_too(network, model, x):
    session = ORT.load(model, SERVE)
    turned = x.astype(np.float64).transpose(0, 1, 3, 2)
    assert np.abs(session.predict(turned) - answers(network, turned)).max() < 1e-5


def test_a_wrong_shape_is_refused_with_what_was_given(model, x):
    session = ORT.load(model, SERVE)
    with pytest.raises(BadInputError, match=r"\(9, 1, 8, 7\)"):
        session.predict(x[..., :7])
    with pytest.raises(BadInputError):
        session.predict(x[0])


def test_threads_may_call_one_session_at_once(network, model, x):
    session = ORT.load(model, SERVE)
    wanted = answers(network, x)
    wrong = []

    def ask():
        wrong.extend(number for number in range(50) if np.abs(session.predict(x) - wanted).max() > 1e-5)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_prepare_leaves_the_artifact_as_it_is(model):
    assert ORT.prepare(model, SERVE) is model


@pytest.mark.parametrize("cut", [0, 1, 40, -30, -1])
def test_broken_bytes_are_corrupt(model, cut):
    body = model.file("model.onnx")
    with pytest.raises(CorruptError):
        ORT.load(artifact(body[:cut]), SERVE)


def test_a_missing_file_is_corrupt(model):
    with pytest.raises(CorruptError, match=r"model\.onnx"):
        ORT.load(Artifact("onnx", ()), SERVE)


def test_an_operator_nobody_knows_is_refused(model):
    proto = onnx.ModelProto.FromString(model.file("model.onnx"))
    proto.graph.node[0].op_type = "Convolve"
    with pytest.raises((CorruptError, BadInputError), match="Convolve"):
        ORT.load(artifact(proto.SerializeToString()), SERVE)


def outside(tensor, path):
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=path)


def constant(name):
    return helper.make_tensor(name, TensorProto.FLOAT, [2], np.zeros(2, np.float32).tobytes(), raw=True)


def graph_with(nodes, initializers=()):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], list(initializers)))


def add(a="x", b="w", out="y"):
    return helper.make_node("Add", [a, b], [out])


def in_initializer(path):
    tensor = constant("w")
    outside(tensor, path)
    return graph_with([add()], [tensor])


def in_constant(path):
    tensor = constant("w")
    outside(tensor, path)
    return graph_with([helper.make_node("Constant", [], ["w"], value=tensor), add()])


def in_branch(path):
    tensor = constant("w")
    outside(tensor, path)
    out = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 2])
    branch = helper.make_graph([add(out="z")], "branch", [], [out], [tensor])
    sure = helper.make_tensor("sure", TensorProto.BOOL, [], [True])
    return graph_with([helper.make_node("If", ["sure"], ["y"], then_branch=branch, else_branch=branch)], [sure])


def in_function(path):
    tensor = constant("w")
    outside(tensor, path)
    nodes = [helper.make_node("Constant", [], ["w"], value=tensor), add("a", "w", "b")]
    made = helper.make_function("mine", "shift", ["a"], ["b"], nodes, [helper.make_opsetid("", 18)])
    proto = graph_with([helper.make_node("shift", ["x"], ["y"], domain="mine")])
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    proto.functions.append(made)
    return proto


@pytest.mark.parametrize("place", [in_initializer, in_constant, in_branch, in_function])
@pytest.mark.parametrize("path", ["secret.bin", "../secret.bin", "/etc/passwd"])
def test_weights_outside_of_the_file_are_refused_wherever_they_are_named(place, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(np.ones(2, np.float32).tobytes())
    with pytest.raises(CorruptError, match="outside"):
        ORT.load(artifact(place(path).SerializeToString(), (2,)), SERVE)


def test_a_location_without_the_flag_is_refused_as_well():
    proto = in_initializer("secret.bin")
    proto.graph.initializer[0].data_location = TensorProto.DEFAULT
    with pytest.raises(CorruptError, match="outside"):
        admit(artifact(proto.SerializeToString()))


@pytest.mark.parametrize("where", ["training", "default of a function"])
def test_weights_outside_are_found_where_a_runtime_does_not_look_first(where):
    proto, tensor = graph_with([add()]), in_initializer("secret.bin").graph.initializer[0]
    if where == "training":
        proto.training_info.add().initialization.initializer.append(tensor)
    else:
        proto.functions.add().attribute_proto.add().t.CopyFrom(tensor)
    with pytest.raises(CorruptError, match="outside"):
        admit(artifact(proto.SerializeToString()))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_whatever_is_changed_in_a_file_nothing_outside_of_it_is_admitted(at, byte, longer):
    """Where ONNX's own parser reads a model with weights elsewhere, the file was refused; nothing else is raised."""
    body = bytearray(in_function("secret.bin").SerializeToString())
    at %= len(body)
    body[at : at if longer else at + 1] = bytes([byte])
    try:
        admit(artifact(bytes(body)), inputs=None)
        found = ModelProto.FromString(bytes(body))
    except (CorruptError, DecodeError):
        return
    nodes = [*found.graph.node, *(node for each in found.functions for node in each.node)]
    tensors = [*found.graph.initializer, *(each.t for node in nodes for each in node.attribute)]
    assert not any(each.data_location for each in tensors)


def test_a_model_of_two_inputs_is_refused():
    proto = graph_with([add()])
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]))
    with pytest.raises(CorruptError, match="2 inputs"):
        admit(artifact(proto.SerializeToString()))
