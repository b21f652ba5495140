"""A sequence of layers cut in two: what comes between, the head that may answer there, and the three as graphs."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.backends.torch_onnx import to_onnx
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from torch import nn

    from pennyweight.core import Work

_BATCH = 512
_MOST_FEATURES = 1024  # that a head reads; images of more are averaged first
_CLOSE = 1e-3


def halves(work: Work, at: int) -> tuple[nn.Module, nn.Module]:
    """The layers before number `at` of the work's network, and the others.

    Raises `BadInputError` for a network that is no sequence of so many layers, or that does more than call them.
    """
    from torch import nn

    model = work.model
    if not isinstance(model, nn.Sequential) or not 0 < at < len(model):
        raise BadInputError(f"The network has no place before layer {at} to leave it.", "use a torch.nn.Sequential.")
    begin, rest = model[:at].eval(), model[at:].eval()
    x = work.data.train.x[:2]
    whole, parts = passed(model.eval(), x), passed(rest, passed(begin, x))
    if whole.shape != parts.shape or np.abs(whole - parts).max() > _CLOSE * max(1.0, float(np.abs(whole).max())):
        raise BadInputError("The network does more than call its layers in turn.", "use a plain torch.nn.Sequential.")
    return begin, rest


def passed(layers: nn.Module, x: np.ndarray) -> np.ndarray:
    """What layers make of `x` (N, ...)."""
    import torch

    with torch.inference_mode():
        parts = [layers(torch.from_numpy(np.require(x[at : at + _BATCH], np.float32, ["C", "W"]))) for at in _starts(x)]
    found: np.ndarray = torch.cat(parts).numpy()
    return found


def averaging(channels: int, sides: tuple[int, ...]) -> int:
    """The side of the squares over which a head averages, so that it reads no more than 1,024 numbers."""
    times = 1
    while sides and channels * prod(-(-side // times) for side in sides) > _MOST_FEATURES and times < min(sides):
        times += 1
    return times


def joined(first: nn.Module, second: nn.Module) -> nn.Module:
    """Both in turn."""
    from torch import nn

    return nn.Sequential(first, second).eval()


def looking(begin: nn.Module, x: np.ndarray) -> nn.Module:
    """What a head does before its one layer to what `begin` makes of rows `x`: images are averaged, all flattened."""
    from torch import nn

    shape = passed(begin, x[:2]).shape[1:]
    times = averaging(shape[0], shape[1:]) if len(shape) == 3 else 1
    return nn.Sequential(*([nn.AvgPool2d(times)] if times > 1 else []), nn.Flatten())


def graphs(work: Work, begin: nn.Module, head: nn.Module, rest: nn.Module) -> tuple[bytes, bytes, bytes]:
    """The three as ONNX: the first reads rows, the others what comes between."""
    rows = np.require(work.data.train.x[:2], np.float32, ["C", "W"])
    between = passed(begin, rows)
    return to_onnx(begin, rows), to_onnx(head, between), to_onnx(rest, between)


def _starts(x: Any) -> range:
    return range(0, len(x), _BATCH)
