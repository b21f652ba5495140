"""The weights of a real network: which parameter each row of the operator table stands for, and rows to try it on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pennyweight.core import Kind, Task
from pennyweight.errors import UntraceableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from pennyweight.core import Op, Spec, Work

_T = TypeVar("_T")

_LOOK_ROWS, _LOOK_TOKENS = 1024, 16_384
_TOKEN_BYTE = 16  # of a token and its label in a row
_NUMBERED = re.compile(r"_\d+$")
_MATRICES = frozenset({Kind.CONV, Kind.LINEAR})


def matrices(model: nn.Module, spec: Spec) -> dict[str, Op]:
    """The weight parameters of `model` by name, each with the row of the operator table that stands for it.

    A row is called after its layer, or after its parameter if that is not called ``weight``, with a number behind if
    the name was taken; ``blocks.*.fc`` stands for one layer per block, told from equally named rows by its shape.
    """
    rows = [op for op in spec.ops if op.kind in _MATRICES]
    exact = {_NUMBERED.sub("", op.name): op for op in rows} | {op.name: op for op in rows}
    found = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        title = name.removesuffix(".weight")
        alike = [exact[title]] if title in exact else [op for op in rows if _stands_for(op, title)]
        own = next((op for op in alike if weights_of_one(op) == parameter.numel()), None)
        if own is not None:
            found[name] = own
    return found


def chosen(model: nn.Module, spec: Spec, picks: Mapping[Op, _T]) -> dict[str, _T]:
    """The picks of rows of the operator table, by the names of the weight parameters that they stand for.

    Raises `UntraceableError` if one of these rows stands for something that is no parameter of its own.
    """
    found = {name: picks[op] for name, op in matrices(model, spec).items() if op in picks}
    if len(found) != sum(op.times for op in picks):
        raise unlike("some of its matrices are no parameters of their own")
    return found


def weights_of_one(op: Op) -> int:
    """The weights of one of the matrices that a row stands for."""
    return op.n_in * op.n_out * op.fan // op.groups


def _stands_for(op: Op, title: str) -> bool:
    return "*" in op.name and re.fullmatch(re.escape(op.name).replace(r"\*", r"\d+"), title) is not None


def rows_to_see(spec: Spec) -> int:
    """How many training rows are looked at to learn what a network carries: 1,024, or sequences of 16,384 tokens."""
    most = _LOOK_ROWS
    if spec.data.task is Task.LANGUAGE:
        most = max(1, int(_LOOK_TOKENS * _TOKEN_BYTE / spec.data.row_byte))
    return min(most, spec.data.rows)


def sample(work: Work) -> tuple[Tensor, Tensor]:
    """Inputs and labels of `rows_to_see` training rows, evenly spread, for data may be sorted; in the model's types."""
    import torch

    data = work.data.train
    index = np.linspace(0, len(data) - 1, rows_to_see(work.spec)).astype(np.int64)
    x_type = getattr(work.material, "dtype", "float32")
    y_type = "float32" if work.spec.data.task is Task.REGRESS else "int64"
    x, y = (np.ascontiguousarray(part[index], dtype=kind) for part, kind in ((data.x, x_type), (data.y, y_type)))
    return torch.from_numpy(x), torch.from_numpy(y)


def check_answers(model: nn.Module, x: Tensor) -> None:
    """Refuse a network that no longer answers the first rows of `x`, rather than hand on a broken one."""
    import torch

    try:
        with torch.no_grad():
            model(x[:2])
    except (RuntimeError, ValueError, IndexError, AttributeError) as error:
        raise unlike(str(error).splitlines()[0]) from error


def unlike(why: str) -> UntraceableError:
    """The error for a network that is not what its operator table says."""
    return UntraceableError(
        f"The network cannot be changed as counted: {why}.",
        "leave this lever out, or build the network from torch.nn layers whose channels meet in plain operations.",
    )
