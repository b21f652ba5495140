"""What calibration runs: large matrix products by library, and chains of tiny layers by runtime."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

_WIDTH = 8
_OPSET = 17


@dataclass(frozen=True, slots=True)
class Probe:
    """`chain(layers)` returns one call of a model of so many layers; `needs` are the libraries it cannot do without."""

    needs: tuple[str, ...]
    chain: Callable[[int], Callable[[], object]]

    @property
    def installed(self) -> bool:
        """Whether it can run here."""
        return all(find_spec(library) for library in self.needs)


def _torch(layers: int) -> Callable[[], object]:
    import torch

    model = torch.nn.Sequential(*(torch.nn.Linear(_WIDTH, _WIDTH) for _ in range(layers))).eval()
    x = _example()

    def call() -> object:
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    return call


def _onnxruntime(layers: int) -> Callable[[], object]:
    session, x = _session(_chain(layers)), {"x": _example()}
    return lambda: session.run(None, x)


def _session(graph: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _openvino(layers: int) -> Callable[[], object]:
    import openvino

    core = openvino.Core()
    model = core.read_model(_chain(layers))
    model.reshape([1, _WIDTH])
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    # Below the library's Python dispatch, which a careful caller goes around: it costs more than a small network.
    infer = super(openvino.InferRequest, request).infer
    return lambda: infer({}, True, False)


def _sklearn(layers: int) -> Callable[[], object]:
    from sklearn.neural_network import MLPRegressor

    rng = np.random.default_rng(0)
    model = MLPRegressor(hidden_layer_sizes=(_WIDTH,) * (layers - 1), max_iter=1, solver="sgd")
    x, y = rng.random((16, _WIDTH), dtype=np.float32), rng.random((16, _WIDTH))
    model.partial_fit(x, y)
    row = _example()
    return lambda: model.predict(row)


def _chain(layers: int, width: int = _WIDTH) -> bytes:
    """A chain of square layers as an ONNX model with a dynamic batch."""
    from onnx import TensorProto, helper, numpy_helper

    rng, nodes, weights = np.random.default_rng(0), [], []
    names = ["x", *(f"h{i}" for i in range(1, layers)), "y"]
    for i in range(layers):
        matrix = rng.normal(size=(width, width)).astype(np.float32)
        weights += [numpy_helper.from_array(matrix, f"w{i}"), numpy_helper.from_array(matrix[0], f"b{i}")]
        nodes.append(helper.make_node("Gemm", [names[i], f"w{i}", f"b{i}"], [names[i + 1]]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    body: bytes = model.SerializeToString()
    return body


def _example() -> Any:
    return np.ones((1, _WIDTH), dtype=np.float32)


def _numpy_products(size: int) -> dict[str, Callable[[], object]]:
    x = np.random.default_rng(0).random((size, size), dtype=np.float32)
    return {"float32": lambda: x @ x}


def _torch_products(size: int) -> dict[str, Callable[[], object]]:
    if not PROBES["torch"].installed:
        return {}
    import torch

    plain = torch.rand(size, size)
    half = plain.bfloat16()
    whole = torch.randint(-8, 8, (size, size), dtype=torch.int8)
    calls: dict[str, Callable[[], object]] = {"float32": lambda: plain @ plain, "bfloat16": lambda: half @ half}
    multiply: Any = getattr(torch, "_int_mm", None)  # torch offers no other product of whole numbers
    try:
        multiply(whole, whole)
    except (RuntimeError, TypeError):
        return calls
    return calls | {"int8": lambda: multiply(whole, whole)}


def _onnxruntime_products(size: int) -> dict[str, Callable[[], object]]:
    if not PROBES["onnxruntime"].installed:
        return {}
    x = np.random.default_rng(0).random((size, size), dtype=np.float32)
    session = _session(_chain(1, size))
    return {"float32": lambda: session.run(None, {"x": x})}


PRODUCTS: dict[str, Callable[[int], dict[str, Callable[[], object]]]] = {
    "numpy": _numpy_products,
    "torch": _torch_products,
    "onnxruntime": _onnxruntime_products,
}
PROBES: dict[str, Probe] = {
    "torch": Probe(("torch",), _torch),
    "onnxruntime": Probe(("onnxruntime", "onnx"), _onnxruntime),
    "openvino": Probe(("openvino", "onnx"), _openvino),
    "sklearn": Probe(("sklearn",), _sklearn),
}
