"""Tiny networks of the usual kinds: convolutional with a residual block, a perceptron, a transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

PIXELS, CLASSES = 8, 4
COLUMNS, GROUPS = 24, 3
VOCABULARY, CONTEXT = 16, 12
_WIDTH, _HEADS = 32, 2


def tiny_cnn() -> nn.Module:
    """Stem, a residual block with batch normalisation, pooling and two linear layers: images (1, 8, 8), 4 classes."""
    from torch import nn

    class Residual(nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self, around: nn.Module) -> None:
            super().__init__()
            self.around = around

        def forward(self, x: Tensor) -> Tensor:
            return (x + self.around(x)).relu()

    block = nn.Sequential(
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
    )
    stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    head = nn.Sequential(nn.Flatten(), nn.Linear(16 * 16, 32), nn.ReLU(), nn.Linear(32, CLASSES))
    return nn.Sequential(stem, Residual(block), head)


def tiny_mlp() -> nn.Module:
    """A perceptron with two hidden layers: 24 columns, 3 classes."""
    from torch import nn

    return nn.Sequential(nn.Linear(COLUMNS, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, GROUPS))


def tiny_gpt() -> nn.Module:
    """A causal transformer of two blocks: 12 tokens of a vocabulary of 16, embedding and head apart."""
    import torch
    from torch import nn
    from torch.nn import functional

    from pennyweight.train.apart import places, sees

    class Block(nn.Module):  # type: ignore[misc]  # as above
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)
            self.qkv, self.proj = nn.Linear(_WIDTH, 3 * _WIDTH), nn.Linear(_WIDTH, _WIDTH)
            self.fc, self.out = nn.Linear(_WIDTH, 4 * _WIDTH), nn.Linear(4 * _WIDTH, _WIDTH)

        def forward(self, x_BTC: Tensor, mask: Tensor | None = None) -> Tensor:  # ruff: ignore[invalid-argument-name] - batch, tokens, channels
            b, t, c = x_BTC.shape
            parts = self.qkv(self.ln_1(x_BTC)).split(c, dim=2)
            q, k, v = (part.view(b, t, _HEADS, c // _HEADS).transpose(1, 2) for part in parts)
            mixed = functional.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None)
            mid_BTC = x_BTC + self.proj(mixed.transpose(1, 2).reshape(b, t, c))  # ruff: ignore[non-lowercase-variable-in-function]
            added: Tensor = mid_BTC + self.out(functional.gelu(self.fc(self.ln_2(mid_BTC))))
            return added

    class Gpt(nn.Module):  # type: ignore[misc]  # as above
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(VOCABULARY, _WIDTH), nn.Embedding(CONTEXT, _WIDTH)
            self.blocks = nn.ModuleList(Block() for _ in range(2))
            self.ln, self.head = nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, VOCABULARY, bias=False)

        def forward(self, x_BT: Tensor, texts: Tensor | None = None) -> Any:  # ruff: ignore[invalid-argument-name] - batch, tokens
            at = torch.arange(x_BT.shape[1]) if texts is None else places(texts)
            mask = None if texts is None else sees(texts)
            x_BTC = self.tokens(x_BT) + self.places(at)  # ruff: ignore[non-lowercase-variable-in-function]
            for block in self.blocks:
                x_BTC = block(x_BTC, mask)  # ruff: ignore[non-lowercase-variable-in-function]
            return self.head(self.ln(x_BTC))

    return Gpt()
