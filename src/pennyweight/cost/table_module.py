"""The operator table of any PyTorch module, read off its traced graph without memory for weights or activations."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING, Any

from pennyweight.cost.repeats import merged
from pennyweight.cost.sheet import Sheet, Value
from pennyweight.cost.walk import Walk
from pennyweight.errors import BadInputError, MissingExtraError, UntraceableError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from torch import nn

    from pennyweight.core import Op

_VALUES_DECIDE = ("DataDependent", "data-dependent", "data dependent", "Could not guard", "unbacked")


def table_of_module(model: nn.Module, example_shape: Sequence[int], *, dtype: str = "float32") -> tuple[Op, ...]:
    """The operator table of `model` for one example of `example_shape` (without the batch axis) of type `dtype`.

    The model is copied without its memory, put in evaluation mode and exported for a batch of one; every operator with
    weights is a row called after its module, every other operator that moves data is one too, views cost nothing. What
    depends on parameters alone is folded into one constant. Repeated blocks are merged. The model is not touched.

    Raises `UntraceableError` if the operations cannot be listed without real values, `BadInputError` for a `dtype` that
    PyTorch does not have.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtraError.of("torch", "torch") from None
    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype):
        raise BadInputError(f"There is no tensor type {dtype!r}.", "use float32 or, for token numbers, int64.")
    program = _exported(getattr(model, "_orig_mod", model), tuple(example_shape), kind)
    sheet = Sheet()
    walk = Walk(sheet, _placed(program), program.graph_module)
    sheet.freeze(each for each in _flat(walk.run()) if isinstance(each, Value))
    return merged(sheet.ops())


def _exported(model: nn.Module, shape: tuple[int, ...], kind: Any) -> Any:
    try:
        return _export(model, shape, kind)
    except Exception as error:
        raise _untraceable(error, shape) from error


def _export(model: nn.Module, shape: tuple[int, ...], kind: Any) -> Any:
    import torch
    from torch._subclasses import FakeTensorMode  # ruff: ignore[import-private-name] - they have no public door

    with FakeTensorMode():
        memo = _without_memory(model)
        example = torch.zeros((1, *shape), dtype=kind)
    with _quiet(), torch.enable_grad():
        bare = copy.deepcopy(model, memo).eval()
        return torch.export.export(bare, (example,), strict=False)


def _without_memory(model: nn.Module) -> dict[int, Any]:
    """For each tensor of the model, by identity, one of equal shape and type that holds no values."""
    import torch

    memo: dict[int, Any] = {}
    held = (value for module in model.modules() for value in vars(module).values())
    for tensor in (*model.parameters(), *model.buffers(), *held):
        if isinstance(tensor, torch.Tensor) and id(tensor) not in memo:
            bare = torch.empty(tensor.shape, dtype=tensor.dtype)
            is_parameter = isinstance(tensor, torch.nn.Parameter)
            memo[id(tensor)] = torch.nn.Parameter(bare, tensor.requires_grad) if is_parameter else bare
    return memo


@contextmanager
def _quiet() -> Generator[None]:
    """Keep encoder layers apart (their fused path hides the operators) and PyTorch's remarks on tracing to itself."""
    import torch

    fused, muted = torch.backends.mha.get_fastpath_enabled(), logging.root.manager.disable
    torch.backends.mha.set_fastpath_enabled(False)
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        logging.disable(muted)


def _placed(program: Any) -> dict[Any, Value]:
    """The values of the graph's inputs: parameters, buffers and other constants by their names, and the example."""
    signature = program.graph_signature
    named = signature.inputs_to_parameters | signature.inputs_to_buffers
    values = {}
    for node in program.graph.nodes:
        if node.op != "placeholder":
            continue
        fake = node.meta["val"]
        key = "" if node.name in signature.user_inputs else named.get(node.name, f"constant {node.name}")
        stored = fake.numel() if node.name in signature.inputs_to_parameters else 0
        values[node] = Value(tuple(fake.shape), key=key, stored=stored, fake=fake)
    return values


def _flat(value: Any) -> list[Any]:
    return [each for item in value for each in _flat(item)] if isinstance(value, (list, tuple)) else [value]


def _untraceable(error: Exception, shape: tuple[int, ...]) -> UntraceableError:
    text = f"{type(error).__name__}: {error}"
    if any(mark in text for mark in _VALUES_DECIDE):
        return UntraceableError(
            "The model's path depends on the values of its input, so its operations cannot be listed beforehand.",
            "replace branches on tensor values (if x.sum() > 0, .item(), boolean indexing) by torch.where.",
        )
    reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
    return UntraceableError(
        f"The model cannot be traced with one example of shape {shape}: {reason}",
        "check that the shape (without the batch axis) and the type are those of a real example, and that the forward "
        "pass uses PyTorch operations only.",
    )
