"""Privacy of single examples: every gradient shortened, the sum made noisy, at the tenant itself (Opacus)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError, MissingExtraError
from pennyweight.train.objective import Batch, Objective
from pennyweight.train.rows import tensors

if TYPE_CHECKING:
    from torch import nn

    from pennyweight.core import Task, TrainSpec


def train_privately(
    model: nn.Module, data: Any, settings: TrainSpec, how: tuple[Task, dict[str, Any]]
) -> tuple[nn.Module, float]:
    """Train `model` in place by DP-SGD (Abadi et al. 2016); the mean loss, which stays with the tenant.

    `how` are the task and, among the facts, `example_clip` and `example_noise`. Each step looks at every row with the
    same chance, about `settings.batch` of them in all. Raises `BadInputError` for a model with layers that mix rows,
    such as batch norm, and `MissingExtraError` without Opacus.
    """
    import torch

    try:
        from opacus import GradSampleModule
        from opacus.optimizers import DPOptimizer
        from opacus.validators import ModuleValidator
    except ImportError as error:
        raise MissingExtraError.of("Opacus", "privacy") from error
    if wrong := ModuleValidator.validate(model, strict=False):
        raise BadInputError(f"The model cannot hide examples: {str(wrong[0])[:200]}.", "use group norm for batch norm.")
    task, facts = how
    rows = tensors(model, data, task)
    batches = max(1, round(len(rows) / settings.batch))
    model.train()
    net = GradSampleModule(model)
    plain = torch.optim.SGD(net.parameters(), settings.lr, settings.momentum, weight_decay=settings.weight_decay)
    rule = DPOptimizer(
        plain,
        noise_multiplier=facts["example_noise"],
        max_grad_norm=facts["example_clip"],
        expected_batch_size=len(rows) / batches,
        generator=torch.Generator().manual_seed(int.from_bytes(np.random.default_rng().bytes(7), "big")),
    )
    steps, losses = max(1, round(settings.epochs * batches)), []
    for _ in range(steps):
        chosen = np.flatnonzero(np.random.default_rng().random(len(rows)) < 1 / batches)
        losses += _step(net, rule, rows.take(torch.from_numpy(chosen)), Objective(task))
    net.remove_hooks()
    return model, float(np.mean(losses)) if losses else 0.0


def _noise_only(net: Any, rule: Any) -> None:
    """The step of a sample with no row in it, which must not be told from others."""
    import torch

    scale = rule.noise_multiplier * rule.max_grad_norm / rule.expected_batch_size
    for each in net.parameters():
        each.grad = torch.normal(0.0, scale, each.shape, generator=rule.generator)
    rule.original_optimizer.step()


def _step(net: Any, rule: Any, batch: Batch, objective: Objective) -> list[float]:
    """One step on a sample, and its loss if there is any row in it."""
    rule.zero_grad()
    if not len(batch):
        _noise_only(net, rule)
        return []
    loss = objective.hard(net(batch.x).float(), batch.y)
    with warnings.catch_warnings():  # inputs need no gradient, which torch's hooks remark on
        warnings.filterwarnings("ignore", message="Full backward hook")
        loss.backward()
    rule.step()
    return [float(loss.detach())]
