"""Single recipes of our peers for a trained convolutional network, each the way its own manual says."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.peers import openvino_model, quantized_by_onnxruntime, quietly

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Call = Callable[[NDArray[Any]], NDArray[Any]]
    Calls = dict[int, Call]

EXTRA = Path(__file__).resolve().parents[1] / ".pennyweight" / "bench" / "peers"
TORCHAO = "torchao==0.18.0"
CALIBRATION_ROWS = 300  # the default of nncf.quantize; the others get the same


@dataclass(frozen=True)
class Subject:
    """The trained network (float32, evaluation mode) and the rows it was trained on."""

    model: Any
    rows: NDArray[Any]

    @cached_property
    def calibration(self) -> NDArray[Any]:
        """Rows to see the ranges of activations on."""
        index = np.random.default_rng(0).permutation(len(self.rows))[:CALIBRATION_ROWS]
        return np.ascontiguousarray(self.rows[index])

    @cached_property
    def onnx(self) -> bytes:
        """The network as torch.onnx.export writes it, any batch."""
        with quietly():
            program = torch.onnx.export(
                self.model,
                (torch.from_numpy(self.rows[:2]),),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=["x"],
                output_names=["y"],
                verbose=False,
            )
        return program.model_proto.SerializeToString()

    def eager(self, threads: int) -> Call:
        """The network as it is, operator by operator."""
        model = self.model

        def call(x: NDArray[Any]) -> NDArray[Any]:
            _set_threads(threads)
            with torch.inference_mode():
                return model(torch.from_numpy(x)).numpy()

        return call


def onnxruntime_int8(subject: Subject, batches: Sequence[int], threads: int) -> Calls:
    """ONNX Runtime's static quantisation in QDQ form, one scale per channel, all optimisations on."""
    import onnxruntime
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    def quantize(ready: Path, done: Path) -> None:
        quantize_static(
            ready,
            done,
            _Reader(subject.calibration),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )

    body = quantized_by_onnxruntime(subject.onnx, quantize)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(body, options, providers=["CPUExecutionProvider"])
    return dict.fromkeys(batches, lambda x: session.run(None, {"x": x})[0])


class _Reader:
    """Feeds rows one by one, the way ONNX Runtime's calibration asks for them."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._rows = iter(rows)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        row = next(self._rows, None)
        return None if row is None else {"x": row[None]}


def openvino_int8(subject: Subject, batches: Sequence[int], threads: int) -> Calls:
    """NNCF's post-training quantisation of the OpenVINO model."""
    import nncf

    with quietly():
        model = nncf.quantize(openvino_model(subject.onnx), nncf.Dataset([row[None] for row in subject.calibration]))
    return {batch: _openvino_call(model, batch, threads) for batch in batches}


def openvino_bf16(subject: Subject, batches: Sequence[int], threads: int) -> Calls:
    """OpenVINO with the precision hint bf16."""
    return {
        batch: _openvino_call(openvino_model(subject.onnx), batch, threads, INFERENCE_PRECISION_HINT="bf16")
        for batch in batches
    }


def compile_bf16(subject: Subject, batches: Sequence[int], threads: int) -> Calls:
    """torch.compile of the network in bfloat16, weights frozen; one graph per batch."""
    return {batch: _compile_bf16(subject, batch, threads) for batch in batches}


def pt2e_int8(subject: Subject, batches: Sequence[int], threads: int) -> Calls:
    """PyTorch 2 export quantisation with torchao's X86InductorQuantizer, compiled."""
    _fetch(TORCHAO)
    return {batch: _pt2e(subject, batch, threads) for batch in batches}


PEERS = {
    "ONNX Runtime int8 QDQ": onnxruntime_int8,
    "OpenVINO NNCF int8": openvino_int8,
    "OpenVINO bf16": openvino_bf16,
    "torch.compile bf16": compile_bf16,
    "PT2E int8 (torchao)": pt2e_int8,
}


def _openvino_call(model: Any, batch: int, threads: int, **settings: str) -> Call:
    """A fixed shape, the latency hint, a request that is used again, nothing copied that need not be."""
    import openvino

    fixed = model.clone()
    fixed.reshape([batch, *list(model.input(0).partial_shape)[1:]])
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, **settings}
    request = openvino.Core().compile_model(fixed, "CPU", hints).create_infer_request()

    def call(x: NDArray[Any]) -> NDArray[Any]:
        answer = request.infer([x], share_inputs=True, share_outputs=True)[0]
        return answer.copy()

    return call


def _compile_bf16(subject: Subject, batch: int, threads: int) -> Call:
    from copy import deepcopy

    model = deepcopy(subject.model).bfloat16()
    return _compiled(model, subject, batch, threads, torch.bfloat16)


def _pt2e(subject: Subject, batch: int, threads: int) -> Call:
    with quietly():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

        exported = torch.export.export(subject.model, (_example(subject, batch),)).module()
        quantizer = x86.X86InductorQuantizer()
        quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
        prepared = prepare_pt2e(exported, quantizer)
        for at in range(0, CALIBRATION_ROWS - batch + 1, batch):
            prepared(torch.from_numpy(subject.calibration[at : at + batch]))
        converted = convert_pt2e(prepared)
    return _compiled(converted, subject, batch, threads, torch.float32)


def _compiled(model: Any, subject: Subject, batch: int, threads: int, dtype: torch.dtype) -> Call:
    from torch._inductor import config as inductor  # ruff: ignore[import-private-name] - its only documented place

    torch._dynamo.reset()  # ruff: ignore[private-member-access] - graphs of other batches would count against its limit of recompilations
    compiled = torch.compile(model, dynamic=False)

    def call(x: NDArray[Any]) -> NDArray[Any]:
        _set_threads(threads)
        with torch.no_grad():
            return compiled(torch.from_numpy(x).to(dtype)).float().numpy()

    with quietly(), inductor.patch(freezing=True):
        for _ in range(3):
            call(_example(subject, batch).numpy())
    return call


def _set_threads(threads: int) -> None:
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def _example(subject: Subject, batch: int) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(subject.rows[:batch]))


def _fetch(package: str) -> None:
    """Install a peer into a folder of the benchmarks' own, without what it depends on: torch is here already."""
    name = package.partition("==")[0]
    if not (EXTRA / name).is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(EXTRA), package]
        subprocess.run(pip, check=True)
    if str(EXTRA) not in sys.path:
        sys.path.append(str(EXTRA))
