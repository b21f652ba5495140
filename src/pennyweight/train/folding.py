"""Batch norm folded into the layer before it: what it remembers becomes part of that layer's weights."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TYPE_CHECKING

from pennyweight.errors import NoEffectError

if TYPE_CHECKING:
    from torch import nn


def folded(model: nn.Module) -> nn.Module:
    """A copy of `model`, in evaluation mode, that answers alike with fewer layers.

    In every `nn.Sequential`, a batch norm right after a convolution or linear layer is folded into it (torch's own
    `fuse_conv_bn_eval` and `fuse_linear_bn_eval`) and an identity takes its place. Raises `NoEffectError` if there is
    none. Exported ONNX graphs need no such step: the exporter does it.
    """
    from torch import nn

    fresh = copy.deepcopy(model).eval()
    count = sum(_fold(each) for each in fresh.modules() if isinstance(each, nn.Sequential))
    if not count:
        raise NoEffectError(
            "The model has no batch norm that follows a convolution or linear layer in a Sequential.",
            "use the model as it is.",
        )
    return fresh


def _fold(chain: nn.Sequential) -> int:
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

    kinds = (
        (nn.Conv1d, nn.BatchNorm1d, fuse_conv_bn_eval),
        (nn.Conv2d, nn.BatchNorm2d, fuse_conv_bn_eval),
        (nn.Conv3d, nn.BatchNorm3d, fuse_conv_bn_eval),
        (nn.Linear, nn.BatchNorm1d, fuse_linear_bn_eval),
    )
    count = 0
    for first, second in pairwise(list(chain._modules)):  # ruff: ignore[private-member-access] - the names of its parts
        layer, norm = chain.get_submodule(first), chain.get_submodule(second)
        fuse = next((fuse for one, two, fuse in kinds if isinstance(layer, one) and isinstance(norm, two)), None)
        if fuse is not None and norm.track_running_stats:
            setattr(chain, first, fuse(layer, norm))
            setattr(chain, second, nn.Identity())
            count += 1
    return count
