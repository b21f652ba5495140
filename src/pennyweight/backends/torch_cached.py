"""Language models as an ONNX graph that continues a text: tokens and a past in, logits and the longer past out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pennyweight.backends.torch_graph import quietly
from pennyweight.backends.torch_onnx import bare
from pennyweight.errors import BadInputError, MissingExtraError, UntraceableError

if TYPE_CHECKING:
    from torch import Tensor

CACHED_FILE, RAGGED_FILE = "cached.onnx", "ragged.onnx"
OPSET = 23  # the first that has attention as one operator; older ones take twice as long per token
_STREAMS, _TOKENS, _PAST = 2, 4, 3  # none of them 0 or 1, which would be taken for constants


@runtime_checkable
class Continues(Protocol):
    """A module that can continue a text without reading it again."""

    def cached(self, x: Tensor, past: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Logits (B, T, V) after each of `x` (B, T), whose P predecessors left `past`, and the longer past.

        A past holds the keys and values of every layer, each (B, H, P, D).
        """

    def no_past(self, streams: int) -> tuple[Tensor, ...]:
        """The past of `streams` texts that have not begun: P = 0."""


@runtime_checkable
class ContinuesTogether(Continues, Protocol):
    """A module that continues texts of different lengths at once."""

    def ragged(self, x: Tensor, past: tuple[Tensor, ...], pads: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As `cached`; of the P + T of each text, the first `pads` (B,) are padding and change nothing."""


def to_cached_onnx(model: Any, *, opset: int = OPSET, ragged: bool = False) -> bytes:
    """Write `model.cached` as an ONNX model for any number of streams, new tokens and past tokens.

    Its inputs are "x" (B, T) and "past.0", "past.1", … (B, H, P, D); its outputs "y" (B, T, V) and "now.0", "now.1", …
    (B, H, P + T, D). If `ragged`, it is `model.ragged`, and after "x" comes "pads" (B,). Raises `BadInputError` for a
    module without it, `UntraceableError` if it cannot be traced.
    """
    import torch

    if not isinstance(model, ContinuesTogether if ragged else Continues):
        raise BadInputError(
            f"{type(model).__name__} cannot continue a text.",
            f"give it {'ragged(x, past, pads)' if ragged else 'cached(x, past)'} and no_past(streams).",
        )
    try:
        import onnxscript  # ruff: ignore[unused-import] - torch needs it and says so less clearly
    except ImportError:
        raise MissingExtraError.of("onnxscript", "torch") from None
    with quietly():
        program, count = _trace(model, ragged=ragged)
        try:
            exported: Any = torch.onnx.export(
                program,
                input_names=["x", *["pads"] * ragged, *(f"past.{number}" for number in range(count))],
                output_names=["y", *(f"now.{number}" for number in range(count))],
                opset_version=opset,
                dynamo=True,
                external_data=False,
                optimize=True,
                verbose=False,
            )
        except Exception as error:
            raise _untraceable(error) from error
        return bare(exported.model_proto)


def _trace(model: Any, *, ragged: bool) -> tuple[Any, int]:
    """The traced `cached` or `ragged` of a module, and how many tensors its past has."""
    import torch

    past = tuple(each.new_zeros((*each.shape[:2], _PAST, each.shape[3])) for each in model.no_past(_STREAMS))
    tokens, pads = torch.zeros(_STREAMS, _TOKENS, dtype=torch.int64), torch.arange(_STREAMS)
    free = torch.export.Dim.DYNAMIC
    axes: tuple[Any, ...] = ({0: free, 1: free}, tuple({0: free, 2: free} for _ in past))
    was_training = model.training
    try:
        program = torch.export.export(
            _steps(model, ragged=ragged).eval(),
            (tokens, pads, past) if ragged else (tokens, past),
            dynamic_shapes=(axes[0], {0: free}, axes[1]) if ragged else axes,
        )
    except Exception as error:  # torch.export has no common error of its own
        raise _untraceable(error) from error
    finally:
        model.train(was_training)
    return program, len(past)


def _steps(model: Any, *, ragged: bool) -> Any:
    """A module whose forward is that of `model.cached`, or of `model.ragged` with the past last."""
    import torch

    class Cached(torch.nn.Module):  # type: ignore[misc]  # torch is not followed, so its classes are Any
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor, past: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
            answer: tuple[Tensor, tuple[Tensor, ...]] = self.model.cached(x, past)
            return answer

    class Ragged(Cached):
        def forward(self, x: Tensor, pads: Tensor, past: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:  # type: ignore[override]
            answer: tuple[Tensor, tuple[Tensor, ...]] = self.model.ragged(x, past, pads)
            return answer

    return Ragged() if ragged else Cached()


def _untraceable(error: Exception) -> UntraceableError:
    lines = str(error).strip().splitlines()
    return UntraceableError(
        f"The model's cached() cannot be written as ONNX: {lines[0] if lines else type(error).__name__}",
        "let it use torch operations only, for any number of streams, new and past tokens.",
    )
