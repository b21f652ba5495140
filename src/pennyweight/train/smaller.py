"""Rows of a smaller size to begin training with: windows of sequences, images averaged to fewer pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.core import Task
from pennyweight.train.objective import Batch

if TYPE_CHECKING:
    from pennyweight.core import TrainSpec


def smaller(batch: Batch, settings: TrainSpec, task: Task, done: float) -> Batch:
    """The batch as it is to be trained on when the share `done` of training is over.

    Sequences (B, T) are cut to a window, drawn for the whole batch from torch's own generator; images (B, C, H, W) are
    averaged over the places that each of the new pixels covers.
    """
    if not done < settings.small:
        return batch
    return _window(batch, settings.size) if task is Task.LANGUAGE else _averaged(batch, settings.size)


def _window(batch: Batch, size: float) -> Batch:
    import torch

    length = batch.x.shape[1]
    kept = max(1, round(length * size))
    start = int(torch.randint(length - kept + 1, ()))
    window = slice(start, start + kept)
    teacher = None if batch.teacher is None else batch.teacher[:, window]
    texts = None if batch.texts is None else batch.texts[:, window]
    return Batch(batch.x[:, window], batch.y[:, window], batch.weight, teacher, texts)


def _averaged(batch: Batch, size: float) -> Batch:
    from torch.nn import functional

    sides = [max(1, round(side * size)) for side in batch.x.shape[2:]]
    return Batch(functional.interpolate(batch.x, sides, mode="area"), batch.y, batch.weight, batch.teacher)
