"""Single recipes of our peers for a trained character GPT with a key-value cache, each the way its own manual says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.peers import openvino_model, quantized_by_onnxruntime, quietly
from pennyweight.runtimes.generation import Generator, OnnxGenerator, OpenVinoGenerator

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

CALIBRATION_WINDOWS = 64  # half of them as prompts, half as continuations


@dataclass(frozen=True)
class Subject:
    """The trained network as an ONNX graph with a past, and windows (N, T) of the text it was trained on."""

    onnx: bytes
    rows: NDArray[np.int64]

    @cached_property
    def openvino(self) -> Any:
        """The graph as OpenVINO reads it."""
        return openvino_model(self.onnx)

    @cached_property
    def calibrated(self) -> Any:
        """NNCF's post-training quantisation of a transformer, calibrated on prompts and on continuations."""
        import nncf

        reader = OpenVinoGenerator(self.openvino)
        half, feeds = self.rows.shape[1] // 2, []
        for number, row in enumerate(self.rows[:CALIBRATION_WINDOWS]):
            past = reader.start(1)
            fresh = row[None]
            if number % 2:
                _, past = reader.step(fresh[:, :half], past)
                fresh = fresh[:, half:]
            feeds.append([fresh, *past])
        with quietly():
            return nncf.quantize(
                self.openvino, nncf.Dataset(feeds), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(feeds)
            )


def onnxruntime_float32(subject: Subject) -> Generator:
    """ONNX Runtime, all optimisations on, the past never copied."""
    return OnnxGenerator(subject.onnx)


def onnxruntime_int8(subject: Subject) -> Generator:
    """ONNX Runtime's dynamic quantisation of the matrix products, one scale per channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def quantize(ready: Path, done: Path) -> None:
        # Other operators are left alone: its quantised attention does not know the one of opset 23.
        quantize_dynamic(ready, done, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)

    return OnnxGenerator(quantized_by_onnxruntime(subject.onnx, quantize, skip_symbolic_shape=True))


def openvino_float32(subject: Subject) -> Generator:
    """OpenVINO as it is."""
    return OpenVinoGenerator(subject.openvino)


def openvino_bf16(subject: Subject) -> Generator:
    """OpenVINO with the precision hint bf16."""
    return OpenVinoGenerator(subject.openvino, precision="bfloat16")


def openvino_int8(subject: Subject) -> Generator:
    """NNCF's post-training quantisation."""
    return OpenVinoGenerator(subject.calibrated)


def openvino_int8_bf16(subject: Subject) -> Generator:
    """The same with the precision hint bf16 for the rest."""
    return OpenVinoGenerator(subject.calibrated, precision="bfloat16")


PEERS = {
    "ONNX Runtime float32": onnxruntime_float32,
    "ONNX Runtime dynamic int8": onnxruntime_int8,
    "OpenVINO float32": openvino_float32,
    "OpenVINO bf16": openvino_bf16,
    "OpenVINO NNCF int8": openvino_int8,
    "OpenVINO NNCF int8 + bf16": openvino_int8_bf16,
}
