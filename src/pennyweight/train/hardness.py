"""How hard each training row is, as a short training of the network itself sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core import Task
from pennyweight.errors import UnknownNameError
from pennyweight.train.loop import How, Judge, fit
from pennyweight.train.rows import tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from pennyweight.core import Work

    Hard = NDArray[np.float64]

MEASURES = ("el2n", "forgetting", "loss")

_BATCH = 1024


def hardness(work: Work, measure: str, epochs: float) -> Hard:
    """How hard each training row (N,) of the work's task is, after or during `epochs` of training a copy of its model.

    "el2n" is the length of the error, probabilities less the label (Paul et al. 2021); "loss" the loss; "forgetting"
    how often a row was right and then wrong again, never learned rows most (Toneva et al. 2019). Values have their
    squared error, sequences their mean loss, whatever is asked; ties are broken by the loss. Takes `epochs` of training
    and one pass without gradients, with "forgetting" one after every epoch.
    """
    if measure not in MEASURES:
        raise UnknownNameError.of("measure of hardness", measure, MEASURES)
    task = work.spec.data.task
    train = work.data.train
    memory = _Memory(train, task)
    watched = measure == "forgetting" and task is Task.CLASSIFY
    judge = Judge(memory.look) if watched else None
    settings = replace(work.spec.train, epochs=epochs, patience=None)
    model = fit(work.model, train, settings, how=How(seed=work.seed, task=task, judge=judge)).model
    error, loss = memory.errors(model)
    if measure == "loss" or task is not Task.CLASSIFY:
        return loss
    if measure == "el2n":
        return error
    ranked: Hard = memory.forgotten() + loss / (1 + loss.max())
    return ranked


class _Memory:
    """The rows, and which of them the network has got right so far."""

    def __init__(self, train: Any, task: Task) -> None:
        self._train, self._task = train, task
        self._right = np.zeros(len(train), dtype=bool)
        self._ever = np.zeros(len(train), dtype=bool)
        self._times = np.zeros(len(train))

    def look(self, model: nn.Module) -> float:
        """Note what is right now; the share of it."""
        error, _ = self.errors(model)
        right = error < np.sqrt(0.5)  # the label has more than half
        self._times += self._right & ~right
        self._ever |= right
        self._right = right
        return float(right.mean())

    def forgotten(self) -> Hard:
        """How often each row was forgotten; more than any other if it was never right."""
        return np.where(self._ever, self._times, self._times.max() + 1)

    def errors(self, model: nn.Module) -> tuple[Hard, Hard]:
        """The length of the error and the loss of each row, (N,)."""
        import torch

        rows = tensors(model, self._train, self._task)
        found = []
        with torch.no_grad():
            for at in range(0, len(rows), _BATCH):
                part = torch.arange(at, min(at + _BATCH, len(rows)))
                some = rows.take(part)
                found.append(_errors(model(*some.given), some.y, self._task))
        error, loss = (torch.cat(column).double().numpy() for column in zip(*found, strict=True))
        return error, loss


def _errors(out: Any, y: Any, task: Task) -> tuple[Any, Any]:
    import torch
    from torch.nn import functional

    if task is Task.REGRESS:
        loss = (out.reshape(y.shape) - y).square().reshape(len(y), -1).mean(1)
        return loss.sqrt(), loss
    if task is Task.LANGUAGE:
        loss = functional.cross_entropy(out.flatten(0, 1), y.flatten(), reduction="none").view(y.shape)
        loss = loss.sum(1) / (y >= 0).sum(1)
        return loss, loss
    error = torch.linalg.vector_norm(out.softmax(1) - functional.one_hot(y, out.shape[1]), dim=1)
    return error, functional.cross_entropy(out, y, reduction="none")
