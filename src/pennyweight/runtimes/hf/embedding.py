"""Texts as vectors, by an encoder of transformers: the mean of what it makes of their tokens, of length one.

Mean pooling is that of Reimers and Gurevych 2019 (arXiv 1908.10084).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.runtimes.chorus import TOO_LONG, alike

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch.nn import Module

FAMILIES = ("bert", "camembert", "distilbert", "electra", "modernbert", "mpnet", "roberta", "xlm-roberta")
_MOST, _MOST_TOKENS = 32, 8192  # texts of a call, and what they have together: each takes some kilobytes meanwhile


@final
class TorchEmbedder:
    """An encoder in evaluation mode; `context` is the longest text that it can read."""

    def __init__(self, model: Module, context: int, threads: int = 1) -> None:
        self.context = context
        self._model, self._threads = model, threads

    def embed(self, texts: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """A vector (N, D) for each of some texts, each (T,); raises `BadInputError` for what it cannot read."""
        found: dict[int, NDArray[np.float32]] = {}
        for rows in calls(texts):
            found.update(zip(rows, self._told([texts[row] for row in rows]), strict=True))
        return np.stack([found[row] for row in range(len(texts))])

    def _told(self, texts: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """Vectors of texts that are read at once, the shorter ones padded on the right."""
        import torch

        longest = max(map(len, texts))
        if not 0 < longest <= self.context:
            raise BadInputError(*TOO_LONG)
        tokens, there = np.zeros((2, len(texts), longest), np.int64)
        for row, mask, text in zip(tokens, there, texts, strict=True):
            row[: len(text)], mask[: len(text)] = text, 1
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                return _pooled(self._model, torch.from_numpy(tokens), torch.from_numpy(there))
        except (RuntimeError, IndexError) as error:
            raise BadInputError(*TOO_LONG) from error


def calls(texts: Sequence[NDArray[np.int64]]) -> list[list[int]]:
    """The places of texts that are read at once: those of about one length, and not too many of them."""
    found = []
    for group in alike(texts):
        size = max(1, min(_MOST, _MOST_TOKENS // max(1, len(texts[group[-1]]))))
        found += [group[at : at + size] for at in range(0, len(group), size)]
    return found


def _pooled(model: Any, tokens: Any, there: Any) -> NDArray[np.float32]:
    from torch.nn.functional import normalize

    states = model(input_ids=tokens, attention_mask=there).last_hidden_state.float()
    weight = there[:, :, None].to(states.dtype)
    found: NDArray[np.float32] = normalize((states * weight).sum(1) / weight.sum(1).clamp(min=1), dim=1).numpy()
    return found
