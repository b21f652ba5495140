"""Paper meets reality: a table with resized width groups is that of the model whose channels were really removed."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as fn

from pennyweight.core import DataSpec, Form, Spec
from pennyweight.cost.count import count, params
from pennyweight.cost.table_module import table_of_module


class Residual(nn.Module):
    def __init__(self, w, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(w, w * stride, 3, stride, 1, bias=False), nn.BatchNorm2d(w * stride)
        self.conv2, self.bn2 = nn.Conv2d(w * stride, w * stride, 3, 1, 1, bias=False), nn.BatchNorm2d(w * stride)
        self.short = nn.Conv2d(w, w * stride, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        return fn.relu(self.bn2(self.conv2(fn.relu(self.bn1(self.conv1(x))))) + self.short(x))


class Encoder(nn.Module):
    def __init__(self, w=16, layers=3):
        super().__init__()
        self.token = nn.Embedding(20, w)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(w, 4, 4 * w, batch_first=True, activation="gelu") for _ in range(layers)
        )
        self.head = nn.Linear(w, 3)

    def forward(self, x):
        y = self.token(x)
        for block in self.blocks:
            y = block(y)
        return self.head(y.mean(1))


MODELS = {
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3), nn.ReLU(),
            nn.Flatten(), nn.Linear(12 * 16, 10), nn.ReLU(), nn.Linear(10, 4),
        ),
        (1, 14, 14), "float32", 3,
    ),
    "residual cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), Residual(8), Residual(8), Residual(8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(16, 4),
        ),
        (3, 12, 12), "float32", 5,
    ),
    "depthwise cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8), nn.Conv2d(8, 6, 1), nn.Hardswish(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
        ),
        (3, 12, 12), "float32", 2,
    ),
    "transposed cnn": (
        lambda: nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.ConvTranspose2d(8, 6, 2, 2), nn.Conv2d(6, 1, 1)),
        (1, 13, 13), "float32", 2,
    ),
    "mlp": (
        lambda: nn.Sequential(
            nn.Linear(9, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 8), nn.GELU(), nn.Linear(8, 2),
        ),
        (9,), "float32", 2,
    ),
    "transformer": (Encoder, (10,), "int64", 1),
}  # fmt: skip


def halved(model, groups, example):
    """The model with half the channels of the layers that start these groups really removed, by torch-pruning."""
    import torch_pruning

    model = copy.deepcopy(model)
    starts = [re.compile(re.escape(group).replace(r"\*", r"\d+") + "$") for group in groups]
    for name, module in list(model.named_modules()):
        if not any(start.match(name) for start in starts):
            continue
        graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=example)
        is_linear = isinstance(module, nn.Linear)
        prune = torch_pruning.prune_linear_out_channels if is_linear else torch_pruning.prune_conv_out_channels
        width = module.out_features if is_linear else module.out_channels
        graph.get_pruning_group(module, prune, list(range(width // 2))).prune()
    return model


@pytest.mark.filterwarnings("ignore")  # torch-pruning's own, on parameters that are not in a layer
@pytest.mark.parametrize("name", MODELS)
def test_resizing_on_paper_is_removing_channels_for_real(name):
    make, shape, dtype, groups = MODELS[name]
    model = make().eval()
    spec = Spec(Form.MODULE, table_of_module(model, shape, dtype=dtype), DataSpec(1, 1))
    widths = spec.widths()
    assert len(widths) == groups
    paper = spec.resize({group: width - width // 2 for group, width in widths.items()})
    smaller = halved(model, widths, torch.zeros((1, *shape), dtype=getattr(torch, dtype)))
    real = Spec(Form.MODULE, table_of_module(smaller, shape, dtype=dtype), DataSpec(1, 1))
    assert paper.ops == real.ops
    assert count(paper) == count(real)
    assert count(paper).flop < count(spec).flop
    assert params(paper) == params(real)
