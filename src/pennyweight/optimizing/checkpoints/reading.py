"""How well a checkpoint foretells a text: the loss of every token, in nats, by torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from pennyweight.engine.quality.scoring import log_probabilities, not_finite
from pennyweight.runtimes.hf import describe, open_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.engine.quality.text import Text

_SHARE = 0.8  # of the memory that is free
_WIDTH = 4  # bytes of a number


@final
@dataclass(frozen=True, slots=True)
class Windows:
    """How text is read: `window` tokens at a time, moved on by `stride`, by models that know `vocabulary` tokens."""

    window: int
    stride: int
    vocabulary: int
    dtype: str = "float32"


def dtype_for(folder: Path) -> str:
    """What is computed in: float32 where the model fits so, else bfloat16; the same for all candidates."""
    import psutil

    return (
        "float32" if _WIDTH * describe(folder).parameters < _SHARE * psutil.virtual_memory().available else "bfloat16"
    )


@final
@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """An opened checkpoint that reads texts in windows."""

    model: Any
    windows: Windows
    name: str

    @classmethod
    def at(cls, folder: Path, windows: Windows) -> Self:
        """Open the checkpoint in `folder`; raises what `open_model` raises."""
        return cls(open_model(folder, windows.dtype), windows, folder.name)

    def losses(self, text: Text, hear: Callable[[float], None]) -> NDArray[np.float64]:
        """The loss (N,) of each token of `text`; `hear` is told the share that is done.

        Raises `CorruptError` if what the model answers is no number.
        """
        found, done, how = np.zeros(text.scored), 0, self.windows
        for batch in text.batches(how.window, how.stride, how.vocabulary):
            said = log_probabilities(self.model, batch.ids, batch.targets.shape[1])
            found[batch.at.ravel()] = _picked(said, batch.targets)
            done += batch.at.size
            hear(done / text.scored)
        if not np.isfinite(found).all():
            raise not_finite(self.name)
        return found


def _picked(said: Any, targets: NDArray[np.int64]) -> NDArray[np.float64]:
    import torch

    found = -said.gather(-1, torch.from_numpy(targets)[..., None])[..., 0]
    return np.asarray(found.numpy().ravel(), np.float64)
