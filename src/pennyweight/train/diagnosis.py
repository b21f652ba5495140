"""Where a loss stopped being a number: the rows, the layer or the gradient at which it began."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pennyweight.train.finding import Cure, Finding, Ill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from pennyweight.train.objective import Batch, Objective

_SHOWN = 5


def diagnose(model: nn.Module, objective: Objective, rows: Batch, *, step: int, batch: int = 256) -> Finding | None:
    """Run `rows` through `model`, batch by batch, and name where numbers end; None where they never do.

    Looked for in this order: rows that hold none, weights that are none, the first layer whose output is not finite
    although its input is, a loss, and the gradient nearest to the loss. Layers are watched by hooks that are gone
    afterwards; weights and running statistics are left as they were.
    """
    bad = bad_rows(rows)
    if bad:
        where = f"{len(bad)} rows ({', '.join(map(str, bad[:_SHOWN]))}{' …' * (len(bad) > _SHOWN)})"
        return Finding(Ill.BAD_ROWS, where, step, float(len(bad)), Cure.SKIP)
    for name, weight in model.named_parameters():
        if not _finite(weight):
            return Finding(Ill.NOT_A_NUMBER, name, step, math.nan, Cure.CLIP)
    import torch

    for at in range(0, len(rows), batch):
        part = rows.take(torch.arange(at, min(at + batch, len(rows))))
        if (found := _first_of(model, objective, part)) is not None:
            return Finding(Ill.NOT_A_NUMBER, found[0], step, found[1], Cure.CLIP)
    return None


def bad_rows(rows: Batch) -> list[int]:
    """The rows whose inputs, labels or weights are not finite."""
    import torch

    bad = torch.zeros(len(rows), dtype=torch.bool)
    for part in (rows.x, rows.y, rows.weight):
        if part is not None and part.is_floating_point():
            bad |= ~torch.isfinite(part.reshape(len(rows), -1)).all(1)
    found: list[int] = torch.nonzero(bad).flatten().tolist()
    return found


def _first_of(model: nn.Module, objective: Objective, batch: Batch) -> tuple[str, float] | None:
    """The layer, "the loss" or the parameter where numbers end on this batch, with what was seen there."""
    import torch

    ended: list[tuple[str, float]] = []
    hooks = [each.register_forward_hook(_hook(name, ended)) for name, each in _layers(model)]
    was_training = model.training
    try:
        model.eval()  # so that running statistics stay as they are
        with torch.enable_grad():
            loss = objective.mixed(model(batch.x).float(), batch)
            if not ended and not math.isfinite(float(loss.detach())):
                ended.append(("the loss", float(loss.detach())))
            if not ended:
                ended.extend(_backward(model, loss))
    finally:
        for each in hooks:
            each.remove()
        model.train(was_training)
    return ended[0] if ended else None


def _backward(model: nn.Module, loss: Tensor) -> list[tuple[str, float]]:
    import torch

    named = [(name, each) for name, each in model.named_parameters() if each.requires_grad]
    grads = torch.autograd.grad(loss, [each for _, each in named], allow_unused=True)
    pairs = zip(named, grads, strict=True)
    wrong = [f"the gradient of {name}" for (name, _), grad in pairs if grad is not None and not _finite(grad)]
    return [(wrong[-1], math.nan)] if wrong else []


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, each in model.named_modules():
        if not any(True for _ in each.children()):
            yield name or type(each).__name__, each


def _hook(name: str, ended: list[tuple[str, float]]) -> Any:
    def passed(_module: nn.Module, inputs: Any, out: Any) -> None:
        tensors = [each for each in inputs if hasattr(each, "is_floating_point")]
        if not ended and hasattr(out, "is_floating_point") and not _finite(out) and all(map(_finite, tensors)):
            ended.append((name, float(out.detach().abs().max())))

    return passed


def _finite(tensor: Tensor) -> bool:
    import torch

    return not tensor.is_floating_point() or bool(torch.isfinite(tensor.detach()).all())
