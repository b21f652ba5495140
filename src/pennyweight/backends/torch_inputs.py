"""Fewer numbers into a network: its first layer behind a projection, or its images pooled."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.backends.torch_weights import matrices, unlike

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from pennyweight.core import Op, Spec, Work

_BATCH = 1024
_TINY = 1e-12


def projected(work: Work, first: Op, kept: int) -> nn.Module:
    """A copy of the network whose first layer, the row `first` of the table, reads `kept` principal components.

    The components are those of what the layer is given on the training rows, columns of a table scaled to one
    deviation; together they have mean square 1. They are a linear layer of their own, which training may change; the
    layer behind it begins anew. Raises `UntraceableError` for a matrix that is no linear layer.
    """
    import torch
    from torch import nn

    model = copy.deepcopy(work.model)
    name = _layer(model, work.spec, first)
    layer = model.get_submodule(name)
    weight, bias = _components(_given(model, layer, work.data.train.x), kept, table=work.data.train.x.ndim == 2)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(work.seed)
        lower = nn.Linear(layer.in_features, kept)
        upper = nn.Linear(kept, layer.out_features, bias=layer.bias is not None)
    with torch.no_grad():
        lower.weight.copy_(torch.from_numpy(weight))
        lower.bias.copy_(torch.from_numpy(bias))
    model.set_submodule(name, nn.Sequential(lower, upper))
    return model


def pooled(work: Work, times: int) -> nn.Module:
    """The network behind an average over `times` × `times` pixels; raises `UntraceableError` if it cannot take that."""
    import torch
    from torch import nn

    model = nn.Sequential(nn.AvgPool2d(times), copy.deepcopy(work.model))
    rows = torch.from_numpy(np.ascontiguousarray(work.data.train.x[:2], np.float32))
    try:
        with torch.no_grad():
            model.eval()(rows)
    except (RuntimeError, ValueError) as error:
        raise unlike("it takes images of one size only") from error
    return model.train(work.model.training)


def _layer(model: nn.Module, spec: Spec, first: Op) -> str:
    """The name of the linear layer that the row stands for."""
    from torch import nn

    names = [name.removesuffix(".weight") for name, op in matrices(model, spec).items() if op == first]
    named = dict(model.named_modules())
    if len(names) != 1 or type(named.get(names[0])) is not nn.Linear or not names[0]:
        raise unlike("its first matrix is no linear layer of its own")
    return names[0]


def _given(model: nn.Module, layer: nn.Module, x: NDArray[Any]) -> NDArray[np.float64]:
    """What the layer is given for the rows `x`, (N, K)."""
    import torch

    seen: list[NDArray[np.float64]] = []
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].double().numpy()))
    training = model.training
    model.eval()
    with torch.no_grad():
        for at in range(0, len(x), _BATCH):
            model(torch.from_numpy(np.ascontiguousarray(x[at : at + _BATCH], np.float32)))
    hook.remove()
    model.train(training)
    return np.concatenate(seen)


def _components(x: NDArray[np.float64], kept: int, *, table: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight (kept, K) and bias (kept,) that turn rows `x` (N, K) into their first principal components."""
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1) if table else np.ones_like(deviation)
    spread, basis = np.linalg.eigh(np.cov((x - mean) / scale, rowvar=False))
    basis = basis[:, ::-1][:, :kept].T / scale
    basis /= np.sqrt(max(float(spread[::-1][:kept].mean()), _TINY))
    return basis.astype(np.float32), (-basis @ mean).astype(np.float32)
