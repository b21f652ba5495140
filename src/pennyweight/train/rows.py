"""Rows as tensors, tried on the model before the first step, and the tenth that early stopping holds back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core import Task
from pennyweight.errors import BadInputError
from pennyweight.train.objective import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

_CARVE = 0.1
_PADDING = -100  # what torch leaves out of a loss


def tensors(model: nn.Module, data: Any, task: Task, teacher_logits: np.ndarray | None = None) -> Batch:
    """The rows of `data` as tensors, in float32 but for tokens and classes (int64); weights are made to average one.

    The labels of padding are those that no loss counts.
    """
    import torch

    tokens = task is Task.LANGUAGE or any(isinstance(each, torch.nn.Embedding) for each in model.modules())
    x = np.asarray(data.x)
    kind = np.int64 if tokens and x.dtype.kind in "iu" else np.float32
    label = np.float32 if task is Task.REGRESS else np.int64
    weight = getattr(data, "weight", None)
    if weight is not None:
        weight = (np.asarray(weight) / np.mean(weight)).astype(np.float32)
    teacher = None if teacher_logits is None else np.asarray(teacher_logits, dtype=np.float32)
    y: np.ndarray = np.asarray(data.y).astype(label, copy=False)
    if task is Task.LANGUAGE and y.min(initial=0) < 0:
        y = np.where(y < 0, _PADDING, y)
    texts = getattr(data, "texts", None)
    parts = (x.astype(kind, copy=False), y, weight, teacher, texts)
    return Batch(
        *(None if part is None else torch.from_numpy(np.require(part, requirements=["C", "W"])) for part in parts)
    )


def answer_width(model: nn.Module, data: Any, task: Task) -> int:
    """The answers `model` gives per row of `data` (classes, vocabulary, values), tried on two rows.

    Raises `BadInputError` for a model that does not take such rows, or whose answers do not fit the labels.
    """
    return try_out(model, tensors(model, data, task), task)


def try_out(model: nn.Module, batch: Batch, task: Task) -> int:
    """As `answer_width`, for rows that are tensors already."""
    import torch

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            out = model(batch.x[:2])
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        raise BadInputError(
            f"The model does not take rows of shape {tuple(batch.x.shape[1:])}: {str(error).splitlines()[0]}",
            "give data of the shape the model expects.",
        ) from error
    finally:
        model.train(was_training)
    if not isinstance(out, torch.Tensor):
        raise BadInputError(f"The model answers with a {type(out).__name__}.", "let forward() return one tensor.")
    return _width(tuple(out.shape), batch, task)


def _width(shape: tuple[int, ...], batch: Batch, task: Task) -> int:
    if task is Task.REGRESS:
        if math.prod(shape) != batch.y[:2].numel():
            raise BadInputError(f"The model answers {shape} to two rows.", "let it give one value per label.")
        return 1 if len(shape) == 1 else shape[-1]
    wanted = 3 if task is Task.LANGUAGE else 2
    if len(shape) != wanted:
        form = "(rows, tokens, vocabulary)" if task is Task.LANGUAGE else "(rows, classes)"
        raise BadInputError(f"The model answers {shape} to two rows.", f"let it give logits of shape {form}.")
    low, high = int(batch.y.min()), int(batch.y.max())
    if (low < 0 and task is not Task.LANGUAGE) or high >= shape[-1]:
        raise BadInputError(
            f"The labels go from {low} to {high}, but the model knows {shape[-1]} answers.",
            "number the classes from 0 and give the model one output for each.",
        )
    return shape[-1]


def held_back(data: Any, task: Task, seed: int) -> np.ndarray:
    """The rows held back for early stopping: a random tenth of every class, or whole groups up to a tenth of all."""
    rng = np.random.default_rng(seed)
    y, groups = np.asarray(data.y), getattr(data, "groups", None)
    if groups is not None and len(np.unique(groups)) > 1:
        names, sizes = np.unique(groups, return_counts=True)
        order = rng.permutation(len(names))
        count = max(1, int(np.searchsorted(np.cumsum(sizes[order]), _CARVE * len(y), side="right")))
        return np.flatnonzero(np.isin(groups, names[order[: min(count, len(names) - 1)]]))
    if task is not Task.CLASSIFY:
        return np.sort(rng.permutation(len(y))[: max(1, round(_CARVE * len(y)))])
    return np.sort(np.concatenate(list(_of_each_class(y, rng))))


def _of_each_class(y: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """A random tenth of each class; nothing of a class with a single row."""
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        yield rng.permutation(rows)[: max(round(_CARVE * len(rows)), int(len(rows) > 1))]


def has_batch_norm(model: nn.Module) -> bool:
    """Whether some layer of `model` needs more than one row to train on."""
    from torch import nn

    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    return any(isinstance(each, kinds) for each in model.modules())
