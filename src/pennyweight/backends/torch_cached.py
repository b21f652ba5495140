"""Language models as an ONNX graph that continues a text: tokens and a past in, logits and the longer past out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pennyweight.backends.torch_graph import quietly
from pennyweight.backends.torch_onnx import bare
from pennyweight.errors import BadInputError, MissingExtraError, UntraceableError

if TYPE_CHECKING:
    from torch import Tensor

CACHED_FILE = "cached.onnx"
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


def to_cached_onnx(model: Any, *, opset: int = OPSET) -> bytes:
    """Write `model.cached` as an ONNX model for any number of streams, new tokens and past tokens.

    Its inputs are "x" (B, T) and "past.0", "past.1", … (B, H, P, D); its outputs "y" (B, T, V) and "now.0", "now.1", …
    (B, H, P + T, D). Raises `BadInputError` for a module without `cached`, `UntraceableError` if it cannot be traced.
    """
    import torch

    if not isinstance(model, Continues):
        raise BadInputError(
            f"{type(model).__name__} cannot continue a text.", "give it cached(x, past) and no_past(streams)."
        )
    try:
        import onnxscript  # ruff: ignore[unused-import] - torch needs it and says so less clearly
    except ImportError:
        raise MissingExtraError.of("onnxscript", "torch") from None
    with quietly():
        program, count = _trace(model)
        try:
            exported: Any = torch.onnx.export(
                program,
                input_names=["x", *(f"past.{number}" for number in range(count))],
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


def _trace(model: Any) -> tuple[Any, int]:
    """The traced `cached` of a module, and how many tensors its past has."""
    import torch

    class Cached(torch.nn.Module):  # type: ignore[misc]  # torch is not followed, so its classes are Any
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor, past: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
            answer: tuple[Tensor, tuple[Tensor, ...]] = self.model.cached(x, past)
            return answer

    past = tuple(each.new_zeros((*each.shape[:2], _PAST, each.shape[3])) for each in model.no_past(_STREAMS))
    free = torch.export.Dim.DYNAMIC
    was_training = model.training
    try:
        program = torch.export.export(
            Cached().eval(),
            (torch.zeros(_STREAMS, _TOKENS, dtype=torch.int64), past),
            dynamic_shapes=({0: free, 1: free}, tuple({0: free, 2: free} for _ in past)),
        )
    except Exception as error:  # torch.export has no common error of its own
        raise _untraceable(error) from error
    finally:
        model.train(was_training)
    return program, len(past)


def _untraceable(error: Exception) -> UntraceableError:
    lines = str(error).strip().splitlines()
    return UntraceableError(
        f"The model's cached() cannot be written as ONNX: {lines[0] if lines else type(error).__name__}",
        "let it use torch operations only, for any number of streams, new and past tokens.",
    )
