"""The head at which a network may be left early: one layer, trained on what the layers before it make of the rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pennyweight.core import Task, TrainSpec
from pennyweight.train.loop import How
from pennyweight.train.small import fit_scaled
from pennyweight.train.tuning import can_teach

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from pennyweight.core import Work

_LR = 4e-3  # the peak of a one-cycle


def train_head(features: np.ndarray, work: Work, epochs: float, teacher: np.ndarray | None) -> nn.Module:
    """A linear layer on `features` (N, D) of the training rows, half by labels, half by a teacher's logits (N, C)."""
    import torch
    from torch import nn

    rows = work.data.train
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(work.seed)
        layer = nn.Sequential(nn.Linear(features.shape[1], work.spec.data.classes))
    settings = TrainSpec(epochs, work.spec.train.batch, lr=_LR, schedule="onecycle")
    how = How(seed=work.seed, task=Task.CLASSIFY, teacher_logits=teacher if can_teach(work.spec) else None)
    return fit_scaled(layer, replace(rows, x=features), settings, how)
