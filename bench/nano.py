"""The network of nanoGPT on a CPU: 4 layers, 4 heads, width 128, context 64; its first and last matrix are one."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

CONTEXT, LAYERS, HEADS, WIDTH = 64, 4, 4, 128


def network(vocabulary: int, *, still: bool = False) -> nn.Module:
    """A fresh network; `still`: what each layer adds to the stream begins as nothing."""
    from torch import nn

    model = _network()(vocabulary)
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            last = name.endswith(("project.weight", "down.weight"))
            spread = 0.02 / math.sqrt(2 * LAYERS) if last else 0.02
            nn.init.normal_(weight, std=0.0 if still and last else spread)
    return model


@cache
def _network() -> Any:
    import torch
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.before = nn.LayerNorm(WIDTH, bias=False)
            self.attend = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
            self.project = nn.Linear(WIDTH, WIDTH, bias=False)
            self.between = nn.LayerNorm(WIDTH, bias=False)
            self.up = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
            self.down = nn.Linear(4 * WIDTH, WIDTH, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            b, t, c = x.shape
            q, k, v = self.attend(self.before(x)).view(b, t, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            mixed = x + self.project(y.transpose(1, 2).reshape(b, t, c))
            return mixed + self.down(functional.gelu(self.up(self.between(mixed))))

    class Network(nn.Module):  # type: ignore[misc]  # as above
        def __init__(self, vocabulary: int) -> None:
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, WIDTH)
            self.places = nn.Embedding(CONTEXT, WIDTH)
            self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
            self.last = nn.LayerNorm(WIDTH, bias=False)

        def forward(self, tokens: Tensor) -> Tensor:
            x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))
            return functional.linear(self.last(self.blocks(x)), self.tokens.weight)

    return Network
