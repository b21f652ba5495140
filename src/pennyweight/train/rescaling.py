"""Weights to begin with that keep the scale of activations from layer to layer, so that gradients reach the first."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

_ROWS = 256
_CLOSE = 0.05
_ROUNDS = 5
_GENTLE = 1e-8


def rescaled(model: nn.Module, x: Tensor) -> nn.Module:
    """A copy of `model` whose linear and convolution layers, one after the other, answer rows of `x` with variance one.

    Layer-sequential unit variance (Mishkin and Matas 2016, "All you need is a good init"), without drawing the weights
    anew: rows of weights are made orthogonal where the layer was all but silent. The last layer is left as it is.
    """
    import torch
    from torch import nn

    fresh = copy.deepcopy(model)
    was_training, rows = fresh.training, x[:_ROWS]
    fresh.eval()
    layers = [each for each in fresh.modules() if isinstance(each, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    with torch.no_grad():
        for layer in layers[:-1]:
            if float(layer.weight.std()) < _GENTLE:
                nn.init.orthogonal_(layer.weight.flatten(1))
            for _ in range(_ROUNDS):
                spread = _spread(fresh, layer, rows)
                if not spread > _GENTLE or abs(spread - 1) < _CLOSE:
                    break
                layer.weight.div_(spread)
                if layer.bias is not None:
                    layer.bias.div_(spread)
    return fresh.train(was_training)


def _spread(model: nn.Module, layer: nn.Module, rows: Tensor) -> float:
    """The standard deviation of what a layer answers."""
    seen: list[Any] = []
    hook = layer.register_forward_hook(lambda _module, _inputs, out: seen.append(float(out.std())))
    try:
        model(rows)
    finally:
        hook.remove()
    return seen[-1] if seen else 0.0
