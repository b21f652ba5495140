"""One network for everybody who serves in these benchmarks: 784 → 256 → 10, as ONNX, and what it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import orjson

from pennyweight.core import Artifact
from pennyweight.engine.answers import open_session, with_probes
from pennyweight.store.artifacts import save

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

WIDTHS = (784, 256, 10)
_OPSET, _FORMAT = 18, 10
_FACTS = {
    "classes": WIDTHS[-1],
    "input_dtype": "float32",
    "input_shape": [WIDTHS[0]],
    "outputs": "logits",
    "serve": {"runtime": "onnxruntime", "batch": 1, "threads": 1, "precision": "float32"},
    "task": "classify",
}


def graph(seed: int = 0) -> bytes:
    """The network with random weights as an ONNX file for batches of any size."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)
    weights = {
        "w0": rng.normal(size=WIDTHS[:2]) / WIDTHS[0] ** 0.5,
        "b0": rng.normal(size=WIDTHS[1]),
        "w1": rng.normal(size=WIDTHS[1:]) / WIDTHS[1] ** 0.5,
        "b1": rng.normal(size=WIDTHS[2]),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h"]),
        helper.make_node("Relu", ["h"], ["a"]),
        helper.make_node("Gemm", ["a", "w1", "b1"], ["y"]),
    ]
    body = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTHS[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", WIDTHS[2]])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_FORMAT)
    found: bytes = model.SerializeToString(deterministic=True)
    return found


def artifact(folder: Path, seed: int = 0) -> Path:
    """The network as the product hands models over, with the probes it is proved by."""
    made = Artifact("onnx", (("model.onnx", graph(seed)),), tuple(_FACTS.items()))
    return save(with_probes(made, open_session(made), rows(8)), folder)


def rows(count: int = 1) -> NDArray[np.float32]:
    """Rows as images are: numbers between 0 and 1."""
    return np.random.default_rng(1).random((count, WIDTHS[0]), dtype=np.float32)


def json_question() -> bytes:
    """One row in JSON, as clients write it: four digits a number."""
    data = [round(float(value), 4) for value in rows()[0]]
    return orjson.dumps({"inputs": [{"name": "x", "shape": [1, WIDTHS[0]], "datatype": "FP32", "data": data}]})


def binary_question() -> tuple[bytes, int]:
    """One row as bytes behind a JSON header, and how long the header is."""
    body = rows().tobytes()
    tensor = {
        "name": "x",
        "shape": [1, WIDTHS[0]],
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(body)},
    }
    header = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    return header + body, len(header)
