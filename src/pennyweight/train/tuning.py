"""Training after a change: a copy of the trained network, a short one-cycle, the network as it was for a teacher."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from pennyweight.core import Form, Task
from pennyweight.errors import BadInputError
from pennyweight.train.loop import How, fit

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import nn

    from pennyweight.core import Spec, TrainSpec, Work

_PEAK = 4.0  # a one-cycle peaks above the rate that is good when constant
_TEACHER_BYTE = 2**30
_TOKEN_BYTE = 16  # of a token and its label in a row
_FLOAT_BYTE = 4


def copy_of(work: Work, what: str) -> nn.Module:
    """A deep copy of the work's trained module, for `what` ("Pruning") to change; refuses what is none."""
    must_be_trained(work, what)
    model: nn.Module = copy.deepcopy(work.model)
    return model.requires_grad_(True).eval()


def must_be_trained(work: Work, what: str) -> None:
    """Refuse, for `what` ("Pruning"), a work whose model is no trained module."""
    if work.spec.form is not Form.MODULE:
        raise BadInputError(f"{what} needs a torch module, not a {work.spec.form.value}.", "do it before quantising.")
    if not work.trained:
        raise BadInputError(f"{what} needs a trained network.", "train it first.")


def tuning(train: TrainSpec, epochs: float) -> TrainSpec:
    """How a changed network is trained on: one cycle of `epochs`, its peak four times a constant learning rate.

    High rates let narrow networks settle anew (Le and Hua 2021, "Network pruning that matters"); on the digits network
    they were better at every width tried.
    """
    peak = train.lr * (_PEAK if train.schedule == "constant" else 1.0)
    return replace(train, epochs=epochs, schedule="onecycle", lr=peak, patience=None, small=0.0, pace=0.0, teacher="")


def tuned(spec: Spec, epochs: float) -> Spec:
    """The spec with the example passes of `epochs` of tuning added."""
    return replace(spec, tune_rows=spec.tune_rows + spec.data.rows * epochs)


def retrain(
    model: nn.Module,
    work: Work,
    epochs: float,
    *,
    teacher: Callable[[Work, np.ndarray], np.ndarray],
    after_step: Callable[[nn.Module], None] | None = None,
) -> nn.Module:
    """Train `model` on the work's training split for `epochs`, half by labels and half by the work as it is.

    `teacher` asks the work for its raw answers to rows; where those to all rows are too large, labels are all there is.
    `after_step` is called after each change of the weights.
    """
    if epochs <= 0:
        return model
    logits = teacher(work, work.data.train.x) if can_teach(work.spec) else None
    how = How(seed=work.seed, task=work.spec.data.task, teacher_logits=logits, after_step=after_step)
    return fit(model, work.data.train, tuning(work.spec.train, epochs), how=how).model


def can_teach(spec: Spec) -> bool:
    """Whether raw answers to all training rows fit into a gibibyte of memory."""
    tokens = spec.data.row_byte / _TOKEN_BYTE if spec.data.task is Task.LANGUAGE else 1.0
    return spec.data.rows * tokens * max(1, spec.data.classes) * _FLOAT_BYTE <= _TEACHER_BYTE


def steps_of(work: Work, epochs: float) -> int:
    """How many times the weights change in `epochs` of tuning on the work's training split."""
    per_epoch = -(-len(work.data.train) // work.spec.train.batch)
    return max(1, round(epochs * per_epoch))
