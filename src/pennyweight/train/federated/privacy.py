"""Privacy: what is asked for, how much noise that takes and what is spent of it, and training that hides examples."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from pennyweight.errors import BadInputError, MissingExtraError, UnknownNameError
from pennyweight.train.objective import Batch, Objective
from pennyweight.train.rows import tensors

if TYPE_CHECKING:
    from torch import nn

    from pennyweight.core import Task, TrainSpec

UNITS = ("client", "example")
_MARGIN = 1e-9


@dataclass(frozen=True, slots=True)
class Privacy:
    """Differential privacy: at most `epsilon` at `delta`, of whole clients or of single examples (`unit`).

    An update (of a client) or a gradient (of an example) is shortened to the norm `clip` before Gaussian noise is
    added, of `noise` times `clip` per round or step; None: as little as keeps within `epsilon` to the end.
    """

    epsilon: float
    delta: float = 1e-3
    clip: float = 1.0
    unit: str = "client"
    noise: float | None = None

    def __post_init__(self) -> None:
        numbers = (self.epsilon, self.delta, self.clip, 1.0 if self.noise is None else self.noise)
        if not all(math.isfinite(each) and each > 0 for each in numbers) or self.delta >= 1:
            raise BadInputError(
                f"A privacy of epsilon {self.epsilon:g} at delta {self.delta:g}, clipped at {self.clip:g}, cannot be.",
                "use numbers above 0, delta below 1.",
            )
        if self.unit not in UNITS:
            raise UnknownNameError.of("unit of privacy", self.unit, UNITS)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "epsilon=8" or "epsilon=8,delta=1e-3,clip=1,unit=example,noise=1.1"."""
        found: dict[str, float | str] = {}
        for part in text.split(","):
            name, _, value = (each.strip() for each in part.partition("="))
            if name not in {"epsilon", "delta", "clip", "unit", "noise"}:
                raise UnknownNameError.of("setting of privacy", name, ("epsilon", "delta", "clip", "unit", "noise"))
            try:
                found[name] = value if name == "unit" else float(value)
            except ValueError as error:
                raise BadInputError(f"{part!r} gives no number.", "write epsilon=8, for example.") from error
        if "epsilon" not in found:
            raise BadInputError(f"{text!r} does not say how private.", "write epsilon=8, for example.")
        return cls(**found)  # type: ignore[arg-type]


@final
class Budget:
    """What `steps` looks at a sample, each row in it with the chance `share`, may expose in all.

    Opacus' accountant of Rényi differential privacy adds them up (Mironov 2017; Mironov, Talwar and Zhang 2019).
    Raises `MissingExtraError` without Opacus.
    """

    def __init__(self, privacy: Privacy, share: float, steps: int) -> None:
        self.privacy, self._share = privacy, min(1.0, share)
        try:
            from opacus.accountants import RDPAccountant
            from opacus.accountants.utils import get_noise_multiplier
        except ImportError as error:
            raise MissingExtraError.of("Opacus", "privacy") from error
        self._make = RDPAccountant
        self._steps = 0
        self.noise = privacy.noise or _least(get_noise_multiplier, privacy, self._share, steps)

    def after(self, more: int = 0) -> float:
        """The epsilon spent, if there were so many more steps."""
        steps = self._steps + more
        if not steps:
            return 0.0
        accountant: Any = self._make()
        accountant.history = [(self.noise, self._share, steps)]
        return float(_quietly(lambda: accountant.get_epsilon(delta=self.privacy.delta)))

    def allows(self, steps: int = 1) -> bool:
        """Whether so many more steps keep within the budget."""
        return self.after(steps) <= self.privacy.epsilon * (1 + _MARGIN)

    def spend(self, steps: int = 1) -> None:
        """Say that so many steps were made."""
        self._steps += steps


def _least(search: Any, privacy: Privacy, share: float, steps: int) -> float:
    wanted = {"target_epsilon": privacy.epsilon, "target_delta": privacy.delta, "sample_rate": share, "steps": steps}
    try:
        return float(_quietly(lambda: search(**wanted, accountant="rdp", epsilon_tolerance=privacy.epsilon * 1e-3)))
    except ValueError as error:
        raise BadInputError(
            f"No noise keeps {steps} steps within epsilon {privacy.epsilon:g}.", "use fewer rounds or more epsilon."
        ) from error


def _quietly(work: Any) -> Any:
    """Opacus warns when the best order is the last it tries, which makes epsilon larger than it is, not wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return work()


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
    more = {"weight_decay": settings.weight_decay, "nesterov": settings.nesterov}
    plain = torch.optim.SGD(net.parameters(), settings.lr, settings.momentum, **more)
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
