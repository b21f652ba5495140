"""OpenVINO on the CPU: a graph compiled for the usual batch, another for the rest, in bfloat16 where the CPU has it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from pennyweight.core import YES, Artifact, Verdict, no
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.base import Runtime, installed
from pennyweight.runtimes.onnx_intake import admit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.core import ServeSpec, Session

_XML, _BIN = "model.xml", "model.bin"
_HINT = {"float32": "f32", "bfloat16": "bf16"}
_FIX = "export the model again, or fetch the artifact from its source."


class OpenVino(Runtime):
    """Loads "onnx", or its own "openvino" (an XML graph and a file of weights), which `prepare` makes of it."""

    formats: ClassVar[tuple[str, ...]] = ("onnx", "openvino")
    trees: ClassVar[bool] = False
    precisions: ClassVar[tuple[str, ...]] = ("float32", "bfloat16")
    package: ClassVar[str] = "openvino"
    extra: ClassVar[str] = "openvino"

    def available(self) -> Verdict:
        """Whether the library is installed."""
        return YES if installed(self.package) else no(f"{self.package} is not installed: pennyweight[{self.extra}]")

    def load(self, artifact: Artifact, serve: ServeSpec) -> Session:
        """Return a session; calls from several threads are answered one after the other."""
        self.check(artifact, serve)
        return _OpenVinoSession(_read(artifact), serve, artifact.facts)

    def prepare(self, artifact: Artifact, serve: ServeSpec) -> Artifact:
        """Convert ONNX to OpenVINO's own files, which load without a converter; others stay as they are."""
        self.check(artifact, serve)
        if artifact.format != "onnx":
            return artifact
        import openvino

        with TemporaryDirectory(prefix="pennyweight-") as folder:
            path = Path(folder) / _XML
            openvino.save_model(_renamed(_read(artifact)), path, compress_to_fp16=False)
            files = tuple((name, (Path(folder) / name).read_bytes()) for name in (_BIN, _XML))
        return Artifact("openvino", files, artifact.meta)


def _read(artifact: Artifact) -> Any:
    import openvino

    core = openvino.Core()
    try:
        if artifact.format == "onnx":
            return core.read_model(BytesIO(admit(artifact)))
        files = dict(artifact.files)
        return core.read_model(files[_XML], files[_BIN])
    except KeyError as error:
        raise CorruptError(f"The artifact has no file {error}.", _FIX) from error
    except RuntimeError as error:
        raise CorruptError(f"OpenVINO cannot read the model: {_last_line(error)}", _FIX) from error


def _renamed(model: Any) -> Any:
    """Number the operators: the converter names them after a counter of the process, and names are part of a digest."""
    for number, op in enumerate(model.get_ordered_ops()):
        if op.get_type_name() not in {"Parameter", "Result"}:
            op.set_friendly_name(f"op_{number}")
    return model


@final
class _OpenVinoSession:
    """Keeps one inference request per compiled graph, with its input and output arrays bound once.

    The calls go below the library's Python dispatch, which costs three times what a small network does.
    """

    __slots__ = ("_any", "_dtype", "_held", "_lock", "_model", "_settings", "_shape", "_usual")

    def __init__(self, model: Any, serve: ServeSpec, facts: dict[str, Any]) -> None:
        self._model = model
        self._dtype = np.dtype(facts.get("input_dtype", "float32"))
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": serve.threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": _HINT[serve.precision],
        }
        self._lock = Lock()
        self._any: Any = None
        shape = facts.get("input_shape")
        self._shape = None if shape is None or None in shape else (serve.batch, *shape)
        self._usual = self._fixed() if self._shape else None

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Answer a batch `(B, ...)`; raises `BadInputError` if the shape does not fit the model."""
        with self._lock:
            if x.shape == self._shape and self._usual is not None:
                infer, held, answer = self._usual
                held[...] = x
                infer({}, True, False)
                copy: NDArray[Any] = answer.copy()
                return copy
            return self._other(np.ascontiguousarray(x, dtype=self._dtype))

    def _fixed(self) -> tuple[Any, NDArray[Any], NDArray[Any]]:
        model = self._model.clone()
        model.reshape(list(self._shape or ()))
        request = self._compile(model)
        infer = _native(request)
        infer({}, True, False)
        return infer, request.get_input_tensor().data, request.get_output_tensor().data

    def _other(self, x: NDArray[Any]) -> NDArray[Any]:
        import openvino

        if self._any is None:
            self._any = self._compile(self._model)
        try:
            self._any.set_input_tensor(openvino.Tensor(x, shared_memory=True))
            self._any.infer()
        except RuntimeError as error:
            raise BadInputError(
                f"The model cannot answer an input of shape {x.shape}: {_last_line(error)}",
                "give a batch of the shape named in the artifact's manifest.",
            ) from error
        answer: NDArray[Any] = self._any.get_output_tensor().data.copy()
        return answer

    def _compile(self, model: Any) -> Any:
        import openvino

        try:
            return openvino.Core().compile_model(model, "CPU", self._settings).create_infer_request()
        except RuntimeError as error:
            raise BadInputError(
                f"OpenVINO cannot compile the model: {_last_line(error)}", "choose another runtime."
            ) from error


def _native(request: Any) -> Any:
    import openvino

    return super(openvino.InferRequest, request).infer


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1]
