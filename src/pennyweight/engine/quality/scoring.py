"""What two models say of the same text, token by token: their losses, how far apart they are, where they agree.

If both fit in memory, they read side by side. If not, the second reads after the first, of which the likeliest
`TOP` tokens are kept on disk: the rest counts as one token, which can only make the divergence smaller.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import CorruptError, StorageError
from pennyweight.units import si

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.engine.quality.text import Batch

TOP = 64
_TINY = 1e-12
_AT_ONCE = 64
_ENTRY_BYTE = 12  # a token's number and the logarithm of its chance


@final
@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Of each scored token (N,), in nats: the loss of both models, the divergence of the second from the first.

    `agree` says where both would have guessed the same token. `exact` is whether the divergence counts every token;
    without it, it is a lower bound.
    """

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    divergence: NDArray[np.float64]
    agree: NDArray[np.bool_]
    exact: bool

    @classmethod
    def room(cls, tokens: int, *, exact: bool) -> Scores:
        """Room for so many tokens."""
        return cls(np.zeros(tokens), np.zeros(tokens), np.zeros(tokens), np.zeros(tokens, np.bool_), exact)


def log_probabilities(model: Any, ids: NDArray[np.int64], kept: int, cache: Any = None) -> Any:
    """The log-probabilities (B, K, V), in float32, of what follows the last `kept` tokens of `ids` (B, T).

    `cache` is what the model remembers of what stands before them.
    """
    import torch

    known: dict[str, Any] = {"past_key_values": cache, "use_cache": True} if cache is not None else {"use_cache": False}
    if "logits_to_keep" in signature(model.forward).parameters:  # where it is not known, all are computed
        known["logits_to_keep"] = kept
    with torch.inference_mode():
        logits = model(input_ids=torch.from_numpy(ids), **known).logits[:, -kept:]
        return logits.float().log_softmax(-1)


def side_by_side(
    models: tuple[Any, Any], batches: Iterable[tuple[Batch, Batch]], tokens: int, watch: Callable[[int], None]
) -> Scores:
    """Let both models read all batches, of so many tokens, each in its own numbers for the same tokens."""
    scores = Scores.room(tokens, exact=True)
    for batch, other in batches:
        at, kept = batch.at.ravel(), batch.targets.shape[1]
        ours = log_probabilities(models[0], batch.ids, kept)
        theirs = log_probabilities(models[1], other.ids, kept)
        scores.first[at], scores.second[at] = _losses(ours, batch), _losses(theirs, other)
        scores.divergence[at] = _divergence(ours, theirs)
        scores.agree[at] = (ours.argmax(-1) == theirs.argmax(-1)).numpy().ravel()
        watch(at.size)
    return scores


@final
class Memory:
    """What the first model said, on disk: its loss of each token, and its likeliest tokens with their chances.

    Raises `StorageError` if there is no room for it: pages of a file that find none end the process without a word.
    """

    def __init__(self, folder: Path, tokens: int, vocabulary: int) -> None:
        self._shape = (tokens, min(TOP, vocabulary))
        needed, free = tokens * self._shape[1] * _ENTRY_BYTE, shutil.disk_usage(folder).free
        if needed > free:
            raise StorageError(
                f"What the first model says takes {si(needed, 'B')} in {folder.parent}, and {si(free, 'B')} are free.",
                "let TMPDIR name a folder on another disk, give --max-tokens, or --together.",
            )
        self._losses = np.zeros(tokens)
        self._names = np.memmap(folder / "names", np.int64, "w+", shape=self._shape)
        self._logs = np.memmap(folder / "logs", np.float32, "w+", shape=self._shape)
        self._whole = vocabulary <= TOP
        self._vocabulary = vocabulary

    def listen(self, model: Any, batches: Iterable[Batch], watch: Callable[[int], None]) -> None:
        """Keep what the first model says."""
        for batch in batches:
            said = log_probabilities(model, batch.ids, batch.targets.shape[1])
            at = batch.at.ravel()
            logs, names = (each.numpy().reshape(at.size, -1) for each in said.topk(self._shape[1], dim=-1))
            self._losses[at], self._logs[at], self._names[at] = _losses(said, batch), logs, names
            watch(at.size)

    def beside(self, model: Any, batches: Iterable[Batch], watch: Callable[[int], None]) -> Scores:
        """Compare with what the second model says of the same batches."""
        scores = Scores.room(len(self._losses), exact=self._whole)
        scores.first[:] = self._losses
        for batch in batches:
            said = log_probabilities(model, batch.ids, batch.targets.shape[1])
            at = batch.at.ravel()
            scores.second[at] = _losses(said, batch)
            scores.agree[at] = said.argmax(-1).numpy().ravel() == self._names[at, 0]
            scores.divergence[at] = self._apart(said.reshape(at.size, -1), at)
            watch(at.size)
        return scores

    def _apart(self, said: Any, at: NDArray[np.int64]) -> NDArray[np.float64]:
        import torch

        if said.shape[1] != self._vocabulary:
            return np.full(len(at), np.nan)
        theirs = said.gather(1, torch.from_numpy(self._names[at])).numpy().astype(np.float64)
        ours = self._logs[at].astype(np.float64)
        farther = np.subtract(ours, theirs, out=np.zeros_like(ours), where=np.isfinite(ours))
        apart = (np.exp(ours) * farther).sum(axis=1)
        if self._whole:
            return np.asarray(apart)
        rest, other = (np.maximum(_TINY, 1 - np.exp(logs).sum(axis=1)) for logs in (ours, theirs))
        return np.asarray(apart + rest * np.log(rest / other))


def check_finite(scores: Scores, names: tuple[str, str]) -> None:
    """Raise `CorruptError` for losses that are no numbers."""
    for losses, name in ((scores.first, names[0]), (scores.second, names[1])):
        if not np.isfinite(losses).all():
            raise not_finite(name)


def not_finite(name: str) -> CorruptError:
    """What is said of a model whose answers are no numbers."""
    return CorruptError(
        f"The model {name} answers with numbers that are not finite.", "open it with --dtype float32, or mend it."
    )


def _divergence(ours: Any, theirs: Any) -> NDArray[np.float64]:
    """KL(ours‖theirs) of each token, some tokens at a time: distributions are large."""
    if ours.shape != theirs.shape:
        return np.full(ours.shape[0] * ours.shape[1], np.nan)
    pairs = zip(ours.flatten(0, 1).split(_AT_ONCE), theirs.flatten(0, 1).split(_AT_ONCE), strict=True)
    found = [(one.exp() * (one - other)).masked_fill_(one.isneginf(), 0).sum(-1).numpy() for one, other in pairs]
    return np.concatenate(found).astype(np.float64)


def _losses(said: Any, batch: Batch) -> NDArray[np.float64]:
    import torch

    found = -said.gather(-1, torch.from_numpy(batch.targets)[..., None])[..., 0]
    return np.asarray(found.numpy().ravel(), np.float64)
