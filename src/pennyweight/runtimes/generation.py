"""Text, token by token: sessions that continue what they have read, and the loop that draws from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from io import BytesIO
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import BadInputError, CorruptError, MissingExtraError
from pennyweight.runtimes.base import installed
from pennyweight.runtimes.onnx_intake import admit
from pennyweight.runtimes.onnxruntime import open_graph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pennyweight.core import Artifact, ServeSpec

CACHED_FILE = "cached.onnx"
_FIX = "export the model again, or fetch the artifact from its source."
_HINT = {"float32": "f32", "bfloat16": "bf16"}


class Generator(ABC):
    """A loaded language model that continues `streams` texts at once.

    What it remembers of a text is its `past`: a value of the runtime's own, never changed, so that two continuations
    may begin with one past.
    """

    @abstractmethod
    def start(self, streams: int) -> Any:
        """The past of texts that have not begun."""

    @abstractmethod
    def step(self, tokens: NDArray[np.int64], past: Any) -> tuple[NDArray[np.float32], Any]:
        """Read `tokens` (B, T) after a past; return the logits (B, T, V) after each of them and the longer past.

        Raises `BadInputError` if they do not fit the model (unknown tokens, a text longer than it can hold).
        """


def generate(
    model: Generator, prompt: NDArray[np.int64], tokens: int, *, temperature: float = 0.0, seed: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Continue the `prompt` (B, T) by as many `tokens`, yielding (B,) at a time: the likeliest, or drawn."""
    if prompt.ndim != 2 or not prompt.size:
        raise BadInputError(f"A prompt of shape {prompt.shape} cannot be continued.", "give tokens (streams, T).")
    if temperature < 0:
        raise BadInputError(f"There is no temperature of {temperature:g}.", "use 0 (the likeliest) to 1 (as it comes).")
    rng = np.random.default_rng(seed)
    fresh, past = prompt, model.start(len(prompt))
    for _ in range(tokens):
        logits, past = model.step(fresh, past)
        fresh = _drawn(logits[:, -1], temperature, rng)[:, None]
        yield fresh[:, 0]


def _drawn(logits: NDArray[np.float32], temperature: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """One token for each row of the logits (B, V)."""
    # The largest of logits and Gumbel noise is a draw from their softmax.
    noisy = logits if temperature == 0 else logits / temperature + rng.gumbel(size=logits.shape)
    best: NDArray[np.int64] = noisy.argmax(axis=1)
    return best


def open_generator(artifact: Artifact, serve: ServeSpec) -> Generator:
    """Load an artifact's graph that continues texts ("cached.onnx") in the runtime that `serve` names.

    The artifact's "input_shape" is the longest text it can hold, which OpenVINO must be told.
    """
    body = admit(artifact, CACHED_FILE, inputs=None)
    if not installed(serve.runtime):
        raise MissingExtraError.of(serve.runtime, "onnx" if serve.runtime == "onnxruntime" else "openvino")
    if serve.runtime == "onnxruntime" and serve.precision == "float32":
        return OnnxGenerator(body, serve.threads)
    if serve.runtime == "openvino" and serve.precision in _HINT:
        shape = artifact.facts.get("input_shape")
        return OpenVinoGenerator(_read(body), serve.threads, serve.precision, shape[0] if shape else None)
    raise BadInputError(
        f"{serve.runtime} does not continue texts in {serve.precision}.", "use onnxruntime in float32, or openvino."
    )


@final
class TorchGenerator(Generator):
    """A module with `cached` and `no_past`, operator by operator."""

    def __init__(self, model: Any, threads: int = 1) -> None:
        self._model, self._threads = model.eval(), threads

    def start(self, streams: int) -> Any:
        """As told by the module."""
        return self._model.no_past(streams)

    def step(self, tokens: NDArray[np.int64], past: Any) -> tuple[NDArray[np.float32], Any]:
        """As promised."""
        import torch

        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                logits, grown = self._model.cached(torch.from_numpy(tokens), past)
        except (RuntimeError, IndexError) as error:
            raise _unfit(tokens, error) from error
        answer: NDArray[np.float32] = logits.float().numpy()
        return answer, grown


@final
class OnnxGenerator(Generator):
    """ONNX Runtime; what a call remembers goes into the next without being copied."""

    def __init__(self, body: bytes, threads: int = 1) -> None:
        self._session = open_graph(body, threads)
        self._run = self._session._sess.run_with_ort_values  # ruff: ignore[private-member-access] - its Python wrapper costs 20 µs per call
        inputs = self._session.get_inputs()
        self._names = [each.name for each in inputs[1:]]
        self._shapes = [_past_shape(each.shape) for each in inputs[1:]]
        self._outputs = [each.name for each in self._session.get_outputs()]

    def start(self, streams: int) -> Any:
        """Empty tensors of the graph's shapes."""
        # Memory without an owner does no harm where there is nothing to read.
        return [ort_value(np.empty((streams, heads, 0, size), np.float32)) for heads, size in self._shapes]

    def step(self, tokens: NDArray[np.int64], past: Any) -> tuple[NDArray[np.float32], Any]:
        """As promised."""
        feed = dict(zip(self._names, past, strict=True))
        fresh = np.ascontiguousarray(tokens, np.int64)  # named, for the library looks at its memory without owning it
        feed["x"] = ort_value(fresh)
        try:
            logits, *grown = self._run(feed, self._outputs, None)
        except Exception as error:  # the library has no common error of its own
            raise _unfit(tokens, error) from error
        answer: NDArray[np.float32] = logits.numpy()
        return answer, grown


@final
class OpenVinoGenerator(Generator):
    """OpenVINO with shapes that may change from call to call."""

    def __init__(self, model: Any, threads: int = 1, precision: str = "float32", context: int | None = None) -> None:
        import openvino

        self._context = context

        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": _HINT[precision],
        }
        self._request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
        self._infer = _native(self._request)
        self._shapes = [_past_shape([_length(axis) for axis in each.partial_shape]) for each in model.inputs[1:]]
        self._classes = int(model.output(0).partial_shape[2].get_length())

    def start(self, streams: int) -> Any:
        """Empty arrays of the graph's shapes."""
        return [np.empty((streams, heads, 0, size), np.float32) for heads, size in self._shapes]

    def step(self, tokens: NDArray[np.int64], past: Any) -> tuple[NDArray[np.float32], Any]:
        """As promised; every call writes into arrays of its own."""
        b, t = tokens.shape
        fed = [np.ascontiguousarray(tokens, np.int64), *past]
        longer = past[0].shape[2] + t
        if self._context is not None and longer > self._context:  # it would answer, with what nobody knows
            raise _unfit(tokens, BadInputError(f"{longer} are more than {self._context}", ""))
        got = [np.empty((b, t, self._classes), np.float32)]
        got += [np.empty((b, heads, longer, size), np.float32) for heads, size in self._shapes]
        self._bind(fed, got)
        try:
            self._infer({}, True, False)
        except RuntimeError as error:
            raise _unfit(tokens, error) from error
        return got[0], got[1:]

    def _bind(self, fed: list[NDArray[Any]], got: list[NDArray[Any]]) -> None:
        import openvino

        for number, (given, wanted) in enumerate(zip(fed, got, strict=True)):
            self._request.set_input_tensor(number, openvino.Tensor(given, shared_memory=bool(given.size)))
            self._request.set_output_tensor(number, openvino.Tensor(wanted, shared_memory=True))


def _native(request: Any) -> Any:
    """The call below the library's own dispatch, which costs more than a small network does."""
    import openvino

    return super(openvino.InferRequest, request).infer


def _read(body: bytes) -> Any:
    import openvino

    try:
        return openvino.Core().read_model(BytesIO(body))
    except RuntimeError as error:
        raise CorruptError(f"OpenVINO cannot read the model: {_last_line(error)}", _FIX) from error


def ort_value(array: NDArray[Any]) -> Any:
    """ONNX Runtime's own value over the memory of an array."""
    from onnxruntime.capi.onnxruntime_pybind11_state import OrtDevice, OrtValue

    return OrtValue.ortvalue_from_numpy(array, OrtDevice(OrtDevice.cpu(), OrtDevice.default_memory(), 0))


def _past_shape(shape: list[Any]) -> tuple[int, int]:
    """Heads and values per head of a past (B, H, P, D), of which B and P are open."""
    if len(shape) != 4 or not isinstance(shape[1], int) or not isinstance(shape[3], int):
        raise CorruptError(f"{CACHED_FILE} has a past of shape {shape}, not (streams, heads, past, values).", _FIX)
    return shape[1], shape[3]


def _length(axis: Any) -> int | None:
    return int(axis.get_length()) if axis.is_static else None


def _unfit(tokens: NDArray[Any], error: BaseException) -> BadInputError:
    return BadInputError(
        f"The model cannot go on with tokens of shape {tokens.shape}: {_last_line(error)}",
        "give tokens it knows, and no longer a text than it was trained on.",
    )


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
