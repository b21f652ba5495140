"""PyTorch's optimisers without its compiler: importing it takes a second of CPU that a plain training never needs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.optim import Optimizer

_MARK = "__dynamo_disable"  # what PyTorch looks for before it imports the compiler to keep it away from a method


def uncompiled() -> None:
    """Let the optimisers' methods be called as they are, unless the compiler is there already.

    PyTorch wraps some of them so that `torch.compile` leaves them alone, and imports the compiler at the first call
    to find out how. In a process that compiles nothing, the plain method is what it would have called.
    """
    from torch.optim import Optimizer

    if "torch._dynamo" in sys.modules:
        return
    for method in vars(Optimizer).values():
        plain = getattr(method, "__wrapped__", None)
        if (
            plain is not None
            and getattr(method, "__globals__", {}).get("__name__") == "torch._compile"
            and not hasattr(plain, _MARK)
        ):
            setattr(plain, _MARK, plain)


def step(optimizer: Optimizer) -> None:
    """`optimizer.step()` without what PyTorch wraps around it: the compiler's mark, the profiler's, and hooks."""
    import torch

    plain = type(optimizer).step
    while hasattr(plain, "__wrapped__"):
        plain = plain.__wrapped__
    with torch.no_grad():
        plain(optimizer)
