"""ONNX graphs with fewer bits: weights and activations in integers by calibration, or by the runtime as it goes."""

from __future__ import annotations

import logging
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pennyweight.errors import MissingExtraError, UntraceableError

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np
    from numpy.typing import NDArray

_BATCH = 32
_PRODUCTS = ("Conv", "Gemm", "MatMul")
_CLIPPING = ("Relu", "Clip")  # the range of the integers does their work
# These pass integers on; were they left out, every product would turn its answer into floats and back.
_PASSING = ("MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Concat")
_WIDE, _NARROW = 128, 32
_METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
CALIBRATIONS = tuple(_METHODS)


def static(graph: bytes, rows: NDArray[Any], *, calibration: str = "minmax", float_stem: bool = False) -> bytes:
    """Quantise weights (signed, one scale per output channel) and activations (unsigned) to 8 bits.

    The range of every activation is seen on `rows` (N, ...); `calibration` says what of it is kept: all of it
    ("minmax"), the part that keeps the distribution ("entropy"), or all but one value in 100,000 ("percentile").
    With `float_stem` the first convolution stays in float32. The result is in quantise–dequantise form: standard
    operators only, which every runtime may fuse as it can.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with _workshop(graph, fold=True) as (ready, done):
        nodes = _nodes(ready)
        convolves = any(node.op_type == "Conv" for node in nodes)
        stem = next((node for node in nodes if node.op_type in _PRODUCTS), None)
        quantize_static(
            ready,
            done,
            _Rows(rows),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=[*_PRODUCTS, *_CLIPPING, *(_PASSING if convolves else ())],
            nodes_to_exclude=[stem.name] if float_stem and stem is not None and stem.op_type == "Conv" else [],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=getattr(CalibrationMethod, _METHODS[calibration]),
            extra_options={"MatMulConstBOnly": True},
        )
        return _written(done)


def dynamic(graph: bytes) -> bytes:
    """Quantise the weights of matrix products to 8 bits; the runtime finds each activation's range at every call."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _workshop(_multiplied(graph)) as (ready, done):
        quantize_dynamic(
            ready,
            done,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
        return _written(done)


def blocks(graph: bytes, bits: int) -> bytes:
    """Store the weights of matrix products in `bits` (4 or 8), a scale for every 128 inputs (32 of fewer than 128).

    The runtime multiplies them in integers. Made for few rows at a time, where reading weights is what takes time.
    """
    with _workshop(_multiplied(graph)) as (ready, done), _root_logger_kept():
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        model = _load(ready)
        quantizer = MatMulNBitsQuantizer(
            model, bits=bits, block_size=_block(model), is_symmetric=True, accuracy_level=4
        )
        quantizer.process()
        quantizer.model.save_model_to_file(str(done))
        return _written(done)


def has_integers(graph: bytes) -> bool:
    """Whether any operator of the graph computes with integers in place of floats."""
    import onnx

    nodes = onnx.ModelProto.FromString(graph).graph.node
    return any(node.op_type in {"DequantizeLinear", "MatMulInteger", "MatMulNBits"} for node in nodes)


def _multiplied(graph: bytes) -> bytes:
    """The graph with every fully connected layer as a product and a sum, the form that has integer kernels."""
    import onnx
    from onnxruntime.quantization.onnx_model import ONNXModel

    model = onnx.ModelProto.FromString(graph)
    del model.graph.value_info[:]  # it would go on naming the shapes of weights that are turned now
    ONNXModel(model).replace_gemm_with_matmul()
    body: bytes = model.SerializeToString()
    return body


def _block(model: Any) -> int:
    inner = [tensor.dims[0] for tensor in model.graph.initializer if len(tensor.dims) == 2]
    return _WIDE if min(inner, default=0) >= _WIDE else _NARROW


class _Rows:
    """Feeds calibration rows, a batch at a time, the way the library asks for them."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._batches = iter([rows[at : at + _BATCH] for at in range(0, len(rows), _BATCH)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch by input name, None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {"x": batch}


@contextmanager
def _workshop(graph: bytes, *, fold: bool = False) -> Generator[tuple[Path, Path]]:
    """A folder that goes away: the graph, its shapes inferred (with `fold` simplified), and a place for the result."""
    try:
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError:
        raise MissingExtraError.of("onnxruntime", "onnx") from None
    with TemporaryDirectory(prefix="pennyweight-") as folder, redirect_stdout(StringIO()), _hushed():
        given, ready, done = (Path(folder) / name for name in ("given.onnx", "ready.onnx", "done.onnx"))
        given.write_bytes(graph)
        try:
            quant_pre_process(given, ready, skip_optimization=not fold, skip_symbolic_shape=True)
            yield ready, done
        except _refusals() as error:
            raise UntraceableError(
                f"The graph cannot be quantised: {str(error).strip().splitlines()[0]}",
                "leave quantisation out, or use a model of common operators.",
            ) from error


def _refusals() -> tuple[type[Exception], ...]:
    """What the library raises for graphs that it cannot read or execute."""
    from onnx.checker import ValidationError
    from onnx.shape_inference import InferenceError
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = (state.Fail, state.InvalidGraph, state.InvalidArgument, state.NotImplemented, state.RuntimeException)
    return (ValueError, RuntimeError, KeyError, ValidationError, InferenceError, *own)


@contextmanager
def _hushed() -> Generator[None]:
    import onnxruntime

    before = logging.root.manager.disable
    onnxruntime.set_default_logger_severity(4)
    logging.disable(logging.ERROR)  # whatever it logs as an error it raises as well
    try:
        yield
    finally:
        logging.disable(before)
        onnxruntime.set_default_logger_severity(2)


@contextmanager
def _root_logger_kept() -> Generator[None]:
    """Importing the library's 4-bit module sets up logging for the whole process, which is not its business."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _load(path: Path) -> Any:
    import onnx

    return onnx.load(path)


def _nodes(path: Path) -> Any:
    return _load(path).graph.node


def _written(path: Path) -> bytes:
    body: bytes = _load(path).SerializeToString(deterministic=True)
    return body
