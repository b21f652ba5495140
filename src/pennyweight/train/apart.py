"""Texts that share a row, kept apart inside a network: places counted anew in each, and who may look at whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def places(texts: Tensor) -> Tensor:
    """The place of every token in its own text, (B, T), from the number of the text it belongs to, `texts` (B, T)."""
    import torch

    at = torch.arange(texts.shape[1], device=texts.device)
    begins = torch.ones_like(texts, dtype=torch.bool)
    begins[:, 1:] = texts[:, 1:] != texts[:, :-1]
    return at - torch.where(begins, at, 0).cummax(dim=1).values


def sees(texts: Tensor) -> Tensor:
    """Which tokens each may look at, (B, 1, T, T): those of its own text up to itself. A mask for attention by head."""
    mine = texts[:, None, :, None] == texts[:, None, None, :]
    return mine.tril()
