"""What the recipes of our peers share: silence while they convert, and the forms they want a graph in."""

from __future__ import annotations

import io
import logging
import tempfile
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


def openvino_model(onnx: bytes) -> Any:
    """An ONNX graph as OpenVINO reads it."""
    import openvino

    return openvino.Core().read_model(io.BytesIO(onnx))


def quantized_by_onnxruntime(onnx: bytes, quantize: Callable[[Path, Path], None], **prepare: Any) -> bytes:
    """An ONNX graph prepared and quantised by ONNX Runtime, whose tools go from file to file."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, quietly():
        given, ready, done = (Path(folder) / name for name in ("given.onnx", "ready.onnx", "done.onnx"))
        given.write_bytes(onnx)
        quant_pre_process(given, ready, **prepare)
        quantize(ready, done)
        return done.read_bytes()


@contextmanager
def quietly() -> Generator[None]:
    """Hush what libraries say while they convert; what they raise still comes through."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
